//! An entry's resource as canonical text in which the references to other entries can be replaced.
//!
//! Made where a message is taken apart. Most resources are stored as they came but for their references, or came before
//! and are stored already: for those the writer, for whom all others wait, copies this text and builds no tree.

use std::ops::Range;

use crate::mailbox::canonical::{Tail, write_string, write_tail};
use crate::mailbox::json::{self, Node, Object};
use crate::mailbox::store::model::StoreError;

#[derive(Debug)]
pub struct Template {
    /// The whole resource, with a versionId that says nothing before its tail.
    text: String,
    /// Where the tail begins.
    tail: usize,
    /// Whether the resource came with a `meta`, which may hold nothing that is stored.
    has_meta: bool,
    /// References to entries, in the text's order.
    holes: Vec<Hole>,
}

#[derive(Debug)]
struct Hole {
    /// The reference's JSON text.
    at: Range<usize>,
    /// The index of the entry that it means.
    entry: usize,
}

impl Template {
    /// `meant` gives the index of the entry with a fullUrl.
    pub fn of(resource: &Object<'_>, meant: impl Fn(&str) -> Option<usize>) -> Self {
        let mut text = String::with_capacity(2048);
        text.push('{');
        for name in ["resourceType", "id"] {
            if let Some(value) = resource.get(name) {
                write_string(&mut text, name);
                text.push(':');
                crate::mailbox::canonical::write(&mut text, value);
                text.push(',');
            }
        }
        text.push_str(r#""meta":{"versionId":"""#);
        let tail = text.len();
        let mut holes = Vec::new();
        write_tail(&mut text, resource, &mut |at, reference| {
            holes.extend(meant(reference).map(|entry| Hole { at, entry }));
        });
        Self { text, tail, has_meta: resource.contains_key("meta"), holes }
    }

    /// The resource's text, with something in the place of its versionId.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The resource as it came.
    ///
    /// # Errors
    /// Never for a text that this made.
    pub fn resource(&self) -> Result<Object<'_>, StoreError> {
        let mut resource = json::object(&self.text).ok_or(StoreError::Damaged("a message's resource"))?;
        if !self.has_meta {
            resource.remove("meta");
        } else if let Some(Node::Object(meta)) = resource.get_mut("meta") {
            meta.remove("versionId");
        }
        Ok(resource)
    }

    /// The tail with the references to what the entries mean, as `url` knows them by an entry's index. `None` when one of
    /// them is stored within this resource and has no URL of its own.
    pub fn fill(&self, url: impl Fn(usize) -> Option<String>) -> Option<Tail> {
        let mut out = String::with_capacity(self.text.len());
        let mut done = self.tail;
        for Hole { at, entry } in &self.holes {
            out.push_str(&self.text[done..at.start]);
            write_string(&mut out, &url(*entry)?);
            done = at.end;
        }
        out.push_str(&self.text[done..]);
        Some(Tail(out))
    }
}
