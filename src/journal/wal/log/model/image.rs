//! What stands in the files, by the rules of the form: which entries count, and what a change of some bytes costs.

use std::collections::BTreeMap;
use std::ops::Range;

pub const HEADER: u64 = 48;
/// The last bytes of a header mean nothing.
const CHECKED: u64 = 44;

/// An entry's position and its number.
pub type Placed = (u64, i64);

/// One of the files.
#[derive(Debug, Default)]
pub struct Image {
    /// Its generation, and the position of the first entry.
    pub header: Option<(u64, u64)>,
    /// By where they begin: where they end, and what they are.
    pub entries: BTreeMap<u64, (u64, Placed)>,
}

impl Image {
    /// Nothing that has a byte there is an entry any more.
    pub fn clear(&mut self, bytes: Range<u64>) {
        if bytes.is_empty() {
            return;
        }
        self.entries.retain(|begin, (end, _)| *end <= bytes.start || *begin >= bytes.end);
        if bytes.start < CHECKED {
            self.header = None;
        }
    }

    /// Entries without a gap, before the position `until`.
    fn walk(&self, until: u64) -> Vec<Placed> {
        let Some((_, mut position)) = self.header else { return Vec::new() };
        let (mut at, mut found) = (HEADER, Vec::new());
        while let Some((end, entry)) =
            self.entries.get(&at).filter(|(_, entry)| entry.0 == position && position < until)
        {
            found.push(*entry);
            (at, position) = (*end, position + 1);
        }
        found
    }

    /// Where to cut so that zeros which are written there later do not make whole what was cut: soon after a frame's
    /// length and checksum, or within the header's first fields.
    pub fn cut_at(&self, at: u64) -> u64 {
        let cut = self.entries.range(..at).next_back().filter(|(_, (end, _))| at < *end);
        let begin = if at < HEADER { 8 } else { cut.map_or(at, |(begin, _)| begin + 8) };
        at.min(begin)
    }

    pub fn used(&self) -> u64 {
        self.entries.last_key_value().map_or(HEADER, |(_, (end, _))| *end)
    }
}

/// Of both files, the older one's first.
pub fn walk(images: &[Image; 2]) -> Vec<Vec<Placed>> {
    let mut used: Vec<&Image> = images.iter().filter(|image| image.header.is_some()).collect();
    used.sort_by_key(|image| image.header);
    let until = |at: usize| used.get(at + 1).and_then(|newer| newer.header).map_or(u64::MAX, |(_, first)| first);
    used.iter().enumerate().map(|(at, image)| image.walk(until(at))).collect()
}
