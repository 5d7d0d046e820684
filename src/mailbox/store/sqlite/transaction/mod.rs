//! What the processing of one message reads and writes, as SQL: [`resources`], [`identities`], [`correspondence`].

mod correspondence;
mod identities;
mod resources;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Statement, StatementStatus};

use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::store::Transaction;
use crate::mailbox::store::model::StoreError;

pub(super) use identities::link_kind;

/// What the writer knows from one transaction to the next.
#[derive(Debug, Default)]
pub(super) struct WriterCache {
    uris: HashMap<String, i64>,
    lists: HashMap<String, HashMap<String, i64>>,
    /// The next position of each list.
    positions: HashMap<i64, i64>,
    /// The systems that identifiers of a type came under.
    systems: HashSet<(ResourceType, i64)>,
    /// The newest version's number.
    version: Option<i64>,
    /// How many answers are held.
    answers: Option<i64>,
}

pub(super) struct SqliteTransaction<'a> {
    connection: &'a Connection,
    now: Timestamp,
    known: &'a mut WriterCache,
    /// Whether there is a savepoint to go back to.
    savepoint: bool,
    /// Statements that wrote.
    writes: Cell<u64>,
    /// Steps that were taken, and up to where the piece of work at hand may go.
    taken: Cell<u64>,
    limit: u64,
}

/// Steps of SQLite's virtual machine that count for one of ours. A statement that finds one row takes some dozens.
const MACHINE_STEPS: usize = 64;

/// What the writer remembers of one kind is forgotten when it is so much: a sender may name ever new endpoints and systems.
const MOST_KNOWN: usize = 10_000;

impl<'a> SqliteTransaction<'a> {
    pub(super) fn new(connection: &'a Connection, now: Timestamp, known: &'a mut WriterCache, savepoint: bool) -> Self {
        known.trim();
        let (writes, taken) = (Cell::new(0), Cell::new(0));
        Self { connection, now, known, savepoint, writes, taken, limit: u64::MAX }
    }

    /// Begins another piece of work, which may take any number of steps until it says how many.
    pub(super) fn begin(&mut self) {
        self.limit = u64::MAX;
    }

    /// The steps of all pieces of work.
    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }

    fn take(&self, steps: usize) -> Result<(), StoreError> {
        crate::mailbox::steps::take(steps);
        let taken = self.taken.get() + steps as u64;
        self.taken.set(taken);
        if taken > self.limit { Err(StoreError::TooCostly) } else { Ok(()) }
    }

    /// Counts what a statement took, that of its last run.
    fn ran(&self, statement: &Statement<'_>, rows: usize) -> Result<(), StoreError> {
        let machine = statement.reset_status(StatementStatus::VmStep);
        self.take(1 + rows + usize::try_from(machine).unwrap_or_default() / MACHINE_STEPS)
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.get()
    }

    /// What was remembered of rows that no longer exist is forgotten.
    pub(super) fn rolled_back(&mut self) {
        *self.known = WriterCache::default();
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.writes.set(self.writes.get() + 1);
        let mut statement = self.connection.prepare_cached(sql)?;
        let changed = statement.execute(params)?;
        self.ran(&statement, 0)?;
        Ok(changed)
    }

    fn insert(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, StoreError> {
        self.writes.set(self.writes.get() + 1);
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = statement.insert(params)?;
        self.ran(&statement, 0)?;
        Ok(row)
    }

    /// One number, where there is one.
    fn number(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params, |row| row.get(0)).optional()?;
        self.ran(&statement, 1)?;
        Ok(found)
    }

    /// All rows, each as `read` takes it.
    fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl Fn(&SqlRow<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = Vec::new();
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
            self.take(1)?;
        }
        drop(rows);
        self.ran(&statement, 0)?;
        Ok(found)
    }

    /// Counts a text that is read or written, and has to be packed or unpacked.
    fn text(&self, text: &str) -> Result<(), StoreError> {
        self.take(text.len() >> 10)
    }

    /// The number of an endpoint or a system, which it gets when it has none.
    fn uri(&mut self, uri: &str) -> Result<i64, StoreError> {
        let pk = match self.known_uri(uri)? {
            Some(pk) => pk,
            None => self.insert("INSERT INTO uri (uri) VALUES (?1)", [uri])?,
        };
        if !self.known.uris.contains_key(uri) {
            self.known.uris.insert(uri.to_owned(), pk);
        }
        Ok(pk)
    }

    fn known_uri(&self, uri: &str) -> Result<Option<i64>, StoreError> {
        match self.known.uris.get(uri) {
            Some(&pk) => Ok(Some(pk)),
            None => self.number("SELECT pk FROM uri WHERE uri = ?1", [uri]),
        }
    }
}

impl WriterCache {
    fn trim(&mut self) {
        let lists: usize = self.lists.values().map(HashMap::len).sum();
        if self.uris.len().max(lists).max(self.positions.len()).max(self.systems.len()) > MOST_KNOWN {
            *self = Self { version: self.version, answers: self.answers, ..Self::default() };
        }
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn allow(&mut self, most: u64) {
        self.limit = self.taken.get().saturating_add(most);
    }

    fn spend(&self, steps: usize) -> Result<(), StoreError> {
        self.take(steps)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn undo(&mut self) -> Result<(), StoreError> {
        if !self.savepoint {
            // The writer runs the work again, with one.
            return Err(StoreError::Damaged("a message that has to be undone"));
        }
        self.rolled_back();
        self.execute("ROLLBACK TO message", []).map(|_| ())
    }
}
