//! The thread that brings the tables after the log, in order, and tells the feed.
//!
//! What was synced comes to it in memory while it keeps up, and is read back from the log when it has fallen behind, or
//! after a crash: the same entries in the same order. A message that comes alone is filed at once. Of a stream several are
//! filed together, a transaction costing as much as ten messages or more: the next one waits until it is a while since the
//! last began, but not while somebody waits for it. A fault does not lose anything: the same entries are tried again, and
//! the log takes messages until it is full.
//!
//! After each transaction, in this order: what has become of a message is taken out of what is fresh and its arrival put
//! in, the feed is told, whoever waits for the tables is woken, and whoever asked for a decision gets the verdict. So
//! nobody who knows of a change is handed the message as it was before.
//!
//! It also answers what only the tables can tell, whether a person's decision may be taken, and does the maintenance, in the
//! order in which both were asked for. Nobody waits for those while the tables cannot be written: they fail then.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::apply::{Filing, Tables};
use super::batch::Batch;
use super::head::Head;
use super::rows::Filed;
use crate::journal::damage::{self, Damage};
use crate::journal::error::{FilingError, StoreError};
use crate::journal::files;
use crate::journal::handover::FreshMessages;
use crate::journal::model::{Fate, Seq};
use crate::journal::request::{
    FilerJob, HandedEntry, JobDone, Maintenance, MaintenanceDone, PendingDecision, ReplyTo, SyncedGroup,
};
use crate::journal::wal::chunk::Chunk;
use crate::journal::wal::entry::LogEntry;
use crate::journal::wal::extent::Extent;
use crate::journal::wal::frame;
use crate::journal::wal::log::Log;
use crate::journal::wal::segment::name;
use crate::journal::watermarks::Watermarks;
use crate::log_throttle::{LogThrottle, OutageLog, throttled};
use crate::sqlite::custody::{self, Custody};

/// After so long without work what was filed is synced, so that little is left to do after a power cut.
const QUIET: Duration = Duration::from_secs(1);

/// From the beginning of one transaction to that of the next, where nobody waits for it. Long enough for a sender that
/// waits for each ack to bring a few dozen messages, and not felt by a destination.
const STRIDE: Duration = Duration::from_millis(20);

/// Between two attempts while the tables cannot be written.
const PAUSE: Duration = Duration::from_secs(1);

/// A third of the share that the others get.
const NICE: i32 = 5;

static DAMAGED: LogThrottle = LogThrottle::minutely();
static ASIDE: LogThrottle = LogThrottle::minutely();
static GONE: LogThrottle = LogThrottle::minutely();
static UNCOPIED: LogThrottle = LogThrottle::minutely();

pub struct Filer {
    tables: Tables,
    files: [File; 2],
    marks: Arc<Watermarks>,
    head: watch::Sender<Head>,
    /// What was filed just now, for the deliveries.
    fresh: Arc<FreshMessages>,
    path: PathBuf,
    custody: Custody,
    /// The copy that was made when the files were gone, and what it has.
    rescued: Option<(PathBuf, u64)>,
    jobs: Receiver<FilerJob>,
    /// Taken from the channel, and to be done before what is left there.
    waiting: VecDeque<FilerJob>,
    /// Decisions that are not filed yet, in order.
    asked: VecDeque<PendingDecision>,
    /// Which of the log's files was read last.
    current: usize,
    /// When the last transaction began.
    began: Option<Instant>,
    failing: OutageLog,
}

impl Filer {
    pub fn new(
        tables: Tables,
        files: [File; 2],
        marks: Arc<Watermarks>,
        head: watch::Sender<Head>,
        fresh: Arc<FreshMessages>,
        path: PathBuf,
        jobs: Receiver<FilerJob>,
    ) -> Self {
        let (waiting, asked) = (VecDeque::new(), VecDeque::new());
        let (custody, rescued) = (files::custody(&path), None);
        Self {
            tables,
            files,
            marks,
            head,
            fresh,
            path,
            custody,
            rescued,
            jobs,
            waiting,
            asked,
            current: 0,
            began: None,
            failing: OutageLog::default(),
        }
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
                Err(RecvTimeoutError::Timeout) => {
                    self.settle();
                    if self.rescued.is_none() && self.custody.look().is_some() {
                        self.rescue();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return self.close(),
            }
        }
    }

    fn next(&mut self) -> Result<FilerJob, RecvTimeoutError> {
        match self.waiting.pop_front() {
            Some(job) => Ok(job),
            None => self.jobs.recv_timeout(QUIET),
        }
    }

    /// Files what was left by an earlier run.
    pub fn recover(&mut self, left: &[Extent]) -> Result<(), FilingError> {
        for extent in left {
            self.current = extent.file;
            let mut rest = *extent;
            while rest.first <= rest.last {
                self.file_from_disk(&mut rest)?;
            }
        }
        self.tables.settle()?;
        self.marks.settle(self.marks.filed());
        Ok(())
    }

    /// Writes down that these positions are lost, when everything that could be read is filed; the last number that a lost
    /// message may have had. `before` was the newest message then.
    pub fn lose(&mut self, missing: &[(u64, u64)], before: Seq, kept: Vec<PathBuf>) -> Result<Seq, FilingError> {
        let entries = missing.iter().map(|(first, last)| last - first + 1).sum();
        let (newest, filed) = (self.tables.newest()?, self.marks.filed());
        let mut messages = self.tables.gaps(before)?;
        // Behind the last message each entry may have been one, and none may have been.
        let end = missing.last().map_or(0, |(first, last)| if *last > filed { last - first + 1 } else { 0 });
        let last = newest + Seq::try_from(end).unwrap_or_default();
        if end > 0 {
            messages.push((newest + 1, last));
        }
        let (first, behind) =
            (messages.first().map_or(newest, |gap| gap.0 - 1), messages.last().map_or(newest, |gap| gap.1 + 1));
        let between = self.tables.received_around(first, behind)?;
        let damage = Damage::Log { entries, messages, between, kept };
        tracing::error!(damage = %damage.what(), remedy = %damage.remedy(), "the journal's log is damaged");
        let position = missing.last().map_or(filed, |(_, last)| filed.max(*last));
        self.tables.lose(&damage, position)?;
        self.tables.settle()?;
        self.marks.file(position, 0);
        self.marks.settle(position);
        Ok(last)
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
        let (mut batch, decisions) = Batch::of(synced);
        self.asked.extend(decisions);
        while let Some(next) = self.waiting.pop_front().or_else(|| self.jobs.try_recv().ok()) {
            let back = match next {
                FilerJob::File(more) => match batch.join(more) {
                    Ok(decisions) => {
                        self.asked.extend(decisions);
                        continue;
                    }
                    Err(other) => FilerJob::File(other),
                },
                other @ FilerJob::Maintain(..) => other,
            };
            self.waiting.push_front(back);
            break;
        }
        self.finish(batch)
    }

    fn let_gather(&mut self) {
        if let Some(rest) = self.began.and_then(|began| STRIDE.checked_sub(began.elapsed())) {
            self.marks.wait_for_urgency(rest);
        }
        self.marks.begin();
        self.began = Some(Instant::now());
    }

    /// As [`Self::follow`], for one batch.
    fn finish(&mut self, mut batch: Batch) -> bool {
        let turned = std::mem::replace(&mut self.current, batch.rest.file) != batch.rest.file;
        while !batch.is_done() {
            match self.file(&mut batch) {
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
        let (Ok(filed), Ok(newest)) = (self.tables.filed(), self.tables.newest()) else { return };
        if filed.position > self.marks.filed() {
            self.marks.file(filed.position, 0);
            self.fresh.clear();
            self.head.send_modify(|head| head.skip_to(newest));
        }
    }

    /// Files a batch, or the first part of it where it is to be read.
    fn file(&mut self, batch: &mut Batch) -> Result<(), FilingError> {
        if batch.is_in_memory() { self.file_from_memory(batch) } else { self.file_from_disk(&mut batch.rest) }
    }

    fn file_from_memory(&mut self, batch: &mut Batch) -> Result<(), FilingError> {
        let before = self.marks.filed();
        let filed = self.write(batch.entries(before), Vec::new())?;
        for entry in batch.take_entries(before) {
            match entry {
                HandedEntry::Arrival(seq, arrived) if arrived.arrival.fate == Fate::Queue => {
                    self.fresh.add(seq, arrived.arrival);
                }
                HandedEntry::Arrival(..) => {}
                HandedEntry::Record(record) => self.fresh.remove(record.seq),
            }
        }
        let (end, last) = (batch.rest.to, batch.rest.last);
        self.conclude(&mut batch.rest, end, last, filed)
    }

    fn file_from_disk(&mut self, rest: &mut Extent) -> Result<(), FilingError> {
        let chunk = Chunk::read(&self.files[rest.file], rest)?;
        if chunk.is_empty() {
            return self.skip_damage(rest);
        }
        let before = self.marks.filed();
        let (mut entries, mut unknown) = (Vec::new(), Vec::new());
        for (position, bytes) in chunk.entries().filter(|(position, _)| *position > before) {
            match LogEntry::decode(bytes) {
                Some(entry) => entries.push((position, entry)),
                None => unknown.push((position, bytes)),
            }
        }
        let outcomes: Vec<Seq> = entries.iter().filter_map(|(_, entry)| entry.changes()).collect();
        let filed = self.write(entries, unknown)?;
        outcomes.into_iter().for_each(|seq| self.fresh.remove(seq));
        self.conclude(rest, chunk.end, chunk.next - 1, filed)
    }

    /// The next entry of a part that was synced does not check: what can be read behind it is gone on with.
    fn skip_damage(&mut self, rest: &mut Extent) -> Result<(), FilingError> {
        let file = &self.files[rest.file];
        let next = frame::find(file, rest.from + 1..rest.to, rest.salt, rest.first + 1..rest.last + 1)?;
        let (end, next) = next.unwrap_or((rest.to, rest.last + 1));
        let (entries, last) = (next - rest.first, next - 1);
        let behind = self.tables.newest()?;
        let between = self.tables.received_around(behind, behind + 1)?;
        let kept = damage::keep_aside(&[name(&self.path, rest.file)])?;
        let damage = Damage::Log { entries, messages: Vec::new(), between, kept };
        throttled!(error, DAMAGED, damage = %damage.what(), remedy = %damage.remedy(), "the journal's log is damaged");
        self.tables.lose(&damage, last)?;
        let lost = || StoreError::Io("its entry in the journal's log is damaged".into());
        let asked = self.asked.iter().filter(|asked| asked.position <= last);
        let refused = asked.map(|asked| (asked.position, lost())).collect();
        self.conclude(rest, end, last, Filed { refused, ..Filed::default() })
    }

    fn write(&mut self, entries: Vec<(u64, LogEntry<'_>)>, unknown: Vec<(u64, &[u8])>) -> rusqlite::Result<Filed> {
        let filing = Filing { entries, unknown, synced: self.marks.synced() };
        if filing.is_empty() {
            return Ok(Filed::default());
        }
        let filed = self.tables.file(&filing)?;
        if let Some((entries, why)) = filed.aside.clone() {
            let damage = Damage::Aside { entries, why };
            throttled!(error, ASIDE, damage = %damage.what(), remedy = %damage.remedy(), "the journal could not file everything");
        }
        Ok(filed)
    }

    /// The log is in the tables up to this byte and this position. Nothing that is fresh has changed by now.
    fn conclude(&mut self, rest: &mut Extent, end: u64, last: u64, filed: Filed) -> Result<(), FilingError> {
        let verdicts = filed.refused;
        self.publish(Filed { refused: Vec::new(), ..filed }); // first, so that a feed which waited to catch up knows of it
        // It is filed from here on, whatever fails.
        self.marks.file(last.max(self.marks.filed()), end - rest.from);
        (rest.from, rest.first) = (end, last + 1);
        self.tell(last, verdicts);
        self.weigh()
    }

    fn weigh(&mut self) -> Result<(), FilingError> {
        if let Some(used) = self.tables.used()? {
            self.marks.use_bytes(used);
        }
        Ok(())
    }

    /// Answers those who asked for something up to this position.
    fn tell(&mut self, last: u64, refused: Vec<(u64, StoreError)>) {
        let mut refused = refused.into_iter().peekable();
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

    /// Tells the feed what is new.
    fn publish(&self, filed: Filed) {
        if filed.newest.is_none() && filed.requeued.is_empty() && filed.discarded.is_empty() {
            return filed.changed.into_iter().for_each(|latest| self.head.borrow().change(latest));
        }
        self.head.send_modify(|head| {
            if let Some(newest) = filed.newest {
                head.queue(newest, filed.queued);
            }
            filed.changed.into_iter().for_each(|latest| head.change(latest));
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
        throttled!(
            error,
            self.failing,
            %fault,
            "the journal cannot be written; messages are kept in its log until that is full"
        );
        self.marks.fail();
        self.excuse(&StoreError::from(fault));
        self.marks.wait_for_closing(PAUSE);
    }

    /// Tells those who wait for an answer from the tables that there is none now.
    fn excuse(&mut self, why: &StoreError) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.extend(self.jobs.try_iter());
        for job in waiting {
            match job {
                FilerJob::File(mut group) => {
                    self.asked.extend(group.decisions.drain(..));
                    self.waiting.push_back(FilerJob::File(group));
                }
                FilerJob::Maintain(_, reply) => drop(reply.send(Err(why.clone()))),
            }
        }
        for asked in self.asked.drain(..) {
            drop(asked.reply.send(Err(why.clone())));
        }
    }

    fn recovered(&mut self) {
        if self.failing.over() {
            tracing::info!("the journal is written again");
        }
    }

    /// Where everything is in the tables, the log is not needed any more. Nothing is taken away that is not ours, and nothing
    /// at all where the tables are no file any more.
    fn close(mut self) {
        if self.custody.look_now().is_some() {
            return self.rescue();
        }
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

    /// The files that are open have no names any more, and end with the process: what they hold is written to a file that has
    /// one. Once when it is found, and again at the end for what came between.
    fn rescue(&mut self) {
        let Some(what) = self.custody.look().map(str::to_owned) else { return };
        let filed = self.marks.filed();
        if self.rescued.as_ref().is_some_and(|(_, position)| *position == filed) {
            return;
        }
        let name = self.rescued.take().map_or_else(|| custody::aside(&self.path, "rescued"), |(name, _)| name);
        let damage = Damage::Gone { what, copy: name.clone() };
        match self.copy_out(&damage, &name) {
            Ok(()) => {
                let (damage, remedy) = (damage.what(), damage.remedy());
                throttled!(error, GONE, damage, remedy, "the journal's files are gone; nothing more is acknowledged");
            }
            Err(fault) => {
                let damage = damage.what();
                let copy = name.display();
                throttled!(
                    error,
                    UNCOPIED,
                    damage,
                    %fault,
                    %copy,
                    "the journal's files are gone and could not be copied; do not stop this program"
                );
            }
        }
        self.rescued = Some((name, filed));
    }

    fn copy_out(&mut self, damage: &Damage, to: &Path) -> Result<(), String> {
        self.tables.note(damage).map_err(|error| error.to_string())?;
        self.tables.copy_to(to)
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
