//! The journal: every byte sequence that arrived, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

/// A journal row's number: rises by one for each message stored, in order of arrival.
pub type Seq = i64;

/// What a message is about, as far as the queue's order and the search need it: a patient or visit identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: KeyKind,
    /// Authority and value, as `authority|value`; patient data, never logged.
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    Patient,
    Visit,
    /// No patient: a bed status (A20).
    Location,
}

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
