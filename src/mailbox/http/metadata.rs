//! The CapabilityStatement: what the mailbox does, and nothing more. A test holds it against [`super::ROUTES`].

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::failure::{FHIR_JSON, Failure};
use super::log;
use crate::http::auth::{Caller, Grants};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::params;
use crate::mailbox::{Mailbox, canonical};

pub(super) async fn statement(State(mailbox): State<Mailbox>, headers: HeaderMap) -> Result<Response, Failure> {
    let base = mailbox.base(&headers);
    let nobody = Caller::new("metadata", Grants::default());
    let forgotten = mailbox.read(&nobody, |reader| reader.forgotten_until()).await?;
    let minutes = remembered_minutes(mailbox.config.reliable_cache, forgotten, Timestamp::now());
    let mut resources: Vec<Value> = ResourceType::ALL.into_iter().map(resource).collect();
    resources.extend([bundle(), provenance()]);
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-22",
        "kind": "instance",
        "software": {"name": "Stoker mailbox", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "FHIR messages, processed by event", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [{
            "mode": "server",
            "documentation": "Resources are changed by messages only. Searches take _count, _total and _sort, by _lastUpdated \
                or, where patient, encounter, identifier, _id or a date is given, by the date of the type.",
            "resource": resources,
            "operation": [{
                "name": "process-message",
                "definition": "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
                "documentation": "async=true, with response-url for listed hosts. \
                    Events: admin-notify, clinical-notify, patient-link, patient-unlink.",
            }],
        }],
        "messaging": [{
            "endpoint": [{
                "protocol": {"system": "http://terminology.hl7.org/CodeSystem/message-transport", "code": "http"},
                "address": format!("{base}/$process-message"),
            }],
            "reliableCache": minutes,
            "documentation": "A message that was accepted is answered with its first answer for that long.",
        }],
    });
    Ok(([(header::CONTENT_TYPE, FHIR_JSON)], canonical::text(&statement)).into_response())
}

/// How long answers are remembered: what is configured, or less where there were too many to keep.
fn remembered_minutes(configured: std::time::Duration, forgotten: Option<Timestamp>, now: Timestamp) -> i64 {
    let configured = SignedDuration::try_from(configured).unwrap_or(SignedDuration::MAX);
    let kept = forgotten.map_or(configured, |until| now.duration_since(until).min(configured));
    // An unsignedInt of R4 ends at 2^31 - 1.
    kept.as_mins().clamp(0, i64::from(i32::MAX))
}

fn resource(kind: ResourceType) -> Value {
    let mut resource = json!({
        "type": kind.name(),
        "interaction": [{"code": "read"}, {"code": "vread"}, {"code": "history-instance"}, {"code": "search-type"}],
        "versioning": "versioned",
        "readHistory": true,
        "searchParam": named(&params::supported(kind)),
    });
    if kind.patient_element().is_some() {
        resource["searchInclude"] = json!([format!("{}:patient", kind.name())]);
        resource["documentation"] =
            json!("Also by patient.identifier; any identity of a person finds all of its data.");
    }
    match kind {
        ResourceType::Patient => {
            resource["operation"] = json!([{
                "name": "ihe-pix",
                "definition": "https://profiles.ihe.net/ITI/PIXm/OperationDefinition/IHE.PIXm.pix",
            }]);
        }
        ResourceType::Encounter => {
            resource["searchRevInclude"] =
                json!(["Condition:encounter", "Procedure:encounter", "Observation:encounter"]);
        }
        _ => {}
    }
    resource
}

/// The log of messages.
fn bundle() -> Value {
    json!({
        "type": "Bundle",
        "documentation": "Messages by message.destination-uri (and event), identifier or message.response-id, in order \
            of arrival, from _offset on; _wait=seconds waits for more. A create publishes a message without processing it.",
        "interaction": [{"code": "read"}, {"code": "search-type"}, {"code": "create"}],
        "versioning": "no-version",
        "searchParam": named(&log::PARAMETERS),
    })
}

/// Links and unlinks of Patients.
fn provenance() -> Value {
    json!({
        "type": "Provenance",
        "interaction": [{"code": "read"}, {"code": "search-type"}],
        "versioning": "no-version",
        "searchParam": named(&[("target", "reference")]),
    })
}

fn named(params: &[(&str, &str)]) -> Vec<Value> {
    params.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_forgotten_early_shortens_what_is_declared() {
        let (day, now) = (Duration::from_secs(86_400), Timestamp::from_second(1_000_000).unwrap());
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert_eq!(remembered_minutes(day, None, now), 1440);
        assert_eq!(remembered_minutes(day, at(1_000_000 - 600), now), 10);
        assert_eq!(remembered_minutes(day, at(0), now), 1440);
    }
}
