//! Any query to anything that the mailbox can be asked, as a URL and as a form: it is answered, or refused in words; the
//! self link of an answer asks for the same, and its next link for something.
#![no_main]

#[path = "support/mod.rs"]
mod support;

use std::sync::LazyLock;

use axum::http::Uri;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use support::{Asked, Reply};

static MAILBOX: LazyLock<Asked> = LazyLock::new(|| {
    let mailbox = Asked::new();
    for body in [
        include_str!("../../../samples/A01-admit-fjordvik.json"),
        include_str!("../../../samples/A02-transfer-fjordvik.json"),
        include_str!("../../../samples/A03-discharge-fjordvik.json"),
        include_str!("../../../samples/A40-merge-fjordvik.json"),
        include_str!("../../../samples/A01-admit-lantan.json"),
    ] {
        let reply = mailbox.post("/$process-message", "application/fhir+json", body.into());
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    mailbox
});

fuzz_target!(|input: &str| {
    let (path, form) = input.split_once('\n').unwrap_or((input, ""));
    let path = format!("/{path}");
    let Ok(uri) = Uri::try_from(path.as_str()) else { return };
    if waits(uri.query().unwrap_or_default()) || waits(form) {
        return;
    }
    let reply = match form {
        "" => MAILBOX.get(&path),
        form => MAILBOX.post(&path, "application/x-www-form-urlencoded", form.into()),
    };
    assert!(matches!(reply.status, 200 | 400..500), "{}", reply.status);
    let answer = reply.json();
    let link = |relation: &str| link(&answer, relation);
    if let Some(here) = link("self") {
        let again = MAILBOX.get(&here);
        assert_eq!(entries(&again), entries(&reply), "the self link asks for something else: {here}");
        if let Some(next) = link("next") {
            assert_eq!(MAILBOX.get(&next).status, 200, "{next}");
        }
    }
});

/// It may wait for a minute, when it is told to.
fn waits(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "_wait")
}

fn link(answer: &Value, relation: &str) -> Option<String> {
    let links = answer["link"].as_array()?;
    let url = links.iter().find(|link| link["relation"] == relation)?["url"].as_str()?;
    Some(url.strip_prefix("http://localhost/fhir").expect("a link to somewhere else").to_owned())
}

fn entries(reply: &Reply) -> (u16, Value) {
    let mut answer = reply.json();
    (reply.status, answer["entry"].take())
}
