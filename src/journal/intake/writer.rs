//! The one thread that writes the log: takes what waits, makes it durable as one, then answers each.
//!
//! Producers wait until there is room for more ([`super::queue`]), so a slow disk slows the senders down instead of filling
//! the memory. While one group is being synced the next gathers; nothing waits for a timer.
//!
//! What a person decides about a message is in the log as everything else, but whether it may be is known only where
//! everything before it is in the tables: the thread that files answers it.

use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::dedup::{Dedup, Earlier};
use super::queue::{Inbox, QueuedJob};
use super::quota::Quota;
use crate::journal::error::StoreError;
use crate::journal::handover::{BEHIND, UnderWay};
use crate::journal::model::{Record, Seq, Stored};
use crate::journal::request::{
    FilerJob, HandedEntries, HandedEntry, Job, JobDone, JobResult, Line, PendingDecision, PreparedArrival, ReplyTo,
    SyncedGroup,
};
use crate::journal::wal::Durable;
use crate::journal::wal::entry::LogEntry;
use crate::journal::watermarks::Watermarks;
use crate::sqlite::custody::Custody;

/// One commit, for the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    pub messages: usize,
    pub records: usize,
    pub bytes: usize,
    pub took: Duration,
    pub failed: bool,
}

pub type Observer = Arc<OnceLock<Box<dyn Fn(&Commit) + Send + Sync>>>;

pub struct LogWriter<D> {
    pub log: D,
    /// Who files what was synced.
    pub jobs: std_mpsc::Sender<FilerJob>,
    pub under_way: UnderWay,
    pub dedup: Dedup,
    pub quota: Quota,
    pub custody: Custody,
    pub marks: Arc<Watermarks>,
    pub observer: Observer,
    pub batch_messages: usize,
    pub batch_bytes: usize,
    /// The number of the last message, and the position of the last entry.
    pub newest: Seq,
    pub position: u64,
}

/// A job of a group, and what is to be told once the group is on disk.
struct GroupMember {
    reply: ReplyTo,
    judged: JobResult,
    line: Option<Line>,
    /// The position of a decision, which is judged when it is filed.
    asked: Option<u64>,
}

impl<D: Durable> LogWriter<D> {
    /// Until the last producer is gone.
    pub fn run(mut self, mut inbox: Inbox) {
        let mut group = Vec::with_capacity(self.batch_messages.min(1024));
        while let Some(first) = inbox.next() {
            self.gather(first, &mut inbox, &mut group);
            let maintenance = maintenance(&mut group);
            self.commit_group(&mut group);
            maintenance.into_iter().for_each(|step| self.hand_on(step));
        }
    }

    fn hand_on(&self, job: FilerJob) {
        let awaited = match &job {
            FilerJob::File(synced) => !synced.decisions.is_empty(),
            FilerJob::Maintain(..) => true,
        };
        if self.jobs.send(job).is_err() {
            self.marks.fail(); // nobody files any more; the log has it for the next start
        }
        if awaited {
            self.marks.hurry();
        }
    }

    fn gather(&self, first: QueuedJob, inbox: &mut Inbox, group: &mut Vec<QueuedJob>) {
        let mut bytes = first.job.bytes();
        group.push(first);
        while group.len() < self.batch_messages && bytes < self.batch_bytes {
            let Ok(next) = inbox.next_waiting() else { break };
            bytes += next.job.bytes();
            group.push(next);
        }
    }

    fn commit_group(&mut self, group: &mut Vec<QueuedJob>) {
        let (newest, position) = (self.newest, self.position);
        let started = Instant::now();
        let mut commit = Commit { messages: 0, records: 0, bytes: 0, took: Duration::ZERO, failed: false };
        let (judged, entries) = self.judge(group, &mut commit);
        if self.position == position {
            answer(judged); // nothing to be written
            return;
        }
        let committed = self.log.commit();
        (commit.took, commit.failed) = (started.elapsed(), committed.is_err());
        if let Some(observe) = self.observer.get() {
            observe(&commit);
        }
        match committed {
            Ok(extent) => {
                self.quota.logged(extent.to - extent.from);
                self.marks.sync(self.position);
                let decisions = answer(judged);
                let entries = self.load(entries);
                self.hand_on(FilerJob::File(SyncedGroup { extent, entries, decisions }));
            }
            Err(error) => {
                self.quota.failed(&error);
                (self.newest, self.position) = (newest, position);
                self.dedup.undo(position);
                judged.into_iter().for_each(|member| reject(member, error.clone()));
            }
        }
    }

    /// What of a group goes to the filer in memory: all of it, or nothing where the filer has fallen behind.
    fn load(&self, entries: Vec<HandedEntry>) -> Option<HandedEntries> {
        if self.position - self.marks.filed() > BEHIND {
            return None; // it would wait behind what is to be read from the disk
        }
        let load = self.under_way.load(entries.iter().map(HandedEntry::weight).sum())?;
        Some(HandedEntries { entries, load })
    }

    /// What each is to be told once the group is on disk, and what goes there.
    fn judge(&mut self, group: &mut Vec<QueuedJob>, commit: &mut Commit) -> (Vec<GroupMember>, Vec<HandedEntry>) {
        self.quota.look();
        self.dedup.forget(self.marks.filed());
        let (mut judged, mut entries) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for QueuedJob { job, reply, .. } in group.drain(..) {
            let before = self.position;
            match job {
                Job::Store(intake) => {
                    commit.messages += 1;
                    let stored = self.store(&intake, commit.bytes);
                    commit.bytes += if stored.is_ok() { intake.arrival.raw.len() } else { 0 };
                    judged.push(GroupMember { reply, judged: stored, line: Some(intake.line.clone()), asked: None });
                    if self.position > before {
                        entries.push(HandedEntry::Arrival(self.newest, intake));
                    }
                }
                Job::Record(record) => {
                    commit.records += 1;
                    let recorded = self.record(&record);
                    let asked = (recorded.is_ok() && record.is_decision()).then_some(self.position);
                    judged.push(GroupMember { reply, judged: recorded, line: None, asked });
                    if self.position > before {
                        entries.push(HandedEntry::Record(record));
                    }
                }
                Job::Maintain(_) => {} // taken out before
            }
        }
        if let Err(error) = self.dedup.end() {
            tracing::debug!(%error, "the look-up of duplicates did not end");
        }
        (judged, entries)
    }

    fn store(&mut self, intake: &PreparedArrival, before: usize) -> JobResult {
        let stored = self.try_store(intake, before);
        if stored.is_err() {
            intake.line.break_off();
        }
        stored
    }

    fn try_store(&mut self, intake: &PreparedArrival, before: usize) -> JobResult {
        if intake.line.is_broken() {
            return Err(StoreError::Behind);
        }
        let arrival = &intake.arrival;
        if let Some(gone) = self.custody.look() {
            return Err(StoreError::Gone(gone.to_owned()));
        }
        self.quota.check(before, arrival.raw.len())?;
        let earlier = self.dedup.earlier(intake).map_err(|error| StoreError::Io(error.to_string()))?;
        if let Some(Earlier::Same { of, fate }) = earlier {
            return Ok(JobDone::Stored(Stored::Duplicate { of, fate }));
        }
        let seq = self.newest + 1;
        self.log.add(&intake.entry(seq));
        (self.newest, self.position) = (seq, self.position + 1);
        self.dedup.note(self.position, seq, intake);
        Ok(JobDone::Stored(if earlier.is_some() { Stored::Reused { seq } } else { Stored::New { seq } }))
    }

    fn record(&mut self, record: &Record) -> JobResult {
        if !(1..=self.newest).contains(&record.seq) {
            return Err(StoreError::Unknown(record.seq));
        }
        self.log.add(&LogEntry::from(record));
        self.position += 1;
        Ok(JobDone::Recorded)
    }
}

/// Takes the maintenance out of a group, in order.
fn maintenance(group: &mut Vec<QueuedJob>) -> Vec<FilerJob> {
    let maintenance = group.extract_if(.., |queued| matches!(queued.job, Job::Maintain(_)));
    let jobs = maintenance.filter_map(|QueuedJob { job, reply, .. }| match job {
        Job::Maintain(step) => Some(FilerJob::Maintain(step, reply)),
        Job::Store(_) | Job::Record(_) => None,
    });
    jobs.collect()
}

/// Answers all but the decisions, and gives those back. A producer that has gone away meanwhile, because its connection
/// broke, does not need the answer.
fn answer(judged: Vec<GroupMember>) -> Vec<PendingDecision> {
    let mut decisions = Vec::new();
    for GroupMember { reply, judged, asked, .. } in judged {
        match asked {
            Some(position) => decisions.push(PendingDecision { position, reply }),
            None => drop(reply.send(judged)),
        }
    }
    decisions
}

fn reject(member: GroupMember, error: StoreError) {
    if let Some(line) = &member.line {
        line.break_off();
    }
    drop(member.reply.send(Err(error)));
}

#[cfg(test)]
mod tests;
