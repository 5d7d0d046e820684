//! Whether more messages may be taken: the disk's room, and the size that was allowed.

use std::path::PathBuf;
use std::sync::Arc;

use super::marks::Marks;
use super::{Config, StoreError};

pub(super) struct Room {
    folder: PathBuf,
    min_free: u64,
    /// For messages; 0 for no limit. Outcomes may use what is kept free here.
    limit: u64,
    marks: Arc<Marks>,
    /// Bytes given to the log since the start.
    logged: u64,
    /// Of the group in hand.
    disk: Result<(), StoreError>,
}

impl Room {
    pub fn new(config: &Config, marks: Arc<Marks>) -> Self {
        let folder = config.path.parent().filter(|p| !p.as_os_str().is_empty());
        Self {
            folder: folder.map_or_else(|| PathBuf::from("."), Into::into),
            min_free: config.min_free,
            limit: config.max_size - config.max_size / 20,
            marks,
            logged: 0,
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
        let (free, wanted) = (stat.f_bavail.saturating_mul(stat.f_frsize), self.min_free);
        if free < wanted {
            return Err(StoreError::Full(format!(
                "{free} bytes are left on the disk, journal.min_free wants {wanted}"
            )));
        }
        Ok(())
    }

    /// Whether a message of `size` bytes may be taken, `before` it others of the same group.
    pub fn check(&self, before: usize, size: usize) -> Result<(), StoreError> {
        self.disk.clone()?;
        if self.limit == 0 {
            return Ok(());
        }
        let unfiled = self.logged.saturating_sub(self.marks.filed_bytes()) + (before + size) as u64;
        let used = self.marks.used() + unfiled + unfiled / 4 + PAGE;
        if used >= self.limit {
            let limit = self.limit;
            return Err(StoreError::Full(format!(
                "it would hold {used} bytes and journal.max_size leaves {limit} for messages"
            )));
        }
        Ok(())
    }

    pub fn logged(&mut self, bytes: u64) {
        self.logged += bytes;
    }
}

/// A message takes its bytes, its rows in the indexes, and on the average half of a page that nobody else can use.
const PAGE: u64 = 8_192;
