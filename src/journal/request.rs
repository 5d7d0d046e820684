//! Everything that the threads of the journal say to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::StoreError;
use super::handover::{self, Load};
use super::model::{Act, Arrival, Record, Seq, Stored};
use super::wal::entry::{ArrivalEntry, LogEntry, beginning};
use super::wal::extent::Extent;

/// What the writer is asked for.
pub enum Job {
    Store(Box<PreparedArrival>),
    Record(Box<Record>),
    /// For the thread that files, behind everything that was asked for before.
    Maintain(Maintenance),
}

/// A message, with everything that can be worked out before it is its turn.
pub struct PreparedArrival {
    pub arrival: Arrival,
    pub digest: [u8; 16],
    /// Sender and control id, hashed.
    pub name: u64,
    pub keys: String,
    pub peer: String,
    pub line: Line,
}

impl PreparedArrival {
    /// As it goes into the log and into the tables.
    pub fn entry(&self, seq: Seq) -> LogEntry<'_> {
        let arrival = &self.arrival;
        let (status, reason) = beginning(&arrival.fate);
        LogEntry::Arrival(ArrivalEntry {
            seq,
            received: arrival.received.as_microsecond(),
            listener: &arrival.listener,
            peer: &self.peer,
            sender: &arrival.sender,
            control_id: &arrival.control_id,
            event: arrival.event.as_deref(),
            keys: &self.keys,
            digest: &self.digest,
            status,
            reason,
            raw: &arrival.raw,
        })
    }
}

/// The messages that came over one connection. After one of them was not stored none that was sent behind it is, until
/// [`Line::mend`]: it would overtake the first, which its sender sends again.
#[derive(Debug, Clone, Default)]
pub struct Line {
    broken: Arc<AtomicBool>,
}

impl Line {
    /// To be called when nothing of the line is under way: what comes now was sent by somebody who knows.
    pub fn mend(&self) {
        self.broken.store(false, Ordering::Relaxed);
    }

    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum JobDone {
    Stored(Stored),
    Recorded,
    Maintained(MaintenanceDone),
}

pub type ReplyTo = oneshot::Sender<JobResult>;
pub type JobResult = Result<JobDone, StoreError>;

impl Job {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Store(intake) => intake.arrival.raw.len(),
            Self::Record(_) | Self::Maintain(_) => 0,
        }
    }
}

/// What the thread that writes the log asks for.
pub enum FilerJob {
    File(SyncedGroup),
    Maintain(Maintenance, ReplyTo),
}

/// A part of the log that is on disk, and who waits for what is decided in it.
pub struct SyncedGroup {
    pub extent: Extent,
    /// All of its entries, in order; none where there is too much under way to the filer already, which then reads them
    /// from the disk.
    pub entries: Option<HandedEntries>,
    pub decisions: Vec<PendingDecision>,
}

/// Entries that are in the log, in memory still.
pub struct HandedEntries {
    pub entries: Vec<HandedEntry>,
    /// What they weigh while they are under way.
    pub load: Load,
}

/// An entry of the log, as it was before it became bytes.
pub enum HandedEntry {
    Arrival(Seq, Box<PreparedArrival>),
    Record(Box<Record>),
}

impl HandedEntry {
    pub fn entry(&self) -> LogEntry<'_> {
        match self {
            Self::Arrival(seq, arrival) => arrival.entry(*seq),
            Self::Record(record) => LogEntry::from(&**record),
        }
    }

    /// What it takes in memory.
    pub fn weight(&self) -> usize {
        match self {
            Self::Arrival(_, arrival) => handover::weight(&arrival.arrival),
            Self::Record(_) => handover::ITSELF,
        }
    }
}

/// Somebody waits to hear whether the decision at this position was taken.
pub struct PendingDecision {
    pub position: u64,
    pub reply: ReplyTo,
}

/// Work on the tables that is neither a message nor an outcome. It is in no entry of the log, and is synced before
/// anybody is told that it was done.
#[derive(Debug)]
pub enum Maintenance {
    Note(Act),
    /// Removes the bytes of messages behind `after` that were finished before `before` (microseconds).
    Retire {
        before: i64,
        after: Seq,
    },
    GiveBack,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceDone {
    /// The act's number, messages, or pages.
    pub count: i64,
    /// Where the next step goes on, if there is one.
    pub next: Option<Seq>,
    /// How long it kept the thread.
    pub took: Duration,
}
