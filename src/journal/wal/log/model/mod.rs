//! Random sequences of what may befall the log, held against the form that [`crate::journal::wal`] describes.
//!
//! Whenever somebody reads the log, he finds everything that was committed and is not in the tables, in order, with nothing
//! behind it but what failed since a file was begun the last time. Where a file was damaged, he finds all of that but the
//! entries that were hit, and is told of each of those.
//!
//! `PROPTEST_CASES=20000 cargo test --lib journal::wal` looks longer.

mod image;
mod steps;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};
use tempfile::TempDir;

use image::{Image, Placed};
use steps::{Damage, Failure, LogStep, step};

use super::tests::{JOURNAL, outcome};
use super::*;
use crate::journal::wal::chunk::Chunk;
use crate::journal::wal::segment::ENTRIES;
use crate::journal::wal::{frame, reader};

struct Trial {
    folder: TempDir,
    capacity: u64,
    log: Log,
    images: [Image; 2],
    /// Everything that was committed or found after a crash, by position.
    history: BTreeMap<u64, i64>,
    /// The last number, and the last that was used before a file was begun by a group that was committed: nothing that
    /// failed up to there may be seen again.
    number: i64,
    void: i64,
    /// The file that was written last must not be written again.
    spent: bool,
    /// Positions: in the tables, and synced there.
    filed: u64,
    settled: u64,
    /// Not filed yet.
    extents: Vec<Extent>,
}

impl Trial {
    fn new(capacity: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let log = open(&path(&folder), capacity, 0).log;
        let (images, history, extents) = (Default::default(), BTreeMap::new(), Vec::new());
        Self { folder, capacity, log, images, history, number: 0, void: 0, spent: true, filed: 0, settled: 0, extents }
    }

    fn run(&mut self, step: &LogStep) {
        match step {
            LogStep::Commit(lengths) => self.commit(lengths),
            LogStep::Follow(to, synced) => self.follow(to, *synced),
            LogStep::Fail(failure) => self.fail(failure),
            LogStep::Crash(failure, filed) => {
                self.fail(failure);
                self.reopen(None, filed);
            }
            LogStep::Reopen(damage, filed) => self.reopen(damage.as_ref(), filed),
            LogStep::LookBeside => self.look_beside(),
        }
    }

    fn position(&self) -> u64 {
        self.history.last_key_value().map_or(0, |(position, _)| *position).max(self.filed)
    }

    /// Gathers a group; the entries, and how long each is in the file.
    fn add(&mut self, lengths: &[usize]) -> Vec<(Placed, u64)> {
        let position = self.position();
        let mut added = Vec::new();
        for (length, position) in lengths.iter().zip(position + 1..) {
            self.number += 1;
            let before = self.log.group.len();
            self.log.add(&outcome(self.number, &"x".repeat(*length)));
            added.push(((position, self.number), (self.log.group.len() - before) as u64));
        }
        self.log.marks.fail(); // what would wait for the tables is refused
        added
    }

    fn commit(&mut self, lengths: &[usize]) {
        let (added, generation) = (self.add(lengths), self.log.generation);
        let extent = match self.log.commit() {
            Ok(extent) => extent,
            Err(error) => return self.refused(&error),
        };
        if extent.from == ENTRIES {
            assert!(self.log.generation > generation);
            self.begin(extent.file, true);
            self.void = added[0].0.1 - 1;
        }
        assert!(extent.from == ENTRIES || !self.spent, "it was written after a failure");
        self.spent = false;
        self.place(extent.file, extent.from, &added, extent.from..extent.to);
        let (first, last) = (added[0].0, added[added.len() - 1].0);
        assert_eq!((extent.first, extent.last), (first.0, last.0));
        assert_eq!(extent.to - extent.from, added.iter().map(|(_, length)| length).sum::<u64>());
        self.history.extend(added.iter().map(|(entry, _)| *entry));
        if !self.extents.last_mut().is_some_and(|last| last.join(&extent)) {
            self.extents.push(extent);
        }
    }

    /// Nothing was to fail but for want of a file that may be begun anew.
    fn refused(&self, error: &StoreError) {
        assert!(matches!(error, StoreError::Full(_)), "{error}");
        let other = self.images[1 - self.log.current].entries.values();
        let needed =
            other.map(|(_, entry)| *entry).filter(|entry| self.is_committed(entry)).map(|(position, _)| position);
        assert!(needed.max() > Some(self.settled), "a file that nobody needs was not begun anew");
    }

    fn is_committed(&self, (position, number): &Placed) -> bool {
        self.history.get(position) == Some(number)
    }

    /// A file is given up for a new header, where that reached the disk.
    fn begin(&mut self, file: usize, reached: bool) {
        let lost = self.images[file].entries.values().map(|(_, entry)| entry);
        let lost: Vec<_> = lost.filter(|entry| self.is_committed(entry) && entry.0 > self.settled).collect();
        assert!(lost.is_empty(), "begun anew although the tables lack {lost:?}");
        if reached {
            self.images[file] = Image::default();
        }
    }

    /// Of a group that begins at `from` these bytes were written: whole entries come into the image.
    fn place(&mut self, file: usize, from: u64, added: &[(Placed, u64)], written: Range<u64>) {
        self.images[file].clear(&written);
        for (at, end, entry) in spans(from, added) {
            if written.start <= at && end <= written.end {
                self.images[file].entries.insert(at, (end, entry));
            }
        }
    }

    /// What the filing thread does.
    fn follow(&mut self, to: &Index, synced: bool) {
        let to = self.filed + to.index((self.position() - self.filed) as usize + 1) as u64;
        let files = self.log.readers().unwrap();
        for extent in self.extents.iter_mut().filter(|extent| extent.first <= to) {
            let mut part = Extent { last: extent.last.min(to), ..*extent };
            for entry in entries(&files, &mut part) {
                assert_eq!(self.history.get(&entry.0), Some(&entry.1), "{entry:?}");
            }
            (extent.from, extent.first) = (part.from, part.first);
        }
        self.extents.retain(|extent| extent.first <= extent.last);
        self.filed = to;
        self.log.marks.file(to, 0);
        if synced {
            self.settled = to;
            self.log.marks.settle(to);
        }
    }

    /// The files are changed for a device that takes nothing, or takes everything and cannot sync it; then as much of the
    /// group as is to have reached the disk is written there.
    fn fail(&mut self, failure: &Failure) {
        let (added, generation) = (self.add(&failure.lengths), self.log.generation);
        let mut group = self.log.group.clone();
        let turns = self.log.broken || self.log.segments[self.log.current].is_full(group.len(), self.capacity);
        let error = self.commit_to(if failure.full { "/dev/full" } else { "/dev/null" });
        let begun = self.log.generation != generation;
        if turns && !begun {
            return if failure.full {
            } else {
                self.refused(&error)
            }; // on a full disk it cannot even be made room for
        }
        self.spent |= !failure.full;
        if failure.full {
            return; // what was written of it was wiped; its own test shows that
        }
        let (file, first) = (self.log.current, added[0].0.0);
        if turns {
            self.begin(file, failure.header);
        }
        let segment = &mut self.log.segments[file];
        if turns && failure.header {
            let (generation, salt) = (generation + 1, segment.salt);
            segment.begin(&SegmentHeader { journal: JOURNAL, generation, salt, first }).unwrap();
        }
        frame::seal(&mut group, segment.salt);
        let place = |at: Option<Index>, else_at| at.map_or(else_at, |at| at.index(group.len() + 1));
        let reached = (place(failure.reached.0, 0), place(failure.reached.1, group.len()));
        let reached = reached.0.min(reached.1)..reached.0.max(reached.1);
        segment.file.write_all_at(&group[reached.clone()], segment.end + reached.start as u64).unwrap();
        let (start, reached) = (segment.end, segment.end + reached.start as u64..segment.end + reached.end as u64);
        // Under the header before it, it means nothing.
        let counted = if turns && !failure.header { &[] } else { &*added };
        self.place(file, start, counted, reached.clone());
        self.spoil(file, spans(start, &added), &reached);
    }

    fn commit_to(&mut self, device: &str) -> StoreError {
        let files = [0, 1].map(|n| {
            let device = OpenOptions::new().read(true).write(true).open(device).unwrap();
            std::mem::replace(&mut self.log.segments[n].file, device)
        });
        let error = self.log.commit().unwrap_err();
        for (segment, file) in self.log.segments.iter_mut().zip(files) {
            segment.file = file;
        }
        error
    }

    /// What was there before may end as an entry does that was written in part: it is made sure that it is none.
    fn spoil(&mut self, file: usize, spans: impl Iterator<Item = (u64, u64, Placed)>, written: &Range<u64>) {
        for (at, end, _) in spans {
            let whole = written.start <= at && end <= written.end;
            if !whole && written.start < end && at < written.end {
                let device = &self.log.segments[file].file;
                device.write_all_at(b"torn", at + 4).unwrap(); // its checksum
                self.images[file].clear(&(at + 4..at + 8));
            }
        }
    }

    /// The committed entries that were hit.
    fn damage(&mut self, damage: &Damage) -> Vec<Placed> {
        let file = OpenOptions::new().read(true).write(true).open(name(&path(&self.folder), damage.file)).unwrap();
        let (image, length) = (&mut self.images[damage.file], file.metadata().unwrap().len());
        let at = damage.at.index(image.used(ENTRIES) as usize) as u64;
        if at >= length {
            return Vec::new();
        }
        let bytes = if damage.cut { at..u64::MAX } else { at..at + 1 };
        if damage.cut {
            // Zeros are read behind the end, and what is cut may have ended in some.
            file.write_all_at(&[0xA5], at).unwrap();
            file.set_len(at + 1).unwrap();
        } else {
            let mut byte = [0_u8];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0].wrapping_add(1)], at).unwrap();
        }
        let hit = image.hit(&bytes);
        image.clear(&bytes);
        hit.into_iter().filter(|entry| self.is_committed(entry)).collect()
    }

    fn reopen(&mut self, damage: Option<&Damage>, filed: &[Index]) {
        let hit = damage.map(|damage| self.damage(damage)).unwrap_or_default();
        for filed in filed {
            self.filed = self.settled + filed.index((self.filed - self.settled) as usize + 1) as u64;
            let found = self.open_once(&hit);
            self.history.retain(|position, _| *position <= self.filed);
            self.history.extend(found);
            self.filed = self.log.position().max(self.filed);
            assert!(self.log.position() >= self.position());
        }
        self.settled = self.filed;
        self.log.marks.file(self.filed, 0);
        self.log.marks.settle(self.filed);
        self.extents.clear();
        self.spent = true;
    }

    /// What is found that the tables lack.
    fn open_once(&mut self, hit: &[Placed]) -> Vec<Placed> {
        let opened = open(&path(&self.folder), self.capacity, self.filed);
        let files = opened.log.readers().unwrap();
        let mut found: Vec<Placed> =
            opened.unfiled.iter().flat_map(|extent| entries(&files, &mut extent.clone())).collect();
        found.retain(|(position, _)| *position > self.filed);
        let missing: Vec<u64> = opened.missing.iter().flat_map(|(first, last)| *first..=*last).collect();
        let lost: Vec<u64> = hit.iter().map(|entry| entry.0).filter(|position| *position > self.filed).collect();
        assert_eq!(missing, lost, "what was hit is told, and nothing else is lost");
        self.is_what_was_promised(&found, &lost);
        self.log = opened.log;
        found
    }

    /// Everything that was committed, is not in the tables and was not hit, and of what failed no more than may be.
    fn is_what_was_promised(&self, found: &[Placed], lost: &[u64]) {
        let committed = self.history.range(self.filed + 1..).filter(|(position, _)| !lost.contains(position));
        let committed: Vec<Placed> = committed.map(|(at, number)| (*at, *number)).collect();
        assert!(found.starts_with(&committed), "{committed:?} expected, {found:?} found");
        for ((position, number), expected) in found[committed.len()..].iter().zip(self.position() + 1..) {
            assert!(*number > self.void, "{number} failed before a file was begun");
            assert_eq!(*position, expected);
        }
    }

    fn look_beside(&self) {
        let number = |position: u64, bytes: &[u8]| (position, number(bytes));
        let read = |path: &Path| {
            let standing = reader::read(path, JOURNAL, self.filed, number).unwrap().unwrap();
            standing.entries.into_iter().filter(|(position, _)| *position > self.filed).collect::<Vec<Placed>>()
        };
        let found = read(&path(&self.folder));
        self.is_what_was_promised(&found, &[]);
        let copy = self.folder.path().join("copy");
        reader::copy(&path(&self.folder), &copy).unwrap();
        assert_eq!(read(&copy), found);
        Log::remove(&copy).unwrap();
    }
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("j")
}

fn open(path: &Path, capacity: u64, filed: u64) -> Opened {
    let known = LogFiled { journal: JOURNAL, position: filed, synced: filed };
    Log::open(path, capacity, known, Arc::new(Watermarks::new(filed))).unwrap()
}

/// Where the entries of a group begin and end that begins at `at`.
fn spans(at: u64, added: &[(Placed, u64)]) -> impl Iterator<Item = (u64, u64, Placed)> {
    added.iter().scan(at, |at, (entry, length)| {
        *at += length;
        Some((*at - length, *at, *entry))
    })
}

fn number(bytes: &[u8]) -> i64 {
    match LogEntry::decode(bytes) {
        Some(LogEntry::Outcome(outcome)) => outcome.seq,
        other => panic!("{other:?}"),
    }
}

/// Reads an extent to its end.
fn entries(files: &[File; 2], rest: &mut Extent) -> Vec<Placed> {
    let mut found = Vec::new();
    while rest.first <= rest.last {
        let chunk = Chunk::read(&files[rest.file], rest).unwrap();
        assert!(!chunk.is_empty(), "{rest:?} does not check");
        found.extend(chunk.entries().map(|(position, bytes)| (position, number(bytes))));
        (rest.from, rest.first) = (chunk.end, chunk.next);
    }
    found
}

#[test]
fn whatever_befalls_the_log_it_holds_what_its_form_says() {
    let config =
        ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(10), ..ProptestConfig::default() };
    let capacity = prop_oneof![Just(200_u64), Just(1_500), Just(4_000), Just(1 << 21)];
    let trial = (capacity, prop::collection::vec(step(), 1..40), any::<Index>());
    let outcome = TestRunner::new(config).run(&trial, |(capacity, steps, filed)| {
        let mut trial = Trial::new(capacity);
        steps.iter().for_each(|step| trial.run(step));
        trial.run(&LogStep::Reopen(None, vec![filed]));
        Ok(())
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
}
