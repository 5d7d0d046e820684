//! The log as the one thread holds it that writes it: gathers a group, appends it, syncs it, and lets the two files take
//! turns.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::Durable;
use super::entry::LogEntry;
use super::extent::Extent;
use super::frame::{self, FRAME};
use super::segment::{LogSegment, OtherMark, SegmentHeader, name};
use super::survey::{self, Survey};
use crate::journal::error::{OpenError, StoreError};
use crate::journal::files;
use crate::journal::watermarks::Watermarks;

pub struct Log {
    segments: [LogSegment; 2],
    current: usize,
    capacity: u64,
    journal: u64,
    generation: u64,
    /// The position with which the current file was begun.
    begun: u64,
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
    /// Positions that were synced, and are neither in the tables nor in the files any more: each pair the first and the
    /// last.
    pub missing: Vec<(u64, u64)>,
}

/// What the tables know of the log.
#[derive(Debug, Clone, Copy)]
pub struct LogFiled {
    /// The journal's own id.
    pub journal: u64,
    /// The last position in the tables.
    pub position: u64,
    /// A position that was synced, behind the other one or the same.
    pub synced: u64,
}

impl Log {
    /// Opens the files, or makes them, and looks for what was left.
    pub fn open(path: &Path, capacity: u64, filed: LogFiled, marks: Arc<Watermarks>) -> Result<Opened, OpenError> {
        let fault = |error: io::Error| OpenError::NotWritable { path: path.into(), reason: error.to_string() };
        let options = files::private().read(true).write(true).create(true).truncate(false).clone();
        let open = |n: usize| LogSegment::open(path, n, &options);
        let segments = [open(0).map_err(fault)?, open(1).map_err(fault)?];
        files::sync_folder(path).map_err(fault)?;
        for segment in &segments {
            let log = segment.path.clone();
            if segment.is_of_an_older_version().map_err(fault)? {
                return Err(OpenError::OlderLog { path: path.into(), log });
            }
            if segment.header().map_err(fault)?.is_some_and(|header| header.journal != filed.journal) {
                return Err(OpenError::ForeignLog { path: path.into(), log });
            }
        }
        let (used, told) = survey::used(&segments).map_err(fault)?;
        let generation = used.last().map_or(0, |used| used.header.generation);
        let known = filed.position.max(filed.synced).max(told);
        let survey = survey::survey(&used, known, u64::MAX).map_err(fault)?;
        let missing = survey::missing(filed.position, &survey);
        let Survey { extents, synced } = survey;
        let position = extents.last().map_or(synced, |extent| extent.last.max(synced));
        let mut log = Self {
            segments,
            current: 0,
            capacity,
            journal: filed.journal,
            generation,
            begun: 0,
            position,
            group: Vec::new(),
            added: 0,
            broken: false,
            marks,
        };
        // Whichever file comes first is begun anew; both are done with by then.
        log.segments[1].last = position;
        log.segments[0].last = position;
        log.broken = true;
        let unfiled = extents.into_iter().filter(|extent| extent.last > filed.position).collect();
        Ok(Opened { log, unfiled, missing })
    }

    /// The journal that the files of this name belong to, as far as they tell.
    pub fn journal(path: &Path) -> Option<u64> {
        let options = std::fs::OpenOptions::new().read(true).clone();
        let segments: Vec<LogSegment> = (0..2).filter_map(|n| LogSegment::open(path, n, &options).ok()).collect();
        survey::used(&segments).ok()?.0.last().map(|used| used.header.journal)
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
        let extent = self.segments[self.current].append(&mut self.group, first, last)?;
        self.mark(last);
        Ok(extent)
    }

    /// Tells the other file of this one. Where that fails, only damage will be told less exactly.
    fn mark(&mut self, synced: u64) {
        let header = self.header(self.segments[self.current].salt);
        if let Err(error) = self.segments[1 - self.current].mark(&OtherMark { header, synced }) {
            tracing::debug!(%error, "a file of the journal's log could not be marked");
        }
    }

    /// Of the file that is written now.
    fn header(&self, salt: u32) -> SegmentHeader {
        SegmentHeader { journal: self.journal, generation: self.generation, salt, first: self.begun }
    }

    /// Begins the other file; waits until it may. Its header is synced with the group that follows.
    fn turn(&mut self) -> io::Result<()> {
        let next = 1 - self.current;
        self.marks.wait_until_settled(self.segments[next].last)?;
        self.segments[next].reserve()?;
        let begun = std::mem::replace(&mut self.begun, self.position + 1);
        self.generation += 1;
        let salt = Uuid::new_v4().as_u64_pair().1 as u32; // the half of it in which all bits of the end are random
        let header = self.header(salt);
        if let Err(error) = self.segments[next].begin(&header) {
            (self.begun, self.broken) = (begun, true); // it may be there, and would make void what came here now
            return Err(error);
        }
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
        frame::describe(&mut self.group[start..], length, self.position + self.added, self.position + 1);
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

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
