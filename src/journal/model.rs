//! What the journal takes and what it tells: a message as it arrived, what became of it, and what people did.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::keys::{self, Hashes, Key};

/// A journal row's number: rises by one for each message stored, in order of arrival.
pub type Seq = i64;

/// What is to become of a message that is stored now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// To be mapped and delivered.
    Queue,
    /// Taken and kept, but not delivered, by policy.
    Skip { reason: String },
    /// Answered with an error; kept so that nothing is silent.
    Refuse { reason: String },
}

/// What the sender of a message to the journal has made of its bytes. The journal cannot look into it: it is handed on with
/// the bytes to whoever delivers them while both are still in memory, and never written.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub made: Arc<dyn Any + Send + Sync>,
    /// What it takes in memory besides the bytes it was made of: the journal bounds what it holds.
    pub size: usize,
}

/// One message as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub listener: Arc<str>,
    pub peer: SocketAddr,
    pub received: Timestamp,
    pub raw: Bytes,
    /// MSH-10; lossy text where it is not UTF-8; empty where there is none.
    pub control_id: String,
    /// MSH-4 and MSH-3 as `facility|application`.
    pub sender: String,
    /// `A01`; `None` where it cannot be read.
    pub event: Option<String>,
    pub keys: Vec<Key>,
    pub fate: Fate,
    pub parsed: Option<Parsed>,
}

/// What storing came to. By the time this is returned the bytes are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    New {
        seq: Seq,
    },
    /// Same sender, control id and bytes as `of`, within the duplicate window: nothing was stored again. `fate` is
    /// what the first one was answered by, so that the ack can be the same.
    ///
    /// A message without a control id is never a duplicate, and neither is one that was refused or skipped before
    /// and would now be taken: the sender sends it again because somebody has mended the configuration.
    Duplicate {
        of: Seq,
        fate: Fate,
    },
    /// Same sender and control id as an earlier message, other bytes: stored, to be processed with a warning.
    Reused {
        seq: Seq,
    },
}

/// What became of a message in one step of its way, as the engine or a person reports it.
#[derive(Debug, Clone)]
pub struct Record {
    pub seq: Seq,
    pub at: Timestamp,
    pub progress: Progress,
    /// Whether this step sent something to the destination: counts as an attempt.
    pub sent: bool,
    /// What the destination said in its own words, cut to a few hundred characters, and what was done about it. May hold
    /// patient data.
    pub detail: Option<String>,
    /// The mapping plan that made the Bundle, by its hash.
    pub plan: Option<Arc<str>>,
    pub bundle: Option<Uuid>,
    /// The sender is to be told this outcome in an acknowledgement of its own.
    pub owes: bool,
}

impl Record {
    /// A step that sent nothing: a decision of a person, or of a rule.
    #[must_use]
    pub fn decision(seq: Seq, at: Timestamp, progress: Progress) -> Self {
        Self { seq, at, progress, sent: false, detail: None, plan: None, bundle: None, owes: false }
    }

    /// Whether it may be refused: a person's decision, by a state of the queue that may have changed since.
    pub(super) fn is_decision(&self) -> bool {
        matches!(self.progress, Progress::Skipped { .. } | Progress::Requeued)
    }
}

/// The new status of a message. Reasons hold no patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Delivered,
    Retry {
        due: Timestamp,
        reason: String,
    },
    Dead {
        reason: String,
    },
    Skipped {
        reason: String,
    },
    /// A person wants it delivered (again), now.
    Requeued,
    /// The sender has been told the outcome; the status stays.
    Told,
}

/// A message that waits: its number and its lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub seq: Seq,
    /// Hashes of the patients and visits that it touches; of its source where it touches none. Never empty.
    pub lanes: Hashes,
}

impl Queued {
    /// By the hashes of its keys.
    pub(super) fn new(seq: Seq, mut lanes: Hashes, listener: &str) -> Self {
        if lanes.is_empty() {
            lanes.push(keys::source_hash(listener));
        }
        Self { seq, lanes }
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits for its turn, or is being delivered for the first time.
    Received,
    /// Was tried, and will be again.
    Retrying,
    Delivered,
    /// Given up; waits for a person.
    Dead,
    /// Not to be delivered, by policy or by a person.
    Skipped,
    /// The sender was answered with an error.
    Refused,
}

impl Status {
    /// The journal's log knows a status by its place here: new ones stand at the end.
    pub const ALL: [Self; 6] =
        [Self::Received, Self::Retrying, Self::Delivered, Self::Dead, Self::Skipped, Self::Refused];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
        }
    }

    /// Whether it is still to be delivered.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::Received | Self::Retrying)
    }

    /// The table's CHECK keeps other texts out.
    pub(super) fn from_text(text: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.as_str() == text).unwrap_or(Self::Received)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("'{text}' is not a status: one of {all}")
        })
    }
}

/// Something a person did to messages of the queue, as it is kept. The steps that came of it have the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub at: Timestamp,
    pub who: String,
    /// `retry`, `discard`
    pub command: String,
    /// What was asked for, as it was typed; may hold patient data.
    pub selection: String,
    pub reason: Option<String>,
    /// How many messages were meant.
    pub messages: u64,
}

/// An act with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    pub id: i64,
    pub act: Act,
}

/// A time as the tables have it.
pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
