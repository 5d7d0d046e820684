//! A message Bundle, taken apart and checked before anything is processed.
//!
//! What passes is safe to process: the header comes first, every entry has a type and a fullUrl of its own, every
//! condition is one identifier with its system. The body itself is kept as it came, for those who retrieve it.

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::header::Header;
use super::{references, strict, validity};
use crate::mailbox::kind::Kind;
use crate::mailbox::outcome::Issue;
use crate::mailbox::search::{date, index, params};
use crate::mailbox::store::{Identifier, Packed};

/// A message that can be processed.
#[derive(Debug)]
pub struct Message {
    /// As received, byte for byte.
    pub body: String,
    /// The same as it is kept: made by whoever takes the message apart, and not while all others wait.
    pub packed: Packed,
    /// Empty when the sender gave none.
    pub bundle_id: String,
    pub header: Header,
    /// When the event happened, by which late messages are told.
    pub time: Option<Timestamp>,
    pub control: Option<Identifier>,
    pub entries: Vec<Entry>,
}

/// An entry behind the header.
#[derive(Debug)]
pub struct Entry {
    /// Its place in `Bundle.entry`.
    pub at: usize,
    pub full_url: String,
    /// `None`: a type that the mailbox does not store by itself.
    pub kind: Option<Kind>,
    pub condition: Option<Identifier>,
    pub resource: Map<String, Value>,
}

type Checked<T> = Result<T, Vec<Issue>>;

impl Message {
    /// Takes a body apart. JSON may nest `depth_limit` deep.
    ///
    /// # Errors
    /// [`Issue`]s that name the elements at fault.
    pub fn parse(body: String, depth_limit: usize) -> Checked<Self> {
        let Value::Object(mut bundle) = strict::parse(&body, depth_limit)? else {
            return Err(Issue::error("structure", "the body is not a JSON object").at("Bundle").into());
        };
        require(&bundle, "resourceType", "Bundle", "Bundle")?;
        require(&bundle, "type", "message", "Bundle.type")?;
        let Some(Value::Array(items)) = bundle.remove("entry") else {
            return Err(Issue::error("required", "a message has entries").at("Bundle.entry").into());
        };
        refuse_any(envelope(&bundle))?;
        let mut entries = entries(items)?;
        if entries.first().is_none_or(|first| first.resource["resourceType"] != "MessageHeader") {
            let text = "bdl-12: the first entry of a message is its MessageHeader";
            return Err(Issue::error("invariant", text).at("Bundle.entry[0].resource").into());
        }
        references::resolve(&mut entries)?;
        let type_of = |url: &str| entries.iter().find(|entry| entry.full_url == url).map(|entry| entry.type_name());
        let faults = entries.iter().flat_map(|entry| validity::check(&entry.resource, &entry.place(""), &type_of));
        refuse_any(faults.collect())?;
        let head = entries.remove(0);
        Ok(Self {
            bundle_id: bundle.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            header: Header::parse(&Value::Object(head.resource), &head.full_url)?,
            time: bundle.get("timestamp").and_then(Value::as_str).and_then(date::moment),
            control: bundle.get("identifier").and_then(index::identifier),
            entries,
            packed: Packed::of(&body),
            body,
        })
    }

    /// Whether the message is about who is one person.
    #[must_use]
    pub fn is_link(&self) -> bool {
        matches!(self.header.event_code.as_str(), "patient-link" | "patient-unlink")
    }

    /// Entries of one stored type, in the Bundle's order.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == Some(kind))
    }
}

impl Entry {
    /// FHIRPath of an element of this entry's resource.
    #[must_use]
    pub fn place(&self, element: &str) -> String {
        let dot = if element.is_empty() { "" } else { "." };
        format!("Bundle.entry[{}].resource{dot}{element}", self.at)
    }
}

impl Entry {
    fn type_name(&self) -> String {
        self.resource.get("resourceType").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

fn refuse_any(faults: Vec<Issue>) -> Checked<()> {
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The Bundle without its entries.
fn envelope(bundle: &Map<String, Value>) -> Vec<Issue> {
    let mut faults = validity::check(bundle, "Bundle", &|_| None);
    if bundle.contains_key("total") {
        faults.push(Issue::error("invariant", "bdl-1: a message has no total").at("Bundle.total"));
    }
    faults
}

fn require(bundle: &Map<String, Value>, element: &str, value: &str, place: &str) -> Checked<()> {
    if bundle.get(element).and_then(Value::as_str) == Some(value) {
        return Ok(());
    }
    Err(Issue::error("structure", format!("{element} is not '{value}'")).at(place).into())
}

fn entries(items: Vec<Value>) -> Checked<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let entry = entry(at, item)?;
        if entries.iter().any(|other| other.full_url == entry.full_url) {
            let text = "bdl-7: another entry has the same fullUrl";
            return Err(Issue::error("invariant", text).at(format!("Bundle.entry[{at}].fullUrl")).into());
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(at: usize, mut item: Value) -> Result<Entry, Issue> {
    let place = format!("Bundle.entry[{at}]");
    let Value::Object(resource) = item["resource"].take() else {
        return Err(Issue::error("required", "the entry has no resource").at(format!("{place}.resource")));
    };
    let Some(full_url) = item["fullUrl"].as_str().map(str::to_owned) else {
        return Err(Issue::error("required", "the entry has no fullUrl").at(format!("{place}.fullUrl")));
    };
    if let Some((element, rule)) = forbidden(&item, &full_url) {
        return Err(Issue::error("invariant", rule).at(format!("{place}.{element}")));
    }
    let Some(name) = resource.get("resourceType").and_then(Value::as_str) else {
        return Err(Issue::error("required", "the resource has no type").at(format!("{place}.resource.resourceType")));
    };
    let kind = Kind::from_name(name);
    let condition = match search_url(&item, &full_url) {
        Some((url, element)) if kind.is_some() => Some(condition(name, url, &format!("{place}.{element}"))?),
        _ => None,
    };
    Ok(Entry { at, full_url, kind, condition, resource })
}

/// What an entry of a message does not have, and the invariant that says so.
fn forbidden(item: &Value, full_url: &str) -> Option<(&'static str, &'static str)> {
    let rules = [
        ("search", "bdl-2: entry.search is for searchsets"),
        ("request", "bdl-3: entry.request is for batches, transactions and histories"),
        ("response", "bdl-4: entry.response is for answers to batches and transactions, and histories"),
    ];
    let present = rules.into_iter().find(|(element, _)| item.get(*element).is_some());
    let unknown = || {
        item.as_object()?
            .keys()
            .find(|name| !matches!(name.as_str(), "fullUrl" | "resource" | "link" | "id" | "extension"))
    };
    let versioned = full_url.contains("/_history/").then_some(("fullUrl", "bdl-8: a fullUrl names no version"));
    present
        .or(versioned)
        .or_else(|| unknown().map(|_| ("fullUrl", "the entry has an element that Bundle.entry has not")))
}

/// Where the entry's condition stands: its fullUrl, or the link with relation `search`.
fn search_url<'a>(item: &'a Value, full_url: &'a str) -> Option<(&'a str, &'static str)> {
    if full_url.contains('?') {
        return Some((full_url, "fullUrl"));
    }
    let links = item["link"].as_array()?;
    let link = links.iter().find(|link| link["relation"] == "search")?;
    Some((link["url"].as_str()?, "link.url"))
}

/// `.../Patient?identifier=system%7Cvalue`: one identifier with its system, nothing else.
fn condition(name: &str, url: &str, place: &str) -> Result<Identifier, Issue> {
    let bad = |text: &str| Issue::error("value", text).at(place);
    let (path, query) = url.split_once('?').ok_or_else(|| bad("the condition has no query"))?;
    if path.rsplit('/').next() != Some(name) {
        return Err(bad("the condition is for another type than the resource"));
    }
    let value = query.strip_prefix("identifier=").filter(|value| !value.contains('&'));
    let value = value.ok_or_else(|| bad("a condition is 'identifier=system|value' and nothing else"))?;
    let value = percent_decode_str(value).decode_utf8().map_err(|_| bad("the condition is not UTF-8"))?;
    let found = params::token(&value).filter(|found| !found.system.is_empty());
    found.ok_or_else(|| bad("the condition has no system: a bare value could be anyone's"))
}
