//! One message at work: its transaction, what its entries mean, and the writing of resources.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{identifiers, localize};
use crate::mailbox::canonical::Tail;
use crate::mailbox::json::{Node, Object};
use crate::mailbox::outcome::{Issue, Issues};
use crate::mailbox::process::halt::Halt;
use crate::mailbox::process::matching::targets::{Target, Targets};
use crate::mailbox::process::merge;
use crate::mailbox::process::parse::message::{Entry, Message};
use crate::mailbox::process::stored::content;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::index::{self, Numbers};
use crate::mailbox::store::model::{Facts, Pk, StoreError, StoredResource};
use crate::mailbox::store::{Put, Transaction};

pub struct Work<'a> {
    pub tx: &'a mut dyn Transaction,
    pub message: &'a Message,
    pub targets: Targets,
    pub issues: Issues,
    /// The Patients that the message names, once somebody asked.
    pub named: Option<HashSet<Pk>>,
    /// When the event happened.
    pub time: Timestamp,
}

/// A resource as it is to be written.
pub struct Draft<'a> {
    pub kind: ResourceType,
    pub id: &'a str,
    pub before: Option<&'a StoredResource>,
    pub written: Written,
    pub patient: Option<Pk>,
    pub encounter: Option<Pk>,
}

/// A resource as the store keeps it.
pub struct Written {
    pub tail: Tail,
    pub facts: Facts,
}

impl Written {
    pub fn of(kind: ResourceType, resource: &Object<'_>) -> Self {
        Self { tail: Tail::of(resource), facts: index::facts(kind, resource) }
    }
}

impl<'a> Work<'a> {
    pub fn new(tx: &'a mut dyn Transaction, message: &'a Message, targets: Targets) -> Self {
        let time = message.happened(tx.now());
        Self { tx, message, targets, issues: Issues::default(), named: None, time }
    }

    /// Creates or updates what the entry means, unless something newer was applied to it.
    pub fn upsert(&mut self, entry: &Entry) -> Result<(), Halt> {
        if self.upsert_text(entry)? {
            return Ok(());
        }
        let incoming = self.local(entry)?;
        self.upsert_as(entry, incoming)
    }

    /// What is stored already comes again, as most Patients do, or what is new is stored as it came: then the text is all
    /// that is needed, and nothing is taken apart or merged. False when it has to be.
    fn upsert_text(&mut self, entry: &Entry) -> Result<bool, Halt> {
        let target = self.targets.of(entry)?;
        // A link decides about numbers and `active` by what it says itself.
        let may_be_same = !self.message.is_link() && !entry.numbers.is_empty();
        let may_be_text = match &target.row {
            Some(row) => may_be_same && !row.removed,
            None => entry.plain,
        };
        if !may_be_text || (target.kind.patient_element().is_some() && entry.subject.is_none()) {
            return Ok(false);
        }
        let Some(tail) = entry.template.fill(|entry| Some(self.targets.at(entry)?.local_url())) else {
            return Ok(false);
        };
        if target.row.as_ref().is_some_and(|row| row.tail != tail) {
            return Ok(false);
        }
        let (kind, id, before) = (target.kind, target.id.clone(), target.row.clone());
        if before.as_ref().is_some_and(|row| self.is_late(entry, row)) {
            return Ok(true);
        }
        let patient = self.patient_of_entry(kind, entry)?;
        if kind == ResourceType::Encounter {
            self.refuse_foreign_visit(entry, before.as_ref(), patient)?;
            self.refuse_taken_number(entry, before.as_ref().map(|row| row.pk), &entry.numbers)?;
        }
        let written = Written { tail, facts: entry.facts.clone() };
        let row = self.write(Draft { kind, id: &id, before: before.as_ref(), written, patient, encounter: None })?;
        let none = Numbers::default();
        let known = if before.is_some() { &entry.numbers } else { &none };
        self.identify(kind, row.pk, entry.condition.as_ref(), known, &entry.numbers)?;
        self.targets.written(&row);
        match self.targets.of(entry)?.reused.clone() {
            Some((old, number)) => self.take_number_from(&old, &number).map(|()| true),
            None => Ok(true),
        }
    }

    /// As [`Self::upsert`], with `incoming` in the place of the entry's resource.
    pub fn upsert_as(&mut self, entry: &Entry, incoming: Object<'_>) -> Result<(), Halt> {
        let target = self.targets.of(entry)?;
        let (kind, id, before, former) = (target.kind, target.id.clone(), target.row.clone(), target.former);
        if before.as_ref().is_some_and(|row| self.is_late(entry, row)) {
            return Ok(());
        }
        let text = before.as_ref().map(|row| row.tail.whole());
        self.tx.spend(text.as_ref().map_or(0, String::len) >> 10)?;
        let stored = text.as_deref().map(content).transpose()?.unwrap_or_default();
        let known = index::numbers(&stored);
        let mut incoming = incoming;
        identifiers::prepare(self.message, kind, entry, former, &stored, &mut incoming);
        let mut resource = merge::merge(kind, stored, incoming);
        if let Some(number) = entry.condition.as_ref().filter(|_| !resource.contains_key("identifier")) {
            // Else nobody would find it again.
            resource.insert("identifier", Node::Array(vec![index::element(number)]));
        }
        let patient = self.patient_of(kind, &mut resource, entry)?;
        if kind == ResourceType::Encounter {
            self.refuse_foreign_visit(entry, before.as_ref(), patient)?;
            self.refuse_taken_number(entry, before.as_ref().map(|row| row.pk), &index::numbers(&resource))?;
        }
        let written = Written::of(kind, &resource);
        let row = self.write(Draft { kind, id: &id, before: before.as_ref(), written, patient, encounter: None })?;
        self.identify(kind, row.pk, entry.condition.as_ref(), &known, &index::numbers(&resource))?;
        self.targets.written(&row);
        if let Some(before) = before.filter(|before| kind == ResourceType::Encounter && before.patient != row.patient) {
            self.move_clinical(&before, &row)?;
        }
        match self.targets.of(entry)?.reused.clone() {
            Some((old, number)) => self.take_number_from(&old, &number),
            None => Ok(()),
        }
    }

    /// Whether something newer was applied to `row`; says so if it was.
    pub fn is_late(&mut self, entry: &Entry, row: &StoredResource) -> bool {
        let late = row.event > self.time;
        if late {
            let text = format!("{}/{} holds a newer event; this one was not applied to it", row.kind.name(), row.id);
            self.issues.push(Issue::warning("conflict", text).at(entry.place("")));
        }
        late
    }

    /// The entry's resource with the mailbox's own references.
    pub fn local<'e>(&self, entry: &'e Entry) -> Result<Object<'e>, Halt>
    where
        'a: 'e,
    {
        Ok(localize::localize(entry, self.message, &self.targets, &|steps| self.tx.spend(steps))?)
    }

    /// A reference of the message as the mailbox writes it.
    fn local_url(&self, url: &str) -> String {
        let target = self.message.entry(url).and_then(|entry| self.targets.get(entry));
        target.map_or_else(|| url.to_owned(), Target::local_url)
    }

    /// Whose a resource is: its own reference, else the only Patient of the message, to whom it then refers.
    pub fn patient_of(
        &mut self,
        kind: ResourceType,
        resource: &mut Object<'_>,
        entry: &Entry,
    ) -> Result<Option<Pk>, Halt> {
        let Some(element) = kind.patient_element() else { return Ok(None) };
        if !resource.contains_key(element)
            && let Some(only) = self.message.only(ResourceType::Patient)
        {
            resource.insert(element, Node::reference(self.targets.of(only)?.local_url()));
        }
        let reference = resource.get(element).and_then(|subject| subject["reference"].as_str());
        self.referenced(ResourceType::Patient, reference, entry, element)
    }

    /// Whose the resource of an entry is.
    pub fn patient_of_entry(&mut self, kind: ResourceType, entry: &Entry) -> Result<Option<Pk>, Halt> {
        match (kind.patient_element(), &entry.subject) {
            (None, _) => Ok(None),
            (Some(element), Some(url)) => {
                self.referenced(ResourceType::Patient, Some(&self.local_url(url)), entry, element)
            }
            (Some(_), None) => {
                let mut resource = self.local(entry)?;
                self.patient_of(kind, &mut resource, entry)
            }
        }
    }

    /// The visit that the resource of an entry is about, by its own reference.
    pub fn visit_of_entry(&mut self, entry: &Entry) -> Result<Option<Pk>, Halt> {
        let local = entry.encounter.as_deref().map(|url| self.local_url(url));
        self.referenced(ResourceType::Encounter, local.as_deref(), entry, "encounter")
    }

    /// The number of the stored resource that a local reference names.
    pub fn referenced(
        &mut self,
        kind: ResourceType,
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
    pub fn write(&mut self, draft: Draft<'_>) -> Result<StoredResource, Halt> {
        let event = draft.before.map_or(self.time, |row| row.event.max(self.time));
        self.write_at(draft, event)
    }

    fn write_at(&mut self, draft: Draft<'_>, event: Timestamp) -> Result<StoredResource, Halt> {
        let Draft { kind, id, before, written: Written { tail, facts }, patient, encounter } = draft;
        let same = before.filter(|row| !row.removed && row.tail == tail);
        if let Some(row) = same.filter(|row| (row.patient, row.encounter) == (patient, encounter)) {
            if row.event < event {
                self.tx.touch(row.pk, event)?;
            }
            return Ok(StoredResource { event, ..row.clone() });
        }
        self.tx.spend(tail.0.len() >> 10)?;
        let row = self.tx.put(Put { before, kind, id, tail, patient, encounter, facts: &facts, event })?;
        let done = if before.is_none() { "created" } else { "updated" };
        self.issues.push(Issue::information(format!("{}/{id} {done}", kind.name())));
        Ok(row)
    }

    /// Writes `resource` as the next version of `row` with nothing else changed: what the message said of others touched
    /// it, and an event about itself that comes later but is older is not late.
    pub fn rewrite(&mut self, row: &StoredResource, resource: &Object<'_>) -> Result<StoredResource, Halt> {
        let StoredResource { kind, id, patient, encounter, .. } = row;
        let (kind, patient, encounter) = (*kind, *patient, *encounter);
        let written = Written::of(kind, resource);
        self.write_at(Draft { kind, id, before: Some(row), written, patient, encounter }, row.event)
    }
}

impl Work<'_> {
    /// The numbers of a stored resource, none for one that was removed.
    pub fn numbers_of(row: Option<&StoredResource>) -> Result<Numbers, StoreError> {
        let Some(row) = row.filter(|row| !row.removed) else { return Ok(Numbers::default()) };
        Ok(index::numbers(&content(&row.tail.whole())?))
    }
}
