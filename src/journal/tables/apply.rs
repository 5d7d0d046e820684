//! Filing into SQLite: entries of the log become rows, many in one transaction, all or nothing.
//!
//! Transactions are not synced one by one: the log has what they hold. The position up to which the log is in the tables
//! is written in the same transaction, so that an entry is filed exactly once, whatever happens between. What changes the
//! tables and is in no entry, a step, is synced before it counts.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::audit::{self, Verdict};
use super::schema::BLOCK_SHIFT;
use super::{open, retention};
use crate::journal::config::JournalConfig;
use crate::journal::damage::Damage;
use crate::journal::error::{OpenError, StoreError};
use crate::journal::files;
use crate::journal::keys::{self, Hashes};
use crate::journal::model::{Queued, Seq, Status, time};
use crate::journal::request::{Maintenance, MaintenanceDone};
use crate::journal::wal::entry::{ArrivalEntry, LogEntry, OutcomeEntry};
use crate::journal::wal::log::LogFiled;
use crate::sqlite::custody;

pub struct Tables {
    config: JournalConfig,
    /// `None` after a write fault, until it is opened again.
    connection: Option<Connection>,
    plans: HashMap<String, i64>,
}

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

/// What is filed in one transaction.
pub struct Filing<'e> {
    /// Entries that follow each other, with their positions.
    pub entries: Vec<(u64, LogEntry<'e>)>,
    /// Those between them that are in no form that this version knows.
    pub unknown: Vec<(u64, &'e [u8])>,
    /// The last position that is in the log, synced, now.
    pub synced: u64,
}

impl Filing<'_> {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unknown.is_empty()
    }

    fn last(&self) -> Option<u64> {
        let entries = self.entries.last().map(|(position, _)| *position);
        entries.max(self.unknown.last().map(|(position, _)| *position))
    }
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

impl Tables {
    pub fn open(config: &JournalConfig) -> Result<Self, OpenError> {
        let connection = open::writer(config)?;
        Ok(Self { config: config.clone(), connection: Some(connection), plans: HashMap::new() })
    }

    /// Over a file that was checked before and has the tables of this version.
    pub fn over(config: &JournalConfig) -> Self {
        Self { config: config.clone(), connection: None, plans: HashMap::new() }
    }

    pub fn newest(&mut self) -> rusqlite::Result<Seq> {
        self.ask("SELECT coalesce(max(seq), 0) FROM message")
    }

    /// What the tables know of the log.
    pub fn filed(&mut self) -> rusqlite::Result<LogFiled> {
        self.connection()?.query_row("SELECT journal, position, synced FROM filed", [], |row| {
            let number = |at| row.get(at).map(i64::cast_unsigned);
            Ok(LogFiled { journal: number(0)?, position: number(1)?, synced: number(2)? })
        })
    }

    /// Bytes in use, if anybody wants to know.
    pub fn used(&mut self) -> rusqlite::Result<Option<u64>> {
        if self.config.max_size == 0 {
            return Ok(None);
        }
        let pages: u64 = self.ask("PRAGMA page_count")?;
        let free: u64 = self.ask("PRAGMA freelist_count")?;
        let size: u64 = self.ask("PRAGMA page_size")?;
        Ok(Some(pages.saturating_sub(free) * size))
    }

    fn ask<T: rusqlite::types::FromSql>(&mut self, sql: &str) -> rusqlite::Result<T> {
        self.connection()?.query_row(sql, [], |row| row.get(0))
    }

    /// After an I/O error the kernel may have dropped pages that SQLite believes to be on disk, so the connection is not
    /// used again: a new one reads from the file what really is there.
    fn connection(&mut self) -> rusqlite::Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open::connect(&self.config)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Files entries. One that the tables refuse, whatever may have made it so, is put aside and stops no other.
    pub fn file(&mut self, filing: &Filing<'_>) -> rusqlite::Result<Filed> {
        let mut filed = self.write(filing, false);
        if filed.as_ref().is_err_and(is_about_one) {
            self.plans.clear();
            filed = self.write(filing, true);
        }
        if filed.is_err() {
            self.plans.clear(); // ids that were rolled back
            self.connection = None;
        }
        filed
    }

    /// Does a step, all of it or nothing. It is not synced yet.
    pub fn maintain(&mut self, step: &Maintenance) -> rusqlite::Result<MaintenanceDone> {
        let tended = self.try_maintain(step);
        if tended.is_err() {
            self.connection = None;
        }
        tended
    }

    fn try_maintain(&mut self, step: &Maintenance) -> rusqlite::Result<MaintenanceDone> {
        let transaction = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tended = retention::run(step, &transaction)?;
        transaction.commit()?;
        Ok(tended)
    }

    fn write(&mut self, filing: &Filing<'_>, one_by_one: bool) -> rusqlite::Result<Filed> {
        self.connection()?;
        let (Some(connection), plans) = (&mut self.connection, &mut self.plans) else { return Ok(Filed::default()) };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut filed = Filed::default();
        let mut inserts = Inserts::prepare(&transaction)?;
        for (position, entry) in &filing.entries {
            if one_by_one {
                apart(&transaction, plans, &mut inserts, &mut filed, (*position, entry))?;
            } else {
                one(&transaction, plans, &mut inserts, &mut filed, (*position, entry))?;
            }
        }
        for (position, bytes) in &filing.unknown {
            put_aside(&transaction, &mut filed, *position, bytes, "it is in a form that this version does not know")?;
        }
        if let Some(last) = filing.last() {
            reach(&transaction, last, filing.synced)?;
        }
        drop(inserts);
        transaction.commit()?;
        Ok(filed)
    }

    /// Writes down that entries are lost, and goes on behind them.
    pub fn lose(&mut self, damage: &Damage, last: u64) -> rusqlite::Result<()> {
        let transaction = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        audit::note(&transaction, &damage.act(Timestamp::now()))?;
        reach(&transaction, last, last)?;
        transaction.commit()
    }

    /// The numbers of messages behind `after` that are missing among those that are there; each pair the first and the last.
    pub fn gaps(&mut self, after: Seq) -> rusqlite::Result<Vec<(Seq, Seq)>> {
        let mut statement = self.connection()?.prepare(
            "SELECT before + 1, seq - 1 FROM
             (SELECT seq, lag(seq, 1, ?1) OVER (ORDER BY seq) AS before FROM message WHERE seq > ?1)
             WHERE seq > before + 1",
        )?;
        let gaps = statement.query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))?;
        gaps.collect()
    }

    /// When the last message up to `seq` was received, and the first behind it.
    pub fn received_around(&mut self, before: Seq, behind: Seq) -> rusqlite::Result<[Option<Timestamp>; 2]> {
        let connection = self.connection()?;
        let ask = |sql: &str, seq: Seq| connection.query_row(sql, [seq], |row| row.get(0).map(time)).optional();
        Ok([
            ask("SELECT received FROM message WHERE seq <= ?1 ORDER BY seq DESC LIMIT 1", before)?,
            ask("SELECT received FROM message WHERE seq >= ?1 ORDER BY seq LIMIT 1", behind)?,
        ])
    }

    /// Puts on disk what was filed so far. SQLite's own log is what has to be synced: what has been moved from there into
    /// the file was synced when it was moved.
    pub fn settle(&self) -> io::Result<()> {
        let log = files::beside(&self.config.path, "-wal");
        OpenOptions::new().read(true).write(true).open(log)?.sync_data()?;
        files::sync_folder(&self.config.path)
    }

    /// Writes down damage.
    pub fn note(&mut self, damage: &Damage) -> rusqlite::Result<()> {
        audit::note(self.connection()?, &damage.act(Timestamp::now())).map(|_| ())
    }

    /// Writes everything that is in the tables to a new file, whatever has become of the names of those that are open.
    pub fn copy_to(&mut self, to: &Path) -> Result<(), String> {
        let connection = self.connection().map_err(|error| error.to_string())?;
        custody::copy_out(connection, to).map_err(|error| error.to_string())
    }

    /// Leaves everything in the one file, for those who copy it. What cannot be moved stays in SQLite's log and is read
    /// there.
    pub fn gather(&mut self) -> rusqlite::Result<()> {
        self.connection()?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

/// Whether a fault concerns what was written, and not the file.
fn is_about_one(error: &rusqlite::Error) -> bool {
    let about_a_row =
        |code| matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig);
    match error.sqlite_error_code() {
        Some(code) => about_a_row(code),
        None => matches!(error, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)),
    }
}

/// Files an entry.
fn one(
    transaction: &Transaction<'_>,
    plans: &mut HashMap<String, i64>,
    inserts: &mut Inserts<'_>,
    filed: &mut Filed,
    (position, entry): (u64, &LogEntry<'_>),
) -> rusqlite::Result<()> {
    match entry {
        LogEntry::Arrival(arrived) => {
            let hashes = inserts.insert(arrived)?;
            filed.newest = Some(arrived.seq);
            if arrived.status.waits() {
                filed.queued.push(Queued::new(arrived.seq, hashes, arrived.listener));
            }
        }
        LogEntry::Outcome(outcome) => {
            let plan = outcome.plan.map(|hash| plan_id(transaction, plans, hash)).transpose()?;
            let decided = apply(transaction, outcome, plan)?;
            filed.changed = filed.changed.max(Some(outcome.seq));
            filed.decided(position, outcome, decided);
        }
        LogEntry::Told(seq) => {
            transaction.prepare_cached("DELETE FROM owed WHERE seq = ?1")?.execute([*seq])?;
        }
    }
    Ok(())
}

/// Files an entry, or puts it aside where the tables refuse it.
fn apart(
    transaction: &Transaction<'_>,
    plans: &mut HashMap<String, i64>,
    inserts: &mut Inserts<'_>,
    filed: &mut Filed,
    (position, entry): (u64, &LogEntry<'_>),
) -> rusqlite::Result<()> {
    transaction.prepare_cached("SAVEPOINT entry")?.execute([])?;
    match one(transaction, plans, inserts, filed, (position, entry)) {
        Err(error) if is_about_one(&error) && is_there(transaction, entry)? => {
            transaction.prepare_cached("ROLLBACK TO entry")?.execute([])?;
        }
        Err(error) if is_about_one(&error) => {
            transaction.prepare_cached("ROLLBACK TO entry")?.execute([])?;
            plans.clear();
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            put_aside(transaction, filed, position, &bytes, &error.to_string())?;
        }
        other => other?,
    }
    transaction.prepare_cached("RELEASE entry")?.execute([])?;
    Ok(())
}

/// Whether a message is in the tables already, as after a position that was lost with a damaged file.
fn is_there(transaction: &Transaction<'_>, entry: &LogEntry<'_>) -> rusqlite::Result<bool> {
    let LogEntry::Arrival(arrived) = entry else { return Ok(false) };
    let mut known = transaction.prepare_cached("SELECT 1 FROM message WHERE seq = ?1 AND digest = ?2")?;
    known.exists(params![arrived.seq, arrived.digest])
}

fn put_aside(
    transaction: &Transaction<'_>,
    filed: &mut Filed,
    position: u64,
    bytes: &[u8],
    why: &str,
) -> rusqlite::Result<()> {
    let entries = filed.aside.take().map_or(1, |(before, _)| before + 1);
    filed.aside = Some((entries, why.to_owned()));
    transaction
        .prepare_cached("INSERT OR REPLACE INTO aside (position, entry, why) VALUES (?1, ?2, ?3)")?
        .execute(params![position.cast_signed(), bytes, why])?;
    let damage = Damage::Aside { entries: 1, why: why.to_owned() };
    audit::note(transaction, &damage.act(Timestamp::now())).map(|_| ())
}

/// The log is in the tables up to here, and was synced up to there.
fn reach(transaction: &Transaction<'_>, position: u64, synced: u64) -> rusqlite::Result<()> {
    let (position, synced) = (position.cast_signed(), synced.max(position).cast_signed());
    transaction
        .prepare_cached("UPDATE filed SET position = ?1, synced = max(synced, ?2)")?
        .execute([position, synced])
        .map(|_| ())
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
