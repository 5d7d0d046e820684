//! What the processing of one message reads and writes, as SQL.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params};

use super::{micros, timestamp};
use crate::mailbox::canonical::Tail;
use crate::mailbox::kind::Kind;
use crate::mailbox::store::{
    Answer, BundleUse, Errand, Holder, Identifier, Link, LinkEvent, LinkKind, Owner, Parcel, Pk, Put, Row, Seq,
    StoreError, Transaction,
};

/// The columns of [`row`]. A macro, so that statements are made of it when the program is.
macro_rules! row_sql {
    () => {
        "SELECT r.pk, r.kind, r.id, r.version, r.removed, r.patient, r.encounter, r.event, r.clinical, v.tail, r.current
         FROM resource r JOIN version v ON v.seq = r.current "
    };
}

/// What the writer knows from one transaction to the next.
#[derive(Debug, Default)]
pub(super) struct Known {
    endpoints: HashMap<String, i64>,
    lists: HashMap<String, HashMap<String, i64>>,
    /// The next position of each list.
    positions: HashMap<i64, i64>,
    systems: HashMap<Kind, HashSet<String>>,
    /// The newest version's number.
    version: Option<i64>,
    /// How many answers are held.
    answers: Option<i64>,
}

pub(super) struct SqliteTransaction<'a> {
    connection: &'a Connection,
    now: Timestamp,
    known: &'a mut Known,
    /// Whether there is a savepoint to go back to.
    savepoint: bool,
    /// Statements that wrote.
    writes: Cell<u64>,
}

impl<'a> SqliteTransaction<'a> {
    pub(super) fn new(connection: &'a Connection, now: Timestamp, known: &'a mut Known, savepoint: bool) -> Self {
        Self { connection, now, known, savepoint, writes: Cell::new(0) }
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.get()
    }

    /// What was remembered of rows that no longer exist is forgotten.
    pub(super) fn rolled_back(&mut self) {
        *self.known = Known::default();
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        self.writes.set(self.writes.get() + 1);
        Ok(self.connection.prepare_cached(sql)?.execute(params)?)
    }

    fn insert(&self, sql: &str, params: impl rusqlite::Params) -> Result<i64, StoreError> {
        self.writes.set(self.writes.get() + 1);
        Ok(self.connection.prepare_cached(sql)?.insert(params)?)
    }

    fn rows(&self, sql: &str, params: &[&dyn ToSql]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_and_then(params, row)?;
        found.collect()
    }

    fn endpoint(&mut self, uri: &str) -> Result<i64, StoreError> {
        if let Some(&pk) = self.known.endpoints.get(uri) {
            return Ok(pk);
        }
        let pk = match self.stored_endpoint(uri)? {
            Some(pk) => pk,
            None => self.insert("INSERT INTO endpoint (uri) VALUES (?1)", [uri])?,
        };
        self.known.endpoints.insert(uri.to_owned(), pk);
        Ok(pk)
    }

    fn known_endpoint(&self, uri: &str) -> Result<Option<i64>, StoreError> {
        match self.known.endpoints.get(uri) {
            Some(&pk) => Ok(Some(pk)),
            None => self.stored_endpoint(uri),
        }
    }

    fn stored_endpoint(&self, uri: &str) -> Result<Option<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT pk FROM endpoint WHERE uri = ?1")?;
        Ok(statement.query_row([uri], |row| row.get(0)).optional()?)
    }

    fn note_system(&mut self, kind: Kind, system: &str) -> Result<(), StoreError> {
        if self.known.systems.get(&kind).is_some_and(|known| known.contains(system)) {
            return Ok(());
        }
        self.known.systems.entry(kind).or_default().insert(system.to_owned());
        let sql = "INSERT OR IGNORE INTO identifier_system (kind, system) VALUES (?1, ?2)";
        self.execute(sql, params![kind as i64, system]).map(|_| ())
    }

    fn list(&mut self, destination: &str, event: &str) -> Result<i64, StoreError> {
        if let Some(&pk) = self.known.lists.get(destination).and_then(|events| events.get(event)) {
            return Ok(pk);
        }
        let known = {
            let mut find =
                self.connection.prepare_cached("SELECT pk FROM list WHERE destination = ?1 AND event = ?2")?;
            find.query_row([destination, event], |row| row.get(0)).optional()?
        };
        let pk = match known {
            Some(pk) => pk,
            None => self.insert("INSERT INTO list (destination, event) VALUES (?1, ?2)", [destination, event])?,
        };
        self.known.lists.entry(destination.to_owned()).or_default().insert(event.to_owned(), pk);
        Ok(pk)
    }

    fn deliver(&mut self, list: i64, message: Seq) -> Result<(), StoreError> {
        let position = match self.known.positions.get(&list) {
            Some(&position) => position,
            None => {
                let sql = "SELECT coalesce(max(position) + 1, 0) FROM delivery WHERE list = ?1";
                self.connection.prepare_cached(sql)?.query_row([list], |row| row.get(0))?
            }
        };
        self.execute(
            "INSERT INTO delivery (list, position, message) VALUES (?1, ?2, ?3)",
            params![list, position, message],
        )?;
        self.known.positions.insert(list, position + 1);
        Ok(())
    }

    /// The number of the next version. Numbers that an undone message took are left out; nothing counts them.
    fn next_version(&mut self) -> Result<i64, StoreError> {
        let newest = match self.known.version {
            Some(newest) => newest,
            None => {
                let mut find = self.connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM version")?;
                find.query_row([], |row| row.get(0))?
            }
        };
        self.known.version = Some(newest + 1);
        Ok(newest + 1)
    }

    fn create(&mut self, put: &Put<'_>) -> Result<(Pk, i64, i64), StoreError> {
        let (status, from, to) = searched(put);
        let seq = self.next_version()?;
        let pk = self.insert(
            "INSERT INTO resource (kind, id, version, current, updated, removed, patient, encounter, status,
                                   date_from, date_to, event)
             VALUES (?1, ?2, 1, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                put.kind as i64,
                put.id,
                seq,
                micros(self.now),
                put.patient,
                put.encounter,
                status,
                from,
                to,
                micros(put.event)
            ],
        )?;
        self.version(seq, pk, 1, None, false, &put.tail.0)?;
        Ok((pk, 1, seq))
    }

    fn replace(&mut self, before: &Row, put: &Put<'_>) -> Result<(Pk, i64, i64), StoreError> {
        let (status, from, to) = searched(put);
        let version = before.version + 1;
        let seq = self.next_version()?;
        self.version(seq, before.pk, version, Some(before.current), false, &put.tail.0)?;
        self.execute(
            "UPDATE resource SET version = ?2, current = ?3, updated = ?4, removed = 0, patient = ?5, encounter = ?6,
                                 status = ?7, date_from = ?8, date_to = ?9, event = ?10
             WHERE pk = ?1",
            params![
                before.pk,
                version,
                seq,
                micros(self.now),
                put.patient,
                put.encounter,
                status,
                from,
                to,
                micros(put.event)
            ],
        )?;
        Ok((before.pk, version, seq))
    }

    fn version(
        &self,
        seq: i64,
        pk: Pk,
        version: i64,
        previous: Option<i64>,
        removed: bool,
        tail: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO version (seq, resource, version, previous, updated, removed, tail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![seq, pk, version, previous, micros(self.now), removed, tail],
        )?;
        Ok(())
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

    fn holders(&mut self, kind: Kind, identifier: &Identifier) -> Result<Vec<Holder>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT resource, since, until FROM identifier WHERE kind = ?1 AND value = ?2 AND system = ?3",
        )?;
        let found = statement.query_and_then(params![kind as i64, identifier.value, identifier.system], holder)?;
        found.collect()
    }

    fn load(&mut self, pk: Pk) -> Result<Row, StoreError> {
        self.rows(concat!(row_sql!(), "WHERE r.pk = ?1"), &[&pk])?
            .pop()
            .ok_or(StoreError::Damaged("the index of identifiers"))
    }

    fn find(&mut self, kind: Kind, id: &str) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(concat!(row_sql!(), "WHERE r.id = ?1 AND r.kind = ?2"), &[&id, &(kind as i64)])?.pop())
    }

    fn clinical(&mut self, kind: Kind, owner: Owner) -> Result<Vec<Row>, StoreError> {
        let (sql, pk) = match owner {
            Owner::Patient(pk) => (concat!(row_sql!(), "WHERE r.patient = ?1 AND r.kind = ?2 ORDER BY r.pk"), pk),
            Owner::Encounter(pk) => (concat!(row_sql!(), "WHERE r.encounter = ?1 AND r.kind = ?2 ORDER BY r.pk"), pk),
        };
        self.rows(sql, &[&pk, &(kind as i64)])
    }

    fn put(&mut self, put: Put<'_>) -> Result<Row, StoreError> {
        let (pk, version, current) = match put.before {
            Some(before) => self.replace(before, &put)?,
            None => self.create(&put)?,
        };
        Ok(Row {
            pk,
            kind: put.kind,
            id: put.id.to_owned(),
            version,
            current,
            removed: false,
            patient: put.patient,
            encounter: put.encounter,
            event: put.event,
            clinical: put.before.and_then(|before| before.clinical),
            tail: put.tail,
        })
    }

    fn remove(&mut self, row: &Row) -> Result<(), StoreError> {
        let seq = self.next_version()?;
        self.version(seq, row.pk, row.version + 1, Some(row.current), true, &row.tail.0)?;
        self.execute(
            "UPDATE resource SET version = ?2, current = ?3, updated = ?4, removed = 1, patient = NULL,
                                 encounter = NULL, status = NULL, date_from = NULL, date_to = NULL
             WHERE pk = ?1",
            params![row.pk, row.version + 1, seq, micros(self.now)],
        )?;
        Ok(())
    }

    fn touch(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE resource SET event = ?2 WHERE pk = ?1", params![pk, micros(event)])?;
        Ok(())
    }

    fn touch_clinical(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE resource SET clinical = ?2 WHERE pk = ?1", params![pk, micros(event)])?;
        Ok(())
    }

    fn claim(&mut self, kind: Kind, pk: Pk, identifier: &Identifier, since: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO identifier (kind, value, system, resource, since, listed) VALUES (?1, ?2, ?3, ?4, ?5, 1)
             ON CONFLICT DO UPDATE SET until = NULL, listed = 1",
            params![kind as i64, identifier.value, identifier.system, pk, micros(since)],
        )?;
        self.note_system(kind, &identifier.system)
    }

    fn retire(
        &mut self,
        kind: Kind,
        pk: Pk,
        identifier: &Identifier,
        until: Timestamp,
        listed: bool,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE identifier SET until = ?5, listed = ?6
             WHERE kind = ?1 AND value = ?2 AND system = ?3 AND resource = ?4",
            params![kind as i64, identifier.value, identifier.system, pk, micros(until), listed],
        )?;
        Ok(())
    }

    fn links(&mut self, patient: Pk) -> Result<Vec<Link>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT patient, other, kind, since, was_active FROM link WHERE patient = ?1
             UNION ALL SELECT patient, other, kind, since, was_active FROM link WHERE other = ?1",
        )?;
        statement.query_and_then([patient], link)?.collect()
    }

    fn put_link(&mut self, link: &Link) -> Result<(), StoreError> {
        self.execute(
            "INSERT OR REPLACE INTO link (patient, other, kind, since, was_active) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![link.patient, link.other, link_code(link.kind), micros(link.since), link.was_active],
        )?;
        Ok(())
    }

    fn drop_link(&mut self, link: &Link) -> Result<(), StoreError> {
        self.execute("DELETE FROM link WHERE patient = ?1 AND other = ?2", params![link.patient, link.other])?;
        Ok(())
    }

    fn record_link(&mut self, event: &LinkEvent) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO link_event (linked, patient, other, kind, at, recorded, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                event.linked,
                event.patient,
                event.other,
                link_code(event.kind),
                micros(event.at),
                micros(self.now),
                event.message
            ],
        )?;
        Ok(())
    }

    fn last_link_event(&mut self, one: Pk, other: Pk) -> Result<Option<Timestamp>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT max(at) FROM (SELECT at FROM link_event WHERE patient = ?1 AND other = ?2
                                  UNION ALL SELECT at FROM link_event WHERE patient = ?2 AND other = ?1)",
        )?;
        let newest: Option<i64> = statement.query_row([one, other], |row| row.get(0))?;
        newest.map(timestamp).transpose()
    }

    fn set_person(&mut self, patient: Pk, person: Option<Pk>) -> Result<(), StoreError> {
        self.execute("UPDATE resource SET person = ?2 WHERE pk = ?1", params![patient, person])?;
        Ok(())
    }

    fn answer(&mut self, source: &str, message_id: &str, not_before: Timestamp) -> Result<Option<Answer>, StoreError> {
        let Some(source) = self.known_endpoint(source)? else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(
            "SELECT a.bundle_id, a.accepted, a.response, m.body FROM answer a JOIN message m ON m.seq = a.response
             WHERE a.message_id = ?1 AND a.source = ?2 AND a.received >= ?3",
        )?;
        let found = statement.query_row(params![message_id, source, micros(not_before)], |row| {
            Ok(Answer { bundle_id: row.get(0)?, accepted: row.get(1)?, response: row.get(2)?, body: row.get(3)? })
        });
        Ok(found.optional()?)
    }

    fn bundle_use(&mut self, source: &str, bundle_id: &str) -> Result<Option<BundleUse>, StoreError> {
        let Some(source) = self.known_endpoint(source)? else { return Ok(None) };
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, message_id, body FROM message WHERE bundle_id = ?1 AND source = ?2 LIMIT 1")?;
        let found = statement.query_row(params![bundle_id, source], |row| {
            Ok(BundleUse { seq: row.get(0)?, message_id: row.get(1)?, body: row.get(2)? })
        });
        Ok(found.optional()?)
    }

    fn append(&mut self, parcel: &Parcel<'_>) -> Result<Seq, StoreError> {
        let source = self.endpoint(parcel.source)?;
        let seq = self.insert(
            "INSERT INTO message (received, bundle_id, message_id, source, event, system, control, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                micros(self.now),
                parcel.bundle_id,
                parcel.message_id,
                source,
                parcel.event,
                parcel.control.map(|id| &id.system),
                parcel.control.map(|id| &id.value),
                parcel.body
            ],
        )?;
        for destination in parcel.destinations {
            for event in ["", parcel.event] {
                let list = self.list(destination, event)?;
                self.deliver(list, seq)?;
            }
        }
        Ok(seq)
    }

    fn remember(&mut self, parcel: &Parcel<'_>, accepted: bool, response: Seq) -> Result<(), StoreError> {
        let source = self.endpoint(parcel.source)?;
        self.execute(
            "INSERT INTO answer (message_id, source, bundle_id, received, accepted, response)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET bundle_id = ?3, received = ?4, accepted = ?5, response = ?6",
            params![parcel.message_id, source, parcel.bundle_id, micros(self.now), accepted, response],
        )?;
        self.known.answers = self.known.answers.map(|held| held + 1);
        Ok(())
    }

    fn forget(&mut self, before: Timestamp, most: u64) -> Result<(), StoreError> {
        // More than come between two calls, so that a backlog shrinks while messages come.
        const SOME: i64 = 256;
        let mut held = match self.known.answers {
            Some(held) => held,
            None => {
                let mut count = self.connection.prepare_cached("SELECT count(*) FROM answer")?;
                count.query_row([], |row| row.get(0))?
            }
        };
        let old = self.execute(
            "DELETE FROM answer WHERE (message_id, source) IN
               (SELECT message_id, source FROM answer WHERE received < ?1 ORDER BY received LIMIT ?2)",
            params![micros(before), SOME],
        )?;
        held -= i64::try_from(old).unwrap_or_default();
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        if held > most {
            let many = (held - most).min(SOME);
            self.forget_oldest(many)?;
            held -= many;
        }
        self.known.answers = Some(held);
        Ok(())
    }

    fn put_errand(&mut self, answer: Seq, url: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO errand (message, url, attempts, due) VALUES (?1, ?2, 0, ?3)";
        self.execute(sql, params![answer, url, micros(self.now)]).map(|_| ())
    }

    fn due_errands(&mut self, most: usize) -> Result<Vec<Errand>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT e.message, e.url, m.body, e.attempts, m.received FROM errand e JOIN message m ON m.seq = e.message
             WHERE e.due <= ?1 ORDER BY e.due LIMIT ?2",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        statement.query_and_then(params![micros(self.now), most], errand)?.collect()
    }

    fn put_off(&mut self, errand: &Errand, due: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE errand SET attempts = attempts + 1, due = ?2 WHERE message = ?1";
        self.execute(sql, params![errand.answer, micros(due)]).map(|_| ())
    }

    fn drop_errand(&mut self, errand: &Errand) -> Result<(), StoreError> {
        self.execute("DELETE FROM errand WHERE message = ?1", [errand.answer]).map(|_| ())
    }
}

impl SqliteTransaction<'_> {
    /// Forgets answers though they are young, and notes that, so that what is declared stays true.
    fn forget_oldest(&self, count: i64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO forgotten (one, until)
             SELECT 1, max(received) FROM (SELECT received FROM answer ORDER BY received LIMIT ?1) WHERE true
             ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
            [count],
        )?;
        self.execute(
            "DELETE FROM answer WHERE (message_id, source) IN
               (SELECT message_id, source FROM answer ORDER BY received LIMIT ?1)",
            [count],
        )?;
        Ok(())
    }
}

fn errand(row: &SqlRow<'_>) -> Result<Errand, StoreError> {
    Ok(Errand {
        answer: row.get(0)?,
        url: row.get(1)?,
        body: row.get(2)?,
        attempts: row.get(3)?,
        since: timestamp(row.get(4)?)?,
    })
}

type Searched<'a> = (Option<&'a str>, Option<i64>, Option<i64>);

fn searched<'a>(put: &Put<'a>) -> Searched<'a> {
    (put.facts.status.as_deref(), put.facts.date.map(|d| d.0), put.facts.date.map(|d| d.1))
}

fn row(row: &SqlRow<'_>) -> Result<Row, StoreError> {
    let clinical: Option<i64> = row.get(8)?;
    Ok(Row {
        pk: row.get(0)?,
        kind: Kind::from_code(row.get(1)?).ok_or(StoreError::Damaged("a resource's type"))?,
        id: row.get(2)?,
        version: row.get(3)?,
        removed: row.get(4)?,
        patient: row.get(5)?,
        encounter: row.get(6)?,
        event: timestamp(row.get(7)?)?,
        clinical: clinical.map(timestamp).transpose()?,
        tail: Tail(row.get(9)?),
        current: row.get(10)?,
    })
}

fn link_code(kind: LinkKind) -> i64 {
    match kind {
        LinkKind::Replaced => 1,
        LinkKind::SeeAlso => 2,
    }
}

pub(super) fn link_kind(code: i64) -> Result<LinkKind, StoreError> {
    match code {
        1 => Ok(LinkKind::Replaced),
        2 => Ok(LinkKind::SeeAlso),
        _ => Err(StoreError::Damaged("a link")),
    }
}

fn link(row: &SqlRow<'_>) -> Result<Link, StoreError> {
    Ok(Link {
        patient: row.get(0)?,
        other: row.get(1)?,
        kind: link_kind(row.get(2)?)?,
        since: timestamp(row.get(3)?)?,
        was_active: row.get(4)?,
    })
}

fn holder(row: &SqlRow<'_>) -> Result<Holder, StoreError> {
    let until: Option<i64> = row.get(2)?;
    Ok(Holder { pk: row.get(0)?, since: timestamp(row.get(1)?)?, until: until.map(timestamp).transpose()? })
}
