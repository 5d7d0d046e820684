use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use tempfile::TempDir;

use super::*;
use crate::journal::model::Status;
use crate::journal::wal::chunk::Chunk;
use crate::journal::wal::entry::OutcomeEntry;

pub const JOURNAL: u64 = 7;

fn open(folder: &TempDir, capacity: u64, filed: u64) -> Opened {
    let marks = Arc::new(Watermarks::new(filed));
    let filed = LogFiled { journal: JOURNAL, position: filed, synced: filed };
    let found = Log::open(&folder.path().join("j"), capacity, filed, marks).unwrap();
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
    let file = OpenOptions::new().read(true).write(true).open(name(&folder.path().join("j"), file)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// What the files know of each other does not reach the disk with a group, and a power cut may take it.
fn cut_the_power(folder: &TempDir) {
    for n in 0..2 {
        let file = OpenOptions::new().write(true).open(name(&folder.path().join("j"), n)).unwrap();
        file.write_all_at(&[0; 4096], 4096).unwrap();
    }
}

/// The same log in a folder of its own.
fn copied(folder: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    for n in 0..2 {
        std::fs::copy(name(&folder.path().join("j"), n), name(&copy.path().join("j"), n)).unwrap();
    }
    copy
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
    cut_the_power(&folder);
    for at in [torn.from + 5, torn.from + 40, torn.to - 1] {
        let copy = copied(&folder);
        spoil(&copy, torn.file, at);
        let expected = if at == torn.to - 1 { vec![(1, 10), (2, 11)] } else { vec![(1, 10)] };
        let found = open(&copy, 1 << 20, 0);
        assert_eq!((numbers(&found), found.missing), (expected, Vec::new()));
    }
}

#[test]
fn damage_below_what_was_synced_costs_the_damaged_entry_and_is_told() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    let groups = [commit(&mut log, &[10]), commit(&mut log, &[11, 12, 13]), commit(&mut log, &[14])];
    drop(log);
    for (at, lost) in [(groups[0].from, 1), (groups[1].from + 5, 2), (groups[1].to - 1, 4), (groups[2].to - 1, 5)] {
        let copy = copied(&folder);
        spoil(&copy, groups[0].file, at);
        let found = open(&copy, 1 << 20, 0);
        let rest: Vec<_> = (1..=5).filter(|position| *position != lost).map(|at| (at, at as i64 + 9)).collect();
        assert_eq!((numbers(&found), found.missing.clone()), (rest, vec![(lost, lost)]));
        assert_eq!(found.log.position(), 5, "its place is not given away");
        // Without the marks the last group alone cannot be told from a torn end.
        let copy = copied(&folder);
        cut_the_power(&copy);
        spoil(&copy, groups[0].file, at);
        assert_eq!(open(&copy, 1 << 20, 0).missing, if lost == 5 { vec![] } else { vec![(lost, lost)] });
    }
}

#[test]
fn a_header_that_is_damaged_and_a_file_that_is_gone_are_told_by_the_other_one() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    let file = commit(&mut log, &[10, 11]).file;
    drop(log);
    let copy = copied(&folder);
    spoil(&copy, file, 20);
    let found = open(&copy, 1 << 20, 0);
    assert_eq!((numbers(&found), found.missing), (vec![(1, 10), (2, 11)], Vec::new()));
    for gone in
        [std::fs::remove_file as fn(std::path::PathBuf) -> io::Result<()>, |path| std::fs::write(path, [0; 1 << 20])]
    {
        let copy = copied(&folder);
        gone(name(&copy.path().join("j"), file)).unwrap();
        let found = open(&copy, 1 << 20, 0);
        assert_eq!((numbers(&found), found.missing), (Vec::new(), vec![(1, 2)]));
    }
}

#[test]
fn when_both_files_are_gone_the_tables_tell_how_far_they_were() {
    let folder = TempDir::new().unwrap();
    let filed = LogFiled { journal: JOURNAL, position: 3, synced: 7 };
    let found = Log::open(&folder.path().join("j"), 1 << 20, filed, Arc::new(Watermarks::new(3))).unwrap();
    assert_eq!(found.missing, [(4, 7)]);
}

#[test]
fn a_log_cut_short_anywhere_gives_a_prefix_and_tells_the_rest() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    let extent = commit(&mut log, &[10, 11, 12, 13]);
    drop(log);
    for length in (0..=extent.to).rev().step_by(7) {
        let copy = copied(&folder);
        let path = name(&copy.path().join("j"), extent.file);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        let found = open(&copy, 1 << 20, 0);
        let numbers = numbers(&found);
        assert!([(1, 10), (2, 11), (3, 12), (4, 13)].starts_with(&numbers), "{length}: {numbers:?}");
        let next = numbers.len() as u64 + 1;
        assert_eq!(found.missing, if next > 4 { vec![] } else { vec![(next, 4)] });
    }
}

#[test]
fn what_a_full_disk_left_of_a_group_does_not_count_behind_the_next_one() {
    let folder = TempDir::new().unwrap();
    let mut log = open(&folder, 1 << 20, 0).log;
    commit(&mut log, &[10]);
    // As when the disk took the group and could not be synced for want of room.
    let before = (log.segments[log.current].end, log.position);
    let failed = commit(&mut log, &[11, 12, 13]);
    (log.segments[log.current].end, log.position) = before;
    let file = log.current;
    log.segments[file].wipe((failed.to - failed.from) as usize).unwrap();
    commit(&mut log, &[21]);
    drop(log);
    cut_the_power(&folder);
    assert_eq!(numbers(&open(&folder, 1 << 20, 0)), [(1, 10), (2, 21)]);
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
    cut_the_power(&folder);
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
    cut_the_power(&folder); // a group that failed leaves no mark
    let next = commit(&mut log, &[13]);
    assert_ne!(next.file, failed.file);
    drop(log);
    assert_eq!(numbers(&open(&folder, 1 << 20, 0)), [(1, 10), (2, 13)]);
}

#[test]
fn the_log_of_another_journal_is_left_alone() {
    let folder = TempDir::new().unwrap();
    commit(&mut open(&folder, 1 << 20, 0).log, &[10]);
    let filed = LogFiled { journal: 8, position: 0, synced: 0 };
    let other = Log::open(&folder.path().join("j"), 1 << 20, filed, Arc::new(Watermarks::new(0)));
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
