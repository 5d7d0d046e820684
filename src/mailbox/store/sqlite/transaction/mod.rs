//! What the processing of one message reads and writes, as SQL: [`resources`], [`identities`], [`correspondence`].

mod correspondence;
mod identities;
mod resources;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

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
}

impl<'a> SqliteTransaction<'a> {
    pub(super) fn new(connection: &'a Connection, now: Timestamp, known: &'a mut WriterCache, savepoint: bool) -> Self {
        Self { connection, now, known, savepoint, writes: Cell::new(0) }
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
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    fn insert(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, StoreError> {
        self.writes.set(self.writes.get() + 1);
        Ok(self.connection.prepare_cached(sql)?.insert(params)?)
    }

    /// One number, where there is one.
    fn number(&self, sql: &str, params: impl rusqlite::Params) -> Result<Option<i64>, StoreError> {
        Ok(self.connection.prepare_cached(sql)?.query_row(params, |row| row.get(0)).optional()?)
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

impl Transaction for SqliteTransaction<'_> {
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
