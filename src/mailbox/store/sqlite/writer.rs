//! The one writer: takes what waits, runs it in one transaction with a savepoint for each, commits once, then answers.
//!
//! A message that fails inside its savepoint is undone alone. When the commit fails, none of the batch happened and
//! every sender is told so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use rusqlite::Connection;

use super::open::OpenError;
use super::transaction::SqliteTransaction;
use crate::mailbox::store::{StoreError, Work};

/// The most messages that share one commit. Larger batches gain nothing and make the first of them wait.
const BATCH: usize = 256;

pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Box<dyn Work>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, queue: usize) -> Result<Self, OpenError> {
        let (sender, receiver) = sync_channel(queue);
        let run = move || run(&connection, &receiver);
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

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(connection: &Connection, queue: &Receiver<Box<dyn Work>>) {
    let mut clock = last_time(connection);
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = queue.recv() {
        batch.push(first);
        batch.extend(queue.try_iter().take(BATCH - 1));
        clock = tick(clock);
        commit(connection, clock, &mut batch);
    }
    // Leaves one file behind instead of three where nobody else reads.
    if let Err(error) = connection.pragma_update(None, "wal_checkpoint", "truncate") {
        tracing::debug!(%error, "the last checkpoint of the mailbox did not finish");
    }
}

/// The newest time in the log, so that a clock set back while the mailbox was down does not reorder it either.
fn last_time(connection: &Connection) -> Timestamp {
    let newest = connection.query_row("SELECT max(received) FROM message", [], |row| row.get::<_, Option<i64>>(0));
    newest.ok().flatten().and_then(|at| Timestamp::from_microsecond(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Now, in whole milliseconds, and not before `last`: a clock that is set back must not reorder the log.
fn tick(last: Timestamp) -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now).max(last)
}

fn commit(connection: &Connection, now: Timestamp, batch: &mut Vec<Box<dyn Work>>) {
    let mut results = Vec::with_capacity(batch.len());
    let committed = execute(connection, "BEGIN IMMEDIATE").and_then(|()| {
        let mut transaction = SqliteTransaction::new(connection, now);
        for work in batch.iter_mut() {
            results.push(step(connection, &mut transaction, work.as_mut()));
        }
        execute(connection, "COMMIT")
    });
    if let Err(error) = &committed {
        tracing::error!(%error, messages = batch.len(), "a commit of the mailbox failed; nothing of it was stored");
        if let Err(error) = execute(connection, "ROLLBACK") {
            tracing::debug!(%error, "nothing to roll back");
        }
    }
    results.resize_with(batch.len(), || Ok(()));
    for (work, result) in batch.drain(..).zip(results) {
        work.settle(committed.clone().and(result));
    }
}

fn step(
    connection: &Connection,
    transaction: &mut SqliteTransaction<'_>,
    work: &mut dyn Work,
) -> Result<(), StoreError> {
    execute(connection, "SAVEPOINT message")?;
    // A panic over one message must not end the writer for all others.
    let run = AssertUnwindSafe(|| work.run(transaction));
    let result = catch_unwind(run).unwrap_or(Err(StoreError::Damaged("a message that made the mailbox panic")));
    if !matches!(result, Ok(true)) {
        execute(connection, "ROLLBACK TO message")?;
        transaction.rolled_back();
    }
    execute(connection, "RELEASE message")?;
    result.map(|_| ())
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
