//! The log: what stands between an ack and the tables. A group of entries is appended and synced once, and with that it
//! is safe; the tables follow from it ([`crate::journal::tables::filer`]), and after a crash what they lack is read from here.
//!
//! SQLite alone was measured first (`benches/commit.rs`): the narrowest insert that it can make reaches between a third
//! and six tenths of what bare appends do, before any column that a search needs is written.
//!
//! # Form
//!
//! Two files beside the journal take turns. Each begins with a header: a mark, the journal's own id, how often a file was
//! begun so far, a salt, the first entry's position, a checksum. Then entries without a gap: length, checksum, position,
//! bytes. Positions rise by one through both files and never come again. The checksum is begun with the file's salt, so
//! that what is left of an earlier use, or of a group that was never synced before a restart, is not taken for an entry.
//!
//! Promises:
//! - When [`Log::commit`] returns `Ok`, all of the group is on disk.
//! - What is read back is a prefix of what was written: a torn end is cut off at the first entry that does not check.
//! - A file is begun anew only when everything in it is in the tables and synced there.
//! - Who does not write it ([`standing`]) reads it beside the writer: first the newer file, then the older one, which is
//!   left out when it was begun anew meanwhile, since what it held is in the tables then.
//! - After a failed write or sync the file is not written again before it is begun anew: what the system still holds of it
//!   cannot be known. What was in the failed group is void, also when it is found on the disk later.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use uuid::Uuid;

use super::Durable;
use super::chunk::{Chunk, FRAME};
use super::entry::Entry;
use crate::journal::error::{OpenError, StoreError};
use crate::journal::files;
use crate::journal::progress::Marks;

const MARK: [u8; 8] = *b"STKRLOG1";
const HEADER: usize = 48;

/// A file grows by so much at a time, written with zeros: a sync of bytes that were there before is the cheaper one.
const STEP: u64 = 1 << 20;

/// A run of entries in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub file: usize,
    pub salt: u32,
    pub from: u64,
    pub to: u64,
    /// Positions.
    pub first: u64,
    pub last: u64,
}

impl Extent {
    /// Takes in the one that follows it directly.
    pub fn join(&mut self, next: &Self) -> bool {
        let joins = self.file == next.file && self.salt == next.salt && self.to == next.from;
        if joins {
            (self.to, self.last) = (next.to, next.last);
        }
        joins
    }
}

pub struct Log {
    files: [Segment; 2],
    current: usize,
    capacity: u64,
    journal: u64,
    generation: u64,
    /// Of the last entry that was synced.
    position: u64,
    /// The group: frames without their checksums.
    group: Vec<u8>,
    added: u64,
    /// The current file must not be written any more.
    broken: bool,
    marks: Arc<Marks>,
}

struct Segment {
    path: PathBuf,
    file: File,
    /// How many bytes are there.
    length: u64,
    /// Where the next group goes.
    end: u64,
    salt: u32,
    /// The last position in it.
    last: u64,
}

/// What is found in the files when a journal is opened.
pub struct Found {
    pub log: Log,
    /// Not known to be in the tables, in order.
    pub left: Vec<Extent>,
}

impl Log {
    /// Opens the files, or makes them, and looks for what was left. `filed` is the last position in the tables.
    pub fn open(path: &Path, capacity: u64, journal: u64, filed: u64, marks: Arc<Marks>) -> Result<Found, OpenError> {
        let fault = |error: io::Error| OpenError::NotWritable { path: path.into(), reason: error.to_string() };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let open = |n: usize| Segment::open(path, n, &options);
        let files = [open(0).map_err(fault)?, open(1).map_err(fault)?];
        files::sync_folder(path).map_err(fault)?;
        let headers = [files[0].header().map_err(fault)?, files[1].header().map_err(fault)?];
        for (segment, header) in files.iter().zip(&headers) {
            if header.as_ref().is_some_and(|header| header.journal != journal) {
                return Err(OpenError::ForeignLog { path: path.into(), log: segment.path.clone() });
            }
        }
        let left = left(&files, &headers).map_err(fault)?;
        let position = left.last().map_or(filed, |extent| extent.last.max(filed));
        let generation = headers.iter().flatten().map(|header| header.generation).max().unwrap_or(0);
        let group = Vec::new();
        let mut log =
            Self { files, current: 0, capacity, journal, generation, position, group, added: 0, broken: false, marks };
        // Whichever file comes first is begun anew; both are done with by then.
        log.files[1].last = position;
        log.files[0].last = position;
        log.broken = true;
        let left: Vec<Extent> = left.into_iter().filter(|extent| extent.last > filed).collect();
        if let Some((before, behind)) = gap(filed, &left) {
            tracing::error!(
                before,
                behind,
                "the journal's log goes on behind a gap; messages between are not in this journal, look for a backup"
            );
        }
        Ok(Found { log, left })
    }

    /// For another thread to read by.
    pub fn readers(&self) -> io::Result<[File; 2]> {
        Ok([self.files[0].file.try_clone()?, self.files[1].file.try_clone()?])
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the files away, when everything in them is in the tables.
    pub fn remove(path: &Path) -> io::Result<()> {
        (0..2).try_for_each(|n| match std::fs::remove_file(name(path, n)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    fn write(&mut self) -> io::Result<Extent> {
        let full = self.files[self.current].end + self.group.len() as u64 > self.capacity;
        if self.broken || (full && self.files[self.current].end > HEADER as u64) {
            self.turn()?;
        }
        let segment = &mut self.files[self.current];
        seal(&mut self.group, segment.salt);
        let (from, to) = (segment.end, segment.end + self.group.len() as u64);
        segment.grow(to)?;
        segment.file.write_all_at(&self.group, from)?;
        segment.file.sync_data()?;
        segment.end = to;
        segment.last = self.position + self.added;
        Ok(Extent {
            file: self.current,
            salt: segment.salt,
            from,
            to,
            first: self.position + 1,
            last: self.position + self.added,
        })
    }

    /// Begins the other file; waits until it may. Its header is synced with the group that follows.
    fn turn(&mut self) -> io::Result<()> {
        let next = 1 - self.current;
        self.marks.wait_until_settled(self.files[next].last)?;
        self.generation += 1;
        let header = Header {
            journal: self.journal,
            generation: self.generation,
            salt: Uuid::new_v4().as_u64_pair().0 as u32,
            first: self.position + 1,
        };
        let segment = &mut self.files[next];
        segment.grow(HEADER as u64)?;
        segment.file.write_all_at(&header.bytes(), 0)?;
        (segment.end, segment.salt, segment.last) = (HEADER as u64, header.salt, self.position);
        self.current = next;
        self.broken = false;
        Ok(())
    }
}

impl Durable for Log {
    fn add(&mut self, entry: &Entry<'_>) {
        let start = self.group.len();
        self.added += 1;
        self.group.extend([0; FRAME]);
        entry.encode(&mut self.group);
        let length = (self.group.len() - start - FRAME) as u32;
        self.group[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.group[start + 8..start + FRAME].copy_from_slice(&(self.position + self.added).to_le_bytes());
    }

    fn commit(&mut self) -> Result<Extent, StoreError> {
        let written = self.write();
        let added = std::mem::take(&mut self.added);
        self.group.clear();
        self.group.shrink_to(KEPT);
        match written {
            Ok(extent) => {
                self.position += added;
                Ok(extent)
            }
            Err(error) if error.kind() == ErrorKind::StorageFull => Err(StoreError::Full(error.to_string())),
            Err(error) => {
                self.broken = true;
                Err(StoreError::Io(error.to_string()))
            }
        }
    }
}

/// The memory that is kept for the next group.
const KEPT: usize = 4 << 20;

/// Writes the checksums into the frames of a group.
fn seal(group: &mut [u8], salt: u32) {
    let mut rest = group;
    while rest.len() >= FRAME {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let (frame, behind) = rest.split_at_mut(FRAME + length);
        let checksum = super::chunk::checksum(frame, salt);
        frame[4..8].copy_from_slice(&checksum.to_le_bytes());
        rest = behind;
    }
}

/// The entries in the files, the older file's first. What the older one holds from where the newer begins is void: it is
/// what a failed sync left.
fn left(files: &[Segment; 2], headers: &[Option<Header>; 2]) -> io::Result<Vec<Extent>> {
    let mut used: Vec<(usize, &Header)> =
        headers.iter().enumerate().filter_map(|(n, header)| Some((n, header.as_ref()?))).collect();
    used.sort_by_key(|(_, header)| header.generation);
    let mut left = Vec::new();
    for (at, (file, header)) in used.iter().enumerate() {
        let until = used.get(at + 1).map_or(u64::MAX, |(_, newer)| newer.first);
        left.extend(files[*file].scan(*file, header, until)?);
    }
    Ok(left)
}

/// Between which positions something is missing, where the log does not follow the tables without a gap.
fn gap(filed: u64, left: &[Extent]) -> Option<(u64, u64)> {
    let ends = std::iter::once(filed).chain(left.iter().map(|extent| extent.last));
    ends.zip(left).map(|(end, next)| (end, next.first)).find(|(end, first)| *first > end + 1)
}

/// The files that are in use beside a journal, the newer first.
fn used(journal: &Path) -> io::Result<Vec<(usize, Segment, Header)>> {
    let mut used = Vec::new();
    for n in 0..2 {
        let segment = match Segment::open(journal, n, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            segment => segment?,
        };
        if let Some(header) = segment.header()? {
            used.push((n, segment, header));
        }
    }
    used.sort_by_key(|(.., header)| std::cmp::Reverse(header.generation));
    Ok(used)
}

/// Everything that stands in the log of the journal with this id, in order, as `take` makes it out; a file of another
/// journal is told instead. For those who do not write it: to be called before they look at the tables.
pub fn standing<T>(path: &Path, journal: u64, take: impl Fn(u64, &[u8]) -> T) -> io::Result<Result<Vec<T>, PathBuf>> {
    let mut found = Vec::new();
    let mut until = u64::MAX;
    for (n, segment, header) in used(path)? {
        if header.journal != journal {
            return Ok(Err(segment.path));
        }
        let mut entries = Vec::new();
        if let Some(mut rest) = segment.scan(n, &header, until)? {
            while rest.first <= rest.last {
                let chunk = Chunk::read(&segment.file, &rest)?;
                if chunk.is_empty() {
                    break; // begun anew while it was read
                }
                entries.extend(chunk.entries().map(|(position, bytes)| take(position, bytes)));
                (rest.from, rest.first) = (chunk.end, chunk.next);
            }
        }
        if until == u64::MAX || segment.is_still(&header)? {
            found.push(entries);
        }
        until = header.first;
    }
    Ok(Ok(found.into_iter().rev().flatten().collect()))
}

/// Copies the log as it stands now beside the name `to`; whether there is one. As [`standing`], before the tables.
pub fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    let used = used(from)?;
    for (at, (n, segment, header)) in used.iter().enumerate() {
        std::fs::copy(&segment.path, name(to, *n))?;
        if at > 0 && !segment.is_still(header)? {
            std::fs::remove_file(name(to, *n))?;
        }
    }
    Ok(!used.is_empty())
}

fn name(journal: &Path, n: usize) -> PathBuf {
    files::beside(journal, &format!("-log{n}"))
}

impl Segment {
    fn open(journal: &Path, n: usize, options: &OpenOptions) -> io::Result<Self> {
        let path = name(journal, n);
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length, end: 0, salt: 0, last: 0 })
    }

    fn header(&self) -> io::Result<Option<Header>> {
        let mut bytes = [0; HEADER];
        if self.length < HEADER as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(Header::read(&bytes))
    }

    /// Whether it has not been begun anew since.
    fn is_still(&self, header: &Header) -> io::Result<bool> {
        Ok(self.header()?.is_some_and(|now| now.generation == header.generation))
    }

    fn grow(&mut self, to: u64) -> io::Result<()> {
        while self.length < to {
            self.file.write_all_at(&[0; STEP as usize], self.length)?;
            self.length += STEP;
        }
        Ok(())
    }

    /// The entries that check, up to the position `until`.
    fn scan(&self, file: usize, header: &Header, until: u64) -> io::Result<Option<Extent>> {
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

struct Header {
    journal: u64,
    generation: u64,
    salt: u32,
    first: u64,
}

impl Header {
    fn bytes(&self) -> [u8; HEADER] {
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

fn checksum_of(bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
