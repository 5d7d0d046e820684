//! FHS/BHS batches over MLLP.

use std::time::Duration;

use stoker::journal::{self, Row, Status};
use stoker::mllp::ListenerConfig;
use stoker::mllp::config::Transient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listening::{PATIENCE, adt, framed, listen, listen_with, read_to_end};

fn batch(messages: &[Vec<u8>], count: usize) -> Vec<u8> {
    let head = "FHS|^~\\&|APP|FAC|STOKER|HERE|20240101\rBHS|^~\\&|APP|FAC|STOKER|HERE|20240101||||B7\r";
    let tail = format!("BTS|{count}\rFTS|1\r");
    framed(&[head.as_bytes(), &messages.concat(), tail.as_bytes()].concat())
}

/// One frame of an answer, by its segments.
async fn answer(stream: &mut TcpStream) -> Vec<String> {
    let mut bytes = Vec::new();
    while bytes.last() != Some(&0x1C) {
        bytes.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    assert_eq!(stream.read_u8().await.unwrap(), b'\r');
    let text = String::from_utf8(bytes[1..bytes.len() - 1].to_vec()).unwrap();
    text.split_terminator('\r').map(str::to_owned).collect()
}

fn verdicts(answer: &[String]) -> Vec<&str> {
    answer.iter().filter(|segment| segment.starts_with("MSA")).map(|segment| &segment[4..8]).collect()
}

/// The control ids of the messages that were taken.
fn acknowledged(answer: &[String]) -> Vec<&str> {
    answer.iter().filter_map(|segment| segment.strip_prefix("MSA|AA|")).collect()
}

fn control_ids(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.control_id.as_str()).filter(|id| !id.is_empty()).collect()
}

/// A journal whose writer takes a few messages at a time, and lets a few wait.
fn few_at_a_time() -> journal::JournalConfig {
    journal::JournalConfig { waiting: 8, batch_messages: 5, ..journal::JournalConfig::default() }
}

#[tokio::test]
async fn each_message_of_a_batch_is_stored_and_acknowledged_by_itself_in_one_answer() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    let bad = b"MSH|^~\\&|APP|FAC|STOKER|HERE|20240101||ADT^A01|2|P|2.5\rPID|1||\r".to_vec();
    stream.write_all(&batch(&[adt("1"), bad, adt("3")], 3)).await.unwrap();
    let answer = answer(&mut stream).await;
    assert_eq!(verdicts(&answer), ["AA|1", "AE|2", "AA|3"]);
    assert!(answer[0].starts_with("FHS|^~\\&|STOKER|HERE|APP|FAC|") && answer[1].ends_with("|B7"), "{answer:?}");
    assert_eq!(answer[answer.len() - 2..], ["BTS|3", "FTS|1"]);
    let rows = site.rows().await;
    let seen: Vec<_> = rows.iter().map(|row| (row.control_id.as_str(), row.status)).collect();
    let expected = [("", Status::Skipped), ("1", Status::Received), ("2", Status::Refused), ("3", Status::Received)];
    assert_eq!(seen, expected);
    assert_eq!(site.body(rows[1].seq).await, adt("1"), "a message's row holds its own bytes");
    assert!(String::from_utf8(site.body(rows[0].seq).await).unwrap().contains("BTS|3"));
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_known_message_by_message() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    for _ in 0..2 {
        stream.write_all(&batch(&[adt("1"), adt("2")], 2)).await.unwrap();
        assert_eq!(verdicts(&answer(&mut stream).await), ["AA|1", "AA|2"]);
    }
    assert_eq!(site.intake.counters().duplicates.get(), 2);
}

#[tokio::test]
async fn an_envelope_in_frames_of_its_own_is_kept_and_not_answered() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    let frames = [framed(b"BHS|^~\\&|APP|FAC\r"), framed(&adt("1")), framed(b"BTS|5\r")].concat();
    stream.write_all(&frames).await.unwrap();
    assert_eq!(verdicts(&answer(&mut stream).await), ["AA|1"]);
    let rows = site.rows_when(3).await;
    assert!(rows[2].reason.as_deref().unwrap().contains("BTS-1 says 5"), "{rows:?}");
}

#[tokio::test]
async fn a_batch_without_messages_is_answered_by_a_batch_without_acks() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    stream.write_all(&batch(&[], 0)).await.unwrap();
    let answer = answer(&mut stream).await;
    assert!(answer[0].starts_with("FHS|^~\\&|STOKER|HERE|APP|FAC|") && answer[1].ends_with("|B7"), "{answer:?}");
    assert_eq!(answer[2..], ["BTS|0", "FTS|1"]);
    let rows = site.rows().await;
    assert_eq!((rows.len(), rows[0].status), (1, Status::Skipped), "its envelope is kept before it is answered");
}

#[tokio::test]
async fn a_large_batch_keeps_its_order_and_what_is_sent_behind_it_stays_behind() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    let messages: Vec<_> = (0..500).map(|n| adt(&format!("{n:03}"))).collect();
    stream.write_all(&[batch(&messages, 500), framed(&adt("999"))].concat()).await.unwrap();
    assert_eq!(verdicts(&answer(&mut stream).await).len(), 500);
    let rows = site.rows_when(502).await;
    assert_eq!(rows.len(), 502);
    assert!(rows[1..].iter().map(|row| row.control_id.as_str()).is_sorted());
}

#[tokio::test]
async fn batches_and_single_messages_keep_their_order_while_the_disk_is_slow() {
    let site = listen_with(ListenerConfig { pipeline: 16, ..ListenerConfig::default() }, few_at_a_time()).await;
    site.journal.observe(|_| std::thread::sleep(Duration::from_millis(2)));
    let ids: Vec<String> = (0..120).map(|n| format!("{n:03}")).collect();
    let mut sent = Vec::new();
    for (n, some) in ids.chunks(20).enumerate() {
        let messages: Vec<_> = some.iter().map(|id| adt(id)).collect();
        match n % 2 {
            0 => sent.extend(batch(&messages, messages.len())),
            _ => sent.extend(messages.iter().flat_map(|message| framed(message))),
        }
    }
    let mut stream = site.stream().await;
    stream.write_all(&sent).await.unwrap();
    let mut acked = Vec::new();
    while acked.len() < ids.len() {
        let answer = answer(&mut stream).await;
        acked.extend(acknowledged(&answer).into_iter().map(str::to_owned));
    }
    assert_eq!(acked, ids);
    assert_eq!(control_ids(&site.rows().await), ids);
}

#[tokio::test]
async fn what_was_sent_behind_a_batch_stays_behind_it_when_the_listener_stops_meanwhile() {
    let site = listen_with(ListenerConfig { pipeline: 16, ..ListenerConfig::default() }, few_at_a_time()).await;
    let held = site.hold_commits().await;
    let ids: Vec<String> = (0..110).map(|n| format!("{n:03}")).collect();
    let (first, behind) = ids.split_at(100);
    let messages: Vec<_> = first.iter().map(|id| adt(id)).collect();
    let mut sent = batch(&messages, messages.len());
    sent.extend(behind.iter().flat_map(|id| framed(&adt(id))));
    let mut stream = site.stream().await;
    stream.write_all(&sent).await.unwrap();
    site.taken(messages[..3].concat().len()).await; // as many as may be under way
    site.shutdown.cancel();
    site.closed().await;
    drop(held);
    assert_eq!(acknowledged(&answer(&mut stream).await), first);
    for id in behind {
        assert_eq!(acknowledged(&answer(&mut stream).await), [id.as_str()]);
    }
    assert_eq!(control_ids(&site.rows().await), ids);
}

#[tokio::test]
async fn a_batch_that_cannot_be_stored_is_not_answered() {
    let full = journal::JournalConfig { min_free: u64::MAX, ..journal::JournalConfig::default() };
    let site = listen_with(ListenerConfig { transient: Transient::Close, ..ListenerConfig::default() }, full).await;
    let mut stream = site.stream().await;
    stream.write_all(&batch(&[adt("1")], 1)).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
}

#[tokio::test]
async fn what_stands_in_a_batch_behind_a_message_that_could_not_be_stored_is_not_stored_either() {
    let small = journal::JournalConfig { max_size: 1 << 20, min_free: 0, ..journal::JournalConfig::default() };
    let site = listen_with(ListenerConfig { transient: Transient::Ar, ..ListenerConfig::default() }, small).await;
    let mut stream = site.stream().await;
    let large = [adt("2"), b"NTE|1||".to_vec(), vec![b'x'; 2 << 20], b"\r".to_vec()].concat();
    stream.write_all(&batch(&[adt("1"), large, adt("3")], 3)).await.unwrap();
    assert_eq!(verdicts(&answer(&mut stream).await), ["AA|1", "AR|2", "AR|3"]);
    let ids: Vec<String> = site.rows().await.into_iter().map(|row| row.control_id).collect();
    assert_eq!(ids, ["", "1"]);
    stream.write_all(&batch(&[adt("3")], 1)).await.unwrap();
    assert_eq!(verdicts(&answer(&mut stream).await), ["AA|3"], "sent again by somebody who has heard of it");
}
