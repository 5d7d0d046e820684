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
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::rows::{Filed, RowWriter, is_about_one};
use super::{audit, open, retention};
use crate::journal::config::JournalConfig;
use crate::journal::damage::Damage;
use crate::journal::error::OpenError;
use crate::journal::files;
use crate::journal::model::{Seq, time};
use crate::journal::request::{Maintenance, MaintenanceDone};
use crate::journal::wal::entry::LogEntry;
use crate::journal::wal::log::LogFiled;
use crate::sqlite::custody;

pub struct Tables {
    config: JournalConfig,
    /// `None` after a write fault, until it is opened again.
    connection: Option<Connection>,
    plans: HashMap<String, i64>,
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
        let mut rows = RowWriter::new(&transaction, plans)?;
        for (position, entry) in &filing.entries {
            if one_by_one { rows.write_apart(*position, entry)? } else { rows.write(*position, entry)? }
        }
        for (position, bytes) in &filing.unknown {
            rows.put_aside(*position, bytes, "it is in a form that this version does not know")?;
        }
        if let Some(last) = filing.last() {
            reach(&transaction, last, filing.synced)?;
        }
        let filed = rows.done();
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

/// The log is in the tables up to here, and was synced up to there.
fn reach(transaction: &Transaction<'_>, position: u64, synced: u64) -> rusqlite::Result<()> {
    let (position, synced) = (position.cast_signed(), synced.max(position).cast_signed());
    transaction
        .prepare_cached("UPDATE filed SET position = ?1, synced = max(synced, ?2)")?
        .execute([position, synced])
        .map(|_| ())
}
