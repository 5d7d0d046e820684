//! A message Bundle, taken apart and checked before anything is processed.
//!
//! What passes is safe to process: the header comes first, every entry has a type and a fullUrl of its own, every
//! condition is one identifier with its system. The body itself is kept as it came, for those who retrieve it.

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::header::Header;
use super::references;
use crate::mailbox::kind::Kind;
use crate::mailbox::outcome::Issue;
use crate::mailbox::search::{date, index, params};
use crate::mailbox::store::Identifier;

/// A message that can be processed.
#[derive(Debug)]
pub struct Message {
    /// As received, byte for byte.
    pub body: String,
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

type Checked<T> = Result<T, Issue>;

impl Message {
    /// # Errors
    /// One [`Issue`] that names the element at fault.
    pub fn parse(body: String) -> Checked<Self> {
        let not_json = |error: serde_json::Error| {
            Issue::error("structure", format!("the body is not JSON: line {}, column {}", error.line(), error.column()))
        };
        let bundle: Value = serde_json::from_str(&body).map_err(not_json)?;
        let Value::Object(mut bundle) = bundle else {
            return Err(Issue::error("structure", "the body is not a JSON object").at("Bundle"));
        };
        require(&bundle, "resourceType", "Bundle", "Bundle")?;
        require(&bundle, "type", "message", "Bundle.type")?;
        let Some(Value::Array(items)) = bundle.remove("entry") else {
            return Err(Issue::error("required", "a message has entries").at("Bundle.entry"));
        };
        let mut entries = entries(items)?;
        if entries.is_empty() || entries[0].resource["resourceType"] != "MessageHeader" {
            let text = "the first entry of a message is its MessageHeader (bdl-12)";
            return Err(Issue::error("invariant", text).at("Bundle.entry[0].resource"));
        }
        let head = entries.remove(0);
        let header = Header::parse(&Value::Object(head.resource), &head.full_url)?;
        let message = Self {
            bundle_id: bundle.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            header,
            time: bundle.get("timestamp").map(time).transpose()?,
            control: bundle.get("identifier").and_then(index::identifier),
            entries,
            body,
        };
        references::check(&message)?;
        Ok(message)
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

fn require(bundle: &Map<String, Value>, element: &str, value: &str, place: &str) -> Checked<()> {
    if bundle.get(element).and_then(Value::as_str) == Some(value) {
        return Ok(());
    }
    Err(Issue::error("structure", format!("{element} is not '{value}'")).at(place))
}

fn entries(items: Vec<Value>) -> Checked<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let entry = entry(at, item)?;
        if entries.iter().any(|other| other.full_url == entry.full_url) {
            let text = "another entry has the same fullUrl (bdl-7)";
            return Err(Issue::error("invariant", text).at(format!("Bundle.entry[{at}].fullUrl")));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(at: usize, mut item: Value) -> Checked<Entry> {
    let place = format!("Bundle.entry[{at}]");
    let Value::Object(resource) = item["resource"].take() else {
        return Err(Issue::error("required", "the entry has no resource").at(format!("{place}.resource")));
    };
    let Some(full_url) = item["fullUrl"].as_str().map(str::to_owned) else {
        return Err(Issue::error("required", "the entry has no fullUrl").at(format!("{place}.fullUrl")));
    };
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
fn condition(name: &str, url: &str, place: &str) -> Checked<Identifier> {
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

fn time(at: &Value) -> Checked<Timestamp> {
    let found = at.as_str().and_then(date::moment);
    found.ok_or_else(|| Issue::error("value", "Bundle.timestamp is not an instant").at("Bundle.timestamp"))
}
