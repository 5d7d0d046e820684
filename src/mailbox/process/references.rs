//! References within a message, and what becomes of them in the mailbox.
//!
//! First every reference that means an entry is made to be that entry's fullUrl, and those that can mean nothing else and
//! mean none are refused. When a resource is stored, `urn:uuid:...` and `.../Patient?identifier=...` become
//! `Patient/<id>`; entries of types that the mailbox does not store by themselves are contained in what refers to them.

use serde_json::{Map, Value, json};

use super::message::{Entry, Message};
use super::targets::Targets;
use crate::mailbox::kind::Kind;
use crate::mailbox::outcome::Issue;

/// Makes each reference that means an entry the same text as its fullUrl (FHIR R4 bundle 2.36.4.1).
///
/// # Errors
/// When a reference can only mean an entry and there is none.
pub fn resolve(entries: &mut [Entry]) -> Result<(), Issue> {
    let urls: Vec<String> = entries.iter().map(|entry| entry.full_url.clone()).collect();
    for entry in entries {
        let (place, own) = (entry.place(""), entry.full_url.clone());
        for (name, value) in &mut entry.resource {
            let found = |reference: &str| meaning(reference, &own, &urls);
            walk(value, &mut |reference| match found(reference) {
                Meaning::Entry(url) => reference.clone_from(url),
                Meaning::Outside(url) => *reference = url,
                Meaning::AsItIs => {}
                Meaning::Nothing => reference.insert(0, UNRESOLVED),
            });
            if unresolved(value) {
                let text = "a reference names no entry of this message and nothing that the mailbox could find";
                return Err(Issue::error("not-found", text).at(format!("{place}.{name}")));
            }
        }
    }
    Ok(())
}

/// No reference begins with it, so it can mark those that failed.
const UNRESOLVED: char = '\0';

enum Meaning<'a> {
    /// The entry with this fullUrl.
    Entry(&'a String),
    /// A resource of the sender's own server, by its absolute URL.
    Outside(String),
    AsItIs,
    Nothing,
}

fn meaning<'a>(reference: &str, own: &str, urls: &'a [String]) -> Meaning<'a> {
    if let Some(url) = urls.iter().find(|url| *url == reference) {
        return Meaning::Entry(url);
    }
    if reference.starts_with('#') || reference.contains("://") && !reference.contains('?') {
        return Meaning::AsItIs;
    }
    if reference.starts_with("urn:") || reference.contains('?') {
        return Meaning::Nothing;
    }
    let relative = format!("/{reference}");
    if let Some(url) = urls.iter().find(|url| url.ends_with(&relative)) {
        return Meaning::Entry(url);
    }
    match base(own) {
        Some(base) => Meaning::Outside(format!("{base}/{reference}")),
        // Ours, if it is there; that is seen when it is stored.
        None if reference.split_once('/').is_some_and(|(name, _)| Kind::from_name(name).is_some()) => Meaning::AsItIs,
        None => Meaning::Nothing,
    }
}

/// `http://server/fhir` of `http://server/fhir/Patient/1`.
fn base(full_url: &str) -> Option<&str> {
    if !full_url.starts_with("http") || full_url.contains('?') {
        return None;
    }
    let (rest, _id) = full_url.rsplit_once('/')?;
    Some(rest.rsplit_once('/')?.0)
}

/// Calls `change` for each reference within `value`.
fn walk(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name == "reference" => change(text),
                    value => walk(value, change),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

fn unresolved(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(name, value)| match value {
            Value::String(text) => name == "reference" && text.starts_with(UNRESOLVED),
            value => unresolved(value),
        }),
        Value::Array(items) => items.iter().any(unresolved),
        _ => false,
    }
}

/// The resource of `entry` with references of the mailbox's own. Entries that are not stored by themselves, and those that
/// they refer to in turn, are contained in it.
pub fn localize(entry: &Entry, message: &Message, targets: &Targets) -> Map<String, Value> {
    let mut waiting = Vec::new();
    let mut resource = entry.resource.clone();
    rewrite(&mut resource, message, targets, &mut waiting);
    let mut contained: Vec<(usize, Value)> = Vec::new();
    while let Some(entry) = waiting.pop() {
        if contained.iter().any(|(at, _)| *at == entry.at) {
            continue;
        }
        let mut content = entry.resource.clone();
        content.remove("meta");
        hoist(entry, &mut content, &mut contained);
        rewrite(&mut content, message, targets, &mut waiting);
        content.insert("id".into(), contained_id(entry).into());
        contained.push((entry.at, Value::Object(content)));
    }
    if !contained.is_empty() {
        let list = resource.entry("contained").or_insert_with(|| json!([]));
        list.as_array_mut().into_iter().for_each(|list| list.extend(contained.drain(..).map(|(_, content)| content)));
    }
    resource
}

/// What a resource contains moves beside it when it is itself contained (dom-2), under ids of its own.
fn hoist(entry: &Entry, content: &mut Map<String, Value>, contained: &mut Vec<(usize, Value)>) {
    let Some(Value::Array(mut inner)) = content.remove("contained") else { return };
    let prefix = contained_id(entry);
    let mut rename = |reference: &mut String| {
        if let Some(id) = reference.strip_prefix('#').filter(|id| !id.is_empty()) {
            *reference = format!("#{prefix}-{id}");
        }
    };
    content.values_mut().for_each(|value| walk(value, &mut rename));
    for mut item in inner.drain(..) {
        walk(&mut item, &mut rename);
        item["id"] = json!(format!("{prefix}-{}", item["id"].as_str().unwrap_or_default()));
        contained.push((entry.at, item));
    }
}

/// Makes the references local, and adds the entries to `carried` that must come along.
fn rewrite<'m>(
    resource: &mut Map<String, Value>,
    message: &'m Message,
    targets: &Targets,
    carried: &mut Vec<&'m Entry>,
) {
    let mut to_local = |reference: &mut String| {
        if let Some(target) = targets.get(reference) {
            *reference = format!("{}/{}", target.kind.name(), target.id);
        } else if let Some(other) = message.entries.iter().find(|other| other.full_url == *reference) {
            *reference = format!("#{}", contained_id(other));
            carried.push(other);
        }
    };
    resource.values_mut().for_each(|value| walk(value, &mut to_local));
}

/// The id of an entry within what contains it: its place in the message, since its own may be anything.
fn contained_id(entry: &Entry) -> String {
    format!("entry-{}", entry.at)
}
