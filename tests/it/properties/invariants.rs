//! What holds for every byte sequence that is mapped. The property tests and the fuzz targets ask the same questions.

use serde_json::Value;
use stoker::mapping::{Context, Plan, convert};

/// How large a Bundle may become: so much for each byte of the message (a two-letter code becomes a Coding with its
/// system, a visit number stands in every reference to the visit), and so much besides.
const PER_BYTE: usize = 400;
const BESIDES: usize = 64 * 1024;

/// Panics when a message's Bundle is not what every Bundle must be. A message that becomes none is as good.
pub fn hold(plan: &Plan, raw: &[u8]) {
    let context = Context::default();
    let first = convert(plan, raw, &context);
    let second = convert(plan, raw, &context);
    let (converted, again) = match (first, second) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string(), "the fault differs from one time to the next");
            return;
        }
        (first, second) => panic!("once {first:?}, once {second:?}"),
    };
    assert_eq!(converted.body, again.body, "the Bundle differs from one time to the next");
    assert!(
        converted.body.len() <= PER_BYTE * raw.len() + BESIDES,
        "{} bytes became {}",
        raw.len(),
        converted.body.len()
    );
    bundle_holds(&serde_json::from_str(&converted.body).expect("the Bundle is no JSON"));
}

fn bundle_holds(bundle: &Value) {
    let entries = list(&bundle["entry"]);
    assert_eq!(bundle["type"], "message");
    assert_eq!(entries[0]["resource"]["resourceType"], "MessageHeader", "bdl-12: the MessageHeader comes first");
    let mut urls: Vec<_> =
        entries.iter().map(|entry| entry["fullUrl"].as_str().expect("an entry without fullUrl")).collect();
    for entry in entries {
        resource_holds(&entry["resource"], &urls);
    }
    urls.sort_unstable();
    assert!(urls.windows(2).all(|two| two[0] != two[1]), "bdl-7: two entries have one fullUrl");
}

/// Every reference resolves; what is contained is told apart, and referenced (dom-3).
fn resource_holds(resource: &Value, urls: &[&str]) {
    let contained: Vec<_> = list(&resource["contained"]).iter().map(|c| c["id"].as_str().expect("no id")).collect();
    let mut references = Vec::new();
    gather(resource, &mut references);
    for reference in &references {
        match reference.strip_prefix('#') {
            Some(id) => assert_eq!(contained.iter().filter(|c| **c == id).count(), 1, "#{id} is not one resource"),
            None => assert!(urls.contains(reference), "{reference} is not in the Bundle"),
        }
    }
    for id in contained {
        assert!(references.iter().any(|r| r.strip_prefix('#') == Some(id)), "#{id} is contained and not referenced");
    }
}

fn gather<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("reference").and_then(Value::as_str));
            members.values().for_each(|child| gather(child, found));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        _ => {}
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
