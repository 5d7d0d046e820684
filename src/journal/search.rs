//! Finding messages: by patient, visit, control id, event, status, listener and time, newest first.
//!
//! Answers in well under a second over millions of messages, because every question has an index: a key is looked up
//! block by block ([`super::schema`]), each failing status has a partial index, and what has none (listener,
//! delivered) is what nearly every row has.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::row::{COLUMNS, Row, Status};
use super::schema::{BLOCK_SHIFT, WAITING};
use super::{KeyKind, Seq, key};

/// What to look for: everything given must hold. Empty: the latest messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// A number, or `authority|number`.
    pub patient: Option<String>,
    /// As `patient`.
    pub visit: Option<String>,
    pub control_id: Option<String>,
    pub event: Option<String>,
    pub status: Option<Status>,
    pub listener: Option<String>,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// The last row of the page before this one.
    pub after: Option<Place>,
    pub limit: usize,
}

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub received: Timestamp,
    pub seq: Seq,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            patient: None,
            visit: None,
            control_id: None,
            event: None,
            status: None,
            listener: None,
            from: None,
            until: None,
            after: None,
            limit: 100,
        }
    }
}

impl Row {
    /// For [`Query::after`].
    #[must_use]
    pub fn place(&self) -> Place {
        Place { received: self.received, seq: self.seq }
    }
}

pub(super) fn search(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<Row>> {
    let sql = Sql::new(query);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let text = format!(
        "{} SELECT {COLUMNS} FROM {} LEFT JOIN plan p ON p.id = m.plan WHERE {}
         ORDER BY m.received DESC, m.seq DESC LIMIT {limit}",
        sql.with, sql.from, sql.condition
    );
    let mut statement = connection.prepare(&text)?;
    let rows = statement.query_map(params_from_iter(sql.values), Row::read)?;
    rows.collect()
}

pub(super) fn count(connection: &Connection, query: &Query) -> rusqlite::Result<u64> {
    let sql = Sql::new(query);
    let text = format!("{} SELECT count(*) FROM {} WHERE {}", sql.with, sql.from, sql.condition);
    connection.query_row(&text, params_from_iter(sql.values), |row| row.get(0))
}

struct Sql {
    with: &'static str,
    from: &'static str,
    condition: String,
    values: Vec<Value>,
}

/// Every block, the newest first, asked for one hash. CROSS JOIN keeps SQLite from turning the order round.
const BLOCKS: &str = "WITH RECURSIVE block(n, last) AS (
    SELECT (SELECT max(seq) >> 11 FROM message), (SELECT min(seq) >> 11 FROM message)
    UNION ALL SELECT n - 1, last FROM block WHERE n > last)";
const BY_KEY: &str = "block CROSS JOIN mention k CROSS JOIN message m";

impl Sql {
    fn new(query: &Query) -> Self {
        let mut sql = Self { with: "", from: "message m", condition: "1".into(), values: Vec::new() };
        sql.key(KeyKind::Patient, query.patient.as_deref());
        sql.key(KeyKind::Visit, query.visit.as_deref());
        if let Some(id) = &query.control_id {
            sql.and("m.control_id <> ''"); // for the partial index
            sql.compare("m.control_id =", id.clone());
        }
        if let Some(event) = &query.event {
            sql.compare("m.event =", event.clone());
        }
        if let Some(listener) = &query.listener {
            sql.compare("m.listener =", listener.clone());
        }
        if let Some(status) = query.status {
            sql.status(status);
        }
        if let Some(from) = query.from {
            sql.compare("m.received >=", from.as_microsecond());
        }
        if let Some(until) = query.until {
            sql.compare("m.received <", until.as_microsecond());
        }
        if let Some(place) = query.after {
            let (received, seq) = (sql.bind(place.received.as_microsecond()), sql.bind(place.seq));
            sql.and(&format!("m.received <= {received}")); // for the index; the row value is only a filter
            sql.and(&format!("(m.received, m.seq) < ({received}, {seq})"));
        }
        sql
    }

    /// The first key leads to the messages, a second one is a filter.
    fn key(&mut self, kind: KeyKind, value: Option<&str>) {
        let Some(value) = value.map(str::trim) else { return };
        let hash = self.bind(kind.hash(key::bare(value)).cast_signed());
        if self.with.is_empty() {
            self.with = BLOCKS;
            self.from = BY_KEY;
            self.and(&format!("k.block = block.n AND k.hash = {hash} AND m.seq = k.seq"));
        } else {
            let block = format!("m.seq >> {BLOCK_SHIFT}");
            self.and(&format!(
                "EXISTS (SELECT 1 FROM mention WHERE block = {block} AND hash = {hash} AND seq = m.seq)"
            ));
        }
        if value.contains('|') {
            let line = self.bind(key::line(kind, value));
            self.and(&format!("instr(char(10) || m.keys || char(10), char(10) || {line} || char(10)) > 0"));
        }
    }

    /// Written into the text, because a partial index is not found through a parameter.
    fn status(&mut self, status: Status) {
        if status.waits() {
            self.and(&format!("m.{WAITING}"));
        }
        self.and(&format!("m.status = '{}'", status.as_str()));
    }

    fn compare(&mut self, left: &str, value: impl Into<Value>) {
        let right = self.bind(value);
        self.and(&format!("{left} {right}"));
    }

    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn and(&mut self, condition: &str) {
        self.condition.push_str(" AND ");
        self.condition.push_str(condition);
    }
}
