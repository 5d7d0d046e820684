//! One of the two files: its header, and the entries behind it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

use super::chunk::Chunk;
use super::extent::Extent;
use crate::journal::files;

pub const MARK: [u8; 8] = *b"STKRLOG1";

pub const HEADER: usize = 48;

/// A file grows by so much at a time, written with zeros: a sync of bytes that were there before is the cheaper one.
pub const STEP: u64 = 1 << 20;

pub struct Segment {
    pub path: PathBuf,
    pub file: File,
    /// How many bytes are there.
    length: u64,
    /// Where the next group goes.
    pub end: u64,
    pub salt: u32,
    /// The last position in it.
    pub last: u64,
}

pub fn name(journal: &Path, n: usize) -> PathBuf {
    files::beside(journal, &format!("-log{n}"))
}

impl Segment {
    pub fn open(journal: &Path, n: usize, options: &OpenOptions) -> io::Result<Self> {
        let path = name(journal, n);
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length, end: 0, salt: 0, last: 0 })
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

    pub fn grow(&mut self, to: u64) -> io::Result<()> {
        while self.length < to {
            self.file.write_all_at(&[0; STEP as usize], self.length)?;
            self.length += STEP;
        }
        Ok(())
    }

    /// The entries that check, up to the position `until`.
    pub fn scan(&self, file: usize, header: &SegmentHeader, until: u64) -> io::Result<Option<Extent>> {
        let from = HEADER as u64;
        let mut found = Extent {
            file,
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

pub struct SegmentHeader {
    pub journal: u64,
    pub generation: u64,
    pub salt: u32,
    pub first: u64,
}

impl SegmentHeader {
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields = [self.journal, self.generation, u64::from(self.salt), self.first];
        bytes[..8].copy_from_slice(&MARK);
        for (n, field) in fields.iter().enumerate() {
            bytes[8 + 8 * n..16 + 8 * n].copy_from_slice(&field.to_le_bytes());
        }
        let checksum = checksum_of(&bytes[..40]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` where none was ever written, or not wholly.
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let stored = u32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?);
        if bytes[..8] != MARK || stored != checksum_of(&bytes[..40]) {
            return None;
        }
        Some(Self { journal: number(8)?, generation: number(16)?, salt: number(24)? as u32, first: number(32)? })
    }
}

pub fn checksum_of(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}
