//! The log as those see it who do not write it: other processes, and a backup.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::chunk::Chunk;
use super::extent::Extent;
use super::frame;
use super::segment::{LogSegment, name};
use super::survey::{self, UsedSegment};
use crate::journal::files;

/// What stands in the log.
#[derive(Debug)]
pub struct Standing<T> {
    /// In order; where a position is left out that is not in the tables, it is lost.
    pub entries: Vec<T>,
    /// The last position that was synced, as far as the log tells.
    pub synced: u64,
}

/// The files that are there.
fn segments(journal: &Path) -> io::Result<Vec<LogSegment>> {
    let mut segments = Vec::new();
    for n in 0..2 {
        match LogSegment::open(journal, n, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            segment => segments.push(segment?),
        }
    }
    Ok(segments)
}

/// Everything that stands in the log of the journal with this id, in order, as `take` makes it out; a file of another
/// journal is told instead. For those who do not write it: to be called before they look at the tables. `known` is a position
/// that the tables know to have been synced.
pub fn read<T>(
    path: &Path,
    journal: u64,
    known: u64,
    take: impl Fn(u64, &[u8]) -> T,
) -> io::Result<Result<Standing<T>, PathBuf>> {
    let segments = segments(path)?;
    let (used, told) = survey::used(&segments)?;
    if let Some(foreign) = used.iter().find(|used| used.header.journal != journal) {
        return Ok(Err(foreign.segment.path.clone()));
    }
    let known = known.max(told);
    let survey = survey::survey(&used, known, known)?;
    let mut entries = Vec::new();
    for UsedSegment { segment, header } in &used {
        let mut here = Vec::new();
        for extent in survey.extents.iter().filter(|extent| extent.file == segment.number) {
            take_from(&segment.file, *extent, &take, &mut here)?;
        }
        if segment.is_still(header)? {
            entries.extend(here); // else the tables have what was here
        }
    }
    Ok(Ok(Standing { entries, synced: survey.synced }))
}

fn take_from<T>(file: &File, mut rest: Extent, take: &impl Fn(u64, &[u8]) -> T, found: &mut Vec<T>) -> io::Result<()> {
    while rest.first <= rest.last {
        let chunk = Chunk::read(file, &rest)?;
        if chunk.is_empty() {
            break; // begun anew while it was read
        }
        found.extend(chunk.entries().map(|(position, bytes)| take(position, bytes)));
        (rest.from, rest.first) = (chunk.end, chunk.next);
    }
    Ok(())
}

/// Copies what stands in the log now beside the name `to`; whether there is anything. As [`read`], before the tables. Of
/// the marks nothing is copied: they may be further than what was copied before them.
pub fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    let segments = segments(from)?;
    let (used, known) = survey::used(&segments)?;
    let survey = survey::survey(&used, known, known)?;
    for UsedSegment { segment, header } in &used {
        let last = survey.extents.iter().rfind(|extent| extent.file == segment.number);
        let path = name(to, segment.number);
        let options = files::private().read(true).write(true).create(true).truncate(true).clone();
        let mut copy = LogSegment::open(to, segment.number, &options)?;
        copy.begin(header)?;
        let mut at = copy.end;
        while let Some(left) = last.and_then(|last| last.to.checked_sub(at)).filter(|left| *left > 0) {
            let part = frame::read(&segment.file, at, left.min(1 << 20) as usize)?;
            copy.file.write_all_at(&part, at)?;
            at += part.len() as u64;
        }
        if !segment.is_still(header)? {
            std::fs::remove_file(path)?;
        }
    }
    Ok(!used.is_empty())
}
