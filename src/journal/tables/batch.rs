//! What the filer files next: entries that follow each other in one file of the log, either all in memory or all to be read.

use crate::journal::request::{HandedEntries, HandedEntry, PendingDecision, SyncedGroup};
use crate::journal::wal::entry::LogEntry;
use crate::journal::wal::extent::Extent;

/// No more is joined to what weighs so much, so that nobody waits long for a transaction to end.
const ENOUGH: usize = 4 << 20;

pub struct Batch {
    /// What is left of it.
    pub rest: Extent,
    /// All of that, where it has been handed over in memory.
    entries: Option<HandedEntries>,
}

impl Batch {
    /// And those who wait for the decisions in it.
    pub fn of(group: SyncedGroup) -> (Self, Vec<PendingDecision>) {
        (Self { rest: group.extent, entries: group.entries }, group.decisions)
    }

    /// Takes in the group that directly follows; gives it back where it does not, or comes the other way.
    pub fn join(&mut self, mut group: SyncedGroup) -> Result<Vec<PendingDecision>, SyncedGroup> {
        let alike = match (&self.entries, &group.entries) {
            (Some(before), Some(_)) => before.load.weight() < ENOUGH,
            (None, None) => true,
            _ => false,
        };
        if !alike || !self.rest.join(&group.extent) {
            return Err(group);
        }
        if let (Some(before), Some(more)) = (&mut self.entries, group.entries.take()) {
            before.entries.extend(more.entries);
            before.load.join(more.load);
        }
        Ok(group.decisions)
    }

    pub fn is_done(&self) -> bool {
        self.rest.first > self.rest.last
    }

    pub fn is_in_memory(&self) -> bool {
        self.entries.is_some()
    }

    /// What is in memory and behind this position.
    pub fn entries(&self, filed: u64) -> Vec<(u64, LogEntry<'_>)> {
        let entries = self.entries.iter().flat_map(|handed| &handed.entries);
        (self.rest.first..).zip(entries.map(HandedEntry::entry)).filter(|(position, _)| *position > filed).collect()
    }

    /// The same, given away.
    pub fn take_entries(&mut self, filed: u64) -> impl Iterator<Item = HandedEntry> {
        let entries = self.entries.take().into_iter().flat_map(|handed| handed.entries);
        (self.rest.first..).zip(entries).filter(move |(position, _)| *position > filed).map(|(_, entry)| entry)
    }
}
