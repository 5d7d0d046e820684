//! Who stands before whom, as the file tells it: the same lanes as the queue's, a lane for each patient and visit.
//!
//! For people's questions: what does a message wait for, and which later message of its patient has been delivered
//! already. A running engine knows the first one better, since what was queued again stands at the end of its lanes.

use rusqlite::{Connection, OptionalExtension, params};

use super::reader::Reader;
use super::row::Row;
use crate::journal::error::ReadError;
use crate::journal::keys::{self, Key};
use crate::journal::model::{Seq, Status};
use crate::journal::tables::schema::WAITING;

impl Key {
    /// The lanes of a message with these keys, by their hashes; none where nobody is named.
    #[must_use]
    pub fn lanes(keys: &[Key]) -> keys::Hashes {
        keys::hashes(&keys::to_text(keys))
    }
}

impl Reader {
    /// Those directly before a waiting message in its lanes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn ahead(&self, row: &Row) -> Result<Vec<Seq>, ReadError> {
        self.look(|connection| ahead(connection, row))
    }

    /// The first later message of the same patient or visit that has been delivered.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn overtaken_by(&self, row: &Row) -> Result<Option<Seq>, ReadError> {
        self.look(|connection| overtaken_by(connection, row))
    }
}

fn ahead(connection: &Connection, row: &Row) -> rusqlite::Result<Vec<Seq>> {
    let lanes = Key::lanes(&row.keys);
    if lanes.is_empty() {
        let sql = format!(
            "SELECT seq FROM message INDEXED BY message_waiting
             WHERE {WAITING} AND seq < ?1 AND keys = '' AND listener = ?2 ORDER BY seq DESC LIMIT 1"
        );
        let found = connection.prepare_cached(&sql)?.query_row(params![row.seq, row.listener], |row| row.get(0));
        return Ok(found.optional()?.into_iter().collect());
    }
    let sql = format!(
        "WITH RECURSIVE block(n, last) AS (
             SELECT ?1 >> 11, (SELECT min(seq) >> 11 FROM message INDEXED BY message_waiting WHERE {WAITING})
             UNION ALL SELECT n - 1, last FROM block WHERE n > last)
         SELECT m.seq FROM block CROSS JOIN mention k CROSS JOIN message m
         WHERE k.block = block.n AND k.hash = ?2 AND k.seq < ?1 AND m.seq = k.seq AND m.{WAITING}
         ORDER BY block.n DESC, k.seq DESC LIMIT 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut before = Vec::new();
    for lane in lanes {
        before
            .extend(statement.query_row(params![row.seq, lane.cast_signed()], |row| row.get::<_, Seq>(0)).optional()?);
    }
    before.sort_unstable();
    before.dedup();
    Ok(before)
}

fn overtaken_by(connection: &Connection, row: &Row) -> rusqlite::Result<Option<Seq>> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE block(n, last) AS (
             SELECT ?1 >> 11, (SELECT max(seq) >> 11 FROM message)
             UNION ALL SELECT n + 1, last FROM block WHERE n < last)
         SELECT m.seq FROM block CROSS JOIN mention k CROSS JOIN message m
         WHERE k.block = block.n AND k.hash = ?2 AND k.seq > ?1 AND m.seq = k.seq AND m.status = ?3 LIMIT 1",
    )?;
    let mut first: Option<Seq> = None;
    for lane in Key::lanes(&row.keys) {
        let values = params![row.seq, lane.cast_signed(), Status::Delivered.as_str()];
        let found = statement.query_row(values, |row| row.get::<_, Seq>(0)).optional()?;
        first = first.into_iter().chain(found).min();
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::fixture::{arrival, open, patient, seq, visit};
    use crate::journal::{Journal, Progress, Record};

    async fn store(journal: &Journal, n: i64, keys: Vec<Key>) -> Row {
        let mut one = arrival(&n.to_string(), n);
        one.keys = keys;
        let seq = seq(journal.store(one).await.unwrap());
        journal.row(seq).await.unwrap().unwrap()
    }

    async fn deliver(journal: &Journal, row: &Row) {
        journal.record(Record::decision(row.seq, Timestamp::now(), Progress::Delivered)).await.unwrap();
    }

    #[tokio::test]
    async fn a_message_stands_behind_the_last_that_waits_in_each_of_its_lanes() {
        let (_folder, journal) = open();
        let first = store(&journal, 0, vec![patient("H|1")]).await;
        let second = store(&journal, 1, vec![patient("H|1"), visit("H|V1")]).await;
        let other = store(&journal, 2, vec![patient("H|2")]).await;
        let merge = store(&journal, 3, vec![patient("H|1"), patient("H|2")]).await;
        let reader = journal.reader();
        assert_eq!(reader.ahead(&first).unwrap(), [0; 0]);
        assert_eq!(reader.ahead(&merge).unwrap(), [second.seq, other.seq]);
        deliver(&journal, &second).await;
        assert_eq!(reader.ahead(&merge).unwrap(), [first.seq, other.seq]);
    }

    #[tokio::test]
    async fn messages_of_nobody_stand_in_the_line_of_their_source() {
        let (_folder, journal) = open();
        let first = store(&journal, 0, Vec::new()).await;
        store(&journal, 1, vec![patient("H|1")]).await;
        let second = store(&journal, 2, Vec::new()).await;
        assert_eq!(journal.reader().ahead(&second).unwrap(), [first.seq]);
    }

    #[tokio::test]
    async fn a_message_is_overtaken_by_a_later_delivery_of_the_same_patient_only() {
        let (_folder, journal) = open();
        let dead = store(&journal, 0, vec![patient("H|1")]).await;
        let other = store(&journal, 1, vec![patient("H|2")]).await;
        let later = store(&journal, 2, vec![patient("H|1")]).await;
        deliver(&journal, &other).await;
        assert_eq!(journal.reader().overtaken_by(&dead).unwrap(), None);
        deliver(&journal, &later).await;
        assert_eq!(journal.reader().overtaken_by(&dead).unwrap(), Some(later.seq));
    }
}
