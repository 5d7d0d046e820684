//! Writing to SQLite: one transaction for a batch, all or nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::acts::{self, Verdict};
use super::row::Status;
use super::schema::BLOCK_SHIFT;
use super::writer::{Done, Job, Ledger};
use super::{Arrival, Config, Fate, OpenError, Progress, Record, Seq, StoreError, Stored, key, open};

/// A sender that gives every message the same control id makes each look-up longer: only so many of the latest are
/// compared.
const COMPARED: i64 = 64;

/// How long after a write fault the file is opened again, at the earliest.
const REOPEN: Duration = Duration::from_secs(1);

pub(super) struct Sqlite {
    config: Config,
    /// `None` after a write fault, until it is opened again.
    connection: Option<Connection>,
    failed: Option<(Instant, String)>,
    plans: HashMap<Arc<str>, i64>,
}

type Outcome = Result<Done, StoreError>;

impl Sqlite {
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let connection = open::writer(config)?;
        Ok(Self { config: config.clone(), connection: Some(connection), failed: None, plans: HashMap::new() })
    }

    pub(super) fn newest(&self) -> rusqlite::Result<Seq> {
        let Some(connection) = &self.connection else { return Ok(0) };
        connection.query_row("SELECT coalesce(max(seq), 0) FROM message", [], |row| row.get(0))
    }

    /// After an I/O error the kernel may have dropped pages that SQLite believes to be on disk, so the connection is not
    /// used again: a new one reads from the log what really is there.
    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.connection.is_some() {
            return Ok(());
        }
        if let Some((at, reason)) = &self.failed
            && at.elapsed() < REOPEN
        {
            return Err(StoreError::Io(reason.clone()));
        }
        match open::connect(&self.config) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => return Err(self.fail(&error)),
        }
        Ok(())
    }

    fn fail(&mut self, error: &rusqlite::Error) -> StoreError {
        self.plans.clear(); // ids that were rolled back
        let error = store_error(error);
        if let StoreError::Io(reason) = &error {
            self.connection = None;
            self.failed = Some((Instant::now(), reason.clone()));
        }
        error
    }

    fn write(&mut self, jobs: &[Job], room: &Result<(), StoreError>) -> rusqlite::Result<Vec<Outcome>> {
        let Some(connection) = &mut self.connection else { return Ok(Vec::new()) };
        let transaction = connection.transaction()?;
        let window = i64::try_from(self.config.duplicate_window.as_micros()).unwrap_or(i64::MAX);
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match job {
                Job::Store(intake) => match room {
                    Ok(()) => Ok(Done::Stored(store(&transaction, &intake.arrival, &intake.digest, window)?)),
                    Err(full) => Err(full.clone()),
                },
                Job::Record(record) => {
                    let plan =
                        record.plan.as_ref().map(|hash| plan_id(&transaction, &mut self.plans, hash)).transpose()?;
                    apply(&transaction, record, plan)?
                }
                Job::Tend(chore) => Ok(Done::Tended(chore.run(&transaction)?)),
            });
        }
        transaction.commit()?;
        Ok(outcomes)
    }

    /// Whether messages may be taken. Outcomes may use what is kept free here.
    fn room(&self) -> Result<(), StoreError> {
        free(&self.config.path, self.config.min_free)?;
        if self.config.max_size > 0
            && let Some(connection) = &self.connection
        {
            let used = used(connection).map_err(|e| store_error(&e))?;
            let limit = self.config.max_size - self.config.max_size / 20;
            if used >= limit {
                return Err(StoreError::Full(format!(
                    "it holds {used} bytes and journal.max_size leaves {limit} for messages"
                )));
            }
        }
        Ok(())
    }
}

impl Ledger for Sqlite {
    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, StoreError> {
        self.reopen()?;
        let room = if jobs.iter().any(|job| matches!(job, Job::Store(_))) { self.room() } else { Ok(()) };
        self.write(jobs, &room).map_err(|error| self.fail(&error))
    }
}

impl Drop for Sqlite {
    /// Leaves everything in the one file, for those who copy it. What cannot be moved stays in the log and is read there.
    fn drop(&mut self) {
        if let Some(connection) = &self.connection
            && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "the journal's log could not be moved into its file");
        }
    }
}

fn free(path: &Path, wanted: u64) -> Result<(), StoreError> {
    // A file system that cannot be asked may still be written; the write itself will tell.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < wanted {
        return Err(StoreError::Full(format!("{free} bytes are left on the disk, journal.min_free wants {wanted}")));
    }
    Ok(())
}

fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let ask = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, u64>(0));
    let pages = ask("PRAGMA page_count")?.saturating_sub(ask("PRAGMA freelist_count")?);
    Ok(pages * ask("PRAGMA page_size")?)
}

fn store(tx: &Transaction<'_>, arrival: &Arrival, digest: &[u8; 16], window: i64) -> rusqlite::Result<Stored> {
    let known = earlier(tx, arrival, digest, window)?;
    if let Some(Earlier::Same { of, fate }) = known {
        return Ok(Stored::Duplicate { of, fate });
    }
    let seq = insert(tx, arrival, digest)?;
    Ok(if known.is_some() { Stored::Reused { seq } } else { Stored::New { seq } })
}

enum Earlier {
    Same { of: Seq, fate: Fate },
    Other,
}

/// What this sender sent before under the same control id.
fn earlier(
    tx: &Transaction<'_>,
    arrival: &Arrival,
    digest: &[u8; 16],
    window: i64,
) -> rusqlite::Result<Option<Earlier>> {
    if arrival.control_id.is_empty() {
        return Ok(None);
    }
    let since = arrival.received.as_microsecond().saturating_sub(window);
    let mut statement = tx.prepare_cached(
        "SELECT seq, digest, status, reason FROM message
         WHERE control_id = ?1 AND control_id <> '' AND sender = ?2 AND received >= ?3
         ORDER BY seq DESC LIMIT ?4",
    )?;
    let mut rows = statement.query(params![arrival.control_id, arrival.sender, since, COMPARED])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        if row.get_ref(1)?.as_blob()? != digest {
            found = Some(Earlier::Other);
            continue;
        }
        let fate = fate_of(Status::from_text(row.get_ref(2)?.as_str()?), row.get(3)?);
        if fate == Fate::Queue || arrival.fate != Fate::Queue {
            return Ok(Some(Earlier::Same { of: row.get(0)?, fate }));
        }
    }
    Ok(found)
}

fn fate_of(status: Status, reason: Option<String>) -> Fate {
    let reason = reason.unwrap_or_default();
    match status {
        Status::Skipped => Fate::Skip { reason },
        Status::Refused => Fate::Refuse { reason },
        _ => Fate::Queue,
    }
}

fn insert(tx: &Transaction<'_>, arrival: &Arrival, digest: &[u8; 16]) -> rusqlite::Result<Seq> {
    let (status, reason) = match &arrival.fate {
        Fate::Queue => (Status::Received, None),
        Fate::Skip { reason } => (Status::Skipped, Some(reason)),
        Fate::Refuse { reason } => (Status::Refused, Some(reason)),
    };
    let received = arrival.received.as_microsecond();
    let keys = key::to_text(&arrival.keys);
    tx.prepare_cached(
        "INSERT INTO message (received, listener, peer, sender, control_id, event, keys, size, digest, status, reason, changed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?1)",
    )?
    .execute(params![
        received,
        arrival.listener,
        arrival.peer.to_string(),
        arrival.sender,
        arrival.control_id,
        arrival.event,
        keys,
        arrival.raw.len(),
        digest,
        status.as_str(),
        reason,
    ])?;
    let seq = tx.last_insert_rowid();
    tx.prepare_cached("INSERT INTO body (seq, raw) VALUES (?1, ?2)")?.execute(params![seq, &arrival.raw[..]])?;
    let mut mention = tx.prepare_cached("INSERT INTO mention (block, hash, seq) VALUES (?1, ?2, ?3)")?;
    for hash in key::hashes(&keys) {
        mention.execute(params![seq >> BLOCK_SHIFT, hash.cast_signed(), seq])?;
    }
    Ok(seq)
}

fn apply(tx: &Transaction<'_>, record: &Record, plan: Option<i64>) -> rusqlite::Result<Outcome> {
    if record.progress == Progress::Told {
        tx.prepare_cached("DELETE FROM owed WHERE seq = ?1")?.execute([record.seq])?;
        return Ok(Ok(Done::Recorded));
    }
    let before: Option<String> = tx
        .prepare_cached("SELECT status FROM message WHERE seq = ?1")?
        .query_row([record.seq], |row| row.get(0))
        .optional()?;
    let Some(before) = before else { return Ok(Err(StoreError::Unknown(record.seq))) };
    let before = Status::from_text(&before);
    match acts::judge(tx, record, before)? {
        Verdict::Take => {}
        Verdict::Refuse(why) => return Ok(Err(why)),
        Verdict::Late => return acts::count(tx, record).map(|()| Ok(Done::Recorded)),
    }
    let (status, reason, due) = match &record.progress {
        Progress::Delivered => (Status::Delivered, None, None),
        Progress::Retry { due, reason } => (Status::Retrying, Some(reason), Some(due.as_microsecond())),
        Progress::Dead { reason } => (Status::Dead, Some(reason), None),
        Progress::Skipped { reason } => (Status::Skipped, Some(reason), None),
        Progress::Requeued | Progress::Told => (Status::Received, None, None),
    };
    let at = record.at.as_microsecond();
    tx.prepare_cached(
        "UPDATE message SET status = ?2, reason = ?3, due = ?4, changed = ?5, attempts = attempts + ?6,
             tried = CASE WHEN ?7 THEN NULL WHEN ?6 THEN coalesce(tried, ?5) ELSE tried END,
             detail = coalesce(?8, detail), plan = coalesce(?9, plan), bundle = coalesce(?10, bundle)
         WHERE seq = ?1",
    )?
    .execute(params![
        record.seq,
        status.as_str(),
        reason,
        due,
        at,
        record.sent,
        record.progress == Progress::Requeued,
        record.detail,
        plan,
        record.bundle.as_ref().map(|id| id.as_bytes()),
    ])?;
    if record.owes {
        tx.prepare_cached("INSERT OR IGNORE INTO owed (seq) VALUES (?1)")?.execute([record.seq])?;
    }
    Ok(Ok(match record.progress {
        Progress::Requeued => Done::Requeued { was: before },
        _ => Done::Recorded,
    }))
}

fn plan_id(tx: &Transaction<'_>, known: &mut HashMap<Arc<str>, i64>, hash: &Arc<str>) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(hash) {
        return Ok(*id);
    }
    tx.prepare_cached("INSERT OR IGNORE INTO plan (hash) VALUES (?1)")?.execute([hash])?;
    let id = tx.prepare_cached("SELECT id FROM plan WHERE hash = ?1")?.query_row([hash], |row| row.get(0))?;
    known.insert(hash.clone(), id);
    Ok(id)
}

fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full("the disk, or journal.max_size, is used up".into()),
        _ => StoreError::Io(error.to_string()),
    }
}
