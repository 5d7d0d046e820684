//! The journal as its users hold it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc as std_mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::watch;

use super::config::{JournalConfig, OnDamage};
use super::damage;
use super::error::{FilingError, OpenError, ReadError, StoreError};
use super::files::{self, Lock};
use super::handover::{Bounds, FreshMessages, UnderWay};
use super::intake::dedup::Dedup;
use super::intake::queue::{IntakeQueue, Storing, intake_queue};
use super::intake::quota::Quota;
use super::intake::writer::{Commit, LogWriter, Observer};
use super::keys;
use super::model::{Arrival, Noted, Record, Seq, Stored};
use super::read::history;
use super::read::pending::Feed;
use super::read::reader::{self, Backlog, Owed, Reader, Work};
use super::read::row::Row;
use super::read::search::{self, Query};
use super::request::{Job, JobDone, Line, PreparedArrival};
use super::tables::apply::Tables;
use super::tables::filer::Filer;
use super::tables::head::Head;
use super::tables::open;
use super::tables::salvage;
use super::wal::log::{Log, Opened};
use super::wal::segment;
use super::watermarks::Watermarks;
use crate::sqlite::custody::Custody;

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
    marks: Arc<Watermarks>,
    fresh: Arc<FreshMessages>,
    quota: Quota,
    observer: Observer,
    names: RandomState,
    custody: Mutex<Custody>,
    /// While it is open, no other that is closed is SQLite's last, which would take its log away.
    _anchor: Mutex<rusqlite::Connection>,
    /// The last to go.
    _lock: Lock,
}

/// How the journal is, in words without patient data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalHealth {
    /// Why no message would be stored now, each with what it is about: `journal` or `disk`.
    pub refuses: Vec<(&'static str, String)>,
    /// What a person should look at although messages are stored.
    pub warns: Vec<String>,
}

impl Journal {
    /// Opens the file, or makes it, and files what a crash left in the log; blocks while it is checked.
    ///
    /// # Errors
    /// [`OpenError`]: another process writes it, it is damaged, not ours, or cannot be written.
    pub fn open(config: &JournalConfig) -> Result<Self, OpenError> {
        Self::open_within(config, Bounds::default())
    }

    /// As [`Self::open`], with so much in memory.
    pub(super) fn open_within(config: &JournalConfig, bounds: Bounds) -> Result<Self, OpenError> {
        let path = &config.path;
        let other = |reason: String| OpenError::Other { path: path.clone(), reason };
        let unfiled = |fault: FilingError| other(format!("what was left in its log could not be filed: {fault}"));
        let lock = Lock::take(path)?;
        salvage::finish(path).map_err(|e| other(e.to_string()))?;
        let mut tables = match Tables::open(config) {
            Err(OpenError::Damaged { reason, .. }) if config.on_damage == OnDamage::GoOn => {
                let damage = salvage::salvage(config, &reason, Log::journal(path))?;
                tracing::error!(damage = %damage.what(), remedy = %damage.remedy(), "the journal is damaged");
                Tables::open(config)?
            }
            opened => opened?,
        };
        let anchor = open::reader(path)?;
        let filed = tables.filed().map_err(|e| other(e.to_string()))?;
        let before = tables.newest().map_err(|e| other(e.to_string()))?;
        let marks = Arc::new(Watermarks::new(filed.position));
        let Opened { log, unfiled: left, missing } = Log::open(path, config.log_size, filed, Arc::clone(&marks))?;
        let kept = if missing.is_empty() { Vec::new() } else { keep_damaged(config, &missing)? };
        anchor.query_row("SELECT 1 FROM filed", [], |_| Ok(())).map_err(|e| other(e.to_string()))?; // it opens with a read
        let readers = log.readers().map_err(|e| other(e.to_string()))?;
        let (head, feeds) = watch::channel(Head::at(0));
        let path = path.clone();
        let (jobs, asked_for) = std_mpsc::channel();
        let fresh = Arc::new(FreshMessages::new(bounds.fresh));
        let mut filer = Filer::new(tables, readers, Arc::clone(&marks), head, Arc::clone(&fresh), path, asked_for);
        filer.recover(&left).map_err(unfiled)?;
        let lost = match missing.is_empty() {
            true => before,
            false => filer.lose(&missing, before, kept).map_err(unfiled)?,
        };
        let position = log.position();
        marks.sync(position);
        let newest = filer.start().map_err(unfiled)?.max(lost); // no other message gets the number of a lost one
        let reader = Reader::with_connections(&config.path, config.readers, Some(Arc::clone(&marks)))?;
        let dedup = Dedup::new(&config.path, config.duplicate_window)?;
        let (queue, inbox) = intake_queue(config.waiting);
        let observer: Observer = Arc::new(OnceLock::new());
        let quota = Quota::new(config, Arc::clone(&marks));
        let writer = LogWriter {
            log,
            jobs,
            under_way: UnderWay::new(bounds.under_way),
            dedup,
            quota: quota.clone(),
            custody: files::custody(&config.path),
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
        let inner = Inner {
            queue: Some(queue),
            threads,
            head: feeds,
            reader: Arc::new(reader),
            marks,
            fresh,
            quota,
            observer,
            names: RandomState::new(),
            custody: Mutex::new(files::custody(&config.path)),
            _anchor: Mutex::new(anchor),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
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
        queue.push(job).await.map_err(|_| StoreError::Closed)?
    }

    /// Why no message would be acknowledged now, as far as the files tell: they were removed or replaced.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let mut custody = self.inner.custody.lock().unwrap_or_else(PoisonError::into_inner);
        custody.look().map(str::to_owned)
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

    /// [`Reader::alarms`], without blocking.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn alarms(&self, limit: usize) -> Result<(u64, Vec<Noted>), ReadError> {
        self.look(move |connection| history::alarms(connection, limit)).await
    }

    /// Whether a message would be stored now, and why not. Asks the disk, so it may block.
    #[must_use]
    pub fn health(&self) -> JournalHealth {
        let mut health = JournalHealth::default();
        if self.inner.threads.iter().any(JoinHandle::is_finished) {
            let why = "a thread that writes it has ended; the log says why, and a restart is needed";
            health.refuses.push(("journal", why.to_owned()));
        }
        match self.inner.quota.probe() {
            Ok(()) => {}
            Err(full @ StoreError::Full(_)) => health.refuses.push(("disk", full.to_string())),
            Err(error) => health.refuses.push(("journal", error.to_string())),
        }
        health.refuses.extend(self.trouble().map(|what| ("journal", what)));
        if let Ok((alarms @ 1.., _)) = self.inner.reader.with(|connection| history::alarms(connection, 1)) {
            health.warns.push(format!("damage that nobody has acknowledged: {alarms}; see stoker queue"));
        }
        if self.inner.marks.is_failing() {
            let why = "its tables cannot be written; messages are kept in its log, and refused when that is full";
            health.warns.push(why.to_owned());
        }
        health
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

/// Damage was found in the log: its files are kept as they are, or nothing is begun, as the site wants it.
fn keep_damaged(config: &JournalConfig, missing: &[(u64, u64)]) -> Result<Vec<PathBuf>, OpenError> {
    let path = &config.path;
    if config.on_damage == OnDamage::Refuse {
        let entries: u64 = missing.iter().map(|(first, last)| last - first + 1).sum();
        let what = format!("{entries} entries that were acknowledged cannot be read");
        return Err(OpenError::LogDamaged { path: path.clone(), what });
    }
    let fault = |error: io::Error| OpenError::NotWritable { path: path.clone(), reason: error.to_string() };
    damage::keep_aside(&[0, 1].map(|n| segment::name(path, n))).map_err(fault)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
