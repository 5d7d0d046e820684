//! Where in a file the entries stand, so that it is known which of them a change of some bytes costs.

use std::collections::BTreeMap;
use std::ops::Range;

/// An entry's position and its number.
pub type Placed = (u64, i64);

/// One of the files.
#[derive(Debug, Default)]
pub struct Image {
    /// By where they begin: where they end, and what they are.
    pub entries: BTreeMap<u64, (u64, Placed)>,
}

impl Image {
    /// The entries that have a byte there.
    pub fn hit(&self, bytes: &Range<u64>) -> Vec<Placed> {
        let hit = self.entries.iter().filter(|(begin, (end, _))| *end > bytes.start && **begin < bytes.end);
        hit.map(|(_, (_, entry))| *entry).collect()
    }

    /// Nothing that has a byte there is an entry any more.
    pub fn clear(&mut self, bytes: &Range<u64>) {
        self.entries.retain(|begin, (end, _)| *end <= bytes.start || *begin >= bytes.end);
    }

    pub fn used(&self, least: u64) -> u64 {
        self.entries.last_key_value().map_or(least, |(_, (end, _))| *end)
    }
}
