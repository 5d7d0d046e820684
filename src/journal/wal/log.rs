//! The log as the one thread holds it that writes it: gathers a group, appends it, syncs it, and lets the two files take
//! turns.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::Durable;
use super::entry::LogEntry;
use super::extent::Extent;
use super::frame::FRAME;
use super::segment::{LogSegment, SegmentHeader, name};
use crate::journal::error::{OpenError, StoreError};
use crate::journal::files;
use crate::journal::watermarks::Watermarks;

pub struct Log {
    segments: [LogSegment; 2],
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
    marks: Arc<Watermarks>,
}

/// What is found in the files when a journal is opened.
pub struct Opened {
    pub log: Log,
    /// Not known to be in the tables, in order.
    pub unfiled: Vec<Extent>,
}

impl Log {
    /// Opens the files, or makes them, and looks for what was left. `filed` is the last position in the tables.
    pub fn open(
        path: &Path,
        capacity: u64,
        journal: u64,
        filed: u64,
        marks: Arc<Watermarks>,
    ) -> Result<Opened, OpenError> {
        let fault = |error: io::Error| OpenError::NotWritable { path: path.into(), reason: error.to_string() };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let open = |n: usize| LogSegment::open(path, n, &options);
        let segments = [open(0).map_err(fault)?, open(1).map_err(fault)?];
        files::sync_folder(path).map_err(fault)?;
        let headers = [segments[0].header().map_err(fault)?, segments[1].header().map_err(fault)?];
        for (segment, header) in segments.iter().zip(&headers) {
            if header.as_ref().is_some_and(|header| header.journal != journal) {
                return Err(OpenError::ForeignLog { path: path.into(), log: segment.path.clone() });
            }
        }
        let found = scan(&segments, &headers).map_err(fault)?;
        let position = found.last().map_or(filed, |extent| extent.last.max(filed));
        let generation = headers.iter().flatten().map(|header| header.generation).max().unwrap_or(0);
        let group = Vec::new();
        let mut log = Self {
            segments,
            current: 0,
            capacity,
            journal,
            generation,
            position,
            group,
            added: 0,
            broken: false,
            marks,
        };
        // Whichever file comes first is begun anew; both are done with by then.
        log.segments[1].last = position;
        log.segments[0].last = position;
        log.broken = true;
        let unfiled: Vec<Extent> = found.into_iter().filter(|extent| extent.last > filed).collect();
        if let Some((before, behind)) = gap(filed, &unfiled) {
            tracing::error!(
                before,
                behind,
                "the journal's log goes on behind a gap; messages between are not in this journal, look for a backup"
            );
        }
        Ok(Opened { log, unfiled })
    }

    /// For another thread to read by.
    pub fn readers(&self) -> io::Result<[File; 2]> {
        Ok([self.segments[0].file.try_clone()?, self.segments[1].file.try_clone()?])
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
        if self.broken || self.segments[self.current].is_full(self.group.len(), self.capacity) {
            self.turn()?;
        }
        let (first, last) = (self.position + 1, self.position + self.added);
        self.segments[self.current].append(&mut self.group, first, last)
    }

    /// Begins the other file; waits until it may. Its header is synced with the group that follows.
    fn turn(&mut self) -> io::Result<()> {
        let next = 1 - self.current;
        self.marks.wait_until_settled(self.segments[next].last)?;
        self.generation += 1;
        let header = SegmentHeader {
            journal: self.journal,
            generation: self.generation,
            salt: Uuid::new_v4().as_u64_pair().0 as u32,
            first: self.position + 1,
        };
        self.segments[next].begin(&header)?;
        self.current = next;
        self.broken = false;
        Ok(())
    }
}

impl Durable for Log {
    fn add(&mut self, entry: &LogEntry<'_>) {
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

/// The entries in the files, the older file's first. What the older one holds from where the newer begins is void: it is
/// what a failed sync left.
fn scan(segments: &[LogSegment; 2], headers: &[Option<SegmentHeader>; 2]) -> io::Result<Vec<Extent>> {
    let mut used: Vec<(&LogSegment, &SegmentHeader)> =
        segments.iter().zip(headers).filter_map(|(segment, header)| Some((segment, header.as_ref()?))).collect();
    used.sort_by_key(|(_, header)| header.generation);
    let mut found = Vec::new();
    for (at, (segment, header)) in used.iter().enumerate() {
        let until = used.get(at + 1).map_or(u64::MAX, |(_, newer)| newer.first);
        found.extend(segment.scan(header, until)?);
    }
    Ok(found)
}

/// Between which positions something is missing, where the log does not follow the tables without a gap.
fn gap(filed: u64, unfiled: &[Extent]) -> Option<(u64, u64)> {
    let ends = std::iter::once(filed).chain(unfiled.iter().map(|extent| extent.last));
    ends.zip(unfiled).map(|(end, next)| (end, next.first)).find(|(end, first)| *first > end + 1)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
