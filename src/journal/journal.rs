//! The journal as its users hold it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock, mpsc as std_mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::watch;

use super::config::Config;
use super::error::{OpenError, ReadError, StoreError};
use super::files::Lock;
use super::handover::{Bounds, FreshMessages, UnderWay};
use super::intake::dedup::Dedup;
use super::intake::queue::{IntakeQueue, Storing, intake_queue};
use super::intake::quota::Quota;
use super::intake::writer::{Commit, LogWriter, Observer};
use super::keys;
use super::model::{Arrival, Record, Seq, Stored};
use super::progress::Marks;
use super::read::pending::Feed;
use super::read::reader::{self, Backlog, Owed, Reader, Work};
use super::read::row::Row;
use super::read::search::{self, Query};
use super::request::{Job, JobDone, Line, PreparedArrival};
use super::tables::apply::Tables;
use super::tables::filer::{Filer, FilingError};
use super::tables::head::Head;
use super::tables::open;
use super::wal::log::{Log, Opened};

/// The open journal. Clones share it; when the last one is dropped, what waits is written and the file is closed.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` only while being dropped.
    queue: Option<IntakeQueue>,
    /// The one that writes the log, and the one that files.
    threads: Vec<JoinHandle<()>>,
    head: watch::Receiver<Head>,
    reader: Arc<Reader>,
    marks: Arc<Marks>,
    fresh: Arc<FreshMessages>,
    observer: Observer,
    names: RandomState,
    /// The last to go.
    _lock: Lock,
}

impl Journal {
    /// Opens the file, or makes it, and files what a crash left in the log; blocks while it is checked.
    ///
    /// # Errors
    /// [`OpenError`]: another process writes it, it is damaged, not ours, or cannot be written.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        Self::open_within(config, Bounds::default())
    }

    /// As [`Self::open`], with so much in memory.
    pub(super) fn open_within(config: &Config, bounds: Bounds) -> Result<Self, OpenError> {
        let path = &config.path;
        let other = |reason: String| OpenError::Other { path: path.clone(), reason };
        let unfiled = |fault: FilingError| other(format!("what was left in its log could not be filed: {fault}"));
        let lock = Lock::take(path)?;
        let mut tables = Tables::open(config)?;
        let (id, filed) = tables.filed().map_err(|e| other(e.to_string()))?;
        let marks = Arc::new(Marks::new(filed));
        let Opened { log, unfiled: left } = Log::open(path, config.log_size, id, filed, Arc::clone(&marks))?;
        let files = log.readers().map_err(|e| other(e.to_string()))?;
        let (head, feeds) = watch::channel(Head::at(0));
        let path = path.clone();
        let (jobs, asked_for) = std_mpsc::channel();
        let fresh = Arc::new(FreshMessages::new(bounds.fresh));
        let mut filer = Filer::new(tables, files, Arc::clone(&marks), head, Arc::clone(&fresh), path, asked_for);
        filer.recover(&left).map_err(unfiled)?;
        let position = log.position();
        marks.sync(position);
        let newest = filer.start().map_err(unfiled)?;
        let reader = Reader::with_connections(&config.path, config.readers, Some(Arc::clone(&marks)))?;
        let dedup = Dedup::new(open::reader(&config.path)?, config.duplicate_window);
        let (queue, inbox) = intake_queue(config.waiting);
        let observer: Observer = Arc::new(OnceLock::new());
        let writer = LogWriter {
            log,
            jobs,
            under_way: UnderWay::new(bounds.under_way),
            dedup,
            quota: Quota::new(config, Arc::clone(&marks)),
            marks: Arc::clone(&marks),
            observer: observer.clone(),
            batch_messages: config.batch_messages.max(1),
            batch_bytes: config.batch_bytes,
            newest,
            position,
        };
        let threads = vec![
            thread("journal", move || writer.run(inbox)).map_err(other)?,
            thread("journal-filer", move || filer.run()).map_err(other)?,
        ];
        let (queue, reader, names) = (Some(queue), Arc::new(reader), RandomState::new());
        Ok(Self {
            inner: Arc::new(Inner { queue, threads, head: feeds, reader, marks, fresh, observer, names, _lock: lock }),
        })
    }

    /// Stores a message. When this returns `Ok`, it is on disk.
    ///
    /// Dropping the future does not take it back: it may have been stored.
    ///
    /// # Errors
    /// [`StoreError`]: it was not stored, or that cannot be known. Never answer the sender with a positive ack then.
    pub async fn store(&self, arrival: Arrival) -> Result<Stored, StoreError> {
        self.ready().await;
        self.enqueue(&Line::default(), arrival).await
    }

    /// Waits until the journal can follow; to be called before each message that is [enqueued](Self::enqueue), and before
    /// more is read from where they come from. Answers whether it took any time.
    pub async fn ready(&self) -> bool {
        match &self.inner.queue {
            Some(queue) => queue.ready().await,
            None => false,
        }
    }

    /// Gives a message its place in the journal at once: it is stored behind everything that was enqueued before it, and
    /// before everything after it. The future tells what that came to, and fails with [`StoreError::Behind`] when a message
    /// before it on the same line was not stored.
    pub fn enqueue(&self, line: &Line, arrival: Arrival) -> Storing {
        let intake = PreparedArrival {
            digest: keys::digest(&arrival.raw),
            name: self.inner.names.hash_one((&arrival.sender, &arrival.control_id)),
            keys: keys::to_text(&arrival.keys),
            peer: arrival.peer.to_string(),
            line: line.clone(),
            arrival,
        };
        Storing::new(self.inner.queue.as_ref(), Job::Store(Box::new(intake)))
    }

    /// Writes down what became of a message. When this returns `Ok`, it is on disk; of a person's decision also that it
    /// was taken, and that whoever reads the journal sees it.
    ///
    /// # Errors
    /// [`StoreError`]: it was not written; the caller asks again, as after a restart the message would be sent again. A
    /// decision is refused by the state of the message ([`StoreError::Settled`], [`StoreError::NoBytes`]); where the
    /// tables cannot be written at the moment it may still be taken when they can.
    pub async fn record(&self, record: Record) -> Result<(), StoreError> {
        self.ask(Job::Record(Box::new(record))).await.map(|_| ())
    }

    pub(super) async fn ask(&self, job: Job) -> Result<JobDone, StoreError> {
        let queue = self.inner.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.ready().await;
        queue.post(job).await.map_err(|_| StoreError::Closed)?
    }

    /// What waits to be delivered, in order: first the backlog, then what comes in.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed::new(self.inner.reader.clone(), self.inner.head.clone(), self.inner.marks.clone())
    }

    /// The messages to be delivered next, with their bytes. Those that no longer wait are left out. Those that were stored
    /// just now come from memory, once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn work(&self, seqs: Vec<Seq>) -> Result<Vec<Work>, ReadError> {
        let (mut work, mut on_disk) = (Vec::with_capacity(seqs.len()), Vec::new());
        for seq in seqs {
            match self.inner.fresh.take(seq) {
                Some(message) => work.push(Work::of(seq, message)),
                None => on_disk.push(seq),
            }
        }
        if !on_disk.is_empty() {
            work.extend(self.inner.reader.run(move |connection| reader::work(connection, &on_disk)).await?);
        }
        Ok(work)
    }

    /// The next messages after `after` whose outcome their senders are still to be told, at most `limit`. None while the
    /// tables cannot be written: who has been told already stands in the log only, and nobody is told twice for that.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn owed(&self, after: Seq, limit: usize) -> Result<Vec<Owed>, ReadError> {
        if !self.inner.marks.caught_up().await {
            return Ok(Vec::new());
        }
        self.inner.reader.run(move |connection| reader::owed(connection, after, limit)).await
    }

    /// Asks the tables when everything that was stored until now is in them.
    async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.inner.marks.caught_up().await;
        self.inner.reader.run(read).await
    }

    /// For commands and pages that may block.
    #[must_use]
    pub fn reader(&self) -> &Arc<Reader> {
        &self.inner.reader
    }

    /// [`Reader::search`], without blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn search(&self, query: Query) -> Result<Vec<Row>, ReadError> {
        self.look(move |connection| search::search(connection, &query)).await
    }

    /// [`Reader::count`], without blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn count(&self, query: Query) -> Result<u64, ReadError> {
        self.look(move |connection| search::count(connection, &query)).await
    }

    /// [`Reader::row`], without blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn row(&self, seq: Seq) -> Result<Option<Row>, ReadError> {
        self.look(move |connection| reader::row(connection, seq)).await
    }

    /// [`Reader::body`], without blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn body(&self, seq: Seq) -> Result<Option<Bytes>, ReadError> {
        self.look(move |connection| reader::body(connection, seq)).await
    }

    /// [`Reader::backlog`], without blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn backlog(&self) -> Result<Backlog, ReadError> {
        self.look(reader::backlog).await
    }

    #[cfg(test)]
    pub(super) fn fresh(&self) -> &FreshMessages {
        &self.inner.fresh
    }

    /// Calls `observe` after each commit, on the writer's thread. Only the first observer is kept.
    pub fn observe(&self, observe: impl Fn(&Commit) + Send + Sync + 'static) {
        self.inner.observer.get_or_init(|| Box::new(observe));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        self.marks.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal panicked");
            }
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;

    use super::*;
    use crate::journal::fixture::{arrival, config, open, seq};
    use crate::journal::{Fate, Progress, Status};

    #[tokio::test]
    async fn what_was_stored_is_there_after_opening_again() {
        let (folder, journal) = open();
        let sent = arrival("1", 0);
        let first = seq(journal.store(sent.clone()).await.unwrap());
        drop(journal);

        let journal = Journal::open(&config(&folder)).unwrap();
        assert_eq!(journal.body(first).await.unwrap().unwrap(), sent.raw);
        let row = journal.row(first).await.unwrap().unwrap();
        assert_eq!((row.control_id.as_str(), row.status, row.size), ("1", Status::Received, sent.raw.len() as u64));
        assert_eq!(row.received, sent.received);
        assert_eq!(seq(journal.store(arrival("2", 0)).await.unwrap()), first + 1);
    }

    #[tokio::test]
    async fn the_same_message_is_stored_once_and_its_first_fate_told_again() {
        let (_folder, journal) = open();
        let first = seq(journal.store(arrival("1", 0)).await.unwrap());
        let again = journal.store(arrival("1", 5)).await.unwrap();
        assert_eq!(again, Stored::Duplicate { of: first, fate: Fate::Queue });

        let mut refused = arrival("2", 0);
        refused.fate = Fate::Refuse { reason: "PID is missing".into() };
        let second = seq(journal.store(refused.clone()).await.unwrap());
        let again = journal.store(refused.clone()).await.unwrap();
        assert_eq!(again, Stored::Duplicate { of: second, fate: refused.fate });
        assert_eq!(journal.count(Query::default()).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn duplicates_that_arrive_together_are_stored_once() {
        let (_folder, journal) = open();
        let stored = futures_util::future::join_all((0..50).map(|_| journal.store(arrival("1", 0)))).await;
        let new = stored.into_iter().filter(|s| matches!(s, Ok(Stored::New { .. }))).count();
        assert_eq!(new, 1);
        assert_eq!(journal.count(Query::default()).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_refused_message_is_taken_when_it_comes_again_and_is_now_acceptable() {
        let (_folder, journal) = open();
        let mut refused = arrival("1", 0);
        refused.fate = Fate::Refuse { reason: "event not supported".into() };
        let first = seq(journal.store(refused).await.unwrap());
        assert!(matches!(journal.store(arrival("1", 1)).await.unwrap(), Stored::New { seq } if seq > first));
    }

    #[tokio::test]
    async fn other_bytes_under_a_known_control_id_are_stored_and_marked() {
        let (_folder, journal) = open();
        let first = seq(journal.store(arrival("1", 0)).await.unwrap());
        let mut other = arrival("1", 1);
        other.raw = "MSH|^~\\&|another".into();
        assert_eq!(journal.store(other.clone()).await.unwrap(), Stored::Reused { seq: first + 1 });
        assert_eq!(journal.store(arrival("1", 2)).await.unwrap(), Stored::Duplicate { of: first, fate: Fate::Queue });
        let of_second = Stored::Duplicate { of: first + 1, fate: Fate::Queue };
        assert_eq!(journal.store(other).await.unwrap(), of_second);
    }

    #[tokio::test]
    async fn a_control_id_is_free_again_after_the_window_and_another_senders_is_its_own() {
        let (_folder, journal) = open();
        let first = seq(journal.store(arrival("1", 0)).await.unwrap());
        let mut other_sender = arrival("1", 1);
        other_sender.sender = "OTHER|APP".into();
        assert_eq!(journal.store(other_sender).await.unwrap(), Stored::New { seq: first + 1 });
        let eight_days = 8 * 24 * 60;
        assert_eq!(journal.store(arrival("1", eight_days)).await.unwrap(), Stored::New { seq: first + 2 });
    }

    #[tokio::test]
    async fn messages_without_a_control_id_are_never_duplicates() {
        let (_folder, journal) = open();
        seq(journal.store(arrival("", 0)).await.unwrap());
        assert!(matches!(journal.store(arrival("", 0)).await.unwrap(), Stored::New { .. }));
    }

    #[tokio::test]
    async fn each_step_of_a_delivery_is_kept() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        let at: Timestamp = "2026-01-10T09:00:00Z".parse().unwrap();
        let due = at + SignedDuration::from_secs(5);
        let mut record = Record::decision(seq, at, Progress::Retry { due, reason: "HTTP 503".into() });
        record.sent = true;
        record.plan = Some("abc".into());
        journal.record(record.clone()).await.unwrap();
        let row = journal.row(seq).await.unwrap().unwrap();
        assert_eq!((row.status, row.attempts, row.due, row.tried), (Status::Retrying, 1, Some(due), Some(at)));
        assert_eq!((row.reason.as_deref(), row.plan.as_deref()), (Some("HTTP 503"), Some("abc")));

        record.progress = Progress::Delivered;
        record.at = due;
        record.bundle = Some(uuid::Uuid::from_u128(7));
        journal.record(record).await.unwrap();
        let row = journal.row(seq).await.unwrap().unwrap();
        assert_eq!((row.status, row.attempts, row.due, row.reason), (Status::Delivered, 2, None, None));
        assert_eq!((row.tried, row.changed, row.bundle), (Some(at), due, Some(uuid::Uuid::from_u128(7))));
    }

    #[tokio::test]
    async fn what_is_owed_stands_until_it_has_been_told_over_a_restart_too() {
        let (folder, journal) = open();
        let first = seq(journal.store(arrival("1", 0)).await.unwrap());
        let second = seq(journal.store(arrival("2", 0)).await.unwrap());
        for seq in [first, second] {
            let mut record = Record::decision(seq, Timestamp::now(), Progress::Delivered);
            record.owes = seq == second;
            journal.record(record).await.unwrap();
        }
        drop(journal);
        let journal = Journal::open(&config(&folder)).unwrap();
        let owed = journal.owed(0, 10).await.unwrap();
        assert_eq!(owed.iter().map(|owed| (owed.seq, owed.status)).collect::<Vec<_>>(), [(second, Status::Delivered)]);
        assert!(journal.owed(second, 10).await.unwrap().is_empty());
        journal.record(Record::decision(second, Timestamp::now(), Progress::Told)).await.unwrap();
        assert!(journal.owed(0, 10).await.unwrap().is_empty());
        assert_eq!(journal.row(second).await.unwrap().unwrap().status, Status::Delivered);
    }

    #[tokio::test]
    async fn an_outcome_of_an_unknown_message_is_an_error_of_its_own() {
        let (_folder, journal) = open();
        let unknown = journal.record(Record::decision(99, Timestamp::now(), Progress::Delivered));
        let (unknown, stored) = tokio::join!(unknown, journal.store(arrival("1", 0)));
        assert_eq!(unknown, Err(StoreError::Unknown(99)));
        assert!(stored.is_ok());
    }

    #[tokio::test]
    async fn a_full_journal_takes_no_message_and_still_records_outcomes() {
        let folder = TempDir::new().unwrap();
        let journal = Journal::open(&Config { max_size: 2 << 20, ..config(&folder) }).unwrap();
        let mut stored = Vec::new();
        let full = loop {
            let mut large = arrival(&format!("{}", stored.len()), 0);
            large.raw = vec![b'x'; 20_000].into();
            match journal.store(large).await {
                Ok(s) => stored.push(seq(s)),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, StoreError::Full(_)), "{full}");
        assert!(stored.len() > 10);
        for seq in &stored {
            let mut record = Record::decision(*seq, Timestamp::now(), Progress::Dead { reason: "a reason".repeat(9) });
            record.detail = Some("d".repeat(300));
            journal.record(record).await.unwrap();
        }
        assert_eq!(journal.count(Query::default()).await.unwrap(), stored.len() as u64);
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_for_what_is_left_is_refused_and_the_small_ones_still_fit() {
        let folder = TempDir::new().unwrap();
        let journal = Journal::open(&Config { max_size: 1 << 20, ..config(&folder) }).unwrap();
        let mut huge = arrival("huge", 0);
        huge.raw = vec![b'x'; 2 << 20].into();
        let small = (0..20).map(|n| journal.store(arrival(&n.to_string(), 0)));
        let (huge, small) = tokio::join!(journal.store(huge), futures_util::future::join_all(small));
        assert!(matches!(huge, Err(StoreError::Full(_))), "{huge:?}");
        assert!(small.iter().all(Result::is_ok), "{small:?}");
        assert_eq!(journal.count(Query::default()).await.unwrap(), 20);
    }

    #[tokio::test]
    async fn messages_are_refused_before_the_disk_is_full() {
        let folder = TempDir::new().unwrap();
        let journal = Journal::open(&Config { min_free: u64::MAX, ..config(&folder) }).unwrap();
        assert!(matches!(journal.store(arrival("1", 0)).await, Err(StoreError::Full(_))));
    }

    #[tokio::test]
    async fn commits_are_shared_and_told_to_the_observer() {
        let (_folder, journal) = open();
        let (told, commits) = std::sync::mpsc::channel();
        journal.observe(move |commit| told.send(*commit).unwrap());
        let all = (0..200).map(|n| journal.store(arrival(&n.to_string(), 0)));
        futures_util::future::join_all(all).await;
        drop(journal);
        let commits: Vec<Commit> = commits.try_iter().collect();
        assert_eq!(commits.iter().map(|c| c.messages).sum::<usize>(), 200);
        assert!(commits.len() < 100, "200 messages took {} commits", commits.len());
    }
}
