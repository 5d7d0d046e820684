//! References within a message, and what becomes of them in the mailbox.
//!
//! First every reference that means an entry is made to be that entry's fullUrl, and those that can mean nothing else and
//! mean none are refused. When a resource is stored, `urn:uuid:...` and `.../Patient?identifier=...` become
//! `Patient/<id>`; entries of types that the mailbox does not store by themselves are contained in what refers to them.

use std::borrow::Cow;

use super::urls::Urls;
use crate::mailbox::json::{Node, Object};
use crate::mailbox::outcome::Issue;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::steps;

/// An entry's resource on its way into the message, and the URL by which others mean it.
pub struct Named<'a> {
    pub full_url: &'a str,
    pub resource: Object<'a>,
}

/// Makes each reference that means an entry the same text as its fullUrl (FHIR R4 bundle 2.36.4.1).
///
/// # Errors
/// When a reference can only mean an entry and there is none.
pub fn resolve(entries: &mut [Named<'_>], urls: &Urls<'_>) -> Result<(), Issue> {
    for (at, entry) in entries.iter_mut().enumerate() {
        let own = entry.full_url;
        for (name, value) in entry.resource.iter_mut() {
            let mut failed = false;
            walk(value, &mut |reference| match meaning(reference, own, urls) {
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

fn meaning<'a>(reference: &str, own: &str, urls: &Urls<'a>) -> Meaning<'a> {
    if let Some(url) = urls.find(reference) {
        return Meaning::Entry(url);
    }
    if reference.starts_with('#') || reference.contains("://") && !reference.contains('?') {
        return Meaning::AsItIs;
    }
    if reference.starts_with("urn:") || reference.contains('?') {
        return Meaning::Nothing;
    }
    if let Some(url) = urls.ending(reference) {
        return Meaning::Entry(url);
    }
    match base(own) {
        Some(base) => Meaning::Outside(format!("{base}/{reference}")),
        // Ours, if it is there; that is seen when it is stored.
        None if reference.split_once('/').is_some_and(|(name, _)| ResourceType::from_name(name).is_some()) => {
            Meaning::AsItIs
        }
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
pub fn walk<'a>(value: &mut Node<'a>, change: &mut dyn FnMut(&mut Cow<'a, str>)) {
    steps::take(1);
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
