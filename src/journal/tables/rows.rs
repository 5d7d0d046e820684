//! Entries of the log as rows, within one transaction: a message and where it is found, what became of it, and what the tables
//! refuse, which is put aside.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::audit::{self, Verdict};
use super::schema::BLOCK_SHIFT;
use crate::journal::damage::Damage;
use crate::journal::error::StoreError;
use crate::journal::keys::{self, Hashes};
use crate::journal::model::{Queued, Seq, Status};
use crate::journal::wal::entry::{ArrivalEntry, LogEntry, OutcomeEntry};

/// What filing came to, for the feed and for those who wait for a verdict.
#[derive(Debug, Default, PartialEq)]
pub struct Filed {
    pub newest: Option<Seq>,
    /// Those of them that wait.
    pub queued: Vec<Queued>,
    /// The latest of those with which something happened since they arrived.
    pub changed: Option<Seq>,
    /// With the status that they had before.
    pub requeued: Vec<(Seq, Status)>,
    pub discarded: Vec<Seq>,
    /// By the positions of their entries.
    pub refused: Vec<(u64, StoreError)>,
    /// Entries that could not be filed, and why the last of them.
    pub aside: Option<(u64, String)>,
}

impl Filed {
    fn decided(&mut self, position: u64, outcome: &OutcomeEntry<'_>, decided: Result<Status, StoreError>) {
        match decided {
            Err(why) => self.refused.push((position, why)),
            Ok(was) if outcome.requeued => self.requeued.push((outcome.seq, was)),
            Ok(_) if outcome.status == Status::Skipped => self.discarded.push(outcome.seq),
            Ok(_) => {}
        }
    }
}

/// Writes entries one after the other, and gathers what that comes to.
pub struct RowWriter<'t> {
    transaction: &'t Transaction<'t>,
    /// The numbers of plans, by their hashes.
    plans: &'t mut HashMap<String, i64>,
    inserts: Inserts<'t>,
    filed: Filed,
}

impl<'t> RowWriter<'t> {
    pub fn new(transaction: &'t Transaction<'t>, plans: &'t mut HashMap<String, i64>) -> rusqlite::Result<Self> {
        Ok(Self { transaction, plans, inserts: Inserts::prepare(transaction)?, filed: Filed::default() })
    }

    pub fn done(self) -> Filed {
        self.filed
    }

    pub fn write(&mut self, position: u64, entry: &LogEntry<'_>) -> rusqlite::Result<()> {
        match entry {
            LogEntry::Arrival(arrived) => {
                let hashes = self.inserts.insert(arrived)?;
                self.filed.newest = Some(arrived.seq);
                if arrived.status.waits() {
                    self.filed.queued.push(Queued::new(arrived.seq, hashes, arrived.listener));
                }
            }
            LogEntry::Outcome(outcome) => {
                let plan = outcome.plan.map(|hash| plan_id(self.transaction, self.plans, hash)).transpose()?;
                let decided = apply(self.transaction, outcome, plan)?;
                self.filed.changed = self.filed.changed.max(Some(outcome.seq));
                self.filed.decided(position, outcome, decided);
            }
            LogEntry::Told(seq) => {
                self.transaction.prepare_cached("DELETE FROM owed WHERE seq = ?1")?.execute([*seq])?;
            }
        }
        Ok(())
    }

    /// As [`Self::write`], and puts the entry aside where the tables refuse it, unless they have it already.
    pub fn write_apart(&mut self, position: u64, entry: &LogEntry<'_>) -> rusqlite::Result<()> {
        self.execute("SAVEPOINT entry")?;
        match self.write(position, entry) {
            Err(error) if is_about_one(&error) => {
                let known = self.is_there(entry)?;
                self.execute("ROLLBACK TO entry")?;
                if !known {
                    self.plans.clear();
                    let mut bytes = Vec::new();
                    entry.encode(&mut bytes);
                    self.put_aside(position, &bytes, &error.to_string())?;
                }
            }
            other => other?,
        }
        self.execute("RELEASE entry")
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.transaction.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Whether a message is in the tables already, as after a position that was lost with a damaged file.
    fn is_there(&self, entry: &LogEntry<'_>) -> rusqlite::Result<bool> {
        let LogEntry::Arrival(arrived) = entry else { return Ok(false) };
        let mut known = self.transaction.prepare_cached("SELECT 1 FROM message WHERE seq = ?1 AND digest = ?2")?;
        known.exists(params![arrived.seq, arrived.digest])
    }

    pub fn put_aside(&mut self, position: u64, bytes: &[u8], why: &str) -> rusqlite::Result<()> {
        let entries = self.filed.aside.take().map_or(1, |(before, _)| before + 1);
        self.filed.aside = Some((entries, why.to_owned()));
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO aside (position, entry, why) VALUES (?1, ?2, ?3)")?
            .execute(params![position.cast_signed(), bytes, why])?;
        let damage = Damage::Aside { entries: 1, why: why.to_owned() };
        audit::note(self.transaction, &damage.act(Timestamp::now())).map(|_| ())
    }
}

/// Whether a fault concerns what was written, and not the file.
pub fn is_about_one(error: &rusqlite::Error) -> bool {
    let about_a_row =
        |code| matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig);
    match error.sqlite_error_code() {
        Some(code) => about_a_row(code),
        None => matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)),
    }
}

/// The statements that file a message, looked up once for many.
struct Inserts<'c> {
    message: CachedStatement<'c>,
    body: CachedStatement<'c>,
    mention: CachedStatement<'c>,
}

impl<'c> Inserts<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            message: connection.prepare_cached(
                "INSERT INTO message (seq, received, listener, peer, sender, control_id, event, keys, size, digest, status, reason, changed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?2)",
            )?,
            body: connection.prepare_cached("INSERT INTO body (seq, raw) VALUES (?1, ?2)")?,
            mention: connection.prepare_cached("INSERT INTO mention (block, hash, seq) VALUES (?1, ?2, ?3)")?,
        })
    }

    /// Answers with the hashes of its keys.
    fn insert(&mut self, arrived: &ArrivalEntry<'_>) -> rusqlite::Result<Hashes> {
        self.message.execute(params![
            arrived.seq,
            arrived.received,
            arrived.listener,
            arrived.peer,
            arrived.sender,
            arrived.control_id,
            arrived.event,
            arrived.keys,
            arrived.raw.len(),
            arrived.digest,
            arrived.status.as_str(),
            arrived.reason,
        ])?;
        self.body.execute(params![arrived.seq, arrived.raw])?;
        let hashes = keys::hashes(arrived.keys);
        for hash in &hashes {
            self.mention.execute(params![arrived.seq >> BLOCK_SHIFT, hash.cast_signed(), arrived.seq])?;
        }
        Ok(hashes)
    }
}

/// Answers with the status before, or why the outcome does not count.
fn apply(
    tx: &Transaction<'_>,
    outcome: &OutcomeEntry<'_>,
    plan: Option<i64>,
) -> rusqlite::Result<Result<Status, StoreError>> {
    let before = tx
        .prepare_cached("SELECT status FROM message WHERE seq = ?1")?
        .query_row([outcome.seq], |row| Ok(Status::from_text(row.get_ref(0)?.as_str()?)))
        .optional()?;
    let Some(before) = before else { return Ok(Err(StoreError::Unknown(outcome.seq))) };
    match audit::judge(tx, outcome, before)? {
        Verdict::Take => {}
        Verdict::Refuse(why) => return Ok(Err(why)),
        Verdict::Late => return audit::count(tx, outcome).map(|()| Ok(before)),
    }
    tx.prepare_cached(
        "UPDATE message SET status = ?2, reason = ?3, due = ?4, changed = ?5, attempts = attempts + ?6,
             tried = CASE WHEN ?7 THEN NULL WHEN ?6 THEN coalesce(tried, ?5) ELSE tried END,
             detail = coalesce(?8, detail), plan = coalesce(?9, plan), bundle = coalesce(?10, bundle)
         WHERE seq = ?1",
    )?
    .execute(params![
        outcome.seq,
        outcome.status.as_str(),
        outcome.reason,
        outcome.due,
        outcome.at,
        outcome.sent,
        outcome.requeued,
        outcome.detail,
        plan,
        outcome.bundle,
    ])?;
    if outcome.owes {
        tx.prepare_cached("INSERT OR IGNORE INTO owed (seq) VALUES (?1)")?.execute([outcome.seq])?;
    }
    Ok(Ok(before))
}

fn plan_id(tx: &Transaction<'_>, known: &mut HashMap<String, i64>, hash: &str) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(hash) {
        return Ok(*id);
    }
    tx.prepare_cached("INSERT OR IGNORE INTO plan (hash) VALUES (?1)")?.execute([hash])?;
    let id = tx.prepare_cached("SELECT id FROM plan WHERE hash = ?1")?.query_row([hash], |row| row.get(0))?;
    known.insert(hash.to_owned(), id);
    Ok(id)
}
