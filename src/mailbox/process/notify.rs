//! `admin-notify` and `clinical-notify`: Patients, visits, and the clinical resources of a visit.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::message::{Entry, Message};
use super::targets::Targets;
use super::{Halt, Rules, merge, references};
use crate::mailbox::canonical::Tail;
use crate::mailbox::config::Snapshot;
use crate::mailbox::kind::Kind;
use crate::mailbox::outcome::Issue;
use crate::mailbox::search::index;
use crate::mailbox::store::{Identifier, Owner, Pk, Put, Row, StoreError, Transaction};

/// Creates or updates Patients, Locations and visits; clinical resources that are present replace those of their type.
pub(super) fn admin(tx: &mut dyn Transaction, message: &Message) -> Result<Vec<Issue>, Halt> {
    let mut work = Work::start(tx, message)?;
    work.targets.refuse_doubles(message)?;
    for kind in [Kind::Patient, Kind::Location, Kind::Encounter] {
        for entry in message.of(kind) {
            work.upsert(entry)?;
        }
    }
    work.snapshot(Snapshot::PerType)?;
    Ok(work.issues)
}

/// Replaces the clinical resources of a visit that must exist, and leaves the visit as it is.
pub(super) fn clinical(tx: &mut dyn Transaction, rules: Rules, message: &Message) -> Result<Vec<Issue>, Halt> {
    let mut work = Work::start(tx, message)?;
    for entry in message.of(Kind::Encounter) {
        if work.targets.of(entry)?.row.as_ref().is_none_or(|row| row.removed) {
            let text = "no such visit: a clinical-notify needs one that exists";
            return Err(Halt::Fatal(Issue::error("not-found", text).at(format!("Bundle.entry[{}].fullUrl", entry.at))));
        }
    }
    if message.of(Kind::Encounter).next().is_none() {
        let text = "a clinical-notify names the visit that it is about";
        return Err(Halt::Fatal(Issue::error("required", text).at("Bundle.entry")));
    }
    for entry in message.of(Kind::Patient) {
        work.upsert(entry)?;
    }
    work.targets.refuse_doubles(message)?;
    work.snapshot(rules.snapshot)?;
    Ok(work.issues)
}

pub(super) struct Work<'a> {
    pub(super) tx: &'a mut dyn Transaction,
    pub(super) message: &'a Message,
    pub(super) targets: Targets,
    pub(super) issues: Vec<Issue>,
    /// When the event happened.
    pub(super) time: Timestamp,
}

impl<'a> Work<'a> {
    pub(super) fn start(tx: &'a mut dyn Transaction, message: &'a Message) -> Result<Self, Halt> {
        let time = message.time.unwrap_or_else(|| tx.now());
        let targets = Targets::find(tx, message, time)?;
        Ok(Self { tx, message, targets, issues: Vec::new(), time })
    }

    /// Creates or updates what the entry means, unless something newer was applied to it.
    pub(super) fn upsert(&mut self, entry: &Entry) -> Result<(), Halt> {
        let target = self.targets.of(entry)?;
        let (kind, id, before) = (target.kind, target.id.clone(), target.row.clone());
        if let Some(row) = before.as_ref().filter(|row| row.event > self.time) {
            self.late(entry, row);
            return Ok(());
        }
        let stored = before.as_ref().map(content).transpose()?.unwrap_or_default();
        let known = index::identifiers(&stored);
        let mut incoming = self.local(entry);
        if kind == Kind::Patient {
            leave_links_alone(before.as_ref(), &mut incoming);
        }
        if self.message.is_link() {
            keep_identifiers(&stored, &mut incoming);
        }
        let mut resource = merge::merge(kind, stored, &incoming);
        let condition = entry.condition.as_ref().filter(|_| !resource.contains_key("identifier"));
        if let Some(condition) = condition {
            resource.insert(
                "identifier".into(),
                serde_json::json!([{"system": condition.system, "value": condition.value}]),
            );
        }
        let patient = self.patient_of(kind, &mut resource, entry)?;
        let pk =
            self.write(Draft { kind, id, before: before.as_ref(), resource: &resource, patient, encounter: None })?;
        self.identify(kind, pk, entry, &known, &index::identifiers(&resource))?;
        let row = self.tx.load(pk)?;
        self.targets.written(row);
        match self.targets.of(entry)?.reused.clone() {
            Some((old, number)) => self.take_number_from(&old, &number),
            None => Ok(()),
        }
    }

    /// A number that was given out again: its old bearer keeps it as an old one, by which it is no longer found.
    fn take_number_from(&mut self, old: &Row, number: &Identifier) -> Result<(), Halt> {
        let mut resource = content(old)?;
        let items = resource.get_mut("identifier").and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            if index::identifier(item).as_ref() == Some(number) {
                item["use"] = "old".into();
            }
        }
        let draft = Draft {
            kind: old.kind,
            id: old.id.clone(),
            before: Some(old),
            resource: &resource,
            patient: None,
            encounter: None,
        };
        self.write(draft)?;
        Ok(self.tx.retire(old.kind, old.pk, number, self.time)?)
    }

    fn late(&mut self, entry: &Entry, row: &Row) {
        let text = format!("{}/{} holds a newer event; this one was not applied to it", row.kind.name(), row.id);
        self.issues.push(Issue::warning("conflict", text).at(entry.place("")));
    }

    /// The entry's resource with the mailbox's own references.
    fn local(&self, entry: &Entry) -> Map<String, Value> {
        let mut value = Value::Object(entry.resource.clone());
        references::rewrite(&mut value, &self.targets);
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// Whose a resource is: its own reference, else the only Patient of the message.
    fn patient_of(&mut self, kind: Kind, resource: &mut Map<String, Value>, entry: &Entry) -> Result<Option<Pk>, Halt> {
        let Some(element) = kind.patient_element() else { return Ok(None) };
        if !resource.contains_key(element) {
            let mut patients = self.message.of(Kind::Patient);
            if let (Some(only), None) = (patients.next(), patients.next()) {
                let id = &self.targets.of(only)?.id;
                resource.insert(element.into(), serde_json::json!({"reference": format!("Patient/{id}")}));
            }
        }
        let reference = resource.get(element).and_then(|subject| subject["reference"].as_str());
        self.referenced(Kind::Patient, reference, entry, element)
    }

    /// The number of the stored resource that a local reference names.
    pub(super) fn referenced(
        &mut self,
        kind: Kind,
        reference: Option<&str>,
        entry: &Entry,
        element: &str,
    ) -> Result<Option<Pk>, Halt> {
        let prefix = format!("{}/", kind.name());
        let Some(id) = reference.and_then(|text| text.strip_prefix(&prefix)) else { return Ok(None) };
        let row = self.tx.find(kind, id)?.filter(|row| !row.removed);
        let row = row.ok_or_else(|| {
            let text = format!("the mailbox holds no such {}", kind.name());
            Halt::Fatal(Issue::error("not-found", text).at(entry.place(element)))
        })?;
        Ok(Some(row.pk))
    }

    /// Writes a version when something changed, and notes the event either way.
    pub(super) fn write(&mut self, draft: Draft<'_>) -> Result<Pk, Halt> {
        let Draft { kind, id, before, resource, patient, encounter } = draft;
        let tail = Tail::of(resource);
        if let Some(row) = before.filter(|row| !row.removed && row.tail == tail) {
            if row.event < self.time {
                self.tx.touch(row.pk, self.time)?;
            }
            return Ok(row.pk);
        }
        let facts = index::facts(kind, resource);
        let event = before.map_or(self.time, |row| row.event.max(self.time));
        let put = Put { before, kind, id: &id, tail: &tail, patient, encounter, facts: &facts, event };
        let pk = self.tx.put(&put)?;
        let done = match before {
            None => "created",
            Some(_) => "updated",
        };
        self.issues.push(Issue::information(format!("{}/{id} {done}", kind.name())));
        Ok(pk)
    }

    /// Keeps the index of identifiers in step with the resource.
    fn identify(
        &mut self,
        kind: Kind,
        pk: Pk,
        entry: &Entry,
        before: &[Identifier],
        after: &[Identifier],
    ) -> Result<(), Halt> {
        for gained in after.iter().filter(|id| !before.contains(id)) {
            self.tx.claim(kind, pk, gained, self.time)?;
        }
        for lost in before.iter().filter(|id| !after.contains(id)) {
            self.tx.retire(kind, pk, lost, self.time)?;
        }
        // A message that gives a new number to a resource nobody knows by the old one: late messages with the old
        // number must still find it.
        let old = entry.condition.as_ref().filter(|id| !before.contains(id) && !after.contains(id));
        if let Some(old) = old {
            self.tx.claim(kind, pk, old, self.time)?;
            self.tx.retire(kind, pk, old, self.time)?;
        }
        Ok(())
    }

    /// Replaces the clinical resources of the message's visit (allergies: of its patient) by those in the message.
    fn snapshot(&mut self, scope: Snapshot) -> Result<(), Halt> {
        let visits: Vec<&Entry> = self.message.of(Kind::Encounter).collect();
        let Some(&visit) = visits.first() else { return Ok(()) };
        let any = Kind::CLINICAL.into_iter().any(|kind| self.message.of(kind).next().is_some());
        if !any && scope == Snapshot::PerType {
            return Ok(());
        }
        let Some(row) = self.targets.of(visit)?.row.clone() else { return Ok(()) };
        if row.clinical.is_some_and(|newest| newest > self.time) {
            let text = format!("Encounter/{} holds newer clinical data; that of this message was not applied", row.id);
            self.issues.push(Issue::warning("conflict", text).at(visit.place("")));
            return Ok(());
        }
        for kind in Kind::CLINICAL {
            let present = self.message.of(kind).next().is_some();
            if present || scope == Snapshot::Complete {
                self.replace(kind, &row)?;
            }
        }
        self.tx.touch_clinical(row.pk, self.time)?;
        Ok(())
    }

    /// One type's part of a snapshot.
    fn replace(&mut self, kind: Kind, visit: &Row) -> Result<(), Halt> {
        let owner = match (kind, visit.patient) {
            (Kind::AllergyIntolerance, Some(patient)) => Owner::Patient(patient),
            (Kind::AllergyIntolerance, None) => return Ok(()),
            _ => Owner::Encounter(visit.pk),
        };
        let stored = self.tx.clinical(kind, owner)?;
        let mut kept = Vec::new();
        for entry in self.message.of(kind) {
            kept.push(self.clinical(kind, entry, visit)?);
        }
        for gone in stored.iter().filter(|row| !kept.contains(&row.pk)) {
            self.tx.remove(gone)?;
            self.issues.push(Issue::information(format!("{}/{} removed", kind.name(), gone.id)));
        }
        Ok(())
    }

    /// Writes one clinical resource as it came.
    fn clinical(&mut self, kind: Kind, entry: &Entry, visit: &Row) -> Result<Pk, Halt> {
        let target = self.targets.of(entry)?;
        let (id, before) = (target.id.clone(), target.row.clone());
        let mut resource = self.local(entry);
        let patient = self.patient_of(kind, &mut resource, entry)?;
        resource
            .entry("encounter")
            .or_insert_with(|| serde_json::json!({"reference": format!("Encounter/{}", visit.id)}));
        let reference = resource["encounter"]["reference"].as_str();
        let encounter = self.referenced(Kind::Encounter, reference, entry, "encounter")?;
        if let Some(row) = before.as_ref().filter(|row| !row.removed && row.patient != patient) {
            let text = format!("{}/{} belongs to another patient: give this one an id of its own", kind.name(), row.id);
            return Err(Halt::Fatal(Issue::error("conflict", text).at(entry.place("id"))));
        }
        let pk = self.write(Draft { kind, id, before: before.as_ref(), resource: &resource, patient, encounter })?;
        let known = match before.as_ref().filter(|row| !row.removed) {
            Some(row) => index::identifiers(&content(row)?),
            None => Vec::new(),
        };
        self.identify(kind, pk, entry, &known, &index::identifiers(&resource))?;
        Ok(pk)
    }
}

pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) before: Option<&'a Row>,
    pub(super) resource: &'a Map<String, Value>,
    pub(super) patient: Option<Pk>,
    pub(super) encounter: Option<Pk>,
}

/// Links are made by patient-link alone, and who was replaced stays inactive until it is unlinked.
fn leave_links_alone(before: Option<&Row>, incoming: &mut Map<String, Value>) {
    let links = incoming.remove("link").unwrap_or_default();
    let replaced_now = links.as_array().is_some_and(|links| links.iter().any(|link| link["type"] == "replaced-by"));
    if replaced_now || before.is_some_and(was_replaced) {
        incoming.remove("active");
        incoming.remove("_active");
    }
}

/// A merge names the absorbed patient by one number; the others it has are its identities still.
fn keep_identifiers(stored: &Map<String, Value>, incoming: &mut Map<String, Value>) {
    let Some(Value::Array(list)) = incoming.get_mut("identifier") else { return };
    let Some(Value::Array(held)) = stored.get("identifier") else { return };
    let known: Vec<_> = list.iter().filter_map(index::identifier).collect();
    let missing = held.iter().filter(|item| index::identifier(item).is_none_or(|id| !known.contains(&id)));
    list.extend(missing.cloned());
}

/// Whether a stored Patient says that another one replaced it.
pub(super) fn was_replaced(row: &Row) -> bool {
    row.tail.0.contains(r#""type":"replaced-by""#)
}

pub(super) fn content(row: &Row) -> Result<Map<String, Value>, StoreError> {
    row.tail.parse().ok_or(StoreError::Damaged("a resource's text"))
}
