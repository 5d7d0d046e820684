//! Visits that go to another patient or into another visit, with everything that belongs to them.
//!
//! A visit changes its patient only when the message means it: as a move (A45), or by naming both patients. Any other
//! message that has the visit's number with another person's is refused: either number may be wrong, and guessing would
//! put one patient's data into another's record.

use super::work::{Draft, Work, Written};
use crate::mailbox::json::{Node, Object};
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::halt::Halt;
use crate::mailbox::process::parse::message::Entry;
use crate::mailbox::process::stored::content;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::index;
use crate::mailbox::store::Owner;
use crate::mailbox::store::model::{Pk, StoredResource};

impl<'a> Work<'a> {
    /// Refuses a visit whose patient is somebody else than the stored visit's, unless the message moves it.
    pub fn refuse_foreign_visit(
        &mut self,
        entry: &Entry,
        before: Option<&StoredResource>,
        patient: Option<Pk>,
    ) -> Result<(), Halt> {
        let (Some(held), Some(patient)) = (before.and_then(|row| row.patient), patient) else { return Ok(()) };
        if held == patient || self.moves_from(held)? || self.tx.is_same_person(held, patient)? {
            return Ok(());
        }
        let text = "this visit belongs to another patient: send a move (A45) or a merge (A40), or correct the number";
        Err(Halt::Fatal(Issue::error("conflict", text).at(entry.place("subject"))))
    }

    /// The same, for a message that does not write the visit.
    pub fn refuse_other_person(&mut self, entry: &Entry) -> Result<(), Halt> {
        let before = self.targets.of(entry)?.row.clone();
        let patient = self.patient_of_entry(ResourceType::Encounter, entry)?;
        self.refuse_foreign_visit(entry, before.as_ref(), patient)
    }

    fn moves_from(&mut self, held: Pk) -> Result<bool, Halt> {
        if self.message.header.trigger.as_deref() == Some("A45") {
            return Ok(true);
        }
        if self.named.is_none() {
            let patients = self.message.of(ResourceType::Patient).map(|entry| self.targets.of(entry));
            let rows = patients.map(|target| Ok(target?.row.as_ref().map(|row| row.pk)));
            self.named = Some(rows.filter_map(Result::transpose).collect::<Result<_, Halt>>()?);
        }
        Ok(self.named.as_ref().is_some_and(|named| named.contains(&held)))
    }

    /// What is said about a visit follows it to its new patient.
    pub fn move_clinical(&mut self, from: &StoredResource, to: &StoredResource) -> Result<(), Halt> {
        let Some(patient) = to.patient else { return Ok(()) };
        let subject = format!("Patient/{}", self.tx.load(patient)?.id);
        for kind in ResourceType::CLINICAL {
            for row in self.tx.clinical(kind, Owner::Encounter(from.pk))? {
                let text = row.tail.whole();
                let mut resource = content(&text)?;
                if let Some(element) = kind.patient_element() {
                    resource.insert(element, Node::reference(subject.clone()));
                }
                resource.insert("encounter", Node::reference(format!("Encounter/{}", to.id)));
                let (patient, encounter) = (Some(patient), Some(to.pk));
                let written = Written::of(kind, &resource);
                self.write(Draft { kind, id: &row.id, before: Some(&row), written, patient, encounter })?;
            }
        }
        Ok(())
    }

    /// The visit into which an A42 merges the one of this entry.
    pub fn survivor_of(&self, entry: &Entry) -> Option<&'a Entry> {
        if self.message.header.trigger.as_deref() != Some("A42") {
            return None;
        }
        let resource = entry.resource().ok()?;
        let survivor = self.message.entry(resource.get("partOf")?["reference"].as_str()?)?;
        Some(survivor).filter(|other| other.kind == Some(ResourceType::Encounter) && other.at != entry.at)
    }

    /// Makes a visit part of its survivor: it keeps its data and its id, its number and what was said about it go to the
    /// survivor.
    pub fn absorb(&mut self, entry: &Entry, survivor: &Entry) -> Result<(), Halt> {
        let known = self.targets.of(entry)?.row.is_some();
        let mut incoming = self.local(entry)?;
        if known {
            incoming.retain(|name, _| matches!(name, "resourceType" | "identifier" | "status" | "partOf"));
        }
        mark_old(&mut incoming);
        self.upsert_as(entry, incoming)?;
        let (absorbed, survivor) = (self.targets.of(entry)?.row.clone(), self.targets.of(survivor)?.row.clone());
        let (Some(absorbed), Some(survivor)) = (absorbed, survivor) else { return Ok(()) };
        if absorbed.event > self.time {
            return Ok(());
        }
        let numbers = index::numbers(&content(&absorbed.tail.whole())?);
        for number in &numbers.old {
            // Late or stray messages with the old number mean the survivor.
            self.tx.claim(ResourceType::Encounter, survivor.pk, number, self.time)?;
            self.tx.retire(ResourceType::Encounter, survivor.pk, number, self.time, false)?;
        }
        self.move_clinical(&absorbed, &survivor)
    }
}

fn mark_old(incoming: &mut Object<'_>) {
    let items = incoming.get_mut("identifier").and_then(Node::as_array_mut);
    items.into_iter().flatten().for_each(|item| item.set("use", "old"));
}
