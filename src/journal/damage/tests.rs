use std::collections::HashSet;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::journal::fixture::{arrival, config, open, seq};
use crate::journal::wal::reader;
use crate::journal::{Feed, Journal, JournalConfig, OnDamage, OpenError, Query, Status, StoreError, verify};

/// A journal as kill -9 leaves it: twenty messages in the tables, forty more in the log only.
async fn killed() -> (TempDir, JournalConfig) {
    let (folder, journal) = open();
    let after = TempDir::new().unwrap();
    let (from, to) = (config(&folder), config(&after));
    for n in 0..20 {
        seq(journal.store(arrival(&format!("early{n}"), n)).await.unwrap());
    }
    drop(journal);
    let journal = Journal::open(&from).unwrap();
    std::fs::copy(&from.path, &to.path).unwrap();
    for n in 0..40 {
        seq(journal.store(arrival(&n.to_string(), 100 + n)).await.unwrap());
    }
    copy_log(&from, &to);
    (after, to)
}

/// With what the files know of each other, as it stands when the process is killed.
fn copy_log(from: &JournalConfig, to: &JournalConfig) {
    for n in 0..2 {
        let log = |path: &Path| files::beside(path, &format!("-log{n}"));
        std::fs::copy(log(&from.path), log(&to.path)).unwrap();
    }
}

fn log(config: &JournalConfig, n: usize) -> std::fs::File {
    let path = files::beside(&config.path, &format!("-log{n}"));
    std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
}

async fn waiting(feed: &mut Feed, messages: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < messages {
        seqs.extend(feed.next().await.unwrap().unwrap().queued.iter().map(|queued| queued.seq));
    }
    seqs
}

/// The file with the entries, and where they begin and end.
fn used(config: &JournalConfig) -> (usize, u64) {
    let end = |n| {
        let bytes = std::fs::read(files::beside(&config.path, &format!("-log{n}"))).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
    };
    if end(0) > end(1) { (0, end(0)) } else { (1, end(1)) }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_log_costs_one_message_and_an_alarm_that_stands_until_somebody_has_seen_it() {
    let (folder, config) = killed().await;
    let (file, end) = used(&config);
    let at = 8192 + (end - 8192) / 2;
    let mut byte = [0];
    log(&config, file).read_exact_at(&mut byte, at).unwrap();
    log(&config, file).write_all_at(&[byte[0] ^ 4], at).unwrap();
    assert!(!verify(&config.path, |_, _| ()).unwrap().findings.is_empty(), "verify tells it");

    let journal = Journal::open(&config).unwrap();
    assert_eq!(journal.count(Query::default()).await.unwrap(), 59);
    let (count, alarms) = journal.alarms(5).await.unwrap();
    let act = &alarms[0].act;
    assert_eq!((count, act.command.as_str(), act.messages), (1, DAMAGE, 1));
    assert!(act.selection.contains("messages 4") && act.selection.contains("are lost"), "{}", act.selection);
    assert!(act.selection.contains("received between 2026-01-10T09:59"), "{}", act.selection);
    assert!(act.reason.as_ref().unwrap().contains("send again"), "{act:?}");
    let mut names = std::fs::read_dir(folder.path()).unwrap().map(|name| name.unwrap().file_name());
    assert!(names.any(|name| name.to_string_lossy().contains(".damaged-")), "the damaged file is kept");
    drop(journal);

    let journal = Journal::open(&config).unwrap();
    assert_eq!(journal.alarms(5).await.unwrap().0, 1, "it stands over a restart");
    let acknowledged = Act { command: ACKNOWLEDGE.into(), who: "jo@desk".into(), ..act.clone() };
    journal.note(acknowledged).await.unwrap();
    assert_eq!(journal.alarms(5).await.unwrap().0, 0);
    drop(journal);
    assert_eq!(verify(&config.path, |_, _| ()).unwrap().findings, []);
}

#[tokio::test]
async fn a_log_that_was_removed_is_told_and_the_numbers_of_lost_messages_are_not_given_again() {
    let (_folder, config) = killed().await;
    let (file, _) = used(&config);
    std::fs::remove_file(files::beside(&config.path, &format!("-log{file}"))).unwrap();
    let refusing = JournalConfig { on_damage: OnDamage::Refuse, ..config.clone() };
    let error = Journal::open(&refusing).unwrap_err();
    assert!(matches!(error, OpenError::LogDamaged { .. }) && error.to_string().contains("40 entries"), "{error}");
    let journal = Journal::open(&config).unwrap();
    assert_eq!(journal.count(Query::default()).await.unwrap(), 20);
    assert!(journal.alarms(1).await.unwrap().1[0].act.selection.contains("messages 21 to 60 are lost"));
    assert_eq!(seq(journal.store(arrival("next", 200)).await.unwrap()), 61);
}

#[tokio::test]
async fn an_entry_that_the_tables_refuse_is_put_aside_and_stops_no_other() {
    let (_folder, config) = killed().await;
    // A row with the number of a message in the log, of another message.
    Connection::open(&config.path).unwrap().execute("UPDATE message SET seq = 30 WHERE seq = 20", []).unwrap();
    let journal = Journal::open(&config).unwrap();
    assert_eq!(journal.count(Query::default()).await.unwrap(), 59);
    let alarm = journal.alarms(1).await.unwrap().1.remove(0);
    assert!(alarm.act.selection.contains("put aside"), "{alarm:?}");
    seq(journal.store(arrival("more", 300)).await.unwrap());
    let aside = journal.reader().with(|c| c.query_row("SELECT count(*) FROM aside", [], |row| row.get::<_, i64>(0)));
    assert_eq!(aside.unwrap(), 1);
}

#[tokio::test]
async fn bytes_that_the_disk_changed_are_not_delivered() {
    let (_folder, config) = killed().await;
    drop(Journal::open(&config).unwrap());
    let changed = "UPDATE body SET raw = CAST(replace(CAST(raw AS TEXT), 'PID', 'PIX') AS BLOB) WHERE seq = 7";
    let gone = "DELETE FROM body WHERE seq = 8";
    Connection::open(&config.path).unwrap().execute_batch(&format!("{changed}; {gone}")).unwrap();
    let journal = Journal::open(&config).unwrap();
    let work = journal.work(vec![6, 7, 8]).await.unwrap();
    assert_eq!(work.iter().map(|work| work.intact).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn files_that_vanish_stop_the_acks_within_a_second_and_what_they_held_is_copied_out() {
    for gone in ["", "-wal", "-log0", "-log1"] {
        let (folder, journal) = open();
        let config = config(&folder);
        for n in 0..10 {
            seq(journal.store(arrival(&n.to_string(), n)).await.unwrap());
        }
        std::fs::remove_file(files::beside(&config.path, gone)).unwrap();
        let (since, mut after) = (Instant::now(), 0);
        let refused = loop {
            match journal.store(arrival(&format!("after{after}"), 50)).await {
                Err(refused) => break refused,
                Ok(_) => after += 1,
            }
            assert!(since.elapsed() < Duration::from_secs(1), "{after} messages were acknowledged");
        };
        assert!(matches!(&refused, StoreError::Gone(what) if what.contains("removed")), "{refused}");
        assert!(journal.trouble().unwrap().contains("removed"));
        drop(journal);
        let names = std::fs::read_dir(folder.path()).unwrap().map(|name| name.unwrap().path());
        let copies: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".rescued-")).collect();
        assert_eq!(copies.len(), 1, "{gone}: {copies:?}");
        assert_eq!(copies[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for log in ["-log0", "-log1"].into_iter().filter(|log| *log != gone) {
            assert!(files::beside(&config.path, log).exists(), "{log} was taken away though {gone} is gone");
        }
        let rescued = JournalConfig { path: copies[0].clone(), ..config };
        let journal = Journal::open(&rescued).unwrap();
        assert_eq!(journal.count(Query::default()).await.unwrap(), 10 + after, "{gone}");
        assert_eq!(waiting(&mut journal.feed(), 10 + after as usize).await.len(), 10 + after as usize);
        assert!(journal.alarms(1).await.unwrap().1[0].act.selection.contains("removed"));
    }
}

#[tokio::test]
async fn the_look_up_of_duplicates_works_again_after_a_fault() {
    let (folder, journal) = open();
    let path = config(&folder).path;
    seq(journal.store(arrival("1", 0)).await.unwrap());
    journal.row(1).await.unwrap();
    // Another process changes what the look-up needs, and changes it back.
    let other = Connection::open(&path).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch("ALTER TABLE message RENAME COLUMN digest TO other").unwrap();
    assert!(matches!(journal.store(arrival("1", 0)).await, Err(StoreError::Io(_))));
    other.execute_batch("ALTER TABLE message RENAME COLUMN other TO digest").unwrap();
    assert!(matches!(journal.store(arrival("1", 0)).await, Ok(crate::journal::Stored::Duplicate { of: 1, .. })));
    assert_eq!(seq(journal.store(arrival("2", 0)).await.unwrap()), 2);
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let folder = TempDir::new().unwrap();
    let config = JournalConfig { path: folder.path().join("new/journal.db"), min_free: 0, ..JournalConfig::default() };
    let journal = Journal::open(&config).unwrap();
    seq(journal.store(arrival("1", 0)).await.unwrap());
    journal.row(1).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(config.path.parent().unwrap()), 0o700);
    for entry in std::fs::read_dir(config.path.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(journal);
    std::fs::set_permissions(&config.path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(Journal::open(&config).unwrap());
    assert_eq!(mode(&config.path), 0o600, "an older file is tightened");
}

/// What is done to a file at a random place.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// One bit is another.
    Flip(u8),
    /// A sector of the disk is lost.
    Sector,
    /// The file ends there.
    Cut,
}

fn strike(path: &Path, at: f64, blow: Blow) {
    let Ok(file) = std::fs::OpenOptions::new().read(true).write(true).open(path) else { return };
    let length = file.metadata().unwrap().len();
    let at = (at * length as f64) as u64;
    match blow {
        Blow::Flip(bit) => {
            let mut byte = [0];
            if file.read_exact_at(&mut byte, at).is_ok() {
                file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], at).unwrap();
            }
        }
        Blow::Sector => file.write_all_at(&[0; 512], at / 512 * 512).unwrap(),
        Blow::Cut => file.set_len(at).unwrap(),
    }
}

/// `PROPTEST_CASES=10000 cargo test --lib journal::damage` looks at so many places.
#[test]
fn wherever_the_disk_fails_no_message_is_lost_in_silence() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_folder, before) = runtime.block_on(killed());
    let blow = prop_oneof![(0..8_u8).prop_map(Blow::Flip), Just(Blow::Sector), Just(Blow::Cut)];
    // Where something stands is struck more often than what was only reserved.
    let place = prop_oneof![4 => 0.0..0.04_f64, 1 => 0.0..1.0_f64];
    let trial = (prop::sample::select(vec!["", "-log0", "-log1"]), place, blow);
    let cases = ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default() };
    let outcome = TestRunner::new(cases).run(&trial, |(file, at, blow)| {
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        std::fs::copy(&before.path, &config.path).unwrap();
        copy_log(&before, &config);
        let at = if file.is_empty() { (at * 25.0).min(0.999) } else { at };
        strike(&files::beside(&config.path, file), at, blow);
        let told = runtime.block_on(what_becomes_of(&config));
        prop_assert!(told.is_ok(), "{file} at {at}: {told:?}");
        Ok(())
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
}

/// Each of the sixty messages waits with the bytes that arrived, or somebody is told of damage.
async fn what_becomes_of(config: &JournalConfig) -> Result<(), String> {
    let journal = match Journal::open(config) {
        Ok(journal) => journal,
        Err(error) => return Err(format!("the start is refused: {error}")),
    };
    let alarms = journal.alarms(1).await.map_err(|error| error.to_string())?.0;
    let messages = journal.count(Query { status: Some(Status::Received), ..Query::default() }).await;
    let messages = messages.map_err(|error| error.to_string())?;
    let seqs = if messages > 0 { waiting(&mut journal.feed(), messages as usize).await } else { Vec::new() };
    let work = journal.work(seqs).await.map_err(|error| error.to_string())?;
    let sent: HashSet<String> = (0..20).map(|n| format!("early{n}")).chain((0..40).map(|n| n.to_string())).collect();
    let raw = work.iter().filter(|work| work.intact).map(|work| String::from_utf8_lossy(&work.raw).into_owned());
    let ids: HashSet<String> = raw.filter_map(|raw| raw.split('|').nth(9).map(str::to_owned)).collect();
    let whole = ids.intersection(&sent).count();
    let damaged = work.len() - work.iter().filter(|work| work.intact).count();
    if alarms == 0 && whole + damaged < 60 {
        return Err(format!(
            "{whole} messages are whole, {damaged} will be dead letters, and nobody was told of the rest"
        ));
    }
    Ok(())
}

#[tokio::test]
async fn a_copy_of_the_log_knows_nothing_of_what_came_later() {
    let (folder, config) = killed().await;
    let copy = folder.path().join("copy");
    assert!(reader::copy(&config.path, &copy).unwrap());
    let read = |path: &Path| reader::read(path, journal_of(&config), 0, |position, _| position).unwrap().unwrap();
    assert_eq!(read(&copy).entries, read(&config.path).entries);
}

fn journal_of(config: &JournalConfig) -> u64 {
    let connection = Connection::open(&config.path).unwrap();
    connection.query_row("SELECT journal FROM filed", [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}
