//! What the journal's own tests share.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::{Arrival, Fate, Journal, JournalConfig, Key, KeyKind, Seq, Stored};

pub(super) fn config(folder: &TempDir) -> JournalConfig {
    JournalConfig { path: folder.path().join("journal.db"), min_free: 0, ..JournalConfig::default() }
}

pub(super) fn open() -> (TempDir, Journal) {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(&config(&folder)).unwrap();
    (folder, journal)
}

/// A message that is in no way special, received `minute` minutes after a fixed time.
pub(super) fn arrival(control_id: &str, minute: i64) -> Arrival {
    let start: Timestamp = "2026-01-10T08:00:00Z".parse().unwrap();
    Arrival {
        listener: Arc::from("adt"),
        peer: ([127, 0, 0, 1], 4711).into(),
        received: start + SignedDuration::from_mins(minute),
        raw: format!("MSH|^~\\&|APP|HOSP|||202601100800||ADT^A01|{control_id}|P|2.5\rPID|1||42\r").into_bytes().into(),
        control_id: control_id.into(),
        sender: "HOSP|APP".into(),
        event: Some("A01".into()),
        keys: Vec::new(),
        fate: Fate::Queue,
        parsed: None,
    }
}

pub(super) fn patient(value: &str) -> Key {
    Key { kind: KeyKind::Patient, value: value.into() }
}

pub(super) fn visit(value: &str) -> Key {
    Key { kind: KeyKind::Visit, value: value.into() }
}

/// The number of a message that was stored as new.
pub(super) fn seq(stored: Stored) -> Seq {
    match stored {
        Stored::New { seq } | Stored::Reused { seq } => seq,
        Stored::Duplicate { of, .. } => panic!("a duplicate of {of}"),
    }
}
