use std::os::unix::fs::FileExt;

use tempfile::TempDir;

use super::*;
use crate::journal::model::Status;
use crate::journal::wal::chunk::Chunk;
use crate::journal::wal::entry::OutcomeEntry;

pub const JOURNAL: u64 = 7;

fn open(folder: &TempDir, capacity: u64, filed: u64) -> Opened {
    let marks = Arc::new(Watermarks::new(filed));
    let found = Log::open(&folder.path().join("j"), capacity, JOURNAL, filed, marks).unwrap();
    found.log.marks.settle(found.log.position);
    found
}

/// An entry that is known again by its number and its length.
pub fn outcome(seq: i64, text: &str) -> LogEntry<'_> {
    let status = Status::Dead;
    let (reason, none) = (Some(text), None);
    let outcome = OutcomeEntry {
        seq,
        at: 0,
        status,
        requeued: false,
        sent: false,
        owes: false,
        due: None,
        reason,
        detail: none,
        plan: none,
        bundle: None,
    };
    LogEntry::Outcome(outcome)
}

/// A group of entries with these numbers.
fn commit(log: &mut Log, seqs: &[i64]) -> Extent {
    seqs.iter().for_each(|seq| log.add(&outcome(*seq, &"x".repeat(100))));
    log.commit().unwrap()
}

/// The numbers of what is found, with their positions.
fn numbers(found: &Opened) -> Vec<(u64, i64)> {
    let files = found.log.readers().unwrap();
    let mut numbers = Vec::new();
    for extent in &found.unfiled {
        let mut rest = *extent;
        while rest.first <= rest.last {
            let chunk = Chunk::read(&files[rest.file], &rest).unwrap();
            assert!(!chunk.is_empty());
            numbers.extend(chunk.entries().map(|(position, bytes)| match LogEntry::decode(bytes) {
                Some(LogEntry::Outcome(outcome)) => (position, outcome.seq),
                other => panic!("{other:?}"),
            }));
            (rest.from, rest.first) = (chunk.end, chunk.next);
        }
    }
    numbers
}

fn spoil(folder: &TempDir, file: usize, at: u64) {
    let file = OpenOptions::new().write(true).open(name(&folder.path().join("j"), file)).unwrap();
    file.write_all_at(&[0xA5], at).unwrap();
}

#[test]
fn what_was_committed_is_found_again_in_order() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    commit(&mut log, &[10, 11]);
    commit(&mut log, &[12]);
    drop(log);
    assert_eq!(numbers(&open(&folder, 1 << 20, 0)), [(1, 10), (2, 11), (3, 12)]);
}

#[test]
fn what_is_in_the_tables_is_not_left() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    commit(&mut log, &[10, 11]);
    drop(log);
    assert_eq!(open(&folder, 1 << 20, 2).unfiled, []);
}

#[test]
fn a_torn_end_is_cut_off_at_the_first_entry_that_does_not_check() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    commit(&mut log, &[10]);
    let torn = commit(&mut log, &[11, 12]);
    drop(log);
    for at in [torn.from + 5, torn.from + 40, torn.to - 1] {
        let copy = TempDir::new().unwrap();
        for n in 0..2 {
            std::fs::copy(name(&folder.path().join("j"), n), name(&copy.path().join("j"), n)).unwrap();
        }
        spoil(&copy, torn.file, at);
        let expected = if at == torn.to - 1 { vec![(1, 10), (2, 11)] } else { vec![(1, 10)] };
        assert_eq!(numbers(&open(&copy, 1 << 20, 0)), expected);
    }
}

#[test]
fn a_log_cut_short_anywhere_gives_a_prefix() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    let extent = commit(&mut log, &[10, 11, 12, 13]);
    drop(log);
    let path = name(&folder.path().join("j"), extent.file);
    for length in (0..=extent.to).rev().step_by(7) {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let found = numbers(&open(&folder, 1 << 20, 0));
        assert!([(1, 10), (2, 11), (3, 12), (4, 13)].starts_with(&found), "{length}: {found:?}");
    }
}

#[test]
fn the_files_take_turns_and_lose_nothing_that_is_not_settled() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 2_000, 0).log;
    for n in 0..100 {
        let extent = commit(&mut log, &[n]);
        if extent.last > 10 {
            log.marks.settle(extent.last - 10); // the tables follow ten behind
        }
    }
    drop(log);
    let found = numbers(&open(&folder, 2_000, 90));
    let behind: Vec<_> = (91..=100).map(|position| (position, position as i64 - 1)).collect();
    assert!(found.ends_with(&behind), "{found:?}");
    assert!(found.len() < 50, "a file was begun anew: {}", found.len());
}

#[test]
fn a_full_log_waits_for_the_tables_and_refuses_when_they_fail() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 500, 0).log;
    for n in 0..6 {
        commit(&mut log, &[n]);
    }
    log.marks.fail();
    log.add(&outcome(7, &"x".repeat(400)));
    assert!(matches!(log.commit(), Err(StoreError::Full(_))));
    let marks = Arc::clone(&log.marks);
    let settling = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        marks.file(6, 0);
        marks.settle(6);
    });
    log.marks.file(0, 0); // the tables are written again
    assert_eq!(commit(&mut log, &[8]).last, 7);
    settling.join().unwrap();
}

#[test]
fn what_a_restart_leaves_behind_its_end_is_never_taken_for_an_entry() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    let first = commit(&mut log, &[10]);
    let never_synced = commit(&mut log, &[11, 12]);
    drop(log);
    spoil(&folder, never_synced.file, never_synced.from + 20);
    let mut log = open(&folder, 1 << 20, 0).log;
    assert_eq!(log.position(), 1);
    // The files take turns until the one with the old end is written again, by an entry of the same size.
    while commit(&mut log, &[20]).file != first.file {
        log.marks.settle(log.position);
        log.broken = true;
    }
    let written = log.position();
    drop(log);
    let found = open(&folder, 1 << 20, 0);
    assert_eq!(numbers(&found).last().unwrap(), &(written, 20));
    assert_eq!(found.log.position(), written);
}

#[test]
fn a_group_whose_sync_failed_is_void_also_when_it_reached_the_disk() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    commit(&mut log, &[10]);
    log.marks.settle(1);
    // As after a sync that reports a fault and did its work: the bytes are there, the position is not.
    let failed = commit(&mut log, &[11, 12]);
    log.position = failed.first - 1;
    log.broken = true;
    let next = commit(&mut log, &[13]);
    assert_ne!(next.file, failed.file);
    drop(log);
    assert_eq!(numbers(&open(&folder, 1 << 20, 0)), [(1, 10), (2, 13)]);
}

#[test]
fn the_log_of_another_journal_is_left_alone() {
    let folder = TempDir::new().unwrap();
    commit(&mut open(&folder, 1 << 20, 0).log, &[10]);
    let other = Log::open(&folder.path().join("j"), 1 << 20, 8, 0, Arc::new(Watermarks::new(0)));
    let Err(OpenError::ForeignLog { log, .. }) = other else { panic!("it was opened") };
    assert!(log.to_string_lossy().contains("-log"));
}

#[test]
fn an_entry_larger_than_the_files_are_meant_to_be_is_kept_whole() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1_000, 0).log;
    log.add(&outcome(1, &"x".repeat(3 << 20)));
    log.commit().unwrap();
    drop(log);
    assert_eq!(numbers(&open(&folder, 1_000, 0)), [(1, 1)]);
}
