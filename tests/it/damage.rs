//! Files that vanish or are damaged, as those meet them who run the daemon.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::process::{self, Daemon, stoker, text};

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn message(control_id: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A01|{control_id}|P|2.5\rEVN||20260301080000+0100\r\
         PID|1||P{control_id}^^^NORD^MR||Doe^Jane\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V{control_id}^^^NORD^VN\r"
    )
}

/// Sends a message and gives the code of its acknowledgement; nothing where the connection ends without one.
fn send(daemon: &Daemon, control_id: &str) -> String {
    let mut stream = TcpStream::connect(daemon.mllp).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("\x0b{}\x1c\r", message(control_id)).as_bytes()).unwrap();
    let mut ack = Vec::new();
    while !ack.ends_with(b"\x1c\r") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return String::new();
        }
        ack.push(byte[0]);
    }
    text(&ack).split("MSA|").nth(1).unwrap()[..2].to_owned()
}

async fn ready(daemon: &Daemon) -> (u16, Value) {
    let response = process::http().get(format!("http://{}/health/ready", daemon.http)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn named(daemon: &Daemon, part: &str) -> Vec<String> {
    let folder = std::fs::read_dir(daemon.file("")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(part)).collect()
}

async fn visits(daemon: &Daemon) -> u64 {
    let response = process::http().get(format!("{}/Encounter?_summary=count", daemon.base())).send().await.unwrap();
    response.json::<Value>().await.unwrap_or_default()["total"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn a_journal_that_vanishes_stops_the_acks_within_a_second_and_the_process_does_not_end_well_or_delete_its_log() {
    let mut daemon = Daemon::start("");
    for n in 0..20 {
        assert_eq!(send(&daemon, &format!("A{n}")), "AA");
    }
    std::fs::remove_file(daemon.file("journal.db")).unwrap();
    let gone = Instant::now();
    let mut later = 0;
    while send(&daemon, &format!("B{later}")) == "AA" {
        later += 1;
        assert!(gone.elapsed() < Duration::from_secs(1), "{later} messages were acknowledged");
    }
    let (status, why) = ready(&daemon).await;
    assert!(status == 503 && why.to_string().contains("removed"), "{status} {why}");
    assert_eq!(daemon.terminate(), Some(2));
    assert_eq!(named(&daemon, "journal.db-log").len(), 2, "the log is left alone");
    let copy = named(&daemon, "journal.db.rescued-");
    assert!(copy.len() == 1 && daemon.log().contains(&copy[0]), "{copy:?} {}", daemon.log());
    // What the log's line says to do.
    for log in named(&daemon, "journal.db-") {
        std::fs::remove_file(daemon.file(&log)).unwrap();
    }
    std::fs::rename(daemon.file(&copy[0]), daemon.file("journal.db")).unwrap();
    daemon.restart();
    let config = daemon.file("config.toml");
    let list = stoker(&["queue", "list", "--config", &config, "--json", "--limit", "1000"]);
    assert_eq!(text(&list.stdout).lines().count(), 20 + later, "{}", text(&list.stderr));
    let told = text(&stoker(&["queue", "--config", &config]).stdout);
    assert!(told.starts_with("DAMAGE") && told.contains("removed") && told.contains("acknowledge"), "{told}");
    let (status, why) = ready(&daemon).await;
    assert!(status == 200 && why.to_string().contains("acknowledged"), "{status} {why}");
    let seen = stoker(&["queue", "acknowledge", "--config", &config, "--by", "jo", "--reason", "restored"]);
    assert!(seen.status.success(), "{}", text(&seen.stderr));
    assert!(!text(&stoker(&["queue", "--config", &config]).stdout).contains("DAMAGE"));
    assert!(text(&stoker(&["queue", "log", "--config", &config]).stdout).contains("restored"));
}

#[tokio::test]
async fn a_mailbox_that_vanishes_takes_no_deliveries_and_messages_are_received_all_the_while() {
    let mut daemon = Daemon::start("[destination.retry]\nbase = \"100ms\"\nmax = \"200ms\"");
    for n in 0..5 {
        assert_eq!(send(&daemon, &format!("A{n}")), "AA");
    }
    until("five visits", async || visits(&daemon).await == 5).await;
    std::fs::remove_file(daemon.file("mailbox.db")).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await; // longer than it is looked away
    for n in 0..5 {
        assert_eq!(send(&daemon, &format!("B{n}")), "AA");
    }
    until("the copy", async || !named(&daemon, "mailbox.db.rescued-").is_empty()).await;
    let list = stoker(&["queue", "list", "--config", &daemon.file("config.toml"), "--json"]);
    let waiting = text(&list.stdout).lines().filter(|line| !line.contains("\"delivered\"")).count();
    assert_eq!(waiting, 5, "none of them counts as delivered: {}", text(&list.stdout));
    assert_eq!(daemon.terminate(), Some(0));
    let copy = named(&daemon, "mailbox.db.rescued-").into_iter().find(|name| !name.ends_with(".part")).unwrap();
    for beside in named(&daemon, "mailbox.db-") {
        std::fs::remove_file(daemon.file(&beside)).unwrap();
    }
    std::fs::rename(daemon.file(&copy), daemon.file("mailbox.db")).unwrap();
    daemon.restart();
    until("all ten visits", async || visits(&daemon).await == 10).await;
}

#[tokio::test]
async fn a_damaged_mailbox_keeps_nothing_from_being_received_and_is_opened_when_it_is_mended() {
    let mut daemon = Daemon::start("[destination.retry]\nbase = \"100ms\"\nmax = \"200ms\"");
    assert_eq!(send(&daemon, "A"), "AA");
    until("the visit", async || visits(&daemon).await == 1).await;
    daemon.terminate();
    let whole = std::fs::read(daemon.file("mailbox.db")).unwrap();
    let mut damaged = whole.clone();
    damaged[..4096].fill(0xA5);
    std::fs::write(daemon.file("mailbox.db"), &damaged).unwrap();
    daemon.restart();
    assert_eq!(send(&daemon, "B"), "AA");
    let (status, why) = ready(&daemon).await;
    assert!(status == 200 && why.to_string().contains("mailbox.db"), "{status} {why}");
    let log = daemon.log();
    assert!(log.contains("mailbox.db") && log.contains("stoker verify") && log.contains("backup"), "{log}");
    let answer = process::http().get(format!("{}/Encounter", daemon.base())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert_eq!(answer.json::<Value>().await.unwrap()["resourceType"], "OperationOutcome");
    std::fs::write(daemon.file("mailbox.db"), &whole).unwrap();
    until("both visits", async || visits(&daemon).await == 2).await;
}

#[tokio::test]
async fn a_database_of_somebody_else_is_no_mailbox_and_is_left_as_it_is() {
    let mut daemon = Daemon::start("");
    daemon.terminate();
    for beside in named(&daemon, "mailbox.db") {
        std::fs::remove_file(daemon.file(&beside)).unwrap();
    }
    let theirs = daemon.file("mailbox.db");
    Connection::open(&theirs).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = std::fs::read(&theirs).unwrap();
    daemon.restart();
    assert_eq!(send(&daemon, "A"), "AA");
    assert!(daemon.log().contains("is not a mailbox's database"), "{}", daemon.log());
    daemon.kill();
    assert_eq!(std::fs::read(&theirs).unwrap(), before);
}
