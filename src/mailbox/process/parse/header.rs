//! What the MessageHeader says: what happened, who says so, who should hear it, and what the sender wants to hear.

use std::collections::HashSet;

use crate::fhir::her_id;
use crate::mailbox::canonical;
use crate::mailbox::json::{Node, Object};
use crate::mailbox::outcome::Issue;

/// A MessageHeader, checked.
#[derive(Debug)]
pub struct Header {
    pub id: String,
    /// `eventCoding` as JSON text; the answer repeats it.
    pub event: String,
    pub event_code: String,
    /// `system|code`.
    pub event_token: String,
    /// The HL7 v2 trigger event, when the sender is a v2 engine that says so (`A40`).
    pub trigger: Option<String>,
    pub source: String,
    pub source_name: Option<String>,
    /// Each once.
    pub destinations: Vec<String>,
    pub wanted: Wanted,
    /// Whether this is itself the answer to a message.
    pub is_answer: bool,
}

/// The sender's wish for an answer (extension messageheader-response-request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Always,
    OnError,
    OnSuccess,
    Never,
}

impl Wanted {
    #[must_use]
    pub fn wants(self, error: bool) -> bool {
        match self {
            Self::Always => true,
            Self::OnError => error,
            Self::OnSuccess => !error,
            Self::Never => false,
        }
    }
}

impl Header {
    /// `head` is the MessageHeader, `full_url` that of its entry.
    ///
    /// # Errors
    /// An [`Issue`] that names the element at fault.
    pub fn parse(head: &Object<'_>, full_url: &str) -> Result<Self, Issue> {
        let text = "the mailbox acts by MessageHeader.eventCoding, which has no code";
        let of = |element: &str| head.get(element).unwrap_or(&Node::Null);
        let coding = of("eventCoding");
        let event_code = required(coding["code"].as_str(), "eventCoding.code", text)?;
        let source = of("source");
        let source_name = source["name"].as_str().map(str::to_owned);
        let source = required(source["endpoint"].as_str(), "source.endpoint", "a MessageHeader says who sent it")?;
        let own_id = of("id").as_str().or_else(|| full_url.strip_prefix("urn:uuid:"));
        let text = "a MessageHeader without an id cannot be answered: response.identifier is that id";
        let id = required(own_id, "id", text)?;
        let destinations = destinations(of("destination"));
        check_endpoint(&source).map_err(|issue| issue.at(place("source.endpoint")))?;
        for destination in &destinations {
            check_endpoint(destination).map_err(|issue| issue.at(place("destination.endpoint")))?;
        }
        let is_answer = of("response").as_object().is_some();
        let mut event = String::new();
        canonical::write(&mut event, coding);
        Ok(Self {
            id,
            event_token: format!("{}|{event_code}", coding["system"].as_str().unwrap_or_default()),
            event,
            event_code,
            trigger: trigger(&of("meta")["tag"]),
            source,
            source_name,
            destinations,
            // An answer is never answered.
            wanted: if is_answer { Wanted::Never } else { wanted(of("extension")) },
            is_answer,
        })
    }
}

fn place(element: &str) -> String {
    format!("Bundle.entry[0].resource.{element}")
}

fn required(value: Option<&str>, element: &str, text: &str) -> Result<String, Issue> {
    let found = value.filter(|found| !found.is_empty());
    found.map(str::to_owned).ok_or_else(|| Issue::error("required", text).at(place(element)))
}

/// An endpoint that looks like a HER-id must be one: up to eight digits, the first of them not 0.
fn check_endpoint(endpoint: &str) -> Result<(), Issue> {
    let Some(id) = endpoint.strip_prefix(her_id::PREFIX) else { return Ok(()) };
    if her_id::is_her_id(id) {
        return Ok(());
    }
    Err(Issue::error("value", "a HER-id has one to eight digits and does not start with 0"))
}

fn trigger(tags: &Node<'_>) -> Option<String> {
    let tag = tags.as_array()?.iter().find(|tag| tag["system"] == "http://terminology.hl7.org/CodeSystem/v2-0003")?;
    tag["code"].as_str().map(str::to_owned)
}

fn wanted(extensions: &Node<'_>) -> Wanted {
    const URL: &str = "http://hl7.org/fhir/StructureDefinition/messageheader-response-request";
    let all = extensions.as_array().into_iter().flatten();
    match all.filter(|one| one["url"] == URL).find_map(|one| one["valueCode"].as_str()) {
        Some("on-error") => Wanted::OnError,
        Some("on-success") => Wanted::OnSuccess,
        Some("never") => Wanted::Never,
        _ => Wanted::Always,
    }
}

fn destinations(all: &Node<'_>) -> Vec<String> {
    let mut seen = HashSet::new();
    let all = all.as_array().into_iter().flatten().filter_map(|one| one["endpoint"].as_str());
    all.filter(|uri| seen.insert(*uri)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(head: &Value, full_url: &str) -> Result<Header, Issue> {
        Header::parse(Node::from(head).as_object().unwrap(), full_url)
    }

    fn header(destination: &str) -> Result<Header, Issue> {
        let head = json!({"id": "1", "eventCoding": {"code": "x"}, "source": {"endpoint": "urn:s"},
            "destination": [{"endpoint": destination}, {"endpoint": destination}]});
        parse(&head, "urn:uuid:1")
    }

    #[test]
    fn a_destination_that_looks_like_a_her_id_must_be_one() {
        for good in ["urn:oid:2.16.578.1.12.4.1.2.8142520", "urn:oid:2.16.578.1.12.4.1.2.1", "urn:other", "http://x/y"]
        {
            assert_eq!(header(good).unwrap().destinations, [good]);
        }
        for bad in ["", "0123", "123456789", "12a", "1.2", "-1"] {
            let fault = header(&format!("{}{bad}", her_id::PREFIX)).unwrap_err();
            assert_eq!(fault.expression.as_deref(), Some("Bundle.entry[0].resource.destination.endpoint"), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let fault = parse(&json!({"eventCoding": {"code": "x"}}), "urn:uuid:1").unwrap_err();
        assert_eq!(fault.expression.as_deref(), Some("Bundle.entry[0].resource.source.endpoint"));
        let no_id = json!({"eventCoding": {"code": "x"}, "source": {"endpoint": "urn:s"}});
        assert_eq!(parse(&no_id, "urn:uuid:1").unwrap().id, "1");
        assert_eq!(parse(&no_id, "http://h/1").unwrap_err().expression.as_deref(), Some("Bundle.entry[0].resource.id"));
    }
}
