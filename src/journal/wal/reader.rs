//! The log as those see it who do not write it: other processes, and a backup.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::chunk::Chunk;
use super::segment::{LogSegment, SegmentHeader, name};

/// The files that are in use beside a journal, the newer first.
fn used(journal: &Path) -> io::Result<Vec<(LogSegment, SegmentHeader)>> {
    let mut used = Vec::new();
    for n in 0..2 {
        let segment = match LogSegment::open(journal, n, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            segment => segment?,
        };
        if let Some(header) = segment.header()? {
            used.push((segment, header));
        }
    }
    used.sort_by_key(|(_, header)| std::cmp::Reverse(header.generation));
    Ok(used)
}

/// Everything that stands in the log of the journal with this id, in order, as `take` makes it out; a file of another
/// journal is told instead. For those who do not write it: to be called before they look at the tables.
pub fn read<T>(path: &Path, journal: u64, take: impl Fn(u64, &[u8]) -> T) -> io::Result<Result<Vec<T>, PathBuf>> {
    let mut found = Vec::new();
    let mut until = u64::MAX;
    for (segment, header) in used(path)? {
        if header.journal != journal {
            return Ok(Err(segment.path));
        }
        let mut entries = Vec::new();
        if let Some(mut rest) = segment.scan(&header, until)? {
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

/// Copies the log as it stands now beside the name `to`; whether there is one. As [`read`], before the tables.
pub fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    let used = used(from)?;
    for (at, (segment, header)) in used.iter().enumerate() {
        std::fs::copy(&segment.path, name(to, segment.number))?;
        if at > 0 && !segment.is_still(header)? {
            std::fs::remove_file(name(to, segment.number))?;
        }
    }
    Ok(!used.is_empty())
}
