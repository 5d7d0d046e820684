//! Peers that do the same bad thing without end: what it costs in the journal and in the log.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stoker::journal::{Query, Reader, Status};
use stoker::mllp::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listening::{PATIENCE, adt, framed};
use crate::process::{Daemon, lines_with};

/// The frame, sent again and again over one connection; how many answers came that have this in them.
async fn flood(daemon: &Daemon, frame: &[u8], times: usize, answer: &[u8]) -> usize {
    let (mut read, mut write) = TcpStream::connect(daemon.mllp).await.unwrap().into_split();
    let all = frame.repeat(times);
    let sending = tokio::spawn(async move {
        write.write_all(&all).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut answers = Vec::new();
    tokio::time::timeout(PATIENCE * 6, read.read_to_end(&mut answers)).await.unwrap().unwrap();
    sending.await.unwrap();
    memchr::memmem::find_iter(&answers, answer).count()
}

/// What stands in `N more`, of all rows.
fn counted(reasons: &[String]) -> usize {
    let more = reasons.iter().filter_map(|reason| reason.split_once(" more ")?.0.parse::<usize>().ok());
    more.sum()
}

#[tokio::test]
async fn a_flood_of_empty_frames_is_a_few_rows_a_count_and_a_few_lines() {
    const FRAMES: usize = 50_000;
    let mut daemon = Daemon::start("");
    let answers = flood(&daemon, b"\x0B\x1C", FRAMES, b"\rMSA|AR|").await;
    assert_eq!(answers, FRAMES, "each is answered as the rules say");
    let mut client = Client::connect(daemon.mllp, PATIENCE).await.unwrap();
    assert!(client.send(&adt("after")).await.unwrap().unwrap().is_positive());
    drop(client);
    assert_eq!(daemon.terminate(), Some(0));
    let path = daemon.file("journal.db");
    let reader = Reader::open(Path::new(&path)).unwrap();
    let rows = reader.search(&Query { limit: 10_000, ..Query::default() }).unwrap();
    let refused: Vec<String> =
        rows.iter().filter(|row| row.status == Status::Refused).filter_map(|row| row.reason.clone()).collect();
    assert!(refused.len() < 30, "{} rows", refused.len());
    let kept = refused.iter().filter(|reason| !reason.contains(" more ")).count();
    assert_eq!(kept + counted(&refused), FRAMES, "every one is kept or counted: {refused:?}");
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
    let log = daemon.log();
    let told = lines_with(&log, &["refused"]);
    assert!((1..=3).contains(&told.len()) && told[0].contains("peer"), "{log}");
}

#[tokio::test]
async fn a_flood_of_refused_messages_is_bounded_too() {
    const FRAMES: usize = 20_000;
    let mut daemon = Daemon::start("");
    let no_patient = framed(b"MSH|^~\\&|APP|FAC|STOKER|HERE|20240101||ADT^A01||P|2.5\rPID|1||\r");
    assert_eq!(flood(&daemon, &no_patient, FRAMES, b"\rMSA|AE|").await, FRAMES);
    assert_eq!(daemon.terminate(), Some(0));
    let reader = Reader::open(Path::new(&daemon.file("journal.db"))).unwrap();
    let rows = reader.search(&Query { limit: 10_000, status: Some(Status::Refused), ..Query::default() }).unwrap();
    let reasons: Vec<String> = rows.into_iter().filter_map(|row| row.reason).collect();
    assert!((2_000..2_500).contains(&reasons.len()), "{} rows", reasons.len());
    let kept = reasons.iter().filter(|reason| !reason.contains(" more ")).count();
    assert_eq!(kept + counted(&reasons), FRAMES);
    assert!(lines_with(&daemon.log(), &["refused"]).len() <= 3, "{}", daemon.log());
}

/// Lines that tell of connections that could not be accepted; that they can be again is another line, and no alarm.
fn unaccepted(log: &str) -> usize {
    lines_with(log, &["accepted"]).iter().filter(|line| !line.contains(" INFO ")).count()
}

#[tokio::test]
async fn without_file_descriptors_there_is_a_line_for_each_door_and_no_more() {
    let daemon = Daemon::start("");
    let pid = daemon.pid().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let limit = |soft: String| {
        let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status().unwrap();
        assert!(limited.success());
    };
    limit((open + 4).to_string());
    let mut held = Vec::new();
    let until = Instant::now() + PATIENCE;
    while unaccepted(&daemon.log()) < 2 {
        assert!(Instant::now() < until, "{}", daemon.log());
        held.push(TcpStream::connect(daemon.mllp).await.unwrap());
        held.push(TcpStream::connect(daemon.http).await.unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It goes on failing all the while, many times a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = daemon.log();
    assert_eq!(unaccepted(&log), 2, "{log}");
    drop(held);
    limit((open + 1_000).to_string());
    let mut client = Client::connect(daemon.mllp, PATIENCE).await.unwrap();
    assert!(client.send(&adt("after")).await.unwrap().unwrap().is_positive());
}

#[tokio::test]
async fn a_flood_of_connections_from_one_peer_is_one_line_and_leaves_room_for_others() {
    let daemon = Daemon::start("");
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(TcpStream::connect(daemon.mllp).await.unwrap());
    }
    // Another address of this machine, while the first holds all that it can.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(daemon.mllp).await.unwrap();
    other.write_all(&framed(&adt("other"))).await.unwrap();
    let mut first = [0; 4];
    tokio::time::timeout(PATIENCE, other.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"\x0BMSH");
    let log = daemon.log();
    assert_eq!(lines_with(&log, &["connection refused"]).len(), 1, "{log}");
}
