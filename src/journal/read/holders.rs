//! What holds messages back, as the file tells it: for each that waits, the messages at the heads of its lanes that must be
//! done with first, and those of them that are dead letters and wait for a person.
//!
//! For lists, whether an engine runs or not. As in [`order`](super::order), what was queued again stands at its old place
//! here, and at the end of its lanes in a running engine.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::reader::{self, Reader};
use super::row::Row;
use crate::journal::error::ReadError;
use crate::journal::keys::Key;
use crate::journal::model::{Seq, Status};
use crate::journal::tables::schema::WAITING;

/// A merge stands in the lanes of two patients, and so may lead from lane to lane; no further than this.
const STEPS: usize = 32;

/// What a message waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// Given up: a person has to send them again or discard them.
    pub dead: Vec<Seq>,
    /// To be delivered before it.
    pub waiting: Vec<Seq>,
}

impl Holders {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.waiting.is_empty()
    }
}

impl Reader {
    /// For each of `rows` what it waits for; nothing for those that do not wait. With `hold` dead letters hold back what
    /// comes after them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn holders(&self, rows: &[Row], hold: bool) -> Result<Vec<Holders>, ReadError> {
        self.look(|connection| {
            let lanes = Lanes { hold, first: first(connection, hold)? };
            rows.iter().map(|row| lanes.holders(connection, row)).collect()
        })
    }
}

struct Lanes {
    hold: bool,
    /// The first message that may stand in some lane.
    first: Option<Seq>,
}

fn first(connection: &Connection, hold: bool) -> rusqlite::Result<Option<Seq>> {
    let least = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<Seq>>(0));
    let waiting = least(&format!("SELECT min(seq) FROM message INDEXED BY message_waiting WHERE {WAITING}"))?;
    let dead = if hold { least("SELECT min(seq) FROM message WHERE status = 'dead'")? } else { None };
    Ok(waiting.into_iter().chain(dead).min())
}

impl Lanes {
    fn holders(&self, connection: &Connection, row: &Row) -> rusqlite::Result<Holders> {
        let (mut dead, mut waiting) = (BTreeSet::new(), BTreeSet::new());
        let (mut seen, mut next) = (HashSet::from([row.seq]), vec![row.clone()]);
        while let Some(row) = next.pop() {
            if !row.status.waits() {
                continue;
            }
            let heads = self.heads(connection, &row)?;
            if heads.is_empty() && seen.len() > 1 {
                waiting.insert(row.seq); // waits for nobody
            }
            for (seq, status) in heads {
                if status == Status::Dead {
                    dead.insert(seq);
                } else if seen.len() > STEPS {
                    waiting.insert(seq);
                } else if seen.insert(seq) {
                    next.extend(reader::row(connection, seq)?);
                }
            }
        }
        Ok(Holders { dead: dead.into_iter().collect(), waiting: waiting.into_iter().collect() })
    }

    /// The first before a message in each of its lanes.
    fn heads(&self, connection: &Connection, row: &Row) -> rusqlite::Result<Vec<(Seq, Status)>> {
        let Some(first) = self.first else { return Ok(Vec::new()) };
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Status::from_text(row.get_ref(1)?.as_str()?)));
        let lanes = Key::lanes(&row.keys);
        if lanes.is_empty() {
            let ask = |from: &str| {
                let sql = format!(
                    "SELECT seq, status {from} AND seq < ?1 AND keys = '' AND listener = ?2 ORDER BY seq LIMIT 1"
                );
                connection.prepare_cached(&sql)?.query_row(params![row.seq, row.listener], read).optional()
            };
            let waiting = ask(&format!("FROM message INDEXED BY message_waiting WHERE {WAITING}"))?;
            let dead =
                if self.hold { ask("FROM message INDEXED BY message_dead WHERE status = 'dead'")? } else { None };
            return Ok(waiting.into_iter().chain(dead).min_by_key(|(seq, _)| *seq).into_iter().collect());
        }
        let open = if self.hold { format!("({WAITING} OR status = 'dead')") } else { format!("({WAITING})") };
        let sql = format!(
            "WITH RECURSIVE block(n, last) AS (
                 SELECT ?1 >> 11, ?2 >> 11 UNION ALL SELECT n + 1, last FROM block WHERE n < last)
             SELECT m.seq, m.status FROM block CROSS JOIN mention k CROSS JOIN message m
             WHERE k.block = block.n AND k.hash = ?3 AND k.seq < ?2 AND m.seq = k.seq AND {open} LIMIT 1"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut heads = Vec::new();
        for lane in lanes {
            heads.extend(statement.query_row(params![first, row.seq, lane.cast_signed()], read).optional()?);
        }
        heads.sort_unstable_by_key(|(seq, _)| *seq);
        heads.dedup();
        Ok(heads)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::fixture::{arrival, open, patient, seq};
    use crate::journal::{Journal, Progress, Record};

    async fn store(journal: &Journal, n: i64, keys: Vec<Key>) -> Row {
        let mut one = arrival(&n.to_string(), n);
        one.keys = keys;
        let seq = seq(journal.store(one).await.unwrap());
        journal.row(seq).await.unwrap().unwrap()
    }

    async fn kill(journal: &Journal, row: &Row) {
        let dead = Progress::Dead { reason: "HTTP 422".into() };
        journal.record(Record::decision(row.seq, Timestamp::now(), dead)).await.unwrap();
    }

    #[tokio::test]
    async fn each_that_waits_names_what_must_be_done_with_first_however_far_ahead() {
        let (_folder, journal) = open();
        let bad = store(&journal, 0, vec![patient("H|1")]).await;
        let second = store(&journal, 1, vec![patient("H|1")]).await;
        let other = store(&journal, 2, vec![patient("H|2")]).await;
        let merge = store(&journal, 3, vec![patient("H|1"), patient("H|2")]).await;
        let behind_merge = store(&journal, 4, vec![patient("H|2")]).await;
        kill(&journal, &bad).await;
        let bad = journal.row(bad.seq).await.unwrap().unwrap();
        let rows = [bad.clone(), second.clone(), other.clone(), merge, behind_merge];
        let held = journal.reader().holders(&rows, true).unwrap();
        let all = |dead: &[Seq], waiting: &[Seq]| Holders { dead: dead.to_vec(), waiting: waiting.to_vec() };
        assert_eq!(held[0], all(&[], &[]), "it waits for a person only");
        assert_eq!(held[1], all(&[bad.seq], &[]));
        assert_eq!(held[2], all(&[], &[]), "the first of its patient");
        assert_eq!(held[3], all(&[bad.seq], &[other.seq]));
        assert_eq!(held[4], all(&[], &[other.seq]), "the head of its lane, for now");
        let free = journal.reader().holders(&rows, false).unwrap();
        assert_eq!(free[1], all(&[], &[]), "where dead letters let others pass");
        assert_eq!(free[3], all(&[], &[second.seq, other.seq]));
    }

    #[tokio::test]
    async fn a_dead_letter_of_one_patient_holds_another_through_a_merge() {
        let (_folder, journal) = open();
        let bad = store(&journal, 0, vec![patient("H|1")]).await;
        let merge = store(&journal, 1, vec![patient("H|1"), patient("H|2")]).await;
        let other = store(&journal, 2, vec![patient("H|2")]).await;
        kill(&journal, &bad).await;
        let held = journal.reader().holders(&[merge, other], true).unwrap();
        assert!(held.iter().all(|held| held.dead == [bad.seq] && held.waiting.is_empty()), "{held:?}");
    }

    #[tokio::test]
    async fn messages_of_nobody_are_held_in_the_line_of_their_source() {
        let (_folder, journal) = open();
        let first = store(&journal, 0, Vec::new()).await;
        store(&journal, 1, vec![patient("H|1")]).await;
        let second = store(&journal, 2, Vec::new()).await;
        let third = store(&journal, 3, Vec::new()).await;
        let held = journal.reader().holders(&[first.clone(), second, third], true).unwrap();
        assert_eq!(held[0], Holders::default());
        assert!(held[1..].iter().all(|held| held.waiting == [first.seq]), "{held:?}");
    }
}
