//! Why the journal cannot be opened, written or read. No text here holds patient data.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::model::{Seq, Status};

/// Why the journal cannot be used. Each names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the journal {path} is in use by another process{holder}; stop that one, or give this one a journal of its own"
    )]
    Locked { path: PathBuf, holder: String },
    #[error(
        "the journal {path} cannot be written ({reason}); check that the folder exists and that this user may write to it"
    )]
    NotWritable { path: PathBuf, reason: String },
    #[error("{path} is not a journal of this program; set journal.path to another file")]
    NotAJournal { path: PathBuf },
    #[error(
        "the journal {path} is damaged ({reason}); restore it from a backup, set journal.on_damage to \"go-on\" to go on with what can be read of it, or recover it with: sqlite3 {path} .recover"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "the journal {path} was written by a newer version of this program (format {found}, this one knows {known}); use the newer one"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("there is no journal at {path}; name its configuration with --config")]
    Missing { path: PathBuf },
    #[error(
        "{log} is the log of another journal than {path}; put that journal back, or move the log away if its messages are not wanted"
    )]
    ForeignLog { path: PathBuf, log: PathBuf },
    #[error(
        "{log}, the log of the journal {path}, was written by an older version of this program that did not end in order; start that version once and stop it, then start this one"
    )]
    OlderLog { path: PathBuf, log: PathBuf },
    #[error(
        "the log of the journal {path} is damaged ({what}); nothing was changed. Keep the files {path}*, and set journal.on_damage to \"go-on\" to go on with what can be read"
    )]
    LogDamaged { path: PathBuf, what: String },
    #[error("the journal {path} cannot be opened: {reason}")]
    Other { path: PathBuf, reason: String },
}

/// Why the journal did not write. What the caller asked for is not in the journal, or cannot be known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the journal has no room: {0}")]
    Full(String),
    #[error("the journal cannot be written: {0}")]
    Io(String),
    #[error("the journal's files are gone: {0}")]
    Gone(String),
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

/// Why a part of the log could not be filed.
#[derive(Debug, thiserror::Error)]
pub enum FilingError {
    #[error("the log cannot be read: {0}")]
    Log(#[from] io::Error),
    #[error("{0}")]
    Tables(#[from] rusqlite::Error),
}

impl From<&FilingError> for StoreError {
    fn from(fault: &FilingError) -> Self {
        match fault {
            FilingError::Tables(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Self::Full("the disk is used up".into())
            }
            fault => Self::Io(fault.to_string()),
        }
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the journal cannot be read: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the journal's log cannot be read: {0}")]
    Log(String),
    #[error("the journal is closed")]
    Closed,
}
