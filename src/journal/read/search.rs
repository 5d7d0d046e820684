//! Finding messages: by patient, visit, control id, event, status, listener and time, newest first.
//!
//! Answers in well under a second over millions of messages, because every question has an index: a key is looked up
//! block by block ([`crate::journal::tables::schema`]), each failing status has a partial index, and what has none (listener,
//! delivered) is what nearly every row has.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::row::{COLUMNS, Row};
use crate::journal::keys::{self, KeyKind};
use crate::journal::model::{Seq, Status};
use crate::journal::tables::schema::BLOCK_SHIFT;

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
    pub after: Option<SearchCursor>,
    pub limit: usize,
}

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchCursor {
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
    pub fn place(&self) -> SearchCursor {
        SearchCursor { received: self.received, seq: self.seq }
    }
}

pub fn search(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<Row>> {
    let (text, values) = statement(query);
    let mut statement = connection.prepare(&text)?;
    let rows = statement.query_map(params_from_iter(values), Row::read)?;
    rows.collect()
}

fn statement(query: &Query) -> (String, Vec<Value>) {
    let sql = Sql::new(query);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let text = format!(
        "{} SELECT {COLUMNS} FROM {} LEFT JOIN plan p ON p.id = m.plan WHERE {}
         ORDER BY m.received DESC, m.seq DESC LIMIT {limit}",
        sql.with, sql.from, sql.condition
    );
    (text, sql.values)
}

pub fn count(connection: &Connection, query: &Query) -> rusqlite::Result<u64> {
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
        let hash = self.bind(kind.hash(keys::bare(value)).cast_signed());
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
            let line = self.bind(keys::line(kind, value));
            self.and(&format!("instr(char(10) || m.keys || char(10), char(10) || {line} || char(10)) > 0"));
        }
    }

    /// Written into the text, because a partial index is not found through a parameter.
    fn status(&mut self, status: Status) {
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::journal::fixture::{arrival, open, patient, seq, visit};
    use crate::journal::{Fate, Journal, Progress, Record};

    async fn found(journal: &Journal, query: Query) -> Vec<String> {
        assert_eq!(
            journal.count(query.clone()).await.unwrap(),
            journal.search(Query { limit: 10_000, ..query.clone() }).await.unwrap().len() as u64
        );
        journal.search(query).await.unwrap().into_iter().map(|row| row.control_id).collect()
    }

    /// Five messages, a minute apart: two of patient 42 (one with a visit), one of another authority's 42, one A08.
    async fn filled() -> (tempfile::TempDir, Journal) {
        let (folder, journal) = open();
        let mut sent: Vec<_> = (0..5).map(|n| arrival(&format!("c{n}"), n)).collect();
        sent[0].keys = vec![patient("H|42"), visit("H|V1")];
        sent[1].keys = vec![patient("H|42")];
        sent[2].keys = vec![patient("OTHER|42")];
        sent[3].event = Some("A08".into());
        sent[4].fate = Fate::Refuse { reason: "no PID".into() };
        sent[4].listener = "lab".into();
        for one in sent {
            seq(journal.store(one).await.unwrap());
        }
        (folder, journal)
    }

    #[tokio::test]
    async fn each_question_finds_its_messages_newest_first() {
        let (_folder, journal) = filled().await;
        let all = Query::default;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(found(&journal, all()).await, ["c4", "c3", "c2", "c1", "c0"]);
        assert_eq!(found(&journal, Query { patient: text("42"), ..all() }).await, ["c2", "c1", "c0"]);
        assert_eq!(found(&journal, Query { patient: text("H|42"), ..all() }).await, ["c1", "c0"]);
        assert_eq!(found(&journal, Query { visit: text("V1"), ..all() }).await, ["c0"]);
        let both = Query { patient: text("42"), visit: text("V1"), ..all() };
        assert_eq!(found(&journal, both).await, ["c0"]);
        assert_eq!(found(&journal, Query { patient: text("4"), ..all() }).await, [""; 0]);
        assert_eq!(found(&journal, Query { control_id: text("c3"), ..all() }).await, ["c3"]);
        assert_eq!(found(&journal, Query { event: text("A08"), ..all() }).await, ["c3"]);
        assert_eq!(found(&journal, Query { listener: text("lab"), ..all() }).await, ["c4"]);
        assert_eq!(found(&journal, Query { status: Some(Status::Refused), ..all() }).await, ["c4"]);
    }

    #[tokio::test]
    async fn a_search_follows_the_status() {
        let (_folder, journal) = filled().await;
        let of = |status| Query { status: Some(status), ..Query::default() };
        let c0 = journal.search(Query { control_id: Some("c0".into()), ..Query::default() }).await.unwrap()[0].seq;
        assert_eq!(found(&journal, of(Status::Received)).await, ["c3", "c2", "c1", "c0"]);
        for (progress, status) in [
            (Progress::Retry { due: Timestamp::now(), reason: "busy".into() }, Status::Retrying),
            (Progress::Dead { reason: "HTTP 422".into() }, Status::Dead),
            (Progress::Skipped { reason: "by hand".into() }, Status::Skipped),
            (Progress::Delivered, Status::Delivered),
        ] {
            journal.record(Record::decision(c0, Timestamp::now(), progress)).await.unwrap();
            assert_eq!(found(&journal, of(status)).await, ["c0"]);
        }
        assert_eq!(found(&journal, of(Status::Received)).await, ["c3", "c2", "c1"]);
        let backlog = journal.backlog().await.unwrap();
        assert_eq!((backlog.waiting, backlog.retrying, backlog.dead), (3, 0, 0));
        assert_eq!(backlog.oldest, Some(arrival("c1", 1).received));
    }

    #[tokio::test]
    async fn a_search_can_be_bound_in_time_and_read_page_by_page() {
        let (_folder, journal) = filled().await;
        let start = arrival("", 0).received;
        let minute = |n| Some(start + SignedDuration::from_mins(n));
        let query = Query { from: minute(1), until: minute(4), ..Query::default() };
        assert_eq!(found(&journal, query).await, ["c3", "c2", "c1"]);

        let mut query = Query { limit: 2, ..Query::default() };
        let mut pages = Vec::new();
        loop {
            let page = journal.search(query.clone()).await.unwrap();
            let Some(last) = page.last() else { break };
            query.after = Some(last.place());
            pages.push(page.len());
        }
        assert_eq!(pages, [2, 2, 1]);
    }

    #[tokio::test]
    async fn every_question_is_answered_by_an_index() {
        let (_folder, journal) = open();
        let text = || Some("x".to_owned());
        let time = Some(Timestamp::now());
        let questions = [
            (Query { patient: text(), ..Query::default() }, "SEARCH k USING PRIMARY KEY"),
            (Query { visit: text(), status: Some(Status::Dead), ..Query::default() }, "SEARCH k USING PRIMARY KEY"),
            (Query { control_id: text(), from: time, ..Query::default() }, "message_control (control_id=?"),
            (
                Query { event: text(), from: time, until: time, ..Query::default() },
                "message_event (event=? AND received",
            ),
            (Query { status: Some(Status::Dead), ..Query::default() }, "message_dead"),
            (Query { status: Some(Status::Refused), ..Query::default() }, "message_refused"),
            (Query { status: Some(Status::Received), ..Query::default() }, "message_new"),
            (Query { status: Some(Status::Retrying), ..Query::default() }, "message_retrying"),
            (Query { from: time, until: time, ..Query::default() }, "message_received (received"),
            (Query::default(), "message_received"),
        ];
        for (query, index) in questions {
            let plan = journal.reader().run(move |c| explain(c, &query)).await.unwrap();
            assert!(plan.contains(index), "wanted {index} in\n{plan}");
        }
    }

    fn explain(connection: &Connection, query: &Query) -> rusqlite::Result<String> {
        let (text, values) = statement(query);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}"))?;
        let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.join("\n"))
    }
}
