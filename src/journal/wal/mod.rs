//! TODO

use crate::journal::StoreError;
use entry::LogEntry;
use extent::Extent;

pub(super) mod segment;
pub(super) mod extent;
pub(super) mod entry;
pub(super) mod chunk;
pub(super) mod log;

/// What makes a group durable: the log, and in tests a disk that fails.
pub trait Durable: Send + 'static {
    /// Puts an entry into the group.
    fn add(&mut self, entry: &LogEntry<'_>);

    /// Writes the group and syncs it. `Err`: nothing of it counts. In either case the next group is begun.
    fn commit(&mut self) -> Result<Synced, StoreError>;
}

/// A group that is on disk.
#[derive(Debug)]
pub struct Synced {
    pub extent: Extent,
    /// What stands there.
    pub bytes: Vec<u8>,
}
