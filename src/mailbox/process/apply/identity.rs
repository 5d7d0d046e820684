//! What a message does to the numbers by which Patients and visits are found.
//!
//! A list of identifiers replaces the stored one, as every list does, with three exceptions that keep identities from
//! being lost: a list that marks some of its own as `old` says what changed, and leaves the others; merges and moves name
//! a patient by one number only, which adds to what is known; and who was found by a number that it no longer has keeps
//! the numbers that it has.

use super::identifiers::is_old;
use super::work::Work;
use crate::mailbox::json::Node;
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::halt::Halt;
use crate::mailbox::process::parse::message::Entry;
use crate::mailbox::process::stored::content;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::index::{self, Numbers};
use crate::mailbox::store::model::{Identifier, Pk, StoredResource};

impl Work<'_> {
    /// Keeps the index of numbers in step with the resource.
    pub fn identify(
        &mut self,
        kind: ResourceType,
        pk: Pk,
        condition: Option<&Identifier>,
        before: &Numbers,
        after: &Numbers,
    ) -> Result<(), Halt> {
        for gained in after.current.iter().filter(|id| !before.is_current(id)) {
            self.tx.claim(kind, pk, gained, self.time)?;
        }
        for lost in before.current.iter().filter(|id| !after.is_current(id)) {
            self.tx.retire(kind, pk, lost, self.time, after.is_old(lost))?;
        }
        // Numbers that it never had here but that messages may still name: those it lists as old, and the one by which
        // a message with a new number looked for it in vain.
        let looked_for = condition.filter(|id| !before.has(id) && !after.is_current(id));
        let listed = after.old.iter().filter(|id| !before.has(id));
        for old in listed.chain(looked_for.filter(|id| !after.is_old(id))) {
            // One that it lost before was lost then, and not now.
            if !self.tx.holds(kind, pk, old)? {
                self.tx.claim(kind, pk, old, self.time)?;
                self.tx.retire(kind, pk, old, self.time, after.is_old(old))?;
            }
        }
        Ok(())
    }

    /// A visit cannot take a number that another visit has: the two would be found as one ever after.
    pub fn refuse_taken_number(&mut self, entry: &Entry, own: Option<Pk>, after: &Numbers) -> Result<(), Halt> {
        let renumbers = entry.condition.as_ref().is_some_and(|old| !after.is_current(old));
        for number in after.current.iter().filter(|_| renumbers) {
            if self.tx.is_carried(ResourceType::Encounter, number, own)? {
                let text = "another visit has this number already: send a merge of the two (A42)";
                return Err(Halt::Fatal(Issue::error("conflict", text).at(entry.place("identifier"))));
            }
        }
        Ok(())
    }

    /// A number that was given out again: its old bearer keeps it as an old one.
    pub fn take_number_from(&mut self, old: &StoredResource, number: &Identifier) -> Result<(), Halt> {
        let text = old.tail.whole();
        let mut resource = content(&text)?;
        let items = resource.get_mut("identifier").and_then(Node::as_array_mut);
        for item in items.into_iter().flatten() {
            if index::identifier(item).as_ref() == Some(number) {
                item.set("use", "old");
            }
        }
        self.rewrite(old, &resource)?;
        Ok(self.tx.retire(old.kind, old.pk, number, self.time, true)?)
    }

    /// A43: the numbers that leave one Patient join the other, also when the message does not list them there. A message
    /// may hold several pairs: the n-th Patient that receives goes with the n-th that gives.
    pub fn take_over_moved_numbers(&mut self) -> Result<(), Halt> {
        if self.message.header.trigger.as_deref() != Some("A43") {
            return Ok(());
        }
        let gives = |entry: &&Entry| entry.numbers.current.is_empty() && !entry.numbers.old.is_empty();
        let (from, to): (Vec<_>, Vec<_>) = self.message.of(ResourceType::Patient).partition(gives);
        if from.len() != to.len() {
            return Ok(());
        }
        to.into_iter().zip(from).try_for_each(|(to, from)| self.take_over(to, &from.numbers.old))
    }

    /// `moved` is sorted.
    fn take_over(&mut self, to: &Entry, moved: &[Identifier]) -> Result<(), Halt> {
        let Some(row) = self.targets.of(to)?.row.clone().filter(|row| row.event <= self.time) else { return Ok(()) };
        let text = row.tail.whole();
        let mut resource = content(&text)?;
        let known = index::numbers(&resource);
        let missing = moved.iter().filter(|id| !known.is_current(id));
        let missing: Vec<Node<'_>> = missing.map(index::element).collect();
        if let Some(Node::Array(list)) = resource.get_mut("identifier") {
            list.retain(|item| {
                !is_old(item) || index::identifier(item).is_none_or(|id| moved.binary_search(&id).is_err())
            });
            list.extend(missing);
        }
        let row = self.rewrite(&row, &resource)?;
        self.identify(ResourceType::Patient, row.pk, None, &known, &index::numbers(&resource))?;
        self.targets.written(&row);
        Ok(())
    }
}
