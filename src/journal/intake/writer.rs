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
use crate::journal::handover::UnderWay;
use crate::journal::model::{Record, Seq, Stored};
use crate::journal::progress::Marks;
use crate::journal::request::{
    FilerJob, HandedEntries, HandedEntry, Job, JobDone, JobResult, Line, PendingDecision, PreparedArrival, ReplyTo,
    SyncedGroup,
};
use crate::journal::wal::Durable;
use crate::journal::wal::entry::LogEntry;

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
    pub marks: Arc<Marks>,
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
            self.settle(&mut group);
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

    fn settle(&mut self, group: &mut Vec<QueuedJob>) {
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
                (self.newest, self.position) = (newest, position);
                self.dedup.undo(position);
                judged.into_iter().for_each(|member| reject(member, error.clone()));
            }
        }
    }

    /// What of a group goes to the filer in memory: all of it, or nothing where the filer has fallen behind.
    fn load(&self, entries: Vec<HandedEntry>) -> Option<HandedEntries> {
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
    let maintenance = group.extract_if(.., |post| matches!(post.job, Job::Maintain(_)));
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
mod tests {
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::journal::Config;
    use crate::journal::fixture::{arrival, config};
    use crate::journal::intake::queue::{IntakeQueue, intake_queue};
    use crate::journal::tables::apply::Tables;
    use crate::journal::tables::open;
    use crate::journal::wal::extent::Extent;

    /// A disk that fails when it is told to, which no real one does.
    struct Failing {
        next: std_mpsc::Receiver<Option<StoreError>>,
        added: u64,
        position: u64,
    }

    impl Durable for Failing {
        fn add(&mut self, _: &LogEntry<'_>) {
            self.added += 1;
        }

        fn commit(&mut self) -> Result<Extent, StoreError> {
            let added = std::mem::take(&mut self.added);
            if let Ok(Some(error)) = self.next.try_recv() {
                return Err(error);
            }
            let first = self.position + 1;
            self.position += added;
            Ok(Extent { file: 0, salt: 0, from: 0, to: added, first, last: self.position })
        }
    }

    struct Bench {
        _folder: TempDir,
        writer: LogWriter<Failing>,
        fail: std_mpsc::Sender<Option<StoreError>>,
        jobs: std_mpsc::Receiver<FilerJob>,
    }

    fn bench() -> Bench {
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        drop(Tables::open(&config).unwrap());
        let (fail, next) = std_mpsc::channel();
        let (sender, jobs) = std_mpsc::channel();
        let marks = Arc::new(Marks::new(0));
        let writer = LogWriter {
            log: Failing { next, added: 0, position: 0 },
            jobs: sender,
            under_way: UnderWay::new(1 << 20),
            dedup: Dedup::new(open::reader(&config.path).unwrap(), config.duplicate_window),
            quota: Quota::new(&config, Arc::clone(&marks)),
            marks,
            observer: Observer::default(),
            batch_messages: 3,
            batch_bytes: 1 << 20,
            newest: 0,
            position: 0,
        };
        Bench { _folder: folder, writer, fail, jobs }
    }

    type Answer = oneshot::Receiver<Result<JobDone, StoreError>>;

    /// Posts one message of this line.
    fn post(posts: &IntakeQueue, id: &str, line: &Line) -> Answer {
        let name = id.bytes().map(u64::from).sum();
        let arrival = arrival(id, 0);
        let digest = crate::journal::keys::digest(&arrival.raw);
        let (keys, peer) = (String::new(), String::new());
        posts.post(Job::Store(Box::new(PreparedArrival { arrival, digest, name, keys, peer, line: line.clone() })))
    }

    /// Posts that wait before the writer starts, so that what makes a group is certain.
    fn waiting<'i>(ids: impl IntoIterator<Item = (&'i str, Line)>) -> (Inbox, Vec<Answer>) {
        let (posts, inbox) = intake_queue(100);
        let answers = ids.into_iter().map(|(id, line)| post(&posts, id, &line)).collect();
        (inbox, answers)
    }

    /// Each answer's number, or why there is none.
    fn told(answers: Vec<Answer>) -> Vec<String> {
        let told = answers.into_iter().map(|mut answer| match answer.try_recv().unwrap() {
            Ok(JobDone::Stored(Stored::New { seq })) => seq.to_string(),
            Ok(JobDone::Stored(Stored::Duplicate { of, .. })) => format!("as {of}"),
            Ok(other) => format!("{other:?}"),
            Err(StoreError::Behind) => "behind".into(),
            Err(StoreError::Full(_)) => "full".into(),
            Err(_) => "failed".into(),
        });
        told.collect()
    }

    fn fault() -> Option<StoreError> {
        Some(StoreError::Io("fsync failed".into()))
    }

    /// One line each, so that no message is behind another.
    fn separately(ids: &[&'static str]) -> (Inbox, Vec<Answer>) {
        waiting(ids.iter().map(|id| (*id, Line::default())))
    }

    #[test]
    fn a_failed_commit_is_ok_for_nobody_and_the_next_group_goes_on() {
        let Bench { writer, fail, jobs, _folder } = bench();
        let (waiting, answers) = separately(&["a", "b", "c", "d", "e"]);
        fail.send(fault()).unwrap();
        writer.run(waiting);
        assert_eq!(told(answers), ["failed", "failed", "failed", "1", "2"]);
        let filed = jobs.try_iter().map(|job| match job {
            FilerJob::File(synced) => (synced.extent.first, synced.extent.last),
            FilerJob::Maintain(..) => panic!("nobody asked for maintenance"),
        });
        assert_eq!(filed.collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn a_message_whose_commit_failed_is_no_duplicate_when_it_comes_again() {
        let Bench { writer, fail, .. } = bench();
        let (waiting, answers) = separately(&["a", "b", "c", "a", "b", "a"]);
        fail.send(fault()).unwrap();
        writer.run(waiting);
        assert_eq!(told(answers), ["failed", "failed", "failed", "1", "2", "as 1"]);
    }

    #[test]
    fn nothing_overtakes_a_message_of_its_line_that_was_not_stored() {
        let Bench { writer, fail, .. } = bench();
        let line = Line::default();
        let (waiting, answers) = waiting(["a", "b", "c", "d", "e"].map(|id| (id, line.clone())));
        fail.send(fault()).unwrap();
        writer.run(waiting);
        assert_eq!(told(answers), ["failed", "failed", "failed", "behind", "behind"]);
        assert!(line.is_broken());
        line.mend();
        assert!(!line.is_broken());
    }

    #[test]
    fn a_message_that_does_not_fit_holds_up_its_own_line_only() {
        let Bench { mut writer, .. } = bench();
        let limit = Config { max_size: 10_000, min_free: 0, ..Config::default() };
        writer.quota = Quota::new(&limit, Arc::clone(&writer.marks));
        writer.marks.use_bytes(1_000);
        let (line, long) = (Line::default(), "l".repeat(9_000));
        let (waiting, answers) =
            waiting([("small", Line::default()), (&*long, line.clone()), ("behind", line.clone())]);
        writer.run(waiting);
        assert_eq!(told(answers), ["1", "full", "behind"]);
    }
}
