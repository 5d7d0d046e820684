//! A message Bundle, taken apart and checked before anything is processed.
//!
//! What passes is safe to process: the header comes first, every entry has a type and a fullUrl of its own, every
//! condition is one identifier with its system. The body itself is kept as it came, for those who retrieve it.

use std::collections::HashMap;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::header::Header;
use super::references::{self, Named};
use super::template::Template;
use super::urls::Urls;
use super::{strict, validity};
use crate::mailbox::json::{Limits, Node, Object};
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::merge;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::index::{self, Numbers};
use crate::mailbox::search::{date, params};
use crate::mailbox::steps;
use crate::mailbox::store::Compressed;
use crate::mailbox::store::model::{Facts, Identifier, StoreError};

/// A message that can be processed.
#[derive(Debug)]
pub struct Message {
    /// As received, byte for byte.
    pub body: String,
    /// The same as it is kept: made by whoever takes the message apart, and not while all others wait.
    pub packed: Compressed,
    /// Empty when the sender gave none.
    pub bundle_id: String,
    pub header: Header,
    /// When the event happened, by which late messages are told.
    pub time: Option<Timestamp>,
    pub control: Option<Identifier>,
    entries: Vec<Entry>,
    /// Indices of the entries of each stored type, in the Bundle's order.
    kinds: HashMap<ResourceType, Vec<usize>>,
    /// Indices by fullUrl.
    urls: HashMap<String, usize>,
}

/// Faults that are told of one message.
const ENOUGH: usize = 100;

/// An entry behind the header.
#[derive(Debug)]
pub struct Entry {
    /// Its place in `Bundle.entry`.
    pub at: usize,
    pub full_url: String,
    /// `None`: a type that the mailbox does not store by itself.
    pub kind: Option<ResourceType>,
    pub condition: Option<Identifier>,
    /// `id` of the resource.
    pub id: Option<String>,
    /// Whose it is and of which visit, as fullUrls of this message where they mean its entries.
    pub subject: Option<String>,
    pub encounter: Option<String>,
    pub numbers: Numbers,
    pub facts: Facts,
    /// Whether it is stored as it stands where nothing is stored yet.
    pub plain: bool,
    pub template: Template,
}

type Checked<T> = Result<T, Vec<Issue>>;

impl Message {
    /// When its event happened; where it does not say, when it came.
    pub fn happened(&self, came: Timestamp) -> Timestamp {
        self.time.unwrap_or(came)
    }

    /// Takes a body apart, as much of it as `limits` allow.
    ///
    /// # Errors
    /// [`Issue`]s that name the elements at fault.
    pub fn parse(body: String, limits: Limits) -> Checked<Self> {
        let Node::Object(mut bundle) = strict::parse(&body, limits)? else {
            return Err(Issue::error("structure", "the body is not a JSON object").at("Bundle").into());
        };
        require(&bundle, "resourceType", "Bundle", "Bundle")?;
        require(&bundle, "type", "message", "Bundle.type")?;
        let Some(Node::Array(mut items)) = bundle.remove("entry") else {
            return Err(Issue::error("required", "a message has entries").at("Bundle.entry").into());
        };
        refuse_any(envelope(&bundle))?;
        let resources = items.iter_mut().enumerate().map(|(at, item)| take_resource(at, item)).collect::<Vec<_>>();
        let (mut named, mut conditions, urls) = named(&items, resources)?;
        if named
            .first()
            .is_none_or(|first| first.resource.get("resourceType").is_none_or(|kind| *kind != "MessageHeader"))
        {
            let text = "bdl-12: the first entry of a message is its MessageHeader";
            return Err(Issue::error("invariant", text).at("Bundle.entry[0].resource").into());
        }
        references::resolve(&mut named, &urls)?;
        refuse_any(faults(&named, &urls))?;
        let header = Header::parse(&named[0].resource, named[0].full_url)?;
        let entries = named.iter().zip(conditions.drain(..)).enumerate().skip(1);
        let entries: Vec<Entry> = entries.map(|(at, (named, condition))| entry(at, named, condition, &urls)).collect();
        let text = |name: &str| bundle.get(name).and_then(Node::as_str);
        Ok(Self {
            bundle_id: text("id").unwrap_or_default().to_owned(),
            header,
            time: text("timestamp").and_then(date::moment),
            control: bundle.get("identifier").and_then(index::identifier),
            kinds: kinds(&entries),
            urls: entries.iter().map(|entry| (entry.full_url.clone(), entry.index())).collect(),
            entries,
            packed: Compressed::of(&body),
            body,
        })
    }

    /// Whether the message is about who is one person.
    #[must_use]
    pub fn is_link(&self) -> bool {
        matches!(self.header.event_code.as_str(), "patient-link" | "patient-unlink")
    }

    /// Entries of one stored type, in the Bundle's order.
    pub fn of(&self, kind: ResourceType) -> impl Iterator<Item = &Entry> {
        steps::each(self.kinds.get(&kind).into_iter().flatten()).filter_map(|&index| self.entries.get(index))
    }

    /// The only entry of a type; `None` when there is none, or when there are several.
    pub fn only(&self, kind: ResourceType) -> Option<&Entry> {
        match self.kinds.get(&kind).map(Vec::as_slice) {
            Some(&[index]) => self.entries.get(index),
            _ => None,
        }
    }

    /// All of them, in the Bundle's order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        steps::each(self.entries.iter())
    }

    /// The entry with this fullUrl.
    #[must_use]
    pub fn entry(&self, full_url: &str) -> Option<&Entry> {
        steps::take(1);
        self.entries.get(*self.urls.get(full_url)?)
    }
}

impl Entry {
    /// FHIRPath of an element of this entry's resource.
    #[must_use]
    pub fn place(&self, element: &str) -> String {
        let dot = if element.is_empty() { "" } else { "." };
        format!("Bundle.entry[{}].resource{dot}{element}", self.at)
    }

    /// Its place in [`Message::entries`], which the header is not one of.
    #[must_use]
    pub fn index(&self) -> usize {
        self.at.saturating_sub(1)
    }

    /// The resource, with references as fullUrls.
    ///
    /// # Errors
    /// Never for an entry of a message.
    pub fn resource(&self) -> Result<Object<'_>, StoreError> {
        self.template.resource()
    }
}

fn refuse_any(faults: Vec<Issue>) -> Checked<()> {
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The Bundle without its entries.
fn envelope(bundle: &Object<'_>) -> Vec<Issue> {
    let mut faults = validity::check(bundle, "Bundle", &|_| None);
    if bundle.contains_key("total") {
        faults.push(Issue::error("invariant", "bdl-1: a message has no total").at("Bundle.total"));
    }
    faults
}

fn require(bundle: &Object<'_>, element: &str, value: &str, place: &str) -> Checked<()> {
    if bundle.get(element).and_then(Node::as_str) == Some(value) {
        return Ok(());
    }
    Err(Issue::error("structure", format!("{element} is not '{value}'")).at(place).into())
}

fn kinds(entries: &[Entry]) -> HashMap<ResourceType, Vec<usize>> {
    let mut kinds: HashMap<ResourceType, Vec<usize>> = HashMap::new();
    for entry in entries {
        if let Some(kind) = entry.kind {
            kinds.entry(kind).or_default().push(entry.index());
        }
    }
    kinds
}

/// Faults of the resources, each in its place.
fn faults(named: &[Named<'_>], urls: &Urls<'_>) -> Vec<Issue> {
    let type_of = |url: &str| {
        let meant = named.get(urls.place(url)?)?;
        Some(meant.resource.get("resourceType").and_then(Node::as_str).unwrap_or_default().to_owned())
    };
    let check = |(at, entry): (usize, &Named<'_>)| {
        validity::check(&entry.resource, &format!("Bundle.entry[{at}].resource"), &type_of)
    };
    named.iter().enumerate().flat_map(check).take(ENOUGH).collect()
}

/// The resource of an entry, which leaves an empty one behind.
fn take_resource<'a>(at: usize, item: &mut Node<'a>) -> Result<Object<'a>, Issue> {
    match item.as_object_mut().and_then(|item| item.get_mut("resource")) {
        Some(Node::Object(resource)) => Ok(std::mem::take(resource)),
        _ => Err(Issue::error("required", "the entry has no resource").at(format!("Bundle.entry[{at}].resource"))),
    }
}

type WithConditions<'a> = (Vec<Named<'a>>, Vec<Option<Identifier>>, Urls<'a>);

fn named<'a>(items: &'a [Node<'a>], resources: Vec<Result<Object<'a>, Issue>>) -> Checked<WithConditions<'a>> {
    let (mut entries, mut conditions, mut urls) = (Vec::with_capacity(items.len()), Vec::new(), Urls::default());
    for (at, (item, resource)) in items.iter().zip(resources).enumerate() {
        let (entry, condition) = named_one(at, item, resource?)?;
        if !urls.push(entry.full_url) {
            let text = "bdl-7: another entry has the same fullUrl";
            return Err(Issue::error("invariant", text).at(format!("Bundle.entry[{at}].fullUrl")).into());
        }
        entries.push(entry);
        conditions.push(condition);
    }
    Ok((entries, conditions, urls))
}

fn named_one<'a>(
    at: usize,
    item: &'a Node<'a>,
    resource: Object<'a>,
) -> Result<(Named<'a>, Option<Identifier>), Issue> {
    let place = format!("Bundle.entry[{at}]");
    let Some(full_url) = item["fullUrl"].as_str() else {
        return Err(Issue::error("required", "the entry has no fullUrl").at(format!("{place}.fullUrl")));
    };
    if let Some((element, rule)) = forbidden(item, full_url) {
        return Err(Issue::error("invariant", rule).at(format!("{place}.{element}")));
    }
    let Some(name) = resource.get("resourceType").and_then(Node::as_str) else {
        return Err(Issue::error("required", "the resource has no type").at(format!("{place}.resource.resourceType")));
    };
    let condition = match search_url(item, full_url) {
        Some((url, element)) if ResourceType::from_name(name).is_some() => {
            Some(condition(name, url, &format!("{place}.{element}"))?)
        }
        _ => None,
    };
    Ok((Named { full_url, resource }, condition))
}

fn entry(at: usize, named: &Named<'_>, condition: Option<Identifier>, urls: &Urls<'_>) -> Entry {
    let resource = &named.resource;
    let text = |node: Option<&Node<'_>>| node.and_then(Node::as_str).map(str::to_owned);
    let kind = resource.get("resourceType").and_then(Node::as_str).and_then(ResourceType::from_name);
    let reference = |element: &str| text(resource.get(element).and_then(|value| value.get("reference")));
    // The header is none of those that have an index.
    let template = Template::of(resource, |url| urls.place(url)?.checked_sub(1));
    Entry {
        at,
        full_url: named.full_url.to_owned(),
        kind,
        condition,
        id: text(resource.get("id")),
        subject: kind.and_then(ResourceType::patient_element).and_then(reference),
        encounter: reference("encounter"),
        numbers: index::numbers(resource),
        facts: kind.map(|kind| index::facts(kind, resource)).unwrap_or_default(),
        plain: kind.is_some_and(|kind| merge::is_plain(kind, resource, template.text())),
        template,
    }
}

/// What an entry of a message does not have, and the invariant that says so.
fn forbidden(item: &Node<'_>, full_url: &str) -> Option<(&'static str, &'static str)> {
    let rules = [
        ("search", "bdl-2: entry.search is for searchsets"),
        ("request", "bdl-3: entry.request is for batches, transactions and histories"),
        ("response", "bdl-4: entry.response is for answers to batches and transactions, and histories"),
    ];
    let present = rules.into_iter().find(|(element, _)| item.get(element).is_some());
    let unknown =
        || item.as_object()?.keys().find(|name| !matches!(*name, "fullUrl" | "resource" | "link" | "id" | "extension"));
    let versioned = full_url.contains("/_history/").then_some(("fullUrl", "bdl-8: a fullUrl names no version"));
    present
        .or(versioned)
        .or_else(|| unknown().map(|_| ("fullUrl", "the entry has an element that Bundle.entry has not")))
}

/// Where the entry's condition stands: its fullUrl, or the link with relation `search`.
fn search_url<'a>(item: &'a Node<'a>, full_url: &'a str) -> Option<(&'a str, &'static str)> {
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
