//! The CapabilityStatement: what the mailbox does, and nothing more.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::failure::FHIR_JSON;
use crate::mailbox::Mailbox;
use crate::mailbox::canonical;
use crate::mailbox::kind::Kind;
use crate::mailbox::search::params;

pub(super) async fn statement(State(mailbox): State<Mailbox>, headers: HeaderMap) -> Response {
    let base = mailbox.base(&headers);
    let minutes = mailbox.config.reliable_cache.as_secs() / 60;
    let resources: Vec<Value> = Kind::ALL.into_iter().map(resource).collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-01",
        "kind": "instance",
        "software": {"name": "Stoker mailbox", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "FHIR messages, processed by event", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [{
            "mode": "server",
            "resource": resources,
            "operation": [{
                "name": "process-message",
                "definition": "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
            }],
        }],
        "messaging": [{
            "endpoint": [{
                "protocol": {"system": "http://terminology.hl7.org/CodeSystem/message-transport", "code": "http"},
                "address": format!("{base}/$process-message"),
            }],
            "reliableCache": minutes,
        }],
    });
    ([(header::CONTENT_TYPE, FHIR_JSON)], canonical::text(&statement)).into_response()
}

fn resource(kind: Kind) -> Value {
    let params: Vec<Value> =
        params::supported(kind).into_iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    let mut resource = json!({
        "type": kind.name(),
        "interaction": [{"code": "read"}, {"code": "vread"}, {"code": "history-instance"}, {"code": "search-type"}],
        "versioning": "versioned",
        "readHistory": true,
        "searchParam": params,
    });
    if kind.patient_element().is_some() {
        resource["searchInclude"] = json!([format!("{}:patient", kind.name())]);
    }
    if kind == Kind::Encounter {
        resource["searchRevInclude"] = json!(["Condition:encounter", "Procedure:encounter", "Observation:encounter"]);
    }
    resource
}
