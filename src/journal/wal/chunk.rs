//! A part of the log in memory, taken apart into entries that check.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::extent::Extent;
use super::frame::{self, FRAME, checks, frame_at};

/// So much is read at a time, or one entry where that is larger.
const READ: u64 = 1 << 20;

#[derive(Debug, Default)]
pub struct Chunk {
    bytes: Vec<u8>,
    entries: Vec<(u64, Range<usize>)>,
    /// Where in the file the next entry begins, and its position.
    pub end: u64,
    pub next: u64,
    /// The last position that was synced before the latest of them was written, as that says.
    pub synced: u64,
}

impl Chunk {
    /// The first entries of `extent`, as many as fit. Empty where the first one does not check.
    pub fn read(file: &File, extent: &Extent) -> io::Result<Self> {
        let mut chunk = Self { end: extent.from, next: extent.first, ..Self::default() };
        let room = extent.to - extent.from;
        let mut wanted = room.min(READ);
        loop {
            chunk.bytes = frame::read(file, extent.from, wanted as usize)?;
            chunk.take_apart(extent);
            match chunk.first_frame() {
                // The first entry is larger than what was read.
                Some(frame) if chunk.is_empty() && frame > wanted && frame <= room => wanted = frame,
                _ => return Ok(chunk),
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Positions and bytes.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.entries.iter().map(|(position, range)| (*position, &self.bytes[range.clone()]))
    }

    fn first_frame(&self) -> Option<u64> {
        let length = self.bytes.get(..4)?.try_into().ok().map(u32::from_le_bytes)?;
        Some(u64::from(length) + FRAME as u64)
    }

    fn take_apart(&mut self, extent: &Extent) {
        let mut at = 0;
        while self.next <= extent.last
            && let Some(frame) = frame_at(&self.bytes[at..])
            && checks(frame, extent.salt, self.next)
        {
            self.synced = frame::group(frame).saturating_sub(1);
            self.entries.push((self.next, at + FRAME..at + frame.len()));
            at += frame.len();
            self.next += 1;
        }
        self.end = extent.from + at as u64;
    }
}
