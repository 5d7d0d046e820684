//! The journal: every byte sequence that arrived, and what became of it.
//!
//! Promises:
//! - [`Journal::store`] returns `Ok` only after the bytes were written and synced. When in doubt it returns an error,
//!   and the sender, who got no positive ack, sends again.
//! - Rows are numbered in the order in which they were stored, and [`Feed`] hands them on in that order without a gap.
//! - A message is stored once: the same control id and bytes from the same sender within the duplicate window are
//!   recognised, and the first one's fate is told again.
//! - What has been stored is never changed. Only its status moves:
//!   `received -> delivered | retrying | dead | skipped | refused`; and its bytes go when it was finished long ago, if
//!   the site wants that.
//!
//! Refuses: to open a file that another process writes, that is damaged, or that a later version wrote; and to
//! take messages when the disk or the configured size is nearly used up, while outcomes still can be recorded.
//!
//! # Layout
//!
//! A message gets its place among the [`posts`] and goes through two threads. [`writer`] knows what was there before ([`known`]) and whether there is [`room`],
//! appends to the [`log`] ([`entry`], [`chunk`]) and answers; [`filer`] brings the tables after the log, decides what
//! people ask for and does the chores ([`keep`]), and [`marks`] says how far each is. All SQL is in [`schema`] (the
//! tables), [`ledger`], [`acts`], [`keep`] (writing), and [`read`], [`search`], [`feed`], [`known`], [`history`],
//! [`lanes`], [`overview`], [`left`], [`verify`] (reading). [`backup`] makes a copy of both, log and tables.

mod read;
mod wal;
mod tables;
mod intake;
mod keys;
mod progress;
#[expect(clippy::module_inception, reason = "the journal as its users hold it")]
mod journal;
mod config;
mod backup;
#[cfg(test)]
mod fixture;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

pub use backup::backup;
pub use config::Config;
pub use intake::queue::Storing;
pub use intake::writer::{Commit, Line};
pub use journal::Journal;
pub use keys::{Key, KeyKind};
pub use read::history::{PAUSE, RESUME, Step};
pub use read::pending::{Feed, News, Queued};
pub use read::reader::{Backlog, Owed, ReadError, Reader, Work};
pub use read::row::{Row, Status};
pub use read::search::{Place, Query};
pub use read::stats::{Overview, Reason};
pub use read::unfiled::unfiled;
pub use read::verify::{Finding, Verified, verify};
pub use tables::audit::{Act, Noted};
pub use tables::open::{OpenError, held};

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
pub type Parsed = Arc<dyn Any + Send + Sync>;

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
    fn is_decision(&self) -> bool {
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

/// Why the journal did not write. What the caller asked for is not in the journal, or cannot be known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the journal has no room: {0}")]
    Full(String),
    #[error("the journal cannot be written: {0}")]
    Io(String),
    #[error("a message before it, of the same connection, was not stored")]
    Behind,
    #[error("the journal holds no message {0}")]
    Unknown(Seq),
    #[error("the bytes of message {0} are no longer kept (journal.keep_bodies); let its source send it again")]
    NoBytes(Seq),
    #[error("message {seq} is {status} already")]
    Settled { seq: Seq, status: Status },
    #[error("the journal is closed")]
    Closed,
}
