//! TODO

pub(super) mod extent;
pub(super) mod entry;
mod frame;
pub(super) mod chunk;
mod segment;
pub(super) mod log;
pub(super) mod reader;

use entry::LogEntry;
use extent::Extent;

use super::error::StoreError;

/// What makes a group durable: the log, and in tests a disk that fails.
pub trait Durable: Send + 'static {
    /// Puts an entry into the group.
    fn add(&mut self, entry: &LogEntry<'_>);

    /// Writes the group and syncs it. `Err`: nothing of it counts. In either case the next group is begun.
    fn commit(&mut self) -> Result<Extent, StoreError>;
}
