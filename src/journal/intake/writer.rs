//! The one thread that writes the log: takes what waits, makes it durable as one, then answers each.
//!
//! Producers wait until there is room for more ([`super::queue`]), so a slow disk slows the senders down instead of filling
//! the memory. While one group is being synced the next gathers; nothing waits for a timer.
//!
//! What a person decides about a message is in the log as everything else, but whether it may be is known only where
//! everything before it is in the tables: the thread that files answers it.

use std::sync::{Arc, OnceLock, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use super::dedup::{Dedup, Earlier};
use super::queue::{Inbox, QueuedJob};
use super::quota::Quota;
use crate::journal::handover::{Fresh, Handover};
use crate::journal::progress::Positions;
use crate::journal::request::{AwaitedVerdict, FilerRequest, Group, Intake, Job, JobResult, Judged, Line, Reply};
use crate::journal::wal::entry::{Arrived, LogEntry, beginning};
use crate::journal::wal::{Durable, Synced};
use crate::journal::{Arrival, Fate, Record, Seq, StoreError, Stored};

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
    pub errands: std_mpsc::Sender<FilerRequest>,
    pub dedup: Dedup,
    pub quota: Quota,
    pub positions: Arc<Positions>,
    pub handover: Arc<Handover>,
    pub observer: Observer,
    pub batch_messages: usize,
    pub batch_bytes: usize,
    /// The number of the last message, and the position of the last entry.
    pub newest: Seq,
    pub position: u64,
}

/// A job of a group, and what is to be told once the group is on disk.
struct Case {
    reply: Reply,
    judged: Judged,
    line: Option<Line>,
    /// The position of a decision, which is judged when it is filed.
    asked: Option<u64>,
    /// A new message, for the engine that keeps up; `None` in it for one that is not to be delivered.
    fresh: Option<Option<Fresh>>,
}

/// What is on its way to the thread that files may have so many bytes in memory. When more is, it has fallen behind, and
/// reads the log.
const AT_HAND: u64 = 8 << 20;

impl<D: Durable> LogWriter<D> {
    /// Until the last producer is gone.
    pub fn run(mut self, mut inbox: Inbox) {
        let mut group = Vec::with_capacity(self.batch_messages.min(1024));
        while let Some(first) = inbox.next() {
            self.gather(first, &mut inbox, &mut group);
            let chores = chores(&mut group);
            self.settle(&mut group);
            chores.into_iter().for_each(|chore| self.hand_on(chore));
        }
    }

    fn hand_on(&self, errand: FilerRequest) {
        let awaited = match &errand {
            FilerRequest::File(synced) => !synced.asked.is_empty(),
            FilerRequest::Tend(..) => true,
        };
        if self.errands.send(errand).is_err() {
            self.positions.fail(); // nobody files any more; the log has it for the next start
        }
        if awaited {
            self.positions.hurry();
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
        let judged = self.judge(group, &mut commit);
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
            Ok(Synced { extent, bytes }) => {
                self.quota.logged(extent.to - extent.from);
                self.positions.sync(self.position);
                let bytes = (self.quota.unfiled() <= AT_HAND).then_some(bytes);
                let mut judged = judged;
                self.handover.put(newest + 1, judged.iter_mut().filter_map(|case| case.fresh.take()));
                let asked = answer(judged);
                self.hand_on(FilerRequest::File(Group { extent, bytes, asked }));
            }
            Err(error) => {
                (self.newest, self.position) = (newest, position);
                self.dedup.undo(position);
                judged.into_iter().for_each(|case| reject(case, error.clone()));
            }
        }
    }

    /// What each is to be told once the group is on disk.
    fn judge(&mut self, group: &mut Vec<QueuedJob>, commit: &mut Commit) -> Vec<Case> {
        self.quota.look();
        self.dedup.forget(self.positions.filed());
        let mut judged = Vec::with_capacity(group.len());
        for QueuedJob { job, reply, .. } in group.drain(..) {
            match job {
                Job::Store(intake) => {
                    commit.messages += 1;
                    let stored = self.store(&intake, commit.bytes);
                    commit.bytes += if stored.is_ok() { intake.arrival.raw.len() } else { 0 };
                    let (line, fresh) = (Some(intake.line.clone()), is_new(&stored).then(|| fresh(*intake)));
                    judged.push(Case { reply, judged: stored, line, asked: None, fresh });
                }
                Job::Record(record) => {
                    commit.records += 1;
                    let recorded = self.record(&record);
                    let asked = (recorded.is_ok() && record.is_decision()).then_some(self.position);
                    judged.push(Case { reply, judged: recorded, line: None, asked, fresh: None });
                }
                Job::Tend(_) => {} // taken out before
            }
        }
        if let Err(error) = self.dedup.end() {
            tracing::debug!(%error, "the look-up of duplicates did not end");
        }
        judged
    }

    fn store(&mut self, intake: &Intake, before: usize) -> Judged {
        let stored = self.try_store(intake, before);
        if stored.is_err() {
            intake.line.break_off();
        }
        stored
    }

    fn try_store(&mut self, intake: &Intake, before: usize) -> Judged {
        if intake.line.is_broken() {
            return Err(StoreError::Behind);
        }
        let arrival = &intake.arrival;
        self.quota.check(before, arrival.raw.len())?;
        let earlier = self.dedup.earlier(intake).map_err(|error| StoreError::Io(error.to_string()))?;
        if let Some(Earlier::Same { of, fate }) = earlier {
            return Ok(JobResult::Stored(Stored::Duplicate { of, fate }));
        }
        let (status, reason) = beginning(&arrival.fate);
        let seq = self.newest + 1;
        self.log.add(&LogEntry::Arrival(Arrived {
            seq,
            received: arrival.received.as_microsecond(),
            listener: &arrival.listener,
            peer: &intake.peer,
            sender: &arrival.sender,
            control_id: &arrival.control_id,
            event: arrival.event.as_deref(),
            keys: &intake.keys,
            digest: &intake.digest,
            status,
            reason,
            raw: &arrival.raw,
        }));
        (self.newest, self.position) = (seq, self.position + 1);
        self.dedup.note(self.position, seq, intake);
        Ok(JobResult::Stored(if earlier.is_some() { Stored::Reused { seq } } else { Stored::New { seq } }))
    }

    fn record(&mut self, record: &Record) -> Judged {
        if !(1..=self.newest).contains(&record.seq) {
            return Err(StoreError::Unknown(record.seq));
        }
        self.handover.forget(record.seq);
        self.log.add(&LogEntry::from(record));
        self.position += 1;
        Ok(JobResult::Recorded)
    }
}

/// Whether a message gets a row of its own.
fn is_new(judged: &Judged) -> bool {
    matches!(judged, Ok(JobResult::Stored(Stored::New { .. } | Stored::Reused { .. })))
}

/// A new message as the engine takes it; `None` where it is not to be delivered.
fn fresh(intake: Intake) -> Option<Fresh> {
    let Intake { arrival, lanes, .. } = intake;
    let Arrival { raw, parsed, received, listener, fate, .. } = arrival;
    (fate == Fate::Queue).then_some(Fresh { lanes, raw, parsed, received, listener })
}

/// Takes the chores out of a group, in order.
fn chores(group: &mut Vec<QueuedJob>) -> Vec<FilerRequest> {
    let chores = group.extract_if(.., |post| matches!(post.job, Job::Tend(_)));
    let errands = chores.filter_map(|QueuedJob { job, reply, .. }| match job {
        Job::Tend(chore) => Some(FilerRequest::Tend(chore, reply)),
        Job::Store(_) | Job::Record(_) => None,
    });
    errands.collect()
}

/// Answers all but the decisions, and gives those back. A producer that has gone away meanwhile, because its connection
/// broke, does not need the answer.
fn answer(judged: Vec<Case>) -> Vec<AwaitedVerdict> {
    let mut decisions = Vec::new();
    for Case { reply, judged, asked, .. } in judged {
        match asked {
            Some(position) => decisions.push(AwaitedVerdict { position, reply }),
            None => drop(reply.send(judged)),
        }
    }
    decisions
}

fn reject(case: Case, error: StoreError) {
    if let Some(line) = &case.line {
        line.break_off();
    }
    drop(case.reply.send(Err(error)));
}

#[cfg(test)]
mod tests {
    use crate::journal::wal::extent::Extent;
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::journal::JournalConfig;
    use crate::journal::fixture::{arrival, config};
    use crate::journal::intake::queue::{IntakeQueue, queue};
    use crate::journal::tables::apply::Tables;
    use crate::journal::tables::open;

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

        fn commit(&mut self) -> Result<Synced, StoreError> {
            let added = std::mem::take(&mut self.added);
            if let Ok(Some(error)) = self.next.try_recv() {
                return Err(error);
            }
            let first = self.position + 1;
            self.position += added;
            let extent = Extent { file: 0, salt: 0, from: 0, to: added, first, last: self.position };
            Ok(Synced { extent, bytes: Vec::new() })
        }
    }

    struct Bench {
        _folder: TempDir,
        writer: LogWriter<Failing>,
        fail: std_mpsc::Sender<Option<StoreError>>,
        errands: std_mpsc::Receiver<FilerRequest>,
    }

    fn bench() -> Bench {
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        drop(Tables::open(&config).unwrap());
        let (fail, next) = std_mpsc::channel();
        let (sender, errands) = std_mpsc::channel();
        let positions = Arc::new(Positions::new(0));
        let writer = LogWriter {
            log: Failing { next, added: 0, position: 0 },
            errands: sender,
            dedup: Dedup::new(open::reader(&config.path).unwrap(), config.duplicate_window),
            quota: Quota::new(&config, Arc::clone(&positions)),
            handover: Arc::default(),
            positions,
            observer: Observer::default(),
            batch_messages: 3,
            batch_bytes: 1 << 20,
            newest: 0,
            position: 0,
        };
        Bench { _folder: folder, writer, fail, errands }
    }

    type Answer = oneshot::Receiver<Result<JobResult, StoreError>>;

    /// Posts one message of this line.
    fn post(queue: &IntakeQueue, id: &str, line: &Line) -> Answer {
        let name = id.bytes().map(u64::from).sum();
        let arrival = arrival(id, 0);
        let digest = crate::journal::keys::digest(&arrival.raw);
        let (keys, peer) = (String::new(), String::new());
        queue.post(Job::Store(Box::new(Intake {
            arrival,
            digest,
            name,
            lanes: Default::default(),
            keys,
            peer,
            line: line.clone(),
        })))
    }

    /// Posts that wait before the writer starts, so that what makes a group is certain.
    fn waiting<'i>(ids: impl IntoIterator<Item = (&'i str, Line)>) -> (Inbox, Vec<Answer>) {
        let (queue, inbox) = queue(100);
        let answers = ids.into_iter().map(|(id, line)| post(&queue, id, &line)).collect();
        (inbox, answers)
    }

    /// Each answer's number, or why there is none.
    fn told(answers: Vec<Answer>) -> Vec<String> {
        let told = answers.into_iter().map(|mut answer| match answer.try_recv().unwrap() {
            Ok(JobResult::Stored(Stored::New { seq })) => seq.to_string(),
            Ok(JobResult::Stored(Stored::Duplicate { of, .. })) => format!("as {of}"),
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
        let Bench { writer, fail, errands, _folder } = bench();
        let (waiting, answers) = separately(&["a", "b", "c", "d", "e"]);
        fail.send(fault()).unwrap();
        writer.run(waiting);
        assert_eq!(told(answers), ["failed", "failed", "failed", "1", "2"]);
        let filed = errands.try_iter().map(|errand| match errand {
            FilerRequest::File(synced) => (synced.extent.first, synced.extent.last),
            FilerRequest::Tend(..) => panic!("nobody asked for a chore"),
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
        let limit = JournalConfig { max_size: 10_000, min_free: 0, ..JournalConfig::default() };
        writer.quota = Quota::new(&limit, Arc::clone(&writer.positions));
        writer.positions.use_bytes(1_000);
        let (line, long) = (Line::default(), "l".repeat(9_000));
        let (waiting, answers) =
            waiting([("small", Line::default()), (&*long, line.clone()), ("behind", line.clone())]);
        writer.run(waiting);
        assert_eq!(told(answers), ["1", "full", "behind"]);
    }
}
