//! References within a message, and what becomes of them in the mailbox.
//!
//! First every reference that means an entry is made to be that entry's fullUrl, and those that can mean nothing else and
//! mean none are refused. When a resource is stored, `urn:uuid:...` and `.../Patient?identifier=...` become
//! `Patient/<id>`; entries of types that the mailbox does not store by themselves are contained in what refers to them.

use std::borrow::Cow;

use super::message::{Entry, Message};
use crate::mailbox::json::{Node, Object};
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::matching::targets::Targets;
use crate::mailbox::resource_type::Kind;
use crate::mailbox::store::model::StoreError;

/// An entry's resource on its way into the message, and the URL by which others mean it.
pub struct Named<'a> {
    pub full_url: &'a str,
    pub resource: Object<'a>,
}

/// Makes each reference that means an entry the same text as its fullUrl (FHIR R4 bundle 2.36.4.1).
///
/// # Errors
/// When a reference can only mean an entry and there is none.
pub fn resolve(entries: &mut [Named<'_>]) -> Result<(), Issue> {
    let urls: Vec<&str> = entries.iter().map(|entry| entry.full_url).collect();
    for (at, entry) in entries.iter_mut().enumerate() {
        let own = entry.full_url;
        for (name, value) in entry.resource.iter_mut() {
            let mut failed = false;
            walk(value, &mut |reference| match meaning(reference, own, &urls) {
                Meaning::Entry(url) if url == reference => {}
                Meaning::Entry(url) => *reference = Cow::Owned(url.to_owned()),
                Meaning::Outside(url) => *reference = Cow::Owned(url),
                Meaning::AsItIs => {}
                Meaning::Nothing => failed = true,
            });
            if failed {
                let text = "a reference names no entry of this message and nothing that the mailbox could find";
                return Err(Issue::error("not-found", text).at(format!("Bundle.entry[{at}].resource.{name}")));
            }
        }
    }
    Ok(())
}

enum Meaning<'a> {
    /// The entry with this fullUrl.
    Entry(&'a str),
    /// A resource of the sender's own server, by its absolute URL.
    Outside(String),
    AsItIs,
    Nothing,
}

fn meaning<'a>(reference: &str, own: &str, urls: &[&'a str]) -> Meaning<'a> {
    if let Some(url) = urls.iter().find(|url| **url == reference) {
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
fn walk<'a>(value: &mut Node<'a>, change: &mut dyn FnMut(&mut Cow<'a, str>)) {
    match value {
        Node::Object(object) => {
            for (name, value) in object.iter_mut() {
                match value {
                    Node::String(text) if name == "reference" => change(text),
                    value => walk(value, change),
                }
            }
        }
        Node::Array(items) => items.iter_mut().for_each(|item| walk(item, change)),
        _ => {}
    }
}

/// The resource of `entry` with references of the mailbox's own. Entries that are not stored by themselves, and those that
/// they refer to in turn, are contained in it.
///
/// # Errors
/// [`StoreError::Damaged`] when an entry's text is.
pub fn localize<'m>(entry: &'m Entry, message: &'m Message, targets: &Targets) -> Result<Object<'m>, StoreError> {
    let mut waiting = Vec::new();
    let mut resource = entry.resource()?;
    rewrite(&mut resource, message, targets, &mut waiting);
    let mut contained: Vec<(usize, Node<'m>)> = Vec::new();
    while let Some(entry) = waiting.pop() {
        if contained.iter().any(|(at, _)| *at == entry.at) {
            continue;
        }
        let mut content = entry.resource()?;
        content.remove("meta");
        hoist(entry, &mut content, &mut contained);
        rewrite(&mut content, message, targets, &mut waiting);
        content.insert("id", contained_id(entry).into());
        contained.push((entry.at, Node::Object(content)));
    }
    if !contained.is_empty() {
        if !resource.contains_key("contained") {
            resource.insert("contained", Node::Array(Vec::new()));
        }
        let list = resource.get_mut("contained").and_then(Node::as_array_mut);
        list.into_iter().for_each(|list| list.extend(contained.drain(..).map(|(_, content)| content)));
    }
    Ok(resource)
}

/// What a resource contains moves beside it when it is itself contained (dom-2), under ids of its own.
fn hoist<'m>(entry: &Entry, content: &mut Object<'m>, contained: &mut Vec<(usize, Node<'m>)>) {
    let Some(Node::Array(mut inner)) = content.remove("contained") else { return };
    let prefix = contained_id(entry);
    let mut rename = |reference: &mut Cow<'m, str>| {
        if let Some(id) = reference.strip_prefix('#').filter(|id| !id.is_empty()) {
            *reference = Cow::Owned(format!("#{prefix}-{id}"));
        }
    };
    content.values_mut().for_each(|value| walk(value, &mut rename));
    for mut item in inner.drain(..) {
        walk(&mut item, &mut rename);
        let id = format!("{prefix}-{}", item["id"].as_str().unwrap_or_default());
        item.set("id", id);
        contained.push((entry.at, item));
    }
}

/// Makes the references local, and adds the entries to `carried` that must come along.
fn rewrite<'m>(resource: &mut Object<'m>, message: &'m Message, targets: &Targets, carried: &mut Vec<&'m Entry>) {
    let mut to_local = |reference: &mut Cow<'m, str>| {
        let Some(other) = message.entries.iter().find(|other| other.full_url == *reference) else { return };
        *reference = Cow::Owned(match targets.get(other) {
            Some(target) => target.local_url(),
            None => {
                carried.push(other);
                format!("#{}", contained_id(other))
            }
        });
    };
    resource.values_mut().for_each(|value| walk(value, &mut to_local));
}

/// The id of an entry within what contains it: its place in the message, since its own may be anything.
fn contained_id(entry: &Entry) -> String {
    format!("entry-{}", entry.at)
}
