//! Any Bundles to `$process-message`, up to four, one after the other: each is refused in words and changes nothing, or is
//! answered with a message; sent again it gets the same answer; and what is stored can be read.
#![no_main]

#[path = "support/mod.rs"]
mod support;
#[path = "support/json.rs"]
mod json;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use support::Asked;

/// Between two Bundles.
const BETWEEN: &[u8] = b"\n\n";

const TYPES: [&str; 7] =
    ["Patient", "Encounter", "Condition", "Procedure", "Observation", "AllergyIntolerance", "Location"];

fuzz_target!(|input: &[u8]| {
    let mailbox = Asked::new();
    for body in json::split(input, BETWEEN).into_iter().take(4) {
        send(&mailbox, body);
    }
    for kind in TYPES {
        let found = mailbox.get(&format!("/{kind}?_count=1000"));
        assert_eq!(found.status, 200, "{}", found.text);
        for entry in found.json()["entry"].as_array().into_iter().flatten() {
            let id = entry["resource"]["id"].as_str().expect("a resource has no id");
            let one = mailbox.get(&format!("/{kind}/{id}"));
            assert_eq!(one.json(), entry["resource"], "a resource is another one when it is read by its id");
            assert_eq!(mailbox.get(&format!("/{kind}/{id}/_history")).status, 200);
        }
    }
});

fn send(mailbox: &Asked, body: &[u8]) {
    let before = listed(mailbox);
    let reply = mailbox.post("/$process-message", "application/fhir+json", body.to_vec());
    match reply.status {
        200 => {
            let code = reply.json()["entry"][0]["resource"]["response"]["code"].clone();
            assert!(code == "ok" || code == "fatal-error", "{}", reply.text);
        }
        204 => assert!(reply.text.is_empty(), "{}", reply.text),
        400..500 => {
            reply.json();
            assert_eq!(listed(mailbox), before, "a refused message was kept");
        }
        status => panic!("{status}: {}", reply.text),
    }
    let after = listed(mailbox);
    let again = mailbox.post("/$process-message", "application/fhir+json", body.to_vec());
    assert_eq!((again.status, again.text), (reply.status, reply.text), "a duplicate is answered otherwise");
    assert_eq!(listed(mailbox), after, "a duplicate was kept");
}

/// How many messages the mailbox holds for whoever retrieves them, answers too.
fn listed(mailbox: &Asked) -> String {
    mailbox.get("/Bundle?_summary=count").json()["total"].to_string()
}

// Bytes alone seldom make a Bundle of a Bundle: most of the time the JSON is changed as JSON.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    json::mutate(data, size, max_size, seed, BETWEEN).unwrap_or_else(|| fuzzer_mutate(data, size, max_size))
});
