//! Work grows as the message does: whatever a sender repeats twice as often costs at most 2.4 times the steps, up to the
//! budget, over which a message is refused with words. Steps are counted where work is done (`stoker::work`), not timed.

use bytes::Bytes;
use stoker::engine::keys;
use stoker::fhir::compare;
use stoker::mapping::{Context, ConvertError, Plan, convert, explain};
use stoker::v2::header::Header;
use stoker::v2::inbound::{Inbound, Reading};
use stoker::work;

use super::PLAN;

/// How much more twice as much may cost.
const DOUBLE: f64 = 2.4;

/// How far each count is doubled in every run; `GROWTH=64000 cargo test --release linear` goes to the end.
const OFTEN: usize = 4_000;

fn most(end: usize) -> usize {
    let asked = std::env::var("GROWTH").ok().and_then(|most| most.parse().ok());
    asked.unwrap_or(OFTEN).min(end)
}

/// A message that repeats something so often.
type Shape = fn(usize) -> String;

fn message(event: &str, segments: &str) -> String {
    format!("MSH|^~\\&|APP|FAC|||20260110120000+0100||ADT^{event}|1|P|2.5\rEVN|{event}|20260110120000\r{segments}")
}

fn a01(segments: &str) -> String {
    message("A01", &format!("PID|1||42^^^H^MR||Doe^Jane||19800101|F\rPV1|1|I|W^1^A|||||||||||||||||V1\r{segments}"))
}

fn list(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

/// PV1-7: each another practitioner, contained.
fn doctors(count: usize) -> String {
    let doctors = list(count, "~", |n| n.to_string());
    message("A01", &format!("PID|1||42^^^H^MR\rPV1|1|I|||||{doctors}||||||||||||V1"))
}

/// The same one all the time, by his number with another name each time.
fn names_of_one_doctor(count: usize) -> String {
    let doctors = list(count, "~", |n| format!("7^Name{n}"));
    message("A01", &format!("PID|1||42^^^H^MR\rPV1|1|I|||||{doctors}||||||||||||V1"))
}

/// Practitioners without a number are the same where all of them is.
fn doctors_without_a_number(count: usize) -> String {
    let doctors = list(count, "~", |n| format!("^Name{n}"));
    message("A01", &format!("PID|1||42^^^H^MR\rPV1|1|I|||||{doctors}||||||||||||V1"))
}

fn identifiers(count: usize) -> String {
    message("A01", &format!("PID|1||{}\rPV1|1|I", list(count, "~", |n| format!("{n}^^^H"))))
}

fn identifiers_without_an_authority(count: usize) -> String {
    message("A01", &format!("PID|1||{}\rPV1|1|I", list(count, "~", |n| n.to_string())))
}

fn telephones(count: usize) -> String {
    a01("").replace("|F\r", &format!("|F|||{}\r", list(count, "~", |n| format!("+47{n}^PRN^PH"))))
}

/// Values that convert to nothing, each with a warning of its own.
fn impossible_names(count: usize) -> String {
    message(
        "A01",
        &format!("PID|1||42^^^H^MR||{}\rPV1|1|I", list(count, "~", |n| format!("N{n}^^^^^^Q^^^^^2026133{n}"))),
    )
}

fn observations(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("OBX|{n}|NM|8867-4^Heart rate^LN||{n}|/min|||||F|||20260110")))
}

fn observations_with_notes(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("OBX|{n}|ST|A{n}^B^L||x{n}||||||F\rNTE|1||note {n}")))
}

fn odd_observations(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("OBX|{n}|NM|A{n}^B^L||x|Q{n}|||||Z{n}|||2026133{n}")))
}

fn diagnoses(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("DG1|{n}||I{n}^Cause^ICD-10|||A|||||||||1|{n}^Doc")))
}

fn procedures(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("PR1|{n}||P{n}^Cut^X||20260110\rROL|{n}|AD|AT|{n}^Doc")))
}

fn roles(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("ROL|{n}|AD|AT|{n}^Doc^Name")))
}

fn kin(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("NK1|{n}|Doe{n}^Jo|MTH|Street {n}|+47{n}")))
}

fn insurances(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("IN1|{n}|P{n}|C{n}|Company\rIN2|{n}")))
}

fn allergies(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("AL1|{n}|DA|C{n}^Nuts^L|SV|Rash")))
}

/// Groups of patients, each with a visit of its own.
fn merged_patients(count: usize) -> String {
    message("A40", &list(count, "\r", |n| format!("PID|1||{n}^^^H^MR||Doe^Jane\rMRG|o{n}^^^H^MR")))
}

/// Groups of one patient, who has another doctor in each.
fn one_patient_merged_often(count: usize) -> String {
    message("A40", &list(count, "\r", |n| format!("PID|1||42^^^H^MR||Doe^J{n}\rPD1||||{n}^Doc\rMRG|o{n}^^^H^MR")))
}

fn segments_of_the_site(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("ZZ1|{n}|x")))
}

/// Each of another name.
fn names_of_segments(count: usize) -> String {
    const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let letter = |n: usize| char::from(LETTERS[n % 36]);
    a01(&list(count, "\r", |n| {
        let first = char::from(if n / 1296 < 26 { b'A' } else { b'a' } + u8::try_from(n / 1296 % 26).unwrap());
        format!("{first}{}{}|{n}", letter(n / 36), letter(n))
    }))
}

fn lines_that_are_no_segment(count: usize) -> String {
    a01(&list(count, "\r", |n| format!("line {n}")))
}

fn components(count: usize) -> String {
    a01("").replace("Doe^Jane", &list(count, "^", |n| format!("c{n}")))
}

fn subcomponents(count: usize) -> String {
    a01("").replace("Doe^Jane", &list(count, "&", |n| format!("c{n}")))
}

fn fields(count: usize) -> String {
    a01(&format!("ZZ1|{}", list(count, "|", |n| n.to_string())))
}

fn escapes(count: usize) -> String {
    a01("").replace("Doe^Jane", &list(count, "", |n| format!("\\T\\\\X4{}\\\\q", n % 10)))
}

fn lines_of_a_text(count: usize) -> String {
    a01(&format!("OBX|1|TX|A^B^L||{}||||||F", list(count, "~", |n| format!("line {n}"))))
}

fn nulls(count: usize) -> String {
    a01(&list(count, "\r", |_| "NK1|1|\"\"|\"\"|\"\"".into()))
}

/// In how many steps a message is done; `None` where it is more than it may take.
type Cost = fn(&str) -> Option<u64>;

fn mapped(text: &str) -> Option<u64> {
    match convert(&PLAN, text.as_bytes(), &Context::default()) {
        Ok(converted) => Some(converted.steps),
        Err(error @ ConvertError::OverBudget { .. }) => {
            assert!(error.to_string().contains("mapping.budget") && error.to_string().contains("--budget"), "{error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn explained(text: &str) -> Option<u64> {
    let (explanation, steps) = work::within(u64::MAX, || explain(&PLAN, text.as_bytes(), &Context::default()));
    match explanation.fault {
        Some(fault) => {
            assert!(fault.contains("mapping.budget"), "{fault}");
            None
        }
        None => Some(steps),
    }
}

/// What a listener does before it answers.
fn admitted(text: &str) -> Option<u64> {
    let raw = Bytes::copy_from_slice(text.as_bytes());
    let header = Header::peek(&raw).unwrap();
    let (keys, steps) = work::within(u64::MAX, || {
        let inbound = Inbound::read(raw.clone(), Some(&header), Reading::default()).unwrap();
        keys::keys(&inbound.message())
    });
    assert!(!keys.is_empty());
    Some(steps)
}

fn grows_as_the_message_does(shape: Shape, cost: Cost, most: usize) {
    let mut before: Option<u64> = None;
    let mut count = 1_000;
    while count <= most {
        let Some(steps) = cost(&shape(count)) else {
            assert!(before.is_some(), "{count} are over the budget");
            return;
        };
        if let Some(before) = before {
            let times = steps as f64 / before as f64;
            assert!(times <= DOUBLE, "{count} cost {steps} steps, {times:.2} times as many as half of them");
        }
        before = Some(steps);
        count *= 2;
    }
}

fn plan_is_loaded() -> &'static Plan {
    &PLAN
}

macro_rules! each {
    ($($shape:ident)*) => {
        mod mapping {
            $(#[test] fn $shape() { super::grows_as_the_message_does(super::$shape, super::mapped, super::most(64_000)); })*
        }
        mod explaining {
            $(#[test] fn $shape() { super::grows_as_the_message_does(super::$shape, super::explained, super::most(64_000)); })*
        }
        mod admitting {
            $(#[test] fn $shape() { super::grows_as_the_message_does(super::$shape, super::admitted, super::most(64_000)); })*
        }
    };
}

each! {
    doctors names_of_one_doctor doctors_without_a_number identifiers identifiers_without_an_authority telephones
    impossible_names observations observations_with_notes odd_observations diagnoses procedures roles kin insurances
    allergies merged_patients one_patient_merged_often segments_of_the_site names_of_segments lines_that_are_no_segment
    components subcomponents fields escapes lines_of_a_text nulls
}

#[test]
fn comparing_two_bundles_grows_as_they_do() {
    let bundle = |count| convert(plan_is_loaded(), observations(count).as_bytes(), &Context::default()).unwrap().body;
    let cost = |count: usize| {
        let (old, new) = (bundle(count), bundle(count + 1));
        let (changes, steps) = work::within(u64::MAX, || compare::bundles(&old, &new));
        assert!(!changes.is_empty());
        steps as f64
    };
    let costs: Vec<f64> = [1_000, 2_000, 4_000].into_iter().map(cost).collect();
    assert!(costs.windows(2).all(|pair| pair[1] <= DOUBLE * pair[0]), "{costs:?}");
}
