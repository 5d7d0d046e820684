//! A message's row, as people see it.

use jiff::Timestamp;
use rusqlite::Row as SqlRow;
use uuid::Uuid;

use crate::journal::keys::{self, Key};
use crate::journal::model::{Seq, Status, time};

/// Everything about a message but its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub seq: Seq,
    pub received: Timestamp,
    pub listener: String,
    pub peer: String,
    /// `facility|application`
    pub sender: String,
    pub control_id: String,
    pub event: Option<String>,
    pub keys: Vec<Key>,
    /// Bytes as received.
    pub size: u64,
    pub status: Status,
    /// Why it has this status; holds no patient data.
    pub reason: Option<String>,
    /// What the destination said last; may hold patient data.
    pub detail: Option<String>,
    pub attempts: u32,
    /// The first attempt.
    pub tried: Option<Timestamp>,
    /// The next attempt, while retrying.
    pub due: Option<Timestamp>,
    /// When the status last changed.
    pub changed: Timestamp,
    pub plan: Option<String>,
    pub bundle: Option<Uuid>,
}

/// In the order in which [`Row::read`] takes them; `m` is the message, `p` the plan.
pub const COLUMNS: &str = "m.seq, m.received, m.listener, m.peer, m.sender, m.control_id, m.event, m.keys, \
     m.size, m.status, m.reason, m.detail, m.attempts, m.tried, m.due, m.changed, p.hash, m.bundle";

impl Row {
    pub fn read(row: &SqlRow<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            received: time(row.get(1)?),
            listener: row.get(2)?,
            peer: row.get(3)?,
            sender: row.get(4)?,
            control_id: row.get(5)?,
            event: row.get(6)?,
            keys: keys::from_text(row.get_ref(7)?.as_str()?),
            size: row.get(8)?,
            status: Status::from_text(row.get_ref(9)?.as_str()?),
            reason: row.get(10)?,
            detail: row.get(11)?,
            attempts: row.get(12)?,
            tried: row.get::<_, Option<i64>>(13)?.map(time),
            due: row.get::<_, Option<i64>>(14)?.map(time),
            changed: time(row.get(15)?),
            plan: row.get(16)?,
            bundle: row.get::<_, Option<[u8; 16]>>(17)?.map(Uuid::from_bytes),
        })
    }
}
