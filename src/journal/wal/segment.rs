//! One of the log's two files: its header, the entries behind it, and how it grows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chunk::Chunk;
use super::extent::Extent;
use super::frame;
use crate::journal::files;

const MARK: [u8; 8] = *b"STKRLOG1";

/// How long a header is; the entries begin behind it.
const HEADER: usize = 48;

/// A file grows by so much at a time, written with zeros: a sync of bytes that were there before is the cheaper one.
const GROWTH: u64 = 1 << 20;

pub struct LogSegment {
    /// Which of the two it is.
    pub number: usize,
    pub path: PathBuf,
    pub file: File,
    /// How many bytes are there.
    length: u64,
    /// Where the next group goes. Known to who writes it, as what follows.
    pub end: u64,
    pub salt: u32,
    /// The last position in it.
    pub last: u64,
}

/// The file with this number, beside the journal of this name.
pub fn name(journal: &Path, n: usize) -> PathBuf {
    files::beside(journal, &format!("-log{n}"))
}

impl LogSegment {
    pub fn open(journal: &Path, number: usize, options: &OpenOptions) -> io::Result<Self> {
        let path = name(journal, number);
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { number, path, file, length, end: 0, salt: 0, last: 0 })
    }

    pub fn header(&self) -> io::Result<Option<SegmentHeader>> {
        let mut bytes = [0; HEADER];
        if self.length < HEADER as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(SegmentHeader::read(&bytes))
    }

    /// Whether it has not been begun anew since.
    pub fn is_still(&self, header: &SegmentHeader) -> io::Result<bool> {
        Ok(self.header()?.is_some_and(|now| now.generation == header.generation))
    }

    /// Begins it anew: what it held is given up. Not synced: that comes with the first group.
    pub fn begin(&mut self, header: &SegmentHeader) -> io::Result<()> {
        self.grow(HEADER as u64)?;
        self.file.write_all_at(&header.bytes(), 0)?;
        (self.end, self.salt, self.last) = (HEADER as u64, header.salt, header.first - 1);
        Ok(())
    }

    /// Whether a group of so many bytes should go to the other file. One that is too long for any file goes into a fresh one.
    pub fn is_full(&self, group: usize, capacity: u64) -> bool {
        self.end > HEADER as u64 && self.end + group as u64 > capacity
    }

    /// Writes a group, which holds the positions from `first` to `last`, behind what is there, and syncs it. Where that
    /// fails the place is not moved.
    pub fn append(&mut self, group: &mut [u8], first: u64, last: u64) -> io::Result<Extent> {
        frame::seal(group, self.salt);
        let (from, to) = (self.end, self.end + group.len() as u64);
        self.grow(to)?;
        self.file.write_all_at(group, from)?;
        self.file.sync_data()?;
        (self.end, self.last) = (to, last);
        Ok(Extent { file: self.number, salt: self.salt, from, to, first, last })
    }

    fn grow(&mut self, to: u64) -> io::Result<()> {
        while self.length < to {
            self.file.write_all_at(&[0; GROWTH as usize], self.length)?;
            self.length += GROWTH;
        }
        Ok(())
    }

    /// The entries that check, up to the position `until`.
    pub fn scan(&self, header: &SegmentHeader, until: u64) -> io::Result<Option<Extent>> {
        let from = HEADER as u64;
        let mut found = Extent {
            file: self.number,
            salt: header.salt,
            from,
            to: from,
            first: header.first,
            last: header.first.saturating_sub(1),
        };
        loop {
            let rest = Extent { from: found.to, to: self.length, first: found.last + 1, last: until - 1, ..found };
            let chunk = Chunk::read(&self.file, &rest)?;
            (found.to, found.last) = (chunk.end, chunk.next - 1);
            if chunk.is_empty() || found.last + 1 >= until {
                return Ok((found.to > from).then_some(found));
            }
        }
    }
}

/// What a file begins with, once it is used.
pub struct SegmentHeader {
    pub journal: u64,
    pub generation: u64,
    pub salt: u32,
    /// The position of the first entry behind it.
    pub first: u64,
}

impl SegmentHeader {
    fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = [self.journal, self.generation, u64::from(self.salt), self.first];
        bytes[..8].copy_from_slice(&MARK);
        for (n, field) in fields.iter().enumerate() {
            bytes[8 + 8 * n..16 + 8 * n].copy_from_slice(&field.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` where none was ever written, or not wholly.
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let stored = u32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?);
        if bytes[..8] != MARK || stored != crc32fast::hash(&bytes[..40]) {
            return None;
        }
        Some(Self { journal: number(8)?, generation: number(16)?, salt: number(24)? as u32, first: number(32)? })
    }
}
