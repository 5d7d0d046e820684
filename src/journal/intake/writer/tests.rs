use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::journal::JournalConfig;
use crate::journal::fixture::{arrival, config};
use crate::journal::intake::queue::{IntakeQueue, intake_queue};
use crate::journal::tables::apply::Tables;
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
    let marks = Arc::new(Watermarks::new(0));
    let writer = LogWriter {
        log: Failing { next, added: 0, position: 0 },
        jobs: sender,
        under_way: UnderWay::new(1 << 20),
        dedup: Dedup::new(&config.path, config.duplicate_window).unwrap(),
        quota: Quota::new(&config, Arc::clone(&marks)),
        custody: Custody::of([]),
        marks,
        observer: Observer::default(),
        batch_messages: 3,
        batch_bytes: 1 << 20,
        newest: 0,
        position: 0,
    };
    Bench { _folder: folder, writer, fail, jobs }
}

type Awaited = oneshot::Receiver<Result<JobDone, StoreError>>;

/// Posts one message of this line.
fn post(queue: &IntakeQueue, id: &str, line: &Line) -> Awaited {
    let name = id.bytes().map(u64::from).sum();
    let arrival = arrival(id, 0);
    let digest = crate::journal::keys::digest(&arrival.raw);
    let (keys, peer) = (String::new(), String::new());
    queue.push(Job::Store(Box::new(PreparedArrival { arrival, digest, name, keys, peer, line: line.clone() })))
}

/// Posts that wait before the writer starts, so that what makes a group is certain.
fn waiting<'i>(ids: impl IntoIterator<Item = (&'i str, Line)>) -> (Inbox, Vec<Awaited>) {
    let (queue, inbox) = intake_queue(100);
    let answers = ids.into_iter().map(|(id, line)| post(&queue, id, &line)).collect();
    (inbox, answers)
}

/// Each answer's number, or why there is none.
fn told(answers: Vec<Awaited>) -> Vec<String> {
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
fn separately(ids: &[&'static str]) -> (Inbox, Vec<Awaited>) {
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
    let limit = JournalConfig { max_size: 10_000, min_free: 0, ..JournalConfig::default() };
    writer.quota = Quota::new(&limit, Arc::clone(&writer.marks));
    writer.marks.use_bytes(1_000);
    let (line, long) = (Line::default(), "l".repeat(9_000));
    let (waiting, answers) = waiting([("small", Line::default()), (&*long, line.clone()), ("behind", line.clone())]);
    writer.run(waiting);
    assert_eq!(told(answers), ["1", "full", "behind"]);
}

#[test]
fn a_group_is_handed_over_in_memory_to_a_filer_that_keeps_up_only() {
    for (filed, in_memory) in [(BEHIND, true), (0, false)] {
        let Bench { mut writer, jobs, _folder, fail: _fail } = bench();
        (writer.position, writer.newest) = (BEHIND, 1);
        writer.marks.file(filed, 0);
        let (waiting, answers) = separately(&["a", "b"]);
        writer.run(waiting);
        assert_eq!(told(answers), ["2", "3"]);
        let handed: Vec<bool> =
            jobs.try_iter().map(|job| matches!(job, FilerJob::File(group) if group.entries.is_some())).collect();
        assert_eq!(handed, [in_memory]);
    }
}
