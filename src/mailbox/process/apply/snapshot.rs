//! The clinical resources of a message as the complete list of what holds.
//!
//! Conditions, Procedures and Observations are counted by visit, allergies by patient. What is stored and not in the
//! message is removed; its versions stay in history. A resource keeps the id that its sender gave it, so that the same
//! snapshot sent twice writes nothing.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::work::{Draft, Work, Written};
use crate::mailbox::config::Snapshot;
use crate::mailbox::json::Node;
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::halt::Halt;
use crate::mailbox::process::parse::message::Entry;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::index::Numbers;
use crate::mailbox::store::Owner;
use crate::mailbox::store::model::{Pk, StoredResource};

const OF_VISIT: [ResourceType; 3] = [ResourceType::Condition, ResourceType::Procedure, ResourceType::Observation];
const OF_PATIENT: [ResourceType; 1] = [ResourceType::AllergyIntolerance];

type Stated = (Written, Option<Pk>, Option<Pk>);

impl<'a> Work<'a> {
    /// Applies the snapshot of each visit and each patient in the message.
    pub fn snapshot(&mut self, scope: Snapshot) -> Result<(), Halt> {
        let mut done = HashSet::new();
        for (owner, kinds) in [(ResourceType::Encounter, &OF_VISIT[..]), (ResourceType::Patient, &OF_PATIENT[..])] {
            let mut owned = self.owned(owner, kinds);
            for entry in self.message.of(owner) {
                let own = owned.remove(&entry.at).unwrap_or_default();
                done.extend(own.iter().map(|entry| entry.at));
                if let Some(row) = self.targets.of(entry)?.row.clone() {
                    self.replace_all(&row, entry, kinds, &own, scope)?;
                }
            }
        }
        // About a visit or patient that the message does not carry: nothing to compare with, so they are only added.
        let message = self.message;
        for entry in message.entries().filter(|entry| !done.contains(&entry.at)) {
            if entry.kind.is_some_and(ResourceType::is_clinical) {
                self.clinical(entry, None)?;
            }
        }
        Ok(())
    }

    /// The clinical entries of each visit or patient, by the place of its entry.
    fn owned(&self, owner: ResourceType, kinds: &[ResourceType]) -> HashMap<usize, Vec<&'a Entry>> {
        let message = self.message;
        let mut owned: HashMap<usize, Vec<&'a Entry>> = HashMap::new();
        for entry in message.entries().filter(|entry| entry.kind.is_some_and(|kind| kinds.contains(&kind))) {
            let about = if owner == ResourceType::Encounter { &entry.encounter } else { &entry.subject };
            let whose = about.as_ref().map_or_else(|| message.only(owner), |url| message.entry(url));
            if let Some(whose) = whose.filter(|whose| whose.kind == Some(owner)) {
                owned.entry(whose.at).or_default().push(entry);
            }
        }
        owned
    }

    fn replace_all(
        &mut self,
        owner: &StoredResource,
        entry: &Entry,
        kinds: &[ResourceType],
        own: &[&Entry],
        scope: Snapshot,
    ) -> Result<(), Halt> {
        if own.is_empty() && scope == Snapshot::PerType {
            return Ok(());
        }
        if owner.clinical.is_some_and(|newest| newest > self.time) {
            let text = format!("{}/{} holds newer clinical data; this was not applied", owner.kind.name(), owner.id);
            self.issues.push(Issue::warning("conflict", text).at(entry.place("")));
            return Ok(());
        }
        for &kind in kinds {
            let of_kind: Vec<&Entry> = own.iter().copied().filter(|entry| entry.kind == Some(kind)).collect();
            if !of_kind.is_empty() || scope == Snapshot::Complete {
                self.replace(kind, owner, &of_kind)?;
            }
        }
        if owner.clinical != Some(self.time) {
            self.tx.touch_clinical(owner.pk, self.time)?;
        }
        Ok(())
    }

    /// One type's part of a snapshot.
    fn replace(&mut self, kind: ResourceType, owner: &StoredResource, entries: &[&Entry]) -> Result<(), Halt> {
        let whose =
            if owner.kind == ResourceType::Patient { Owner::Patient(owner.pk) } else { Owner::Encounter(owner.pk) };
        // Nothing can be stored about what this message made.
        let is_new = self.targets.is_new(owner);
        let stored = if is_new { Vec::new() } else { self.tx.clinical(kind, whose)? };
        let mut kept = HashSet::new();
        for entry in entries {
            kept.insert(self.clinical(entry, Some(owner))?);
        }
        for gone in stored.iter().filter(|row| !kept.contains(&row.pk)) {
            let numbers = Self::numbers_of(Some(gone))?;
            self.identify(kind, gone.pk, None, &numbers, &Numbers::default())?;
            self.tx.remove(gone)?;
            self.issues.push(Issue::information(format!("{}/{} removed", kind.name(), gone.id)));
        }
        Ok(())
    }

    /// Writes one clinical resource as it came.
    fn clinical(&mut self, entry: &Entry, owner: Option<&StoredResource>) -> Result<Pk, Halt> {
        let target = self.targets.of(entry)?;
        let (kind, mut id, mut before) = (target.kind, target.id.clone(), target.row.clone());
        let (written, patient, encounter) = self.stated(kind, entry, owner)?;
        if !self.may_follow(kind, before.as_ref(), patient, encounter)? {
            (id, before) = (Uuid::now_v7().to_string(), None);
        }
        let before = before.as_ref();
        let same = before.is_some_and(|row| !row.removed && row.tail == written.tail);
        let known = if same { entry.numbers.clone() } else { Self::numbers_of(before)? };
        let pk = self.write(Draft { kind, id: &id, before, written, patient, encounter })?.pk;
        self.identify(kind, pk, None, &known, &entry.numbers)?;
        Ok(pk)
    }

    /// A clinical resource with the patient and the visit that it is about, also where only the message says so.
    fn stated(&mut self, kind: ResourceType, entry: &Entry, owner: Option<&StoredResource>) -> Result<Stated, Halt> {
        let visit = owner.filter(|owner| owner.kind == ResourceType::Encounter);
        if entry.subject.is_some()
            && (entry.encounter.is_some() || visit.is_none())
            && let Some(tail) = entry.template.fill(|entry| Some(self.targets.at(entry)?.local_url()))
        {
            let (patient, encounter) = (self.patient_of_entry(kind, entry)?, self.visit_of_entry(entry)?);
            return Ok((Written { tail, facts: entry.facts.clone() }, patient, encounter));
        }
        let mut resource = self.local(entry)?;
        let patient = self.patient_of(kind, &mut resource, entry)?;
        if let Some(visit) = visit.filter(|_| !resource.contains_key("encounter")) {
            resource.insert("encounter", Node::reference(format!("Encounter/{}", visit.id)));
        }
        let reference = resource.get("encounter").and_then(|encounter| encounter["reference"].as_str());
        let encounter = self.referenced(ResourceType::Encounter, reference, entry, "encounter")?;
        Ok((Written::of(kind, &resource), patient, encounter))
    }

    /// Whether a resource with the sender's id is the one that is stored under it: of the same visit, or where there is
    /// none of the same person. Ids are the sender's; two senders may use one for different things.
    fn may_follow(
        &mut self,
        kind: ResourceType,
        before: Option<&StoredResource>,
        patient: Option<Pk>,
        encounter: Option<Pk>,
    ) -> Result<bool, Halt> {
        let Some(before) = before.filter(|before| !before.removed) else { return Ok(true) };
        if OF_VISIT.contains(&kind) && (before.encounter.is_some() || encounter.is_some()) {
            return Ok(before.encounter == encounter);
        }
        let (Some(held), Some(patient)) = (before.patient, patient) else { return Ok(before.patient == patient) };
        Ok(held == patient || self.tx.is_same_person(held, patient)?)
    }
}
