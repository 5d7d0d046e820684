//! One way of writing a resource, so that equal resources are equal texts.
//!
//! The order is resourceType, id, meta (versionId and lastUpdated first), then the other elements by name. The store
//! keeps only what follows `lastUpdated`: the part before it is made from the row. So "nothing changed" is a comparison
//! of two texts, and a read copies instead of parsing.

use std::fmt::Write as _;
use std::ops::Range;

use jiff::Timestamp;
use serde_json::Value;

use super::json::{self, Node, Object};
use super::resource_type::ResourceType;

/// A resource's canonical text from behind `meta.lastUpdated` to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail(pub String);

impl Tail {
    /// The tail of `resource`; its id, versionId and lastUpdated are left out, they are the store's.
    #[must_use]
    pub fn of(resource: &Object<'_>) -> Self {
        let mut out = String::with_capacity(1024);
        write_tail(&mut out, resource, &mut |_, _| {});
        Self(out)
    }

    /// The resource's text without id, versionId and lastUpdated, for [`read`].
    #[must_use]
    pub fn whole(&self) -> String {
        [HEAD, &self.0].concat()
    }
}

/// What stands before a tail when nothing of the store's is said.
const HEAD: &str = r#"{"meta":{"versionId":"""#;

/// The resource in a text of [`Tail::whole`], without id, versionId and lastUpdated. `None` when the text is damaged.
#[must_use]
pub fn read(whole: &str) -> Option<Object<'_>> {
    let mut resource = json::object(whole)?;
    if let Some(Node::Object(meta)) = resource.get_mut("meta") {
        meta.remove("versionId");
        if meta.is_empty() {
            resource.remove("meta");
        }
    }
    Some(resource)
}

/// Appends the tail of `resource`; `note` is told of each reference, where its JSON text stands and what it says.
pub fn write_tail(out: &mut String, resource: &Object<'_>, note: &mut impl FnMut(Range<usize>, &str)) {
    if let Some(Node::Object(meta)) = resource.get("meta") {
        for (key, value) in meta.iter().filter(|(key, _)| *key != "versionId" && *key != "lastUpdated") {
            out.push(',');
            member(out, key, value, note);
        }
    }
    out.push('}');
    for (key, value) in resource.iter().filter(|(key, _)| !FIRST.contains(key)) {
        out.push(',');
        member(out, key, value, note);
    }
    out.push('}');
}

const FIRST: [&str; 3] = ["resourceType", "id", "meta"];

/// Appends the whole resource to `out`.
pub fn write_resource(out: &mut String, kind: ResourceType, id: &str, version: i64, updated: Timestamp, tail: &str) {
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
    write(&mut out, &value.into());
    out
}

/// Appends `node` as canonical text.
pub fn write(out: &mut String, node: &Node<'_>) {
    write_node(out, node, &mut |_, _| {});
}

fn write_node(out: &mut String, node: &Node<'_>, note: &mut impl FnMut(Range<usize>, &str)) {
    match node {
        Node::Object(object) if object.contains_key("resourceType") => {
            let head = FIRST.iter().filter_map(|key| Some((*key, object.get(key)?)));
            let rest = object.iter().filter(|(key, _)| !FIRST.contains(key));
            members(out, head.chain(rest), note);
        }
        Node::Object(object) => members(out, object.iter(), note),
        Node::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_node(out, item, note);
            }
            out.push(']');
        }
        Node::String(text) => write_string(out, text),
        Node::Number(text) => out.push_str(text),
        Node::Bool(true) => out.push_str("true"),
        Node::Bool(false) => out.push_str("false"),
        Node::Null => out.push_str("null"),
    }
}

fn members<'n, 'a: 'n>(
    out: &mut String,
    all: impl Iterator<Item = (&'n str, &'n Node<'a>)>,
    note: &mut impl FnMut(Range<usize>, &str),
) {
    out.push('{');
    for (n, (key, value)) in all.enumerate() {
        if n > 0 {
            out.push(',');
        }
        member(out, key, value, note);
    }
    out.push('}');
}

fn member(out: &mut String, key: &str, value: &Node<'_>, note: &mut impl FnMut(Range<usize>, &str)) {
    write_string(out, key);
    out.push(':');
    let start = out.len();
    write_node(out, value, note);
    if let ("reference", Node::String(text)) = (key, value) {
        note(start..out.len(), text);
    }
}

/// Appends a text in quotes. Most texts stand in JSON as they are; the others are left to serde_json.
pub fn write_string(out: &mut String, text: &str) {
    // Without a way out of the loop, which lets it take many bytes at a time.
    let special = |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, special) {
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

    fn tail_of(value: &Value) -> Tail {
        Tail::of(Node::from(value).as_object().unwrap())
    }

    fn read_back(tail: &Tail) -> Value {
        let whole = tail.whole();
        let mut out = String::new();
        write(&mut out, &Node::Object(read(&whole).unwrap()));
        serde_json::from_str(&out).unwrap()
    }

    #[test]
    fn a_resource_is_written_in_one_order_and_read_back() {
        let given = json!({"name": [{"family": "Å\"b"}], "resourceType": "Patient", "id": "x",
            "meta": {"versionId": "9", "tag": [{"code": "a"}]}, "active": true});
        let tail = tail_of(&given);
        assert_eq!(tail.0, r#","tag":[{"code":"a"}]},"active":true,"name":[{"family":"Å\"b"}]}"#);
        let mut out = String::new();
        write_resource(&mut out, ResourceType::Patient, "p1", 2, Timestamp::UNIX_EPOCH, &tail.0);
        let back: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            back["meta"],
            json!({"versionId": "2", "lastUpdated": "1970-01-01T00:00:00.000Z", "tag": [{"code": "a"}]})
        );
        assert_eq!(
            read_back(&tail),
            json!({"meta": {"tag": [{"code": "a"}]}, "active": true, "name": [{"family": "Å\"b"}]})
        );
    }

    #[test]
    fn a_resource_without_meta_gets_one() {
        let tail = tail_of(&json!({"resourceType": "Patient", "active": false}));
        assert_eq!(tail.0, r#"},"active":false}"#);
        assert_eq!(read_back(&tail), json!({"active": false}));
    }

    #[test]
    fn nested_resources_start_with_their_type() {
        let text = text(&json!({"entry": [{"resource": {"id": "1", "a": 1, "resourceType": "X"}}]}));
        assert_eq!(text, r#"{"entry":[{"resource":{"resourceType":"X","id":"1","a":1}}]}"#);
    }
}
