//! TODO

pub(super) mod entry;
pub(super) mod chunk;
pub(super) mod log;

use entry::Entry;
use log::Extent;

use super::error::StoreError;

/// What makes a group durable: the log, and in tests a disk that fails.
pub trait Durable: Send + 'static {
    /// Puts an entry into the group.
    fn add(&mut self, entry: &Entry<'_>);

    /// Writes the group and syncs it. `Err`: nothing of it counts. In either case the next group is begun.
    fn commit(&mut self) -> Result<Extent, StoreError>;
}
