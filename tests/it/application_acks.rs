//! Application acknowledgements that are sent when the outcome is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use stoker::engine::operator::{self, Decided, OperatorAction};
use stoker::journal::{Act, Progress, Record, Status};
use stoker::mllp::Ack;
use stoker::mllp::config::ApplicationAcks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::delivery::{PATIENCE, Site, adt, control_id, ok};
use crate::listening::{framed, id, next_ack};
use crate::receiver::{Receiver, Reply, response};

/// An ADT^A08 with MSH-15 and MSH-16.
fn asking(accept: &str, application: &str, id: &str) -> Vec<u8> {
    let plain = String::from_utf8(adt("A08", id, id)).unwrap();
    plain.replacen("|P|2.5.1\r", &format!("|P|2.5.1|||{accept}|{application}\r"), 1).into_bytes()
}

async fn answering(receiver: &Receiver, to: Option<String>) -> Site {
    Site::start_with(receiver, |config| {
        config.listeners[0].application_acks = ApplicationAcks::Later;
        config.listeners[0].application_acks_to = to;
    })
    .await
}

/// Refuses messages whose control id begins with `bad`, and all while it is down.
async fn receiver() -> (Receiver, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(true));
    let switch = up.clone();
    let decide = move |request: &_| match (switch.load(Ordering::SeqCst), control_id(request).starts_with("bad")) {
        (false, _) => Reply::Status(503, String::new()),
        (true, true) => Reply::Status(422, response("fatal-error", "invariant")),
        (true, false) => ok(),
    };
    (Receiver::start(decide).await, up)
}

async fn send(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(&framed(message)).await.unwrap();
}

/// MSA-1 and MSA-2.
async fn heard(stream: &mut TcpStream) -> (String, String) {
    let ack = next_ack(stream).await;
    (ack.code.clone(), id(&ack))
}

fn said(code: &str, id: &str) -> (String, String) {
    (code.into(), id.into())
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 64];
    match tokio::time::timeout(Duration::from_millis(300), stream.read(&mut buffer)).await {
        Err(_) => true,
        Ok(read) => buffer[..read.unwrap()].iter().all(|&byte| byte == b'\r'), // the end of the frame before
    }
}

async fn settled(site: &Site, id: &str) {
    site.until("settled", |rows| rows.get(id).is_some_and(|row| !row.status.waits())).await;
}

#[tokio::test]
async fn a_sender_that_asks_for_both_gets_the_accept_ack_and_then_the_outcome_on_its_connection() {
    let (receiver, up) = receiver().await;
    let site = answering(&receiver, None).await;
    up.store(false, Ordering::SeqCst);
    let mut stream = site.stream().await;
    send(&mut stream, &asking("AL", "AL", "m1")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "m1"));
    assert!(is_silent(&mut stream).await, "the outcome is not known yet");
    up.store(true, Ordering::SeqCst);
    assert_eq!(heard(&mut stream).await, said("AA", "m1"));
    send(&mut stream, &asking("AL", "NE", "m2")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "m2"), "the connection goes on");
}

#[tokio::test]
async fn a_sender_that_asks_for_the_outcome_only_hears_nothing_before() {
    let (receiver, up) = receiver().await;
    let site = answering(&receiver, None).await;
    up.store(false, Ordering::SeqCst);
    let mut stream = site.stream().await;
    send(&mut stream, &asking("NE", "AL", "m1")).await;
    assert!(is_silent(&mut stream).await);
    up.store(true, Ordering::SeqCst);
    assert_eq!(heard(&mut stream).await, said("AA", "m1"));
    let until = tokio::time::Instant::now() + PATIENCE;
    while !site.journal().owed(0, 10).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < until, "what has been said is owed for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_message_that_is_given_up_is_told_with_the_reason_to_those_who_want_errors() {
    let (receiver, _up) = receiver().await;
    let site = answering(&receiver, None).await;
    let mut stream = site.stream().await;
    send(&mut stream, &asking("NE", "ER", "good")).await;
    send(&mut stream, &asking("NE", "ER", "bad")).await;
    let ack: Ack = next_ack(&mut stream).await;
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AE", "bad"));
    assert!(ack.text.contains("HTTP 422, fatal-error: invariant"), "{ack:?}");
    settled(&site, "good").await;
    assert_eq!(site.row("good").await.status, Status::Delivered);
    assert!(is_silent(&mut stream).await, "a success is not told to a sender that wants errors");
}

#[tokio::test]
async fn what_is_owed_survives_a_crash_and_finds_the_senders_next_connection() {
    let (receiver, up) = receiver().await;
    let mut site = answering(&receiver, None).await;
    up.store(false, Ordering::SeqCst);
    let mut stream = site.stream().await;
    send(&mut stream, &asking("AL", "AL", "m1")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "m1"));
    drop(stream);
    site.crash().await;
    up.store(true, Ordering::SeqCst);
    site.run().await;
    site.until_delivered(1).await;
    site.crash().await;
    site.run().await;
    let mut stream = site.stream().await;
    assert_eq!(heard(&mut stream).await, said("AA", "m1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_messages_in_flight_gets_both_its_acks() {
    const COUNT: usize = 600;
    let (receiver, _up) = receiver().await;
    let site = answering(&receiver, None).await;
    let (mut reading, mut writing) = site.stream().await.into_split();
    let sending = tokio::spawn(async move {
        for n in 0..COUNT {
            writing.write_all(&framed(&asking("AL", "AL", &format!("m{n}")))).await.unwrap();
        }
        writing
    });
    let mut heard = Vec::new();
    while heard.iter().filter(|&&byte| byte == 0x1C).count() < 2 * COUNT {
        let read = tokio::time::timeout(PATIENCE, reading.read_buf(&mut heard)).await.expect("some ack is missing");
        assert_ne!(read.unwrap(), 0);
    }
    drop(sending.await.unwrap());
    let heard = String::from_utf8(heard).unwrap();
    for n in 0..COUNT {
        for code in ["CA", "AA"] {
            assert_eq!(heard.matches(&format!("MSA|{code}|m{n}\r")).count(), 1, "{code} m{n}");
        }
    }
}

#[tokio::test]
async fn a_return_address_is_told_when_it_is_there() {
    let (receiver, _up) = receiver().await;
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let site = answering(&receiver, Some(address.to_string())).await;
    let mut stream = site.stream().await;
    send(&mut stream, &asking("AL", "AL", "m1")).await;
    send(&mut stream, &asking("AL", "AL", "bad2")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "m1"));
    assert_eq!(heard(&mut stream).await, said("CA", "bad2"));
    settled(&site, "bad2").await;
    let (mut back, _) = TcpListener::bind(address).await.unwrap().accept().await.unwrap();
    let mut told = vec![heard(&mut back).await, heard(&mut back).await];
    told.sort();
    assert_eq!(told, [said("AA", "m1"), said("AE", "bad2")]);
    assert!(is_silent(&mut stream).await);
}

#[tokio::test]
async fn by_default_a_message_has_one_answer() {
    let (receiver, _up) = receiver().await;
    let site = Site::start(&receiver).await;
    let mut stream = site.stream().await;
    send(&mut stream, &asking("NE", "AL", "m1")).await;
    assert_eq!(heard(&mut stream).await, said("AA", "m1"));
    send(&mut stream, &asking("AL", "AL", "m2")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "m2"));
    settled(&site, "m2").await;
    assert!(is_silent(&mut stream).await);
}

/// The daemon's metric of what became of acknowledgements.
async fn counted(site: &Site, outcome: &str) {
    let line = format!("stoker_application_acks_total{{outcome=\"{outcome}\"}} 1\n");
    let until = tokio::time::Instant::now() + PATIENCE;
    while !site.metrics().contains(&line) {
        assert!(tokio::time::Instant::now() < until, "no {line} in {}", site.metrics());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn decide(site: &Site, action: OperatorAction, id: &str) -> Decided {
    let act = Act {
        at: Timestamp::now(),
        who: "jo@desk7".into(),
        command: action.as_str().into(),
        selection: id.into(),
        reason: Some("sent in error".into()),
        messages: 1,
    };
    let (control, seq) = (site.control(), site.row(id).await.seq);
    operator::decide(site.journal(), Some(control), control.rules(), action, act, vec![seq]).await.unwrap()
}

#[tokio::test]
async fn a_message_that_a_person_discards_is_told_to_its_sender_without_who_and_why() {
    let (receiver, up) = receiver().await;
    let site = answering(&receiver, None).await;
    up.store(false, Ordering::SeqCst);
    let mut stream = site.stream().await;
    send(&mut stream, &asking("NE", "AL", "m1")).await;
    site.until("tried", |rows| rows.get("m1").is_some_and(|row| row.attempts > 0)).await;
    assert_eq!(decide(&site, OperatorAction::Discard, "m1").await.done, 1);
    let ack: Ack = next_ack(&mut stream).await;
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AE", "m1"));
    assert!(ack.text.contains("a person has discarded the message") && !ack.text.contains("desk7"), "{ack:?}");
    counted(&site, "told").await;
    assert!(is_silent(&mut stream).await, "once");
}

#[tokio::test]
async fn a_dead_letter_that_is_discarded_was_told_when_it_died_and_is_not_told_again() {
    let (receiver, _up) = receiver().await;
    let site = answering(&receiver, None).await;
    let mut stream = site.stream().await;
    send(&mut stream, &asking("NE", "AL", "bad1")).await;
    assert_eq!(heard(&mut stream).await, said("AE", "bad1"));
    assert_eq!(decide(&site, OperatorAction::Discard, "bad1").await.done, 1);
    assert!(is_silent(&mut stream).await);
}

#[tokio::test]
async fn what_was_queued_again_before_its_sender_could_be_told_has_no_outcome_yet() {
    let (receiver, up) = receiver().await;
    let mut site = answering(&receiver, None).await;
    let mut stream = site.stream().await;
    send(&mut stream, &asking("AL", "AL", "bad1")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "bad1"));
    drop(stream);
    settled(&site, "bad1").await;
    site.crash().await;
    // As it stands when the sender was away as the message died.
    up.store(false, Ordering::SeqCst);
    site.run().await;
    let seq = site.row("bad1").await.seq;
    let mut record = Record::decision(seq, Timestamp::now(), Progress::Dead { reason: "HTTP 422".into() });
    record.owes = true;
    site.journal().record(record).await.unwrap();
    assert_eq!(decide(&site, OperatorAction::Retry, "bad1").await.done, 1);
    let mut stream = site.stream().await;
    send(&mut stream, &asking("NE", "AL", "m2")).await;
    site.until("kept", |rows| rows.contains_key("m2")).await;
    assert_eq!(decide(&site, OperatorAction::Discard, "m2").await.done, 1);
    assert_eq!(heard(&mut stream).await, said("AE", "m2"), "the earlier one is on its way again and has no outcome");
    up.store(true, Ordering::SeqCst);
    assert_eq!(heard(&mut stream).await, said("AE", "bad1"));
}

#[tokio::test]
async fn an_outcome_that_nobody_can_be_told_any_more_is_counted_and_taken_off_the_list() {
    let (receiver, up) = receiver().await;
    let mut site = answering(&receiver, None).await;
    up.store(false, Ordering::SeqCst);
    let mut stream = site.stream().await;
    send(&mut stream, &asking("AL", "AL", "m1")).await;
    assert_eq!(heard(&mut stream).await, said("CA", "m1"));
    drop(stream);
    assert_eq!(decide(&site, OperatorAction::Discard, "m1").await.done, 1);
    assert_eq!(site.journal().owed(0, 10).await.unwrap().len(), 1);
    site.stop().await;
    site.config.listeners[0].application_acks = ApplicationAcks::AtOnce;
    site.run().await;
    counted(&site, "given_up").await;
    let until = tokio::time::Instant::now() + PATIENCE;
    while !site.journal().owed(0, 10).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < until, "it stands there for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
