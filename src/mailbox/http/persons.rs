//! Who is who: IHE PIXm (ITI-83), and the record of links and unlinks as Provenance.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::bundle::BundleWriter;
use super::failure::{FHIR_JSON, Failure};
use super::query::{Params, url};
use crate::http::auth::Caller;
use crate::mailbox::Mailbox;
use crate::mailbox::canonical::{self, Tail, instant};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::{index, params};
use crate::mailbox::store::model::{Identifier, LinkKind};
use crate::mailbox::store::{LinkEvents, RecordedLink, Version};

/// `GET Patient/$ihe-pix?sourceIdentifier=system|value[&targetSystem=uri]*`.
pub(super) async fn cross_reference(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    given: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (source, targets) = asked(given.once(&["targetSystem"])?)?;
    let (wanted, systems) = (source.clone(), targets.clone());
    let (person, source_known, unknown_target) = mailbox
        .read(&caller, move |reader| {
            let person = reader.person(&wanted)?;
            let known = reader.system_known(ResourceType::Patient, &wanted.system)?;
            let mut unknown = None;
            for system in systems {
                if unknown.is_none() && !reader.system_known(ResourceType::Patient, &system)? {
                    unknown = Some(system);
                }
            }
            Ok((person, known, unknown))
        })
        .await?;
    // The three failures and their words are those of ITI-83, 3.83.4.2.2.
    if !source_known {
        return Err(Failure::new(400, "code-invalid", "sourceIdentifier Assigning Authority not found"));
    }
    if person.is_empty() {
        return Err(Failure::new(404, "not-found", "sourceIdentifier Patient Identifier not found"));
    }
    if unknown_target.is_some() {
        return Err(Failure::new(403, "code-invalid", "targetSystem not found"));
    }
    let base = mailbox.base(&headers);
    let body = canonical::text(&parameters(&base, &source, &targets, &person));
    Ok(([(header::CONTENT_TYPE, FHIR_JSON)], body).into_response())
}

fn asked(given: &[(String, String)]) -> Result<(Identifier, Vec<String>), Failure> {
    let (mut source, mut targets) = (None, Vec::new());
    for (name, value) in given {
        match name.as_str() {
            "sourceIdentifier" => source = params::token(value).filter(|source| !source.system.is_empty()),
            "targetSystem" => targets.extend(value.split(',').map(str::to_owned)),
            "_format" => {}
            _ => return Err(Failure::new(400, "not-supported", format!("$ihe-pix has no parameter '{name}'"))),
        }
    }
    let source = source.ok_or_else(|| Failure::new(400, "required", "give sourceIdentifier=system|value"))?;
    Ok((source, targets))
}

fn parameters(base: &str, source: &Identifier, targets: &[String], person: &[Version]) -> Value {
    let mut identifiers = BTreeSet::new();
    let mut ids = Vec::new();
    for patient in person {
        let whole = Tail(patient.tail.clone()).whole();
        identifiers.extend(index::numbers(&canonical::read(&whole).unwrap_or_default()).current);
        ids.push(
            json!({"name": "targetId", "valueReference": {"reference": format!("{base}/Patient/{}", patient.id)}}),
        );
    }
    identifiers.remove(source);
    let wanted = |id: &&Identifier| !id.system.is_empty() && (targets.is_empty() || targets.contains(&id.system));
    let found = identifiers
        .iter()
        .filter(wanted)
        .map(|id| json!({"name": "targetIdentifier", "valueIdentifier": {"system": id.system, "value": id.value}}));
    json!({"resourceType": "Parameters", "parameter": found.chain(ids).collect::<Vec<_>>()})
}

/// `GET Provenance?target=Patient/<id>`: what was linked and unlinked, when, and by which message.
pub(super) async fn provenances(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    given: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let params = given.once(&[])?;
    let target = params.iter().find(|(name, _)| name == "target").map(|(_, value)| value.as_str());
    let only = params.iter().all(|(name, _)| matches!(name.as_str(), "target" | "_format"));
    let id = target.and_then(|target| target.rsplit_once("Patient/")).map(|(_, id)| id.to_owned());
    let Some(id) = id.filter(|_| only) else {
        return Err(Failure::new(400, "value", "Provenance is searched by target=Patient/<id>"));
    };
    let found = mailbox.read(&caller, move |reader| reader.link_events(&LinkEvents::Of(&id))).await?;
    let base = mailbox.base(&headers);
    let mut bundle = BundleWriter::start("searchset", Some(found.len() as i64));
    bundle.link("self", &url(&format!("{base}/Provenance"), &given, None));
    found.iter().for_each(|event| bundle.made(&base, &resource(event)));
    bundle.finish(&mailbox.budget).await
}

pub(super) async fn provenance(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let number: Option<i64> = id.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
    // A number that cannot be is asked for all the same: who may read it is decided by the store.
    let number = number.unwrap_or(-1);
    let found = mailbox.read(&caller, move |reader| reader.link_events(&LinkEvents::One(number))).await?;
    let event = found.first().ok_or_else(|| Failure::new(404, "not-found", "no such Provenance"))?;
    Ok(([(header::CONTENT_TYPE, FHIR_JSON)], canonical::text(&resource(event))).into_response())
}

const PREFIX: &str = "link-";

fn resource(event: &RecordedLink) -> Value {
    let code = match (event.kind, event.linked) {
        (LinkKind::Replaced, true) => "merge",
        (LinkKind::Replaced, false) => "unmerge",
        (LinkKind::SeeAlso, true) => "link",
        (LinkKind::SeeAlso, false) => "unlink",
    };
    let targets: Vec<Value> = event.patients.iter().map(|id| json!({"reference": format!("Patient/{id}")})).collect();
    let mut message = json!({"identifier": {"value": event.message_id}});
    if crate::fhir::ids::is_id(&event.bundle_id) {
        message["reference"] = json!(format!("Bundle/{}", event.bundle_id));
    }
    json!({
        "resourceType": "Provenance",
        "id": format!("{PREFIX}{}", event.number),
        "target": targets,
        "occurredDateTime": instant(event.at),
        "recorded": instant(event.recorded),
        "activity": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle",
            "code": code,
        }]},
        "agent": [{"who": {"identifier": {"value": event.source}}}],
        "entity": [{"role": "source", "what": message}],
    })
}
