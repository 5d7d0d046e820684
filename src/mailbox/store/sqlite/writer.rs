//! The one writer: takes what waits, runs it in one transaction, commits once, then answers.
//!
//! A message that has to be undone is undone alone. When the commit fails, none of the batch happened and every sender is
//! told so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use rusqlite::Connection;

use super::open::OpenError;
use super::transaction::{SqliteTransaction, WriterCache};
use crate::log_throttle::{LogThrottle, throttled};
use crate::mailbox::store::Work;
use crate::mailbox::store::model::StoreError;
use crate::sqlite::custody::{self, Custody};

/// The most messages that share one commit. Larger batches gain nothing and make the first of them wait.
const BATCH: usize = 256;

static UNCOMMITTED: LogThrottle = LogThrottle::minutely();
static NOT_ROLLED_BACK: LogThrottle = LogThrottle::minutely();
/// Steps after which a batch is committed, whoever still waits: what a message takes that comes alone.
const BATCH_STEPS: u64 = 50_000;

pub(super) struct StoreWriter {
    queue: Mutex<Option<SyncSender<Box<dyn Work>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl StoreWriter {
    /// Of the database at `path`.
    pub(super) fn start(path: &Path, connection: Connection, queue: usize) -> Result<Self, OpenError> {
        let (sender, receiver) = sync_channel(queue);
        let mut keeper = Keeper::new(path);
        let run = move || run(&connection, &mut keeper, &receiver);
        let thread = std::thread::Builder::new().name("mailbox-writer".into()).spawn(run).map_err(OpenError::Thread)?;
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn submit(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        let queue = self.queue.lock().map_err(|_| StoreError::Closed)?;
        match queue.as_ref().ok_or(StoreError::Closed)?.try_send(work) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    /// Lets the queue run out and waits for the thread.
    pub(super) fn close(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the mailbox's writer ended by a panic");
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        self.close();
    }
}

/// Looks after the files: what is written when they have no names any more is gone with the process.
struct Keeper {
    path: PathBuf,
    custody: Custody,
    /// The copy that was made of what they held.
    copied: Option<PathBuf>,
}

impl Keeper {
    fn new(path: &Path) -> Self {
        Self { path: path.into(), custody: Custody::of_database(path), copied: None }
    }

    /// Why nothing may be stored now. What the files held is copied out when that is found.
    fn fault(&mut self, connection: &Connection) -> Option<StoreError> {
        let gone = self.custody.look()?.to_owned();
        if self.copied.is_none() {
            let copy = custody::aside(&self.path, "rescued");
            match custody::copy_out(connection, &copy) {
                Ok(()) => {
                    let copy = copy.display();
                    tracing::error!(gone, %copy, "the mailbox's files are gone, and it takes no more messages. What it held is in the copy: stop the program, give that the name of the database, and start");
                }
                Err(error) => {
                    tracing::error!(gone, %error, "the mailbox's files are gone and could not be copied; do not stop this program");
                }
            }
            self.copied = Some(copy);
        }
        Some(StoreError::Gone(gone))
    }
}

fn run(connection: &Connection, keeper: &mut Keeper, queue: &Receiver<Box<dyn Work>>) {
    let mut clock = last_time(connection);
    let (mut batch, mut known) = (Vec::with_capacity(BATCH), WriterCache::default());
    while let Ok(first) = queue.recv() {
        batch.push(first);
        batch.extend(queue.try_iter().take(BATCH - 1));
        if let Some(gone) = keeper.fault(connection) {
            batch.drain(..).for_each(|work| work.settle(Err(gone.clone())));
        }
        while !batch.is_empty() {
            clock = tick(clock);
            commit(connection, clock, &mut known, &mut batch);
        }
    }
    keeper.custody.look_now();
    keeper.fault(connection);
}

/// The newest time in the log, so that a clock set back while the mailbox was down does not reorder it either.
fn last_time(connection: &Connection) -> Timestamp {
    let newest = connection.query_row("SELECT received FROM message ORDER BY seq DESC LIMIT 1", [], |row| row.get(0));
    newest.ok().and_then(|at| Timestamp::from_microsecond(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Now, in whole milliseconds, and not before `last`: a clock that is set back must not reorder the log.
fn tick(last: Timestamp) -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now).max(last)
}

/// Runs and commits the first of `batch`, at least one, and takes them out of it.
fn commit(connection: &Connection, now: Timestamp, known: &mut WriterCache, batch: &mut Vec<Box<dyn Work>>) {
    let done = together(connection, now, known, batch).and_then(|all| match all {
        Some(results) => Ok(results),
        None => one_by_one(connection, now, known, batch),
    });
    match done {
        Ok(results) => {
            let done = batch.drain(..results.len());
            done.zip(results).for_each(|(work, result)| work.settle(result));
        }
        Err(error) => {
            throttled!(
                error,
                UNCOMMITTED,
                %error,
                messages = batch.len(),
                "a commit of the mailbox failed; nothing of it was stored"
            );
            *known = WriterCache::default();
            roll_back(connection);
            batch.drain(..).for_each(|work| work.settle(Err(error.clone())));
        }
    }
}

type Results = Vec<Result<(), StoreError>>;

/// Runs a batch in the hope that all of it stays: savepoints cost a tenth of all time and are rarely needed. `None`:
/// one of them has to be undone alone, and nothing was stored.
fn together(
    connection: &Connection,
    now: Timestamp,
    known: &mut WriterCache,
    batch: &mut [Box<dyn Work>],
) -> Result<Option<Results>, StoreError> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let mut transaction = SqliteTransaction::new(connection, now, known, false);
    let mut results = Vec::with_capacity(batch.len());
    for work in batch {
        if transaction.taken() > BATCH_STEPS {
            break;
        }
        transaction.begin();
        let before = transaction.writes();
        let result = guarded(work.as_mut(), &mut transaction);
        if !matches!(result, Ok(true)) && transaction.writes() != before {
            transaction.rolled_back();
            roll_back(connection);
            return Ok(None);
        }
        results.push(result.map(|_| ()));
    }
    execute(connection, "COMMIT")?;
    Ok(Some(results))
}

/// Runs a batch with a savepoint for each, so that one can be undone alone.
fn one_by_one(
    connection: &Connection,
    now: Timestamp,
    known: &mut WriterCache,
    batch: &mut [Box<dyn Work>],
) -> Result<Results, StoreError> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let mut transaction = SqliteTransaction::new(connection, now, known, true);
    let mut results = Vec::with_capacity(batch.len());
    for work in batch {
        if transaction.taken() > BATCH_STEPS {
            break;
        }
        transaction.begin();
        execute(connection, "SAVEPOINT message")?;
        let result = guarded(work.as_mut(), &mut transaction);
        if !matches!(result, Ok(true)) {
            execute(connection, "ROLLBACK TO message")?;
            transaction.rolled_back();
        }
        execute(connection, "RELEASE message")?;
        results.push(result.map(|_| ()));
    }
    execute(connection, "COMMIT")?;
    Ok(results)
}

/// A panic over one message must not end the writer for all others.
fn guarded(work: &mut dyn Work, transaction: &mut SqliteTransaction<'_>) -> Result<bool, StoreError> {
    let run = AssertUnwindSafe(|| work.run(transaction));
    catch_unwind(run).unwrap_or(Err(StoreError::Damaged("a message that made the mailbox panic")))
}

/// Ends a transaction that may have ended by itself, as SQLite does when the disk is full.
fn roll_back(connection: &Connection) {
    if connection.is_autocommit() {
        return;
    }
    if let Err(error) = execute(connection, "ROLLBACK") {
        throttled!(error, NOT_ROLLED_BACK, %error, "the mailbox could not roll back");
    }
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::super::open;
    use super::*;
    use crate::mailbox::store::Transaction;

    /// Adds an endpoint by claiming an identifier, then does what its number says.
    struct Trial {
        number: usize,
        told: Sender<(usize, Result<(), StoreError>)>,
    }

    impl Work for Trial {
        fn run(&mut self, transaction: &mut dyn Transaction) -> Result<bool, StoreError> {
            let identifier =
                crate::mailbox::store::model::Identifier { system: "urn:x".into(), value: self.number.to_string() };
            transaction.claim(
                crate::mailbox::resource_type::ResourceType::Patient,
                1,
                &identifier,
                transaction.now(),
            )?;
            match self.number {
                3 => Ok(false),
                5 => Err(StoreError::Damaged("a test")),
                7 => panic!("a test"),
                9 => transaction.undo().map(|()| true),
                _ => Ok(true),
            }
        }

        fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
            self.told.send((self.number, committed)).unwrap();
        }
    }

    #[test]
    fn what_fails_or_is_undone_in_a_batch_leaves_the_others_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open::writer(&folder.path().join("m.db"), 1 << 20).unwrap();
        let (told, heard) = channel();
        let trial = |number| Box::new(Trial { number, told: told.clone() }) as Box<dyn Work>;
        let mut known = WriterCache::default();
        commit(&connection, Timestamp::now(), &mut known, &mut (0..10).map(trial).collect());
        commit(&connection, Timestamp::now(), &mut known, &mut (10..12).map(trial).collect());
        let failed: Vec<usize> = heard.try_iter().filter(|(_, result)| result.is_err()).map(|(n, _)| n).collect();
        assert_eq!(failed, [5, 7]);
        let mut select = connection.prepare("SELECT value FROM identifier ORDER BY CAST(value AS INTEGER)").unwrap();
        let kept: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(kept, ["0", "1", "2", "4", "6", "8", "10", "11"]);
    }
}
