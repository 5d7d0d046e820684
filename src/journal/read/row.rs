//! A message's row, as people see it.

use jiff::Timestamp;
use rusqlite::Row as SqlRow;
use uuid::Uuid;

use crate::journal::{Key, Seq, keys};

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
    pub fn from_text(text: &str) -> Self {
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

pub fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}
