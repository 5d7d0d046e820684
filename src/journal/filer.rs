//! The thread that brings the tables after the log, in order, and tells the feed.
//!
//! It works from what is in the log, also for what was left there by a crash: there is one way from the log into the
//! tables. While one transaction is written the next gathers, so the more there is to do the less each costs. A fault does
//! not lose anything: the same entries are tried again, and the log takes messages until it is full.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::watch;

use super::Seq;
use super::chunk::Chunk;
use super::entry::Entry;
use super::feed::Head;
use super::ledger::{Filed, Sqlite};
use super::log::{Extent, Log};
use super::marks::Marks;

/// After so long without work what was filed is synced, so that little is left to do after a power cut.
const QUIET: Duration = Duration::from_secs(1);

/// Between two attempts while the tables cannot be written.
const PAUSE: Duration = Duration::from_secs(1);

/// A third of the share that the others get.
const NICE: i32 = 5;

pub(super) struct Filer {
    pub ledger: Sqlite,
    pub files: [File; 2],
    pub marks: Arc<Marks>,
    pub head: watch::Sender<Head>,
    pub path: PathBuf,
    /// Which of the log's files was read last.
    pub current: usize,
    pub failing: bool,
}

/// Why an extent could not be filed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the log cannot be read: {0}")]
    Log(#[from] io::Error),
    #[error("{0}")]
    Tables(#[from] rusqlite::Error),
}

impl Filer {
    /// Until the writer is gone and everything is filed, or can for now not be.
    pub fn run(mut self, extents: &Receiver<Extent>) {
        yield_to_the_acks();
        loop {
            match extents.recv_timeout(QUIET) {
                Ok(first) if self.follow(first, extents) => {}
                Ok(_) => {
                    return tracing::warn!("messages are left in the journal's log; they are filed at the next start");
                }
                Err(RecvTimeoutError::Timeout) => self.settle(),
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    /// Files what was left by an earlier run.
    pub fn recover(&mut self, left: &[Extent]) -> Result<(), Fault> {
        for extent in left {
            self.current = extent.file;
            let mut rest = *extent;
            while rest.first <= rest.last {
                self.file(&mut rest)?;
            }
        }
        self.ledger.settle()?;
        self.marks.settle(self.marks.filed());
        Ok(())
    }

    /// The newest message's number, with which the feed begins.
    pub fn start(&mut self) -> Result<Seq, Fault> {
        let newest = self.ledger.newest()?;
        if let Some(used) = self.ledger.used()? {
            self.marks.use_bytes(used);
        }
        self.head.send_modify(|head| head.newest = newest);
        Ok(newest)
    }

    /// Files what there is; `false` when that has to be left to the next start.
    fn follow(&mut self, mut extent: Extent, extents: &Receiver<Extent>) -> bool {
        loop {
            let mut next = None;
            while let Ok(more) = extents.try_recv() {
                if !extent.join(&more) {
                    next = Some(more);
                    break;
                }
            }
            if !self.finish(extent) {
                return false;
            }
            match next {
                Some(more) => extent = more,
                None => return true,
            }
        }
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
        let (Ok((_, position)), Ok(newest)) = (self.ledger.filed(), self.ledger.newest()) else { return };
        if position > self.marks.filed() {
            self.marks.file(position, 0);
            self.head.send_modify(|head| head.newest = newest);
        }
    }

    /// Files the first part of what is left of an extent.
    fn file(&mut self, rest: &mut Extent) -> Result<(), Fault> {
        let chunk = Chunk::read(&self.files[rest.file], rest)?;
        let entries = self.unfiled(&chunk)?;
        let last = chunk.next - 1;
        let filed = if entries.is_empty() { Filed::default() } else { self.ledger.file(&entries, last)? };
        if let Some(used) = self.ledger.used()? {
            self.marks.use_bytes(used);
        }
        self.publish(&filed); // first, so that a feed which waited to catch up knows of it
        self.marks.file(last.max(self.marks.filed()), chunk.end - rest.from);
        (rest.from, rest.first) = (chunk.end, chunk.next);
        Ok(())
    }

    fn unfiled<'c>(&self, chunk: &'c Chunk) -> Result<Vec<Entry<'c>>, Fault> {
        if chunk.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry does not check").into());
        }
        let filed = self.marks.filed();
        let unfiled = chunk.entries().filter(|(position, _)| *position > filed);
        let decoded = unfiled.map(|(_, bytes)| {
            let unknown = || io::Error::new(io::ErrorKind::InvalidData, "an entry is of an unknown form");
            Ok(Entry::decode(bytes).ok_or_else(unknown)?)
        });
        decoded.collect()
    }

    /// Tells the feed how far it may read now.
    fn publish(&self, filed: &Filed) {
        if filed.newest.is_none() && filed.requeued.is_empty() {
            return;
        }
        self.head.send_modify(|head| {
            head.newest = filed.newest.unwrap_or(head.newest);
            head.requeue(&filed.requeued);
        });
    }

    fn settle(&mut self) {
        let filed = self.marks.filed();
        if self.marks.settled() == filed {
            return;
        }
        match self.ledger.settle() {
            Ok(()) => self.marks.settle(filed),
            Err(error) => self.fail(&Fault::Log(error)),
        }
    }

    /// One line when it begins to fail, one when it works again.
    fn fail(&mut self, fault: &Fault) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(%fault, "the journal cannot be written; messages are kept in its log until that is full");
        }
        self.marks.fail();
        std::thread::sleep(PAUSE);
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("the journal is written again");
        }
    }

    /// Where everything is in the tables, the log is not needed any more.
    fn close(mut self) {
        if let Err(error) = self.ledger.gather() {
            tracing::warn!(%error, "SQLite's log could not be moved into the journal's file");
        }
        let settled = self.ledger.settle().or_else(|error| match error.kind() {
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
