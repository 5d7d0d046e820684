//! The answer to a message: a message of its own (FHIR R4 messaging 2.4.3.2).

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::message::Message;
use crate::mailbox::canonical;
use crate::mailbox::outcome::{Issue, operation_outcome};

/// An answer, ready to be kept and sent.
#[derive(Debug)]
pub struct Response {
    pub bundle_id: String,
    pub message_id: String,
    /// Who answers: the destination that was addressed.
    pub source: String,
    pub body: String,
}

/// `MessageHeader.response.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Ok,
    FatalError,
}

/// Builds the response Bundle. `base` names the mailbox where the sender addressed no destination.
#[must_use]
pub fn build(message: &Message, code: Code, issues: &[Issue], at: Timestamp, base: &str) -> Response {
    let (bundle_id, message_id, outcome_id) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let code = match code {
        Code::Ok => "ok",
        Code::FatalError => "fatal-error",
    };
    let source = message.header.destinations.first().map_or(base, String::as_str);
    let mut sender = json!({"endpoint": message.header.source});
    if let Some(name) = &message.header.source_name {
        sender["name"] = json!(name);
    }
    let mut outcome = operation_outcome(issues);
    outcome["id"] = json!(outcome_id.to_string());
    let header = json!({
        "resourceType": "MessageHeader",
        "id": message_id.to_string(),
        "eventCoding": message.header.event,
        "destination": [sender],
        "source": {"endpoint": source},
        "response": {
            "identifier": message.header.id,
            "code": code,
            "details": {"reference": format!("urn:uuid:{outcome_id}")},
        },
    });
    let bundle = json!({
        "resourceType": "Bundle",
        "id": bundle_id.to_string(),
        "type": "message",
        "timestamp": canonical::instant(at),
        "entry": [
            {"fullUrl": format!("urn:uuid:{message_id}"), "resource": header},
            {"fullUrl": format!("urn:uuid:{outcome_id}"), "resource": outcome},
        ],
    });
    Response {
        bundle_id: bundle_id.to_string(),
        message_id: message_id.to_string(),
        source: source.to_owned(),
        body: canonical::text(&bundle),
    }
}
