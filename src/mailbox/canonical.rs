//! One way of writing a resource, so that equal resources are equal texts.
//!
//! The order is resourceType, id, meta (versionId and lastUpdated first), then the other elements by name. The store
//! keeps only what follows `lastUpdated`: the part before it is made from the row. So "nothing changed" is a comparison
//! of two texts, and a read copies instead of parsing.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::kind::Kind;

/// A resource's canonical text from behind `meta.lastUpdated` to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail(pub String);

impl Tail {
    /// The tail of `resource`; its id, versionId and lastUpdated are left out, they are the store's.
    #[must_use]
    pub fn of(resource: &Map<String, Value>) -> Self {
        let mut out = String::with_capacity(512);
        if let Some(Value::Object(meta)) = resource.get("meta") {
            for (key, value) in meta.iter().filter(|(key, _)| *key != "versionId" && *key != "lastUpdated") {
                out.push(',');
                member(&mut out, key, value);
            }
        }
        out.push('}');
        for (key, value) in resource.iter().filter(|(key, _)| !matches!(key.as_str(), "resourceType" | "id" | "meta")) {
            out.push(',');
            member(&mut out, key, value);
        }
        out.push('}');
        Self(out)
    }

    /// The resource as JSON, without id, versionId and lastUpdated. `None` when the text is damaged.
    #[must_use]
    pub fn parse(&self) -> Option<Map<String, Value>> {
        let text = format!("{{\"meta\":{{\"versionId\":\"\"{}", self.0);
        let Value::Object(mut resource) = serde_json::from_str(&text).ok()? else { return None };
        if let Some(Value::Object(meta)) = resource.get_mut("meta") {
            meta.remove("versionId");
            if meta.is_empty() {
                resource.remove("meta");
            }
        }
        Some(resource)
    }
}

/// Appends the whole resource to `out`.
pub fn write_resource(out: &mut String, kind: Kind, id: &str, version: i64, updated: Timestamp, tail: &str) {
    let name = kind.name();
    // Writing to a String cannot fail.
    write!(
        out,
        r#"{{"resourceType":"{name}","id":"{id}","meta":{{"versionId":"{version}","lastUpdated":"{}"{tail}"#,
        instant(updated)
    )
    .ok();
}

/// An R4 instant in UTC with milliseconds.
#[must_use]
pub fn instant(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Any JSON as canonical text: resourceType, id and meta first in every object that has them.
#[must_use]
pub fn text(value: &Value) -> String {
    let mut out = String::with_capacity(1024);
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Object(map) if map.contains_key("resourceType") => {
            out.push('{');
            let first = ["resourceType", "id", "meta"];
            let head = first.iter().filter_map(|key| map.get_key_value(*key));
            let rest = map.iter().filter(|(key, _)| !first.contains(&key.as_str()));
            for (n, (key, value)) in head.chain(rest).enumerate() {
                if n > 0 {
                    out.push(',');
                }
                member(out, key, value);
            }
            out.push('}');
        }
        Value::Object(map) => {
            out.push('{');
            for (n, (key, value)) in map.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                member(out, key, value);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::String(text) => write_string(out, text),
        // Display of a JSON scalar is its JSON text.
        scalar => write!(out, "{scalar}").unwrap_or_default(),
    }
}

fn member(out: &mut String, key: &str, value: &Value) {
    write_string(out, key);
    out.push(':');
    write_value(out, value);
}

/// Most texts stand in JSON as they are; the others are left to serde_json.
fn write_string(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        write!(out, "{}", Value::from(text)).unwrap_or_default();
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn a_resource_is_written_in_one_order_and_read_back() {
        let given = object(json!({"name": [{"family": "Å\"b"}], "resourceType": "Patient", "id": "x",
            "meta": {"versionId": "9", "tag": [{"code": "a"}]}, "active": true}));
        let tail = Tail::of(&given);
        assert_eq!(tail.0, r#","tag":[{"code":"a"}]},"active":true,"name":[{"family":"Å\"b"}]}"#);
        let mut out = String::new();
        write_resource(&mut out, Kind::Patient, "p1", 2, Timestamp::UNIX_EPOCH, &tail.0);
        let back: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            back["meta"],
            json!({"versionId": "2", "lastUpdated": "1970-01-01T00:00:00.000Z", "tag": [{"code": "a"}]})
        );
        assert_eq!(
            tail.parse().unwrap(),
            object(json!({"meta": {"tag": [{"code": "a"}]}, "active": true, "name": [{"family": "Å\"b"}]}))
        );
    }

    #[test]
    fn a_resource_without_meta_gets_one() {
        let tail = Tail::of(&object(json!({"resourceType": "Patient", "active": false})));
        assert_eq!(tail.0, r#"},"active":false}"#);
        assert_eq!(tail.parse().unwrap(), object(json!({"active": false})));
    }

    #[test]
    fn nested_resources_start_with_their_type() {
        let text = text(&json!({"entry": [{"resource": {"id": "1", "a": 1, "resourceType": "X"}}]}));
        assert_eq!(text, r#"{"entry":[{"resource":{"resourceType":"X","id":"1","a":1}}]}"#);
    }
}
