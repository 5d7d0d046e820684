//! Whether more messages may be taken: the disk's room, and the size that was allowed. What is in the log and not yet in
//! the tables counts as if it were there already: it will be.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::config::JournalConfig;
use crate::journal::error::StoreError;
use crate::journal::watermarks::Watermarks;

#[derive(Clone)]
pub struct Quota {
    folder: PathBuf,
    min_free: u64,
    /// For messages; 0 for no limit. Outcomes may use what is kept free here.
    limit: u64,
    marks: Arc<Watermarks>,
    ledger: Arc<Ledger>,
    /// Of the group in hand.
    disk: Result<(), StoreError>,
}

/// What the thread that writes and those who ask it share.
struct Ledger {
    /// Bytes given to the log, and those that were filed from an earlier run.
    logged: AtomicU64,
    /// The last commit, where it failed, and when.
    failed: Mutex<Option<(Instant, StoreError)>>,
}

/// For so long after a failed commit it is said that the journal would not store: then nobody knows.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Quota {
    pub fn new(config: &JournalConfig, marks: Arc<Watermarks>) -> Self {
        let folder = config.path.parent().filter(|p| !p.as_os_str().is_empty());
        Self {
            folder: folder.map_or_else(|| PathBuf::from("."), Into::into),
            min_free: config.min_free,
            limit: config.max_size - config.max_size / 20,
            ledger: Arc::new(Ledger { logged: AtomicU64::new(marks.filed_bytes()), failed: Mutex::default() }),
            marks,
            disk: Ok(()),
        }
    }

    /// Looks at the disk, for the group that follows.
    pub fn look(&mut self) {
        self.disk = self.free();
    }

    fn free(&self) -> Result<(), StoreError> {
        // A file system that cannot be asked may still be written; the write itself will tell.
        let Ok(stat) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let (left, wanted) = (stat.f_bavail.saturating_mul(stat.f_frsize), self.min_free);
        let free = left.saturating_sub(in_tables(self.unfiled()));
        if wanted > 0 && free < wanted {
            return Err(StoreError::Full(format!(
                "{free} bytes are left on the disk, journal.min_free wants {wanted}"
            )));
        }
        Ok(())
    }

    /// Whether a message of `size` bytes may be taken, `before` it others of the same group.
    pub fn check(&self, before: usize, size: usize) -> Result<(), StoreError> {
        self.disk.clone()?;
        self.room(before, size)
    }

    /// Whether a message would be taken now, as far as can be known without one.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.free()?;
        self.room(0, 0)?;
        match &*self.ledger.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, error)) if at.elapsed() < REMEMBERED => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn room(&self, before: usize, size: usize) -> Result<(), StoreError> {
        if self.limit == 0 {
            return Ok(());
        }
        let unfiled = self.unfiled() + (before + size) as u64;
        let used = self.marks.used() + in_tables(unfiled) + PAGE;
        if used >= self.limit {
            let limit = self.limit;
            return Err(StoreError::Full(format!(
                "it would hold {used} bytes and journal.max_size leaves {limit} for messages"
            )));
        }
        Ok(())
    }

    /// Bytes of the log that are not yet in the tables.
    fn unfiled(&self) -> u64 {
        self.ledger.logged.load(Ordering::Relaxed).saturating_sub(self.marks.filed_bytes())
    }

    pub fn logged(&self, bytes: u64) {
        self.ledger.logged.fetch_add(bytes, Ordering::Relaxed);
        *self.ledger.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn failed(&self, error: &StoreError) {
        *self.ledger.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), error.clone()));
    }
}

/// What so many bytes of the log take in the tables.
fn in_tables(logged: u64) -> u64 {
    logged + logged / 4
}

/// A message takes its bytes, its rows in the indexes, and on the average half of a page that nobody else can use.
const PAGE: u64 = 8_192;
