//! What people do to messages, and what stands against it.
//!
//! Whoever decides has seen a state of the queue that may have changed since, so each decision is judged again in the
//! transaction that files it, where everything before it is in the tables. The same entries in the same order get the
//! same verdicts, so that a decision that was refused is refused again when it is filed anew after a crash.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::journal::error::StoreError;
use crate::journal::model::{Act, Seq, Status};
use crate::journal::wal::entry::OutcomeEntry;

/// Whether a step may be taken.
pub enum Verdict {
    Take,
    Refuse(StoreError),
    /// An attempt that was under way when a person discarded the message, and failed: it stays discarded.
    Late,
}

pub fn judge(tx: &Transaction<'_>, outcome: &OutcomeEntry<'_>, before: Status) -> rusqlite::Result<Verdict> {
    let seq = outcome.seq;
    Ok(match outcome.status {
        _ if outcome.requeued && !has_bytes(tx, seq)? => Verdict::Refuse(StoreError::NoBytes(seq)),
        Status::Skipped if !before.waits() && before != Status::Dead => {
            Verdict::Refuse(StoreError::Settled { seq, status: before })
        }
        Status::Retrying | Status::Dead if outcome.sent && before == Status::Skipped => Verdict::Late,
        _ => Verdict::Take,
    })
}

fn has_bytes(tx: &Transaction<'_>, seq: Seq) -> rusqlite::Result<bool> {
    let mut statement = tx.prepare_cached("SELECT 1 FROM body WHERE seq = ?1")?;
    Ok(statement.query_row([seq], |_| Ok(())).optional()?.is_some())
}

/// Counts an attempt and leaves everything else.
pub fn count(tx: &Transaction<'_>, outcome: &OutcomeEntry<'_>) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE message SET attempts = attempts + 1, tried = coalesce(tried, ?2), detail = coalesce(?3, detail)
         WHERE seq = ?1",
    )?
    .execute(params![outcome.seq, outcome.at, outcome.detail])?;
    Ok(())
}

/// Keeps what a person did; its number.
pub fn note(connection: &Connection, act: &Act) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO act (at, who, command, selection, reason, messages) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![act.at.as_microsecond(), act.who, act.command, act.selection, act.reason, act.messages])?;
    Ok(connection.last_insert_rowid())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::journal::fixture::{arrival, config, open, seq};
    use crate::journal::{Fate, Journal, Progress, Query, Record};

    use super::*;

    async fn discard(journal: &Journal, seq: Seq) -> Result<(), StoreError> {
        let reason = "discarded by jo".to_owned();
        journal.record(Record::decision(seq, Timestamp::now(), Progress::Skipped { reason })).await
    }

    async fn attempt(journal: &Journal, seq: Seq, progress: Progress) {
        let mut record = Record::decision(seq, Timestamp::now(), progress);
        record.sent = true;
        journal.record(record).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_delivered_or_refused_cannot_be_discarded() {
        let (_folder, journal) = open();
        let delivered = seq(journal.store(arrival("1", 0)).await.unwrap());
        attempt(&journal, delivered, Progress::Delivered).await;
        let mut refused = arrival("2", 0);
        refused.fate = Fate::Refuse { reason: "no PID".into() };
        let refused = seq(journal.store(refused).await.unwrap());
        for (seq, status) in [(delivered, Status::Delivered), (refused, Status::Refused)] {
            assert_eq!(discard(&journal, seq).await, Err(StoreError::Settled { seq, status }));
            assert_eq!(journal.row(seq).await.unwrap().unwrap().status, status);
        }
    }

    #[tokio::test]
    async fn a_decision_gets_the_same_verdict_when_it_is_filed_again_after_a_crash() {
        let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (before, left) = (config(&folder), config(&after));
        drop(Journal::open(&before).unwrap());
        std::fs::copy(&before.path, &left.path).unwrap();
        let journal = Journal::open(&before).unwrap();
        let first = seq(journal.store(arrival("1", 0)).await.unwrap());
        let second = seq(journal.store(arrival("2", 0)).await.unwrap());
        attempt(&journal, first, Progress::Delivered).await;
        assert!(discard(&journal, first).await.is_err());
        discard(&journal, second).await.unwrap();
        crate::journal::wal::reader::copy(&before.path, &left.path).unwrap();

        let journal = Journal::open(&left).unwrap();
        assert_eq!(journal.row(first).await.unwrap().unwrap().status, Status::Delivered);
        assert_eq!(journal.row(second).await.unwrap().unwrap().status, Status::Skipped);
        let news = tokio::time::timeout(std::time::Duration::from_millis(50), journal.feed().next()).await;
        assert!(news.is_err(), "what was decided before the start is no news: {news:?}");
    }

    #[tokio::test]
    async fn while_the_tables_cannot_be_written_messages_are_taken_and_nobody_waits_for_what_only_they_tell() {
        let (folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        journal.row(seq).await.unwrap();
        let other = rusqlite::Connection::open(config(&folder).path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        journal.store(arrival("2", 0)).await.unwrap();
        let note = journal.note(Act {
            at: Timestamp::now(),
            who: "jo".into(),
            command: "discard".into(),
            selection: "1".into(),
            reason: None,
            messages: 1,
        });
        let (noted, discarded, stored) = tokio::join!(note, discard(&journal, seq), journal.store(arrival("3", 0)));
        assert!(matches!((&noted, &discarded), (Err(StoreError::Io(_)), Err(StoreError::Io(_)))), "{noted:?}");
        assert!(stored.is_ok());
        assert!(journal.owed(0, 10).await.unwrap().is_empty());
        other.execute_batch("ROLLBACK").unwrap();
        while journal.count(Query::default()).await.unwrap() < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(journal.row(seq).await.unwrap().unwrap().status, Status::Skipped, "it was in the log");
        assert!(journal.reader().acts(10).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_failure_that_comes_after_the_discarding_does_not_bring_the_message_back() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        discard(&journal, seq).await.unwrap();
        attempt(&journal, seq, Progress::Retry { due: Timestamp::now(), reason: "HTTP 503".into() }).await;
        let row = journal.row(seq).await.unwrap().unwrap();
        assert_eq!((row.status, row.attempts, row.due), (Status::Skipped, 1, None));
        assert_eq!(row.reason.as_deref(), Some("discarded by jo"));
    }

    #[tokio::test]
    async fn a_delivery_that_comes_after_the_discarding_is_told_as_what_it_is() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        discard(&journal, seq).await.unwrap();
        attempt(&journal, seq, Progress::Delivered).await;
        assert_eq!(journal.row(seq).await.unwrap().unwrap().status, Status::Delivered);
    }
}
