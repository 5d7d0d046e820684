//! What holds of every message, not only of those that were thought of.
//!
//! `PROPTEST_CASES=20000 cargo test --release --test it properties` looks longer.

mod invariants;
mod linear;
mod mutate;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use stoker::mapping::{Context, Identifiers, MappingConfig, Plan, convert, explain};

use super::golden::{files, shipped};
use invariants::hold;
use mutate::{change, changed};

static PLAN: LazyLock<Plan> = LazyLock::new(shipped);
/// The other shape of every Bundle, with all that the overlay adds.
static EXTENDED: LazyLock<Plan> = LazyLock::new(|| {
    Plan::load(&MappingConfig { extended: true, ..MappingConfig::default() }, &Identifiers::default()).unwrap()
});
static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let all = files("samples", &["hl7"]).into_iter().chain(files("samples/hostile", &["hl7"]));
    let read = all.map(|file| std::fs::read(file).unwrap());
    read.filter(|raw| raw.len() < 16 * 1024).collect()
});

proptest! {
    #[test]
    fn any_bytes_become_a_sound_bundle_or_a_fault(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        hold(&PLAN, &raw);
        hold(&PLAN, &[b"MSH|^~\\&|A|B|C|D|20240101||ADT^A01|1|P|2.5\r".as_slice(), &raw].concat());
    }

    #[test]
    fn any_change_to_a_sample_makes_a_sound_bundle_or_a_fault(
        sample in any::<Index>(), changes in prop::collection::vec(change(), 1..8),
    ) {
        let raw = changed(&SAMPLES, sample, &changes);
        hold(&PLAN, &raw);
        hold(&EXTENDED, &raw);
    }

    #[test]
    fn what_is_explained_is_what_goes_out(sample in any::<Index>(), changes in prop::collection::vec(change(), 1..5)) {
        let raw = changed(&SAMPLES, sample, &changes);
        let explanation = explain(&PLAN, &raw, &Context::default());
        match convert(&PLAN, &raw, &Context::default()) {
            Ok(converted) => prop_assert_eq!(explanation.bundle, converted.body),
            Err(fault) => prop_assert_eq!(explanation.fault, Some(fault.to_string())),
        }
    }

    #[test]
    fn the_order_of_the_identifiers_does_not_change_who_the_patient_is(
        sent in prop::collection::vec(identifier(), 1..8).prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let (one, other) = (patient(&sent.0), patient(&sent.1));
        prop_assert_eq!(one, other);
    }
}

fn identifier() -> impl Strategy<Value = String> {
    let authority = prop::sample::select(vec!["", "NORTH", "SOUTH", "&1.2.3.4&ISO", "X&1.2.3.4&ISO", "MR"]);
    let kind = prop::sample::select(vec!["", "MR", "PI", "SS", "VN", "ZZ"]);
    ("[0-9A-C]{1,3}", authority, kind).prop_map(|(value, authority, kind)| format!("{value}^^^{authority}^{kind}"))
}

/// The condition that finds the patient.
fn patient(identifiers: &[String]) -> String {
    let identifiers = identifiers.join("~");
    let message = format!("MSH|^~\\&|A|B|C|D|20240101||ADT^A28|1|P|2.5\rPID|1||{identifiers}||Doe^Jane\r");
    let converted = convert(&PLAN, message.as_bytes(), &Context::default()).unwrap();
    let bundle: serde_json::Value = serde_json::from_str(&converted.body).unwrap();
    let entries = bundle["entry"].as_array().unwrap();
    let patient = entries.iter().find(|entry| entry["resource"]["resourceType"] == "Patient").unwrap();
    patient["fullUrl"].as_str().unwrap().to_owned()
}

fn message(rest: &str) -> Vec<u8> {
    let head = "MSH|^~\\&|A|B|C|D|20240101||ADT^A01|1|P|2.5\rPID|1||42^^^NORTH^MR||Doe^Jane\rPV1|1|I|W^1^2|||||||||||||||||V1\r";
    format!("{head}{rest}").into_bytes()
}

/// Far above what a slow and busy machine needs, and far below what a square would take.
const PATIENCE: Duration = Duration::from_secs(240);

/// Whether a message of `n` times something is mapped, and explained, in time and size that grow as `n` does.
fn is_bounded(make: impl Fn(usize) -> Vec<u8>, n: usize) {
    let raw = make(n);
    let begun = Instant::now();
    hold(&PLAN, &raw);
    assert!(begun.elapsed() < PATIENCE, "mapped in {:?}", begun.elapsed());
    let begun = Instant::now();
    let explanation = explain(&PLAN, &raw, &Context::default());
    assert_eq!(explanation.fault, None);
    assert!(begun.elapsed() < PATIENCE, "explained in {:?}", begun.elapsed());
}

#[test]
fn an_escape_bomb_stays_small() {
    is_bounded(|n| message(&format!("OBX|1|FT|X^Y||{}|||||F\r", r"\.sp99\".repeat(n))), 20_000);
    is_bounded(|n| message(&format!("OBX|1|ST|X^Y||{}|||||F\r", r"\E\".repeat(n))), 100_000);
}

#[test]
fn a_hundred_thousand_repetitions_are_mapped() {
    is_bounded(|n| message(&format!("PD1||{}\rAL1|1||{}\r", "A~".repeat(n), "X~".repeat(n))), 100_000);
    is_bounded(|n| message(&format!("NK1|1|Doe^John|SPO||{}\r", "555~".repeat(n))), 100_000);
}

#[test]
fn ten_thousand_segments_are_mapped() {
    is_bounded(|n| message(&"OBX|1|ST|X^Y||v|||||F\rNTE|1||note\r".repeat(n)), 5_000);
    is_bounded(|n| message(&(0..n).map(|k| format!("DG1|{k}||I{k}^T^I10|||A\r")).collect::<String>()), 10_000);
}

#[test]
fn a_long_name_of_the_sender_is_not_written_a_thousand_times() {
    let long = "F".repeat(100_000);
    let identifiers = (0..1_000).map(|k| k.to_string()).collect::<Vec<_>>().join("~");
    let raw = format!("MSH|^~\\&|A|{long}|C|D|20240101||ADT^A28|1|P|2.5\rPID|1||{identifiers}||Doe^Jane\r");
    hold(&PLAN, raw.as_bytes());
}

#[test]
fn a_long_number_is_not_written_into_a_thousand_references() {
    let long = "9".repeat(100_000);
    let head = format!(
        "MSH|^~\\&|A|B|C|D|20240101||ADT^A01|1|P|2.5\rPID|1||{long}^^^NORTH^MR||Doe^Jane\rPV1|1|I|||||||||||||||||{long}\r"
    );
    hold(&PLAN, &[head.into_bytes(), b"OBX|1|ST|X^Y||v|||||F\r".repeat(1_000)].concat());
}
