//! One of the log's two files: its header, the mark of the other one, the entries behind them, and how it grows.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chunk::Chunk;
use super::extent::Extent;
use super::frame;
use crate::journal::files;

const MARK: [u8; 8] = *b"STKRLOG2";

/// What files begin with that an older version wrote.
const OLDER: [u8; 8] = *b"STKRLOG1";

/// How long a header is.
const HEADER: usize = 48;

/// Where the mark of the other file stands: on another page of the disk than the header, which is not written again with it.
const OTHER: u64 = 4096;

/// A header, a position, and their checksum.
const OTHER_LENGTH: usize = HEADER + 12;

/// Where the entries begin.
pub const ENTRIES: u64 = 8192;

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
        Ok(SegmentHeader::read(&frame::read(&self.file, 0, HEADER)?))
    }

    pub fn is_of_an_older_version(&self) -> io::Result<bool> {
        Ok(frame::read(&self.file, 0, OLDER.len())? == OLDER)
    }

    /// Whether it has not been begun anew since.
    pub fn is_still(&self, header: &SegmentHeader) -> io::Result<bool> {
        Ok(self.header()?.is_none_or(|now| now.generation <= header.generation))
    }

    /// Makes room for what it begins with.
    pub fn reserve(&mut self) -> io::Result<()> {
        self.grow(ENTRIES)
    }

    /// Begins it anew: what it held is given up. Not synced: that comes with the first group.
    pub fn begin(&mut self, header: &SegmentHeader) -> io::Result<()> {
        self.reserve()?;
        self.file.write_all_at(&header.bytes(), 0)?;
        (self.end, self.salt, self.last) = (ENTRIES, header.salt, header.first - 1);
        Ok(())
    }

    /// Whether a group of so many bytes should go to the other file, where this one is to have entries of `capacity` bytes.
    /// One that is too long for any file goes into a fresh one.
    pub fn is_full(&self, group: usize, capacity: u64) -> bool {
        self.end > ENTRIES && self.end - ENTRIES + group as u64 > capacity
    }

    /// Writes a group, which holds the positions from `first` to `last`, behind what is there, and syncs it. Where that
    /// fails the place is not moved: for want of room the next group may come there ([`ErrorKind::StorageFull`]), after
    /// anything else nothing may.
    pub fn append(&mut self, group: &mut [u8], first: u64, last: u64) -> io::Result<Extent> {
        frame::seal(group, self.salt);
        let (from, to) = (self.end, self.end + group.len() as u64);
        self.grow(to)?;
        if let Err(error) = self.file.write_all_at(group, from).and_then(|()| self.file.sync_data()) {
            if error.kind() == ErrorKind::StorageFull {
                self.wipe(group.len()).map_err(io::Error::other)?;
            }
            return Err(error);
        }
        (self.end, self.last) = (to, last);
        Ok(Extent { file: self.number, salt: self.salt, from, to, first, last })
    }

    /// Writes zeros where a group of so many bytes failed: the next one comes here, and what is left of this one must not
    /// count behind it.
    pub fn wipe(&mut self, group: usize) -> io::Result<()> {
        let length = self.file.metadata()?.len().min(self.end + group as u64).saturating_sub(self.end);
        self.file.write_all_at(&vec![0; length as usize], self.end)
    }

    fn grow(&mut self, to: u64) -> io::Result<()> {
        while self.length < to {
            self.file.write_all_at(&[0; GROWTH as usize], self.length)?;
            self.length += GROWTH;
        }
        Ok(())
    }

    /// What was written here of the other file, where that is whole.
    pub fn other(&self) -> io::Result<Option<OtherMark>> {
        Ok(OtherMark::read(&frame::read(&self.file, OTHER, OTHER_LENGTH)?))
    }

    /// Writes down here how the other file begins, and up to where it is synced. Not synced itself.
    pub fn mark(&mut self, other: &OtherMark) -> io::Result<()> {
        self.grow(ENTRIES)?;
        self.file.write_all_at(&other.bytes(), OTHER)
    }

    /// The runs of entries that check, before the position `until`; and the last position that was synced, as far as they
    /// tell. Behind an entry that does not check others are looked for, however far, unless the positions up to `enough` were
    /// found.
    pub fn runs(&self, header: &SegmentHeader, until: u64, enough: u64) -> io::Result<(Vec<Extent>, u64)> {
        let (mut runs, mut synced) = (Vec::new(), header.first.saturating_sub(1));
        let (mut from, mut first) = (ENTRIES, header.first);
        loop {
            let begun =
                Extent { file: self.number, salt: header.salt, from, to: from, first, last: first.saturating_sub(1) };
            let (run, told) = self.run(begun, until)?;
            synced = synced.max(told);
            (from, first) = (run.to, run.last + 1);
            if run.to > run.from {
                runs.push(run);
            }
            if first >= until || first > enough {
                return Ok((runs, synced));
            }
            match frame::find(&self.file, from..self.length, header.salt, first + 1..until)? {
                Some(next) => (from, first) = next,
                None => return Ok((runs, synced)),
            }
        }
    }

    /// The entries that follow each other from where this run begins.
    fn run(&self, mut run: Extent, until: u64) -> io::Result<(Extent, u64)> {
        let mut synced = 0;
        loop {
            let rest =
                Extent { from: run.to, to: self.length, first: run.last + 1, last: until.saturating_sub(1), ..run };
            if rest.from >= rest.to || rest.first > rest.last {
                return Ok((run, synced));
            }
            let chunk = Chunk::read(&self.file, &rest)?;
            (run.to, run.last) = (chunk.end, chunk.next - 1);
            synced = synced.max(chunk.synced);
            if chunk.is_empty() || run.last + 1 >= until {
                return Ok((run, synced));
            }
        }
    }
}

/// What a file begins with, once it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    fn read(bytes: &[u8]) -> Option<Self> {
        let stored = u32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?);
        if bytes[..8] != MARK || stored != crc32fast::hash(&bytes[..40]) {
            return None;
        }
        let (journal, generation) = (number(bytes, 8)?, number(bytes, 16)?);
        Some(Self { journal, generation, salt: number(bytes, 24)? as u32, first: number(bytes, 32)? })
    }
}

/// What one file knows of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherMark {
    pub header: SegmentHeader,
    /// The last position in it that was synced.
    pub synced: u64,
}

impl OtherMark {
    fn bytes(&self) -> [u8; OTHER_LENGTH] {
        let mut bytes = [0; OTHER_LENGTH];
        bytes[..HEADER].copy_from_slice(&self.header.bytes());
        bytes[HEADER..HEADER + 8].copy_from_slice(&self.synced.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..HEADER + 8]);
        bytes[HEADER + 8..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let stored = u32::from_le_bytes(bytes.get(HEADER + 8..OTHER_LENGTH)?.try_into().ok()?);
        let header = SegmentHeader::read(&bytes[..HEADER])?;
        (stored == crc32fast::hash(&bytes[..HEADER + 8])).then_some(Self { header, synced: number(bytes, HEADER)? })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
