//! One message at work: its transaction, what its entries mean, and the writing of resources.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::message::{Entry, Message};
use super::targets::Targets;
use super::{Halt, identity, merge, references};
use crate::mailbox::canonical::Tail;
use crate::mailbox::kind::Kind;
use crate::mailbox::outcome::Issue;
use crate::mailbox::search::index::{self, Numbers};
use crate::mailbox::store::{Pk, Put, Row, StoreError, Transaction};

pub(super) struct Work<'a> {
    pub(super) tx: &'a mut dyn Transaction,
    pub(super) message: &'a Message,
    pub(super) targets: Targets,
    pub(super) issues: Vec<Issue>,
    /// When the event happened.
    pub(super) time: Timestamp,
}

/// A resource as it is to be written.
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) id: &'a str,
    pub(super) before: Option<&'a Row>,
    pub(super) resource: &'a Map<String, Value>,
    pub(super) patient: Option<Pk>,
    pub(super) encounter: Option<Pk>,
}

impl<'a> Work<'a> {
    pub(super) fn start(tx: &'a mut dyn Transaction, message: &'a Message) -> Result<Self, Halt> {
        let time = message.time.unwrap_or_else(|| tx.now());
        let targets = Targets::find(tx, message, time)?;
        Ok(Self { tx, message, targets, issues: Vec::new(), time })
    }

    /// Creates or updates what the entry means, unless something newer was applied to it.
    pub(super) fn upsert(&mut self, entry: &Entry) -> Result<(), Halt> {
        let incoming = self.local(entry);
        self.upsert_as(entry, incoming)
    }

    /// As [`Self::upsert`], with `incoming` in the place of the entry's resource.
    pub(super) fn upsert_as(&mut self, entry: &Entry, mut incoming: Map<String, Value>) -> Result<(), Halt> {
        let target = self.targets.of(entry)?;
        let (kind, id, before, former) = (target.kind, target.id.clone(), target.row.clone(), target.former);
        if before.as_ref().is_some_and(|row| self.is_late(entry, row)) {
            return Ok(());
        }
        // A link decides about numbers and `active` by what it says itself.
        let may_be_same = !self.message.is_link() && incoming.contains_key("identifier");
        let same = before.as_ref().filter(|row| may_be_same && !row.removed && row.tail == Tail::of(&incoming));
        if let Some(row) = same {
            return self.upsert_same(entry, row, &mut incoming);
        }
        let stored = before.as_ref().map(content).transpose()?.unwrap_or_default();
        let known = index::numbers(&stored);
        identity::prepare(self.message, kind, entry, former, &stored, &mut incoming);
        let mut resource = merge::merge(kind, stored, incoming);
        if let Some(number) = entry.condition.as_ref().filter(|_| !resource.contains_key("identifier")) {
            // Else nobody would find it again.
            resource.insert("identifier".into(), json!([{"system": number.system, "value": number.value}]));
        }
        let patient = self.patient_of(kind, &mut resource, entry)?;
        if kind == Kind::Encounter {
            self.refuse_foreign_visit(entry, before.as_ref(), patient)?;
            self.refuse_taken_number(entry, before.as_ref().map(|row| row.pk), &index::numbers(&resource))?;
        }
        let draft = Draft { kind, id: &id, before: before.as_ref(), resource: &resource, patient, encounter: None };
        let row = self.write(draft)?;
        self.identify(kind, row.pk, entry.condition.as_ref(), &known, &index::numbers(&resource))?;
        self.targets.written(&row);
        if let Some(before) = before.filter(|before| kind == Kind::Encounter && before.patient != row.patient) {
            self.move_clinical(&before, &row)?;
        }
        match self.targets.of(entry)?.reused.clone() {
            Some((old, number)) => self.take_number_from(&old, &number),
            None => Ok(()),
        }
    }

    /// What is stored already comes again, as most Patients do: merged into itself it stays as it is, so it is neither
    /// taken apart nor merged.
    fn upsert_same(&mut self, entry: &Entry, row: &Row, same: &mut Map<String, Value>) -> Result<(), Halt> {
        let patient = self.patient_of(row.kind, same, entry)?;
        let numbers = index::numbers(same);
        if row.kind == Kind::Encounter {
            self.refuse_foreign_visit(entry, Some(row), patient)?;
            self.refuse_taken_number(entry, Some(row.pk), &numbers)?;
        }
        let draft = Draft { kind: row.kind, id: &row.id, before: Some(row), resource: same, patient, encounter: None };
        let row = self.write(draft)?;
        self.identify(row.kind, row.pk, entry.condition.as_ref(), &numbers, &numbers)?;
        self.targets.written(&row);
        Ok(())
    }

    /// Whether something newer was applied to `row`; says so if it was.
    pub(super) fn is_late(&mut self, entry: &Entry, row: &Row) -> bool {
        let late = row.event > self.time;
        if late {
            let text = format!("{}/{} holds a newer event; this one was not applied to it", row.kind.name(), row.id);
            self.issues.push(Issue::warning("conflict", text).at(entry.place("")));
        }
        late
    }

    /// The entry's resource with the mailbox's own references.
    pub(super) fn local(&self, entry: &Entry) -> Map<String, Value> {
        references::localize(entry, self.message, &self.targets)
    }

    /// Whose a resource is: its own reference, else the only Patient of the message.
    pub(super) fn patient_of(
        &mut self,
        kind: Kind,
        resource: &mut Map<String, Value>,
        entry: &Entry,
    ) -> Result<Option<Pk>, Halt> {
        let Some(element) = kind.patient_element() else { return Ok(None) };
        if !resource.contains_key(element) {
            let mut patients = self.message.of(Kind::Patient);
            if let (Some(only), None) = (patients.next(), patients.next()) {
                let id = &self.targets.of(only)?.id;
                resource.insert(element.into(), json!({"reference": format!("Patient/{id}")}));
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
        let id = reference.and_then(|text| text.strip_prefix(kind.name())).and_then(|rest| rest.strip_prefix('/'));
        let Some(id) = id else { return Ok(None) };
        if let Some(row) = self.targets.by_id(kind, id) {
            return Ok(Some(row.pk));
        }
        let row = self.tx.find(kind, id)?.filter(|row| !row.removed);
        let row = row.ok_or_else(|| {
            let text = format!("the mailbox holds no such {}", kind.name());
            Halt::Fatal(Issue::error("not-found", text).at(entry.place(element)))
        })?;
        Ok(Some(row.pk))
    }

    /// Writes a version when something changed, and notes either way that the event was applied.
    pub(super) fn write(&mut self, draft: Draft<'_>) -> Result<Row, Halt> {
        let event = draft.before.map_or(self.time, |row| row.event.max(self.time));
        self.write_at(draft, event)
    }

    fn write_at(&mut self, draft: Draft<'_>, event: Timestamp) -> Result<Row, Halt> {
        let Draft { kind, id, before, resource, patient, encounter } = draft;
        let tail = Tail::of(resource);
        let same = before.filter(|row| !row.removed && row.tail == tail);
        if let Some(row) = same.filter(|row| (row.patient, row.encounter) == (patient, encounter)) {
            if row.event < event {
                self.tx.touch(row.pk, event)?;
            }
            return Ok(Row { event, ..row.clone() });
        }
        let facts = index::facts(kind, resource);
        let row = self.tx.put(Put { before, kind, id, tail, patient, encounter, facts: &facts, event })?;
        let done = if before.is_none() { "created" } else { "updated" };
        self.issues.push(Issue::information(format!("{}/{id} {done}", kind.name())));
        Ok(row)
    }

    /// Writes `resource` as the next version of `row` with nothing else changed: what the message said of others touched
    /// it, and an event about itself that comes later but is older is not late.
    pub(super) fn rewrite(&mut self, row: &Row, resource: &Map<String, Value>) -> Result<Row, Halt> {
        let Row { kind, id, patient, encounter, .. } = row;
        let (kind, patient, encounter) = (*kind, *patient, *encounter);
        self.write_at(Draft { kind, id, before: Some(row), resource, patient, encounter }, row.event)
    }
}

/// A stored resource as JSON.
pub(super) fn content(row: &Row) -> Result<Map<String, Value>, StoreError> {
    row.tail.parse().ok_or(StoreError::Damaged("a resource's text"))
}

impl Work<'_> {
    /// The numbers of a stored resource, empty for one that was removed.
    pub(super) fn numbers_of(row: Option<&Row>) -> Result<Numbers, StoreError> {
        let present = row.filter(|row| !row.removed);
        Ok(present.map(content).transpose()?.map(|resource| index::numbers(&resource)).unwrap_or_default())
    }
}
