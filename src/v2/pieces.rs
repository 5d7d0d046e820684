//! Where the parts of a message's fields begin, to name the place of an offset at the cost of a binary search.
//!
//! Made once for a message, when the first place in it is named: most messages have nothing to report.

use super::header::Delimiters;
use super::path::Path;

/// The starts of all parts, in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    starts: Vec<u32>,
    paths: Vec<Path>,
}

/// Names each place in a field behind a delimiter, with the offset at which it begins; whether there are repetitions or
/// components.
fn walk(field: Path, start: u32, raw: &str, delimiters: &Delimiters, mut met: impl FnMut(u32, Path)) -> bool {
    let (mut path, mut has_parts) = (field, false);
    for (at, byte) in (start + 1..).zip(raw.bytes()) {
        let (repetition, component) = (byte == delimiters.repetition, byte == delimiters.component);
        let subcomponent = byte == delimiters.subcomponent;
        if repetition || component || subcomponent {
            has_parts |= repetition || component;
            path.pass(repetition, component, subcomponent);
            met(at, path);
        }
    }
    has_parts
}

impl Pieces {
    /// Adds a field that stands at `start`.
    pub fn add(&mut self, field: Path, start: u32, raw: &str, delimiters: &Delimiters) {
        let first = self.paths.len();
        self.starts.push(start);
        self.paths.push(field);
        let has_parts = walk(field, start, raw, delimiters, |at, path| {
            self.starts.push(at);
            self.paths.push(path);
        });
        self.paths[first..].iter_mut().for_each(|path| path.settle(has_parts));
    }

    /// The part of a field at `start` that holds an offset.
    pub fn in_field(field: Path, start: u32, raw: &str, delimiters: &Delimiters, offset: u32) -> Path {
        let mut found = field;
        let has_parts = walk(field, start, raw, delimiters, |at, path| {
            if at <= offset {
                found = path;
            }
        });
        found.settle(has_parts);
        found
    }

    /// The part that holds an offset.
    pub fn at(&self, offset: u32) -> Option<Path> {
        let behind = self.starts.partition_point(|start| *start <= offset);
        behind.checked_sub(1).map(|at| self.paths[at])
    }
}
