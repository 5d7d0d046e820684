//! The log of messages, what they were answered, and answers on their way.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::SqliteTransaction;
use crate::mailbox::store::model::{Seq, StoreError};
use crate::mailbox::store::sqlite::column::{Id, id, micros, text, timestamp};
use crate::mailbox::store::{Answer, BundleUse, Correspondence, NewMessage, PendingAnswer};

impl SqliteTransaction<'_> {
    fn list(&mut self, destination: &str, event: &str) -> Result<i64, StoreError> {
        if let Some(&pk) = self.known.lists.get(destination).and_then(|events| events.get(event)) {
            return Ok(pk);
        }
        let find = "SELECT pk FROM list WHERE destination = ?1 AND event = ?2";
        let pk = match self.number(find, [destination, event])? {
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
                let sql = "SELECT max(position) + 1 FROM delivery WHERE list = ?1 HAVING max(position) IS NOT NULL";
                self.number(sql, [list])?.unwrap_or_default()
            }
        };
        self.execute(
            "INSERT INTO delivery (list, position, message) VALUES (?1, ?2, ?3)",
            params![list, position, message],
        )?;
        self.known.positions.insert(list, position + 1);
        Ok(())
    }

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

impl Correspondence for SqliteTransaction<'_> {
    fn answer(&mut self, source: &str, message_id: &str, not_before: Timestamp) -> Result<Option<Answer>, StoreError> {
        let Some(source) = self.known_uri(source)? else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(
            "SELECT a.bundle_id, a.accepted, a.response, m.body FROM answer a JOIN message m ON m.seq = a.response
             WHERE a.message_id = ?1 AND a.source = ?2 AND a.received >= ?3",
        )?;
        let asked = params![Id(message_id), source, micros(not_before)];
        statement.query_row(asked, |row| Ok(answer(row))).optional()?.transpose()
    }

    fn bundle_use(&mut self, source: &str, bundle_id: &str) -> Result<Option<BundleUse>, StoreError> {
        let Some(source) = self.known_uri(source)? else { return Ok(None) };
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, message_id, body FROM message WHERE bundle_id = ?1 AND source = ?2 LIMIT 1")?;
        statement.query_row(params![Id(bundle_id), source], |row| Ok(bundle_use(row))).optional()?.transpose()
    }

    fn append(&mut self, parcel: &NewMessage<'_>) -> Result<Seq, StoreError> {
        self.take(parcel.size() >> 10)?;
        let source = self.uri(parcel.source)?;
        let system = parcel.control.map(|id| self.uri(&id.system)).transpose()?;
        let seq = self.insert(
            "INSERT INTO message (received, bundle_id, message_id, source, system, control, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                micros(self.now),
                Id(parcel.bundle_id),
                Id(parcel.message_id),
                source,
                system,
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

    fn remember(&mut self, parcel: &NewMessage<'_>, accepted: bool, response: Seq) -> Result<(), StoreError> {
        let source = self.uri(parcel.source)?;
        self.execute(
            "INSERT INTO answer (message_id, source, bundle_id, received, accepted, response)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET bundle_id = ?3, received = ?4, accepted = ?5, response = ?6",
            params![Id(parcel.message_id), source, Id(parcel.bundle_id), micros(self.now), accepted, response],
        )?;
        self.known.answers = self.known.answers.map(|held| held + 1);
        Ok(())
    }

    fn forget(&mut self, before: Timestamp, most: u64) -> Result<(), StoreError> {
        // More than come between two calls, so that a backlog shrinks while messages come.
        const SOME: i64 = 256;
        let mut held = match self.known.answers {
            Some(held) => held,
            None => self.number("SELECT count(*) FROM answer", [])?.unwrap_or_default(),
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

    fn due_errands(&mut self, most: usize) -> Result<Vec<PendingAnswer>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT e.message, e.url, m.body, e.attempts, m.received FROM errand e JOIN message m ON m.seq = e.message
             WHERE e.due <= ?1 ORDER BY e.due LIMIT ?2",
        )?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        statement.query_and_then(params![micros(self.now), most], errand)?.collect()
    }

    fn put_off(&mut self, errand: &PendingAnswer, due: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE errand SET attempts = attempts + 1, due = ?2 WHERE message = ?1";
        self.execute(sql, params![errand.answer, micros(due)]).map(|_| ())
    }

    fn drop_errand(&mut self, errand: &PendingAnswer) -> Result<(), StoreError> {
        self.execute("DELETE FROM errand WHERE message = ?1", [errand.answer]).map(|_| ())
    }
}

fn answer(row: &SqlRow<'_>) -> Result<Answer, StoreError> {
    Ok(Answer { bundle_id: id(row, 0)?, accepted: row.get(1)?, response: row.get(2)?, body: text(row, 3)? })
}

fn bundle_use(row: &SqlRow<'_>) -> Result<BundleUse, StoreError> {
    Ok(BundleUse { seq: row.get(0)?, message_id: id(row, 1)?, body: text(row, 2)? })
}

fn errand(row: &SqlRow<'_>) -> Result<PendingAnswer, StoreError> {
    Ok(PendingAnswer {
        answer: row.get(0)?,
        url: row.get(1)?,
        body: text(row, 2)?,
        attempts: row.get(3)?,
        since: timestamp(row.get(4)?)?,
    })
}
