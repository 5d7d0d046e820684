//! The journal against what a process of its own can suffer: being killed, being second, not being allowed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use stoker::journal::{
    Arrival, Fate, Journal, JournalConfig, OpenError, Progress, Query, Reader, Record, Status, Stored,
};
use tempfile::TempDir;

/// Where a child finds the journal that it is to work on.
const PATH: &str = "STOKER_TEST_JOURNAL";

fn config(path: &Path) -> JournalConfig {
    JournalConfig { path: path.into(), min_free: 0, ..JournalConfig::default() }
}

fn arrival(control_id: &str) -> Arrival {
    Arrival {
        listener: Arc::from("adt"),
        peer: ([127, 0, 0, 1], 4711).into(),
        received: Timestamp::now(),
        raw: body(control_id).into(),
        control_id: control_id.into(),
        sender: "HOSP|APP".into(),
        event: Some("A01".into()),
        keys: Vec::new(),
        fate: Fate::Queue,
        parsed: None,
    }
}

fn body(control_id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|APP|HOSP|||202601100800||ADT^A01|{control_id}|P|2.5\rPID|1||{control_id}\r").into_bytes()
}

/// This test binary again, to run one of the tests marked as a child.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]).env(PATH, path);
    command
}

fn child_path() -> std::path::PathBuf {
    std::env::var_os(PATH).expect("run by its parent test").into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of every_acknowledged_message_outlives_a_kill"]
async fn child_stores_until_it_is_killed() {
    let journal = Journal::open(&config(&child_path())).unwrap();
    let run = std::process::id();
    let connections = (0..8).map(|connection| {
        let journal = journal.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let id = format!("{run}-{connection}-{n}");
                journal.store(arrival(&id)).await.unwrap();
                writeln!(std::io::stdout(), "acked {id}").unwrap();
            }
        })
    });
    futures_util::future::join_all(connections).await;
}

#[test]
fn every_acknowledged_message_outlives_a_kill() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let mut acked = Vec::new();
    for _ in 0..3 {
        let mut storing =
            child("journal::child_stores_until_it_is_killed", &path).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(storing.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut ids = lines.by_ref().filter_map(|line| Some(line.strip_prefix("acked ")?.to_owned()));
        acked.extend(ids.by_ref().take(500));
        storing.kill().unwrap();
        storing.wait().unwrap();
        acked.extend(ids);
    }
    assert!(acked.len() >= 1500);

    let journal = Journal::open(&config(&path)).unwrap();
    let stored = journal.reader().search(&Query { limit: usize::MAX, ..Query::default() }).unwrap();
    let seqs: std::collections::HashMap<_, _> = stored.into_iter().map(|row| (row.control_id, row.seq)).collect();
    for id in acked {
        let seq = seqs.get(&id).unwrap_or_else(|| panic!("{id} was acknowledged and is not in the journal"));
        assert_eq!(journal.reader().body(*seq).unwrap().unwrap(), body(&id));
    }
}

/// A power cut takes what was not synced: here, everything that was done to the tables after the journal was opened.
#[tokio::test]
async fn every_acknowledged_message_outlives_the_loss_of_what_was_not_synced() {
    let (folder, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = folder.path().join("journal.db");
    let copy = |names: &[&str]| {
        for name in names {
            let name = format!("journal.db{name}");
            std::fs::copy(folder.path().join(&name), after.path().join(&name)).unwrap();
        }
    };
    let journal = Journal::open(&config(&path)).unwrap();
    copy(&["", "-wal"]);
    for n in 0..200 {
        let Stored::New { seq } = journal.store(arrival(&n.to_string())).await.unwrap() else { panic!("not new") };
        if n % 2 == 0 {
            let record = Record::decision(seq, Timestamp::now(), Progress::Delivered);
            journal.record(record).await.unwrap();
        }
    }
    copy(&["-log0", "-log1"]);

    let found = Journal::open(&config(&after.path().join("journal.db"))).unwrap();
    for n in 0..200 {
        let row = found.row(n + 1).await.unwrap().unwrap();
        let status = if n % 2 == 0 { Status::Delivered } else { Status::Received };
        assert_eq!((row.control_id, row.status), (n.to_string(), status));
        assert_eq!(found.body(n + 1).await.unwrap().unwrap(), body(&n.to_string()));
    }
    assert!(matches!(found.store(arrival("7")).await.unwrap(), Stored::Duplicate { of: 8, .. }));
    assert!(matches!(found.store(arrival("new")).await.unwrap(), Stored::New { seq: 201 }));
}

#[tokio::test]
async fn a_journal_that_was_closed_in_order_is_one_file() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(&config(&folder.path().join("journal.db"))).unwrap();
    journal.store(arrival("1")).await.unwrap();
    drop(journal);
    let size = |suffix: &str| {
        std::fs::metadata(folder.path().join(format!("journal.db{suffix}"))).map_or(0, |found| found.len())
    };
    assert!(size("") > 0);
    assert_eq!((size("-log0"), size("-log1"), size("-wal")), (0, 0, 0));
}

#[test]
#[ignore = "the child of a_second_process_is_refused_while_the_first_lives"]
fn child_opens_the_journal() {
    let outcome = Journal::open(&config(&child_path()));
    writeln!(std::io::stdout(), "{}", outcome.map_or_else(|error| format!("refused: {error}"), |_| "opened".into()))
        .unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&config(&path)).unwrap();
    let open = || said(&child("journal::child_opens_the_journal", &path).output().unwrap());
    let answer = open();
    assert!(answer.contains("refused") && answer.contains("in use by another process"), "{answer}");
    drop(journal);
    let answer = open();
    assert!(answer.contains("opened"), "{answer}");
}

#[tokio::test]
async fn another_process_can_read_while_this_one_writes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&config(&path)).unwrap();
    let Stored::New { seq } = journal.store(arrival("1")).await.unwrap() else { panic!("not new") };
    let answer = said(&child("journal::child_reads_the_journal", &path).output().unwrap());
    assert!(answer.contains(&format!("rows {seq}")), "{answer}");
}

#[test]
#[ignore = "the child of another_process_can_read_while_this_one_writes"]
fn child_reads_the_journal() {
    let rows = Reader::open(&child_path()).unwrap().count(&Query::default()).unwrap();
    writeln!(std::io::stdout(), "rows {rows}").unwrap();
}

/// Root may write to everything, so a test that runs as root hands its child to nobody.
fn unprivileged(mut command: Command) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    command
}

#[test]
fn a_journal_that_may_not_be_written_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("journal.db");
    drop(Journal::open(&config(&path)).unwrap());
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(&folder.path().join("journal.db.lock"), 0o666);
    mode(&path, 0o444);
    mode(folder.path(), 0o777);
    let answer = said(&unprivileged(child("journal::child_opens_the_journal", &path)).output().unwrap());
    assert!(
        answer.contains("refused") && answer.contains("cannot be written") && answer.contains("journal.db"),
        "{answer}"
    );
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let path = folder.path().join("new/journal.db");
    let answer = said(&unprivileged(child("journal::child_opens_the_journal", &path)).output().unwrap());
    assert!(answer.contains("refused") && answer.contains("cannot be written"), "{answer}");
}

#[test]
fn reading_a_journal_that_is_not_there_says_so() {
    let folder = TempDir::new().unwrap();
    let error = Reader::open(&folder.path().join("none.db")).unwrap_err();
    assert!(!matches!(error, OpenError::Locked { .. }));
    assert!(!folder.path().join("none.db").exists(), "a reader makes no file");
}
