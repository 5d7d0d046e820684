//! The thread that brings the tables after the log, in order, and tells the feed.
//!
//! It works from what is in the log, also for what was left there by a crash: there is one way from the log into the
//! tables. A message that comes alone is filed at once. Of a stream several are filed together, a transaction costing as
//! much as ten messages or more: the next one waits until it is a while since the last began, but not while somebody waits
//! for it. A fault does not lose anything: the same entries are tried again, and the log takes messages until it is full.
//!
//! It also answers what only the tables can tell, whether a person's decision may be taken, and does the maintenance, in the
//! order in which both were asked for. Nobody waits for those while the tables cannot be written: they fail then.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use tokio::sync::watch;

use super::apply::{Filed, Tables};
use super::head::Head;
use crate::journal::error::StoreError;
use crate::journal::model::Seq;
use crate::journal::progress::Marks;
use crate::journal::request::{FilerJob, JobDone, Maintenance, MaintenanceDone, PendingDecision, ReplyTo, SyncedGroup};
use crate::journal::wal::chunk::Chunk;
use crate::journal::wal::entry::LogEntry;
use crate::journal::wal::extent::Extent;
use crate::journal::wal::log::Log;

/// After so long without work what was filed is synced, so that little is left to do after a power cut.
const QUIET: Duration = Duration::from_secs(1);

/// From the beginning of one transaction to that of the next, where nobody waits for it. Long enough for a sender that
/// waits for each ack to bring a few dozen messages, and not felt by a destination.
const STRIDE: Duration = Duration::from_millis(20);

/// So often it is looked whether somebody waits.
const TICK: Duration = Duration::from_millis(2);

/// Between two attempts while the tables cannot be written.
const PAUSE: Duration = Duration::from_secs(1);

/// A third of the share that the others get.
const NICE: i32 = 5;

pub struct Filer {
    tables: Tables,
    files: [File; 2],
    marks: Arc<Marks>,
    head: watch::Sender<Head>,
    path: PathBuf,
    jobs: Receiver<FilerJob>,
    /// Taken from the channel, and to be done before what is left there.
    waiting: VecDeque<FilerJob>,
    /// Decisions that are not filed yet, in order.
    asked: VecDeque<PendingDecision>,
    /// Which of the log's files was read last.
    current: usize,
    /// When the last transaction began.
    began: Option<Instant>,
    failing: bool,
}

/// Why an extent could not be filed.
#[derive(Debug, thiserror::Error)]
pub enum FilingError {
    #[error("the log cannot be read: {0}")]
    Log(#[from] io::Error),
    #[error("{0}")]
    Tables(#[from] rusqlite::Error),
}

impl From<&FilingError> for StoreError {
    fn from(fault: &FilingError) -> Self {
        match fault {
            FilingError::Tables(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Self::Full("the disk is used up".into())
            }
            fault => Self::Io(fault.to_string()),
        }
    }
}

impl Filer {
    pub fn new(
        tables: Tables,
        files: [File; 2],
        marks: Arc<Marks>,
        head: watch::Sender<Head>,
        path: PathBuf,
        jobs: Receiver<FilerJob>,
    ) -> Self {
        let (waiting, asked) = (VecDeque::new(), VecDeque::new());
        Self { tables, files, marks, head, path, jobs, waiting, asked, current: 0, began: None, failing: false }
    }

    /// Until the writer is gone and everything is filed, or can for now not be.
    pub fn run(mut self) {
        yield_to_the_acks();
        loop {
            match self.next() {
                Ok(FilerJob::File(synced)) => {
                    if !self.follow(synced) {
                        return tracing::warn!("messages are left in the journal's log; the next start files them");
                    }
                }
                Ok(FilerJob::Maintain(step, reply)) => self.maintain(&step, reply),
                Err(RecvTimeoutError::Timeout) => self.settle(),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    fn next(&mut self) -> Result<FilerJob, RecvTimeoutError> {
        match self.waiting.pop_front() {
            Some(errand) => Ok(errand),
            None => self.jobs.recv_timeout(QUIET),
        }
    }

    /// Files what was left by an earlier run.
    pub fn recover(&mut self, left: &[Extent]) -> Result<(), FilingError> {
        for extent in left {
            self.current = extent.file;
            let mut rest = *extent;
            while rest.first <= rest.last {
                self.file(&mut rest)?;
            }
        }
        self.tables.settle()?;
        self.marks.settle(self.marks.filed());
        Ok(())
    }

    /// The newest message's number, with which the feed begins.
    pub fn start(&mut self) -> Result<Seq, FilingError> {
        let newest = self.tables.newest()?;
        if let Some(used) = self.tables.used()? {
            self.marks.use_bytes(used);
        }
        self.head.send_replace(Head::at(newest)); // nobody reads what was decided before the start as news
        Ok(newest)
    }

    /// Files what was synced and what directly follows it; `false` when that has to be left to the next start.
    fn follow(&mut self, synced: SyncedGroup) -> bool {
        self.let_gather();
        let mut extent = synced.extent;
        self.asked.extend(synced.decisions);
        while let Some(next) = self.waiting.pop_front().or_else(|| self.jobs.try_recv().ok()) {
            match next {
                FilerJob::File(more) if extent.join(&more.extent) => self.asked.extend(more.decisions),
                other => {
                    self.waiting.push_front(other);
                    break;
                }
            }
        }
        self.finish(extent)
    }

    fn let_gather(&mut self) {
        while self.began.is_some_and(|began| began.elapsed() < STRIDE) && !self.marks.is_urgent() {
            std::thread::sleep(TICK);
        }
        self.marks.begin();
        self.began = Some(Instant::now());
    }

    /// As [`Self::follow`], for one extent.
    fn finish(&mut self, mut rest: Extent) -> bool {
        let turned = std::mem::replace(&mut self.current, rest.file) != rest.file;
        while rest.first <= rest.last {
            match self.file(&mut rest) {
                Ok(()) => self.recovered(),
                Err(_) if self.marks.is_closing() => return false,
                Err(fault) => {
                    self.fail(&fault);
                    self.look_again();
                }
            }
        }
        if turned {
            self.settle(); // the other file may be needed soon
        }
        true
    }

    /// A transaction that reports a fault may have been committed all the same: what it wrote is not written twice.
    fn look_again(&mut self) {
        let (Ok((_, position)), Ok(newest)) = (self.tables.filed(), self.tables.newest()) else { return };
        if position > self.marks.filed() {
            self.marks.file(position, 0);
            self.head.send_modify(|head| head.newest = newest);
        }
    }

    /// Files the first part of what is left of an extent.
    fn file(&mut self, rest: &mut Extent) -> Result<(), FilingError> {
        let chunk = Chunk::read(&self.files[rest.file], rest)?;
        let entries = self.unfiled(&chunk)?;
        let last = chunk.next - 1;
        let filed = if entries.is_empty() { Filed::default() } else { self.tables.file(&entries)? };
        self.publish(&filed); // first, so that a feed which waited to catch up knows of it
        // It is filed from here on, whatever fails.
        self.marks.file(last.max(self.marks.filed()), chunk.end - rest.from);
        (rest.from, rest.first) = (chunk.end, chunk.next);
        self.tell(last, filed);
        self.weigh()
    }

    fn weigh(&mut self) -> Result<(), FilingError> {
        if let Some(used) = self.tables.used()? {
            self.marks.use_bytes(used);
        }
        Ok(())
    }

    /// Answers those who asked for something up to this position.
    fn tell(&mut self, last: u64, filed: Filed) {
        let mut refused = filed.refused.into_iter().peekable();
        while let Some(asked) = self.asked.pop_front_if(|asked| asked.position <= last) {
            while refused.next_if(|(position, _)| *position < asked.position).is_some() {}
            let verdict = match refused.next_if(|(position, _)| *position == asked.position) {
                Some((_, why)) => Err(why),
                None => Ok(JobDone::Recorded),
            };
            drop(asked.reply.send(verdict)); // who has gone away does not need it
        }
    }

    fn maintain(&mut self, step: &Maintenance, reply: ReplyTo) {
        let done = self.try_maintain(step).map_err(|fault| {
            tracing::debug!(%fault, "maintenance of the journal could not be done");
            StoreError::from(&fault)
        });
        drop(reply.send(done.map(JobDone::Maintained)));
    }

    fn try_maintain(&mut self, step: &Maintenance) -> Result<MaintenanceDone, FilingError> {
        let tended = self.tables.maintain(step)?;
        self.tables.settle()?;
        self.marks.settle(self.marks.filed());
        self.weigh()?;
        Ok(tended)
    }

    fn unfiled<'c>(&self, chunk: &'c Chunk) -> Result<Vec<(u64, LogEntry<'c>)>, FilingError> {
        if chunk.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry does not check").into());
        }
        let filed = self.marks.filed();
        let unfiled = chunk.entries().filter(|(position, _)| *position > filed);
        let decoded = unfiled.map(|(position, bytes)| {
            let unknown = || io::Error::new(io::ErrorKind::InvalidData, "an entry is of an unknown form");
            Ok((position, LogEntry::decode(bytes).ok_or_else(unknown)?))
        });
        decoded.collect()
    }

    /// Tells the feed how far it may read now.
    fn publish(&self, filed: &Filed) {
        if filed.newest.is_none() && filed.requeued.is_empty() && filed.discarded.is_empty() {
            return;
        }
        self.head.send_modify(|head| {
            head.newest = filed.newest.unwrap_or(head.newest);
            head.requeue(&filed.requeued);
            head.discard(&filed.discarded);
        });
    }

    fn settle(&mut self) {
        let filed = self.marks.filed();
        if self.marks.settled() == filed {
            return;
        }
        match self.tables.settle() {
            Ok(()) => self.marks.settle(filed),
            Err(error) => self.fail(&FilingError::Log(error)),
        }
    }

    /// One line when it begins to fail, one when it works again.
    fn fail(&mut self, fault: &FilingError) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%fault, "the journal cannot be written; messages are kept in its log until that is full");
        }
        self.marks.fail();
        self.excuse(&StoreError::from(fault));
        std::thread::sleep(PAUSE);
    }

    /// Tells those who wait for an answer from the tables that there is none now.
    fn excuse(&mut self, why: &StoreError) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(self.jobs.try_iter());
        for errand in waiting {
            match errand {
                FilerJob::File(SyncedGroup { extent, decisions }) => {
                    self.asked.extend(decisions);
                    self.waiting.push_back(FilerJob::File(SyncedGroup { extent, decisions: Vec::new() }));
                }
                FilerJob::Maintain(_, reply) => drop(reply.send(Err(why.clone()))),
            }
        }
        for asked in self.asked.drain(..) {
            drop(asked.reply.send(Err(why.clone())));
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("the journal is written again");
        }
    }

    /// Where everything is in the tables, the log is not needed any more.
    fn close(mut self) {
        if let Err(error) = self.tables.gather() {
            tracing::warn!(%error, "SQLite's log could not be moved into the journal's file");
        }
        let settled = self.tables.settle().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        if let Err(error) = settled.and_then(|()| Log::remove(&self.path)) {
            tracing::warn!(%error, "the journal's log could not be taken away");
        }
    }
}

impl Drop for Filer {
    /// However it ends, by a panic too, nobody waits for it any more.
    fn drop(&mut self) {
        self.marks.fail();
    }
}

/// Where the processors are all busy, senders get their acks before the tables are brought up: the log can wait. On Linux
/// this is the thread's own priority. A system that does not allow it is slower in a burst and works all the same.
fn yield_to_the_acks() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the filing thread keeps its priority");
    }
}
