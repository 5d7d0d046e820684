//! Reading the journal: a few connections that never write, beside the writer and in other processes too. Another process
//! sees a message some milliseconds after its ack, when it has come from the log into the tables; one that opens the
//! journal waits for what was acknowledged before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::Semaphore;

use super::row::{COLUMNS, Row};
use super::search::{self, Query};
use super::unfiled;
use crate::journal::error::{OpenError, ReadError};
use crate::journal::files;
use crate::journal::handover::FreshMessage;
use crate::journal::keys;
use crate::journal::model::{Parsed, Seq, Status, time};
use crate::journal::tables::open;
use crate::journal::tables::schema::WAITING;
use crate::journal::watermarks::Watermarks;

/// How long is waited for a process that writes the journal to file what is in its log.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a delivery needs to know of a message.
#[derive(Debug, Clone)]
pub struct Work {
    pub seq: Seq,
    pub raw: Bytes,
    /// Whether these are the bytes that arrived; what stood on a disk is held against its hash.
    pub intact: bool,
    /// As it was stored with; `None` when the bytes were read from the disk.
    pub parsed: Option<Parsed>,
    pub received: Timestamp,
    pub listener: String,
    pub status: Status,
    pub attempts: u32,
    /// The first attempt.
    pub tried: Option<Timestamp>,
    /// Not to be tried before.
    pub due: Option<Timestamp>,
}

impl Work {
    /// Of a message with which nothing has happened since it arrived.
    pub fn of(seq: Seq, message: FreshMessage) -> Self {
        Self {
            seq,
            raw: message.raw,
            intact: true,
            parsed: message.parsed,
            received: message.received,
            listener: message.listener.as_ref().into(),
            status: Status::Received,
            attempts: 0,
            tried: None,
            due: None,
        }
    }
}

/// A message whose outcome its sender is still to be told.
#[derive(Debug, Clone)]
pub struct Owed {
    pub seq: Seq,
    /// Empty where retention has taken them.
    pub raw: Bytes,
    pub listener: String,
    pub peer: String,
    pub status: Status,
    pub reason: Option<String>,
    /// When the outcome was known.
    pub changed: Timestamp,
}

/// The state of the queue in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// To be delivered, those retrying included.
    pub waiting: u64,
    pub retrying: u64,
    pub dead: u64,
    /// When the oldest of those waiting was received.
    pub oldest: Option<Timestamp>,
}

/// Reads a journal, also one that another process writes.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    keep: usize,
    /// Of a journal that this process writes.
    marks: Option<Arc<Watermarks>>,
}

impl Reader {
    /// Where a process writes the journal, everything that it acknowledged before this call is seen: what it has not filed
    /// yet is waited for, up to a second.
    ///
    /// # Errors
    /// When there is no journal at `path`, or none that this version knows.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let reader = Self::with_connections(path, 1, None)?;
        if files::held(path).is_some() {
            unfiled::follow(path, PATIENCE);
        }
        Ok(reader)
    }

    pub fn with_connections(
        path: &Path,
        connections: usize,
        marks: Option<Arc<Watermarks>>,
    ) -> Result<Self, OpenError> {
        let first = open::reader(path)?;
        let keep = connections.max(1);
        Ok(Self { path: path.into(), idle: Mutex::new(vec![first]), permits: Semaphore::new(keep), keep, marks })
    }

    /// Newest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn search(&self, query: &Query) -> Result<Vec<Row>, ReadError> {
        self.look(|connection| search::search(connection, query))
    }

    /// How many messages a query finds, without regard to its limit.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self, query: &Query) -> Result<u64, ReadError> {
        self.look(|connection| search::count(connection, query))
    }

    /// # Errors
    /// When the file cannot be read.
    pub fn row(&self, seq: Seq) -> Result<Option<Row>, ReadError> {
        self.look(|connection| row(connection, seq))
    }

    /// The bytes as they arrived; `None` where there is no such message, or retention has taken its bytes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn body(&self, seq: Seq) -> Result<Option<Bytes>, ReadError> {
        self.look(|connection| body(connection, seq))
    }

    /// # Errors
    /// When the file cannot be read.
    pub fn backlog(&self) -> Result<Backlog, ReadError> {
        self.look(backlog)
    }

    /// What was stored before the question is in the answer.
    pub fn look<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ReadError> {
        if let Some(marks) = &self.marks {
            marks.block_until_caught_up();
        }
        self.with(read)
    }

    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ReadError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::reader(&self.path)?,
        };
        let result = read(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_ok() && idle.len() < self.keep {
            idle.push(connection);
        }
        Ok(result?)
    }

    /// [`Self::with`] on a thread that may block, never more at once than there are connections.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let _permit = self.permits.acquire().await.map_err(|_| ReadError::Closed)?;
        let reader = Arc::clone(self);
        tokio::task::spawn_blocking(move || reader.with(read)).await.map_err(|_| ReadError::Closed)?
    }
}

pub fn row(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Row>> {
    let sql = format!("SELECT {COLUMNS} FROM message m LEFT JOIN plan p ON p.id = m.plan WHERE m.seq = ?1");
    connection.prepare_cached(&sql)?.query_row([seq], Row::read).optional()
}

pub fn body(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Bytes>> {
    let mut statement = connection.prepare_cached("SELECT raw FROM body WHERE seq = ?1")?;
    Ok(statement.query_row([seq], |row| row.get::<_, Vec<u8>>(0)).optional()?.map(Bytes::from))
}

/// Those of `seqs` that still wait, in no certain order. One whose bytes are gone, cannot be read or are others than those
/// that arrived is not [intact](Work::intact).
pub fn work(connection: &Connection, seqs: &[Seq]) -> rusqlite::Result<Vec<Work>> {
    let sql = |raw: &str, join: &str| {
        format!(
            "SELECT m.seq, {raw}, m.received, m.listener, m.status, m.attempts, m.tried, m.due, m.digest
             FROM message m {join} WHERE m.seq = ?1 AND m.{WAITING}"
        )
    };
    let mut statement = connection.prepare_cached(&sql("b.raw", "LEFT JOIN body b ON b.seq = m.seq"))?;
    let mut found = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let one = match statement.query_row([seq], as_work).optional() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
                connection.query_row(&sql("NULL", ""), [seq], as_work).optional()?
            }
            one => one?,
        };
        found.extend(one);
    }
    Ok(found)
}

fn as_work(row: &rusqlite::Row<'_>) -> rusqlite::Result<Work> {
    let raw = row.get::<_, Option<Vec<u8>>>(1)?;
    Ok(Work {
        seq: row.get(0)?,
        intact: raw.as_ref().is_some_and(|raw| row.get_ref(8).is_ok_and(|is| is.as_blob() == Ok(&keys::digest(raw)))),
        raw: raw.unwrap_or_default().into(),
        parsed: None,
        received: time(row.get(2)?),
        listener: row.get(3)?,
        status: Status::from_text(row.get_ref(4)?.as_str()?),
        attempts: row.get(5)?,
        tried: row.get::<_, Option<i64>>(6)?.map(time),
        due: row.get::<_, Option<i64>>(7)?.map(time),
    })
}

/// The next `limit` after `after`, in order. What a person has queued again since has no outcome to be told.
pub fn owed(connection: &Connection, after: Seq, limit: usize) -> rusqlite::Result<Vec<Owed>> {
    let sql = format!(
        "SELECT m.seq, coalesce(b.raw, x''), m.listener, m.peer, m.status, m.reason, m.changed
         FROM owed o JOIN message m ON m.seq = o.seq LEFT JOIN body b ON b.seq = o.seq
         WHERE o.seq > ?1 AND NOT m.{WAITING} ORDER BY o.seq LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![after, limit], |row| {
        Ok(Owed {
            seq: row.get(0)?,
            raw: row.get::<_, Vec<u8>>(1)?.into(),
            listener: row.get(2)?,
            peer: row.get(3)?,
            status: Status::from_text(row.get_ref(4)?.as_str()?),
            reason: row.get(5)?,
            changed: time(row.get(6)?),
        })
    })?;
    rows.collect()
}

pub fn backlog(connection: &Connection) -> rusqlite::Result<Backlog> {
    let ask = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
    let oldest =
        format!("SELECT received FROM message INDEXED BY message_waiting WHERE {WAITING} ORDER BY seq LIMIT 1");
    Ok(Backlog {
        waiting: ask(&format!("SELECT count(*) FROM message INDEXED BY message_waiting WHERE {WAITING}"))?,
        retrying: ask(&format!(
            "SELECT count(*) FROM message INDEXED BY message_waiting WHERE {WAITING} AND status = 'retrying'"
        ))?,
        dead: ask("SELECT count(*) FROM message WHERE status = 'dead'")?,
        oldest: connection.prepare_cached(&oldest)?.query_row([], |row| row.get(0).map(time)).optional()?,
    })
}
