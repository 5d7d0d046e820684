//! A sender and its acks.

use std::time::Duration;

use stoker::journal::{self, Status};
use stoker::mllp::ListenerConfig;
use stoker::mllp::config::Transient;
use tokio::io::AsyncWriteExt;

use crate::listening::{PATIENCE, ack_to, adt, framed, id, listen, listen_with, next_ack, read_to_end};

#[tokio::test]
async fn an_ack_means_that_the_bytes_are_in_the_journal() {
    let site = listen(ListenerConfig::default()).await;
    let ack = site.client().await.send(&adt("42")).await.unwrap().unwrap();
    assert_eq!((ack.code.as_str(), id(&ack).as_str(), ack.text.as_str()), ("AA", "42", ""));
    let rows = site.rows().await;
    let row = &rows[0];
    assert_eq!((rows.len(), row.status, row.control_id.as_str()), (1, Status::Received, "42"));
    assert_eq!((row.listener.as_str(), row.sender.as_str(), row.event.as_deref()), ("adt", "FAC|APP", Some("A01")));
    assert_eq!(site.body(row.seq).await, adt("42"));
}

#[tokio::test]
async fn no_ack_leaves_before_the_commit() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    let held = site.hold_commits().await;
    let early = tokio::time::timeout(Duration::from_millis(500), ack_to(&mut stream, &framed(&adt("1")))).await;
    assert!(early.is_err(), "{early:?}");
    drop(held);
    assert_eq!(next_ack(&mut stream).await.code, "AA");
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_not_answered_by_default() {
    let full = journal::JournalConfig { min_free: u64::MAX / 2, ..journal::JournalConfig::default() };
    let site = listen_with(ListenerConfig::default(), full).await;
    let mut stream = site.stream().await;
    stream.write_all(&framed(&adt("1"))).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(site.intake.counters().unstored.get(), 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_answered_as_the_site_wants() {
    for (transient, code) in [(Transient::Ar, "AR"), (Transient::Ae, "AE")] {
        let full = journal::JournalConfig { min_free: u64::MAX / 2, ..journal::JournalConfig::default() };
        let site = listen_with(ListenerConfig { transient, ..ListenerConfig::default() }, full).await;
        let ack = site.client().await.send(&adt("1")).await.unwrap().unwrap();
        assert_eq!(ack.code, code);
        assert!(String::from_utf8_lossy(&ack.raw).contains("|207^Application internal error^HL70357|E|"));
        assert!(site.rows().await.is_empty());
    }
}

#[tokio::test]
async fn nothing_overtakes_a_message_that_could_not_be_stored() {
    let small = journal::JournalConfig { max_size: 1 << 20, min_free: 0, ..journal::JournalConfig::default() };
    for transient in [Transient::Close, Transient::Ar] {
        let site =
            listen_with(ListenerConfig { transient, pipeline: 32, ..ListenerConfig::default() }, small.clone()).await;
        let large = [adt("2"), b"NTE|1||".to_vec(), vec![b'x'; 2 << 20], b"\r".to_vec()].concat();
        let mut stream = site.stream().await;
        let all = [framed(&adt("1")), framed(&large), framed(&adt("3")), framed(&adt("4"))].concat();
        stream.write_all(&all).await.unwrap();
        assert_eq!(id(&next_ack(&mut stream).await), "1");
        if transient == Transient::Close {
            assert_eq!(read_to_end(&mut stream).await, b"\r", "the end of the first frame, and no more");
        } else {
            for expected in ["2", "3", "4"] {
                let ack = next_ack(&mut stream).await;
                assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AR", expected));
            }
            let ack = ack_to(&mut stream, &framed(&adt("5"))).await;
            assert_eq!(ack.code, "AA", "a sender that has heard of it may go on");
        }
        let ids: Vec<String> = site.rows().await.into_iter().map(|row| row.control_id).collect();
        assert_eq!(ids, if transient == Transient::Close { vec!["1"] } else { vec!["1", "5"] });
    }
}

#[tokio::test]
async fn the_same_message_again_gets_the_same_ack_and_is_stored_once() {
    let site = listen(ListenerConfig::default()).await;
    let mut client = site.client().await;
    let nobody = adt("2").strip_suffix(b"PID|1||P1^^^FAC^MR\r").unwrap().to_vec();
    for (message, code) in [(adt("1"), "AA"), (nobody, "AE")] {
        let first = client.send(&message).await.unwrap().unwrap();
        let again = site.client().await.send(&message).await.unwrap().unwrap();
        assert_eq!((first.code.as_str(), again.code.as_str()), (code, code));
        assert_eq!((first.text, first.control_id), (again.text, again.control_id));
    }
    let statuses: Vec<Status> = site.rows().await.iter().map(|row| row.status).collect();
    assert_eq!(statuses, [Status::Received, Status::Refused]);
    assert_eq!(site.intake.counters().duplicates.get(), 2);
}

#[tokio::test]
async fn a_control_id_used_again_for_other_bytes_is_taken_with_a_warning() {
    let site = listen(ListenerConfig::default()).await;
    let mut client = site.client().await;
    client.send(&adt("1")).await.unwrap();
    let other = [adt("1"), b"PV1|1|I\r".to_vec()].concat();
    let ack = client.send(&other).await.unwrap().unwrap();
    assert_eq!(ack.code, "AA");
    assert!(String::from_utf8_lossy(&ack.raw).contains("\rERR||MSH^1^10|205^Duplicate key identifier^HL70357|W|"));
    assert_eq!(site.rows().await.len(), 2);
}

#[tokio::test]
async fn acks_keep_the_order_of_pipelined_messages_and_so_does_the_journal() {
    let site = listen(ListenerConfig { pipeline: 256, ..ListenerConfig::default() }).await;
    let mut client = site.client().await;
    let sent: Vec<String> = (0..3_000).map(|n| format!("M{n}")).collect();
    let mut acked = Vec::new();
    for control_id in &sent {
        client.post(&adt(control_id)).await.unwrap();
        while client.waiting() >= 300 {
            acked.push(client.next_ack().await.unwrap().unwrap());
        }
    }
    while let Some(ack) = client.next_ack().await.unwrap() {
        acked.push(ack);
    }
    assert!(acked.iter().all(|(_, ack)| ack.is_positive()));
    assert_eq!(acked.iter().map(|(_, ack)| id(ack)).collect::<Vec<_>>(), sent);
    assert_eq!(acked.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), (0..3_000).collect::<Vec<_>>());
    assert_eq!(site.rows().await.into_iter().map(|row| row.control_id).collect::<Vec<_>>(), sent);
    assert_eq!(client.strays(), 0);
}

#[tokio::test]
async fn a_sender_that_wants_no_ack_gets_none_and_its_message_is_stored() {
    let site = listen(ListenerConfig::default()).await;
    let mut client = site.client().await;
    let quiet = b"MSH|^~\\&|APP|FAC|||1||ADT^A01|1|P|2.5|||NE|NE\rPID|1||P1\r";
    assert_eq!(client.send(quiet).await.unwrap(), None);
    let enhanced = b"MSH|^~\\&|APP|FAC|||1||ADT^A01|2|P|2.5|||AL|NE\rPID|1||P1\r";
    let ack = client.send(enhanced).await.unwrap().unwrap();
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("CA", "2"));
    assert_eq!(site.rows().await.len(), 2);
}

#[tokio::test]
async fn an_acknowledgement_is_kept_and_not_answered() {
    let site = listen(ListenerConfig::default()).await;
    let mut client = site.client().await;
    assert_eq!(client.send(b"MSH|^~\\&|A|B|C|D|1||ACK|9|P|2.5\rMSA|AA|8\r").await.unwrap(), None);
    assert!(client.send(&adt("10")).await.unwrap().unwrap().is_positive());
    assert_eq!(site.rows().await[0].status, Status::Skipped);
    assert_eq!(client.strays(), 0);
}

#[tokio::test]
async fn a_test_message_is_refused_where_only_production_is_taken() {
    let site = listen(ListenerConfig { processing_ids: vec!["P".into()], ..ListenerConfig::default() }).await;
    let message = b"MSH|^~\\&|A|B|C|D|1||ADT^A01|9|T|2.3\rPID|1||P1\r";
    let ack = site.client().await.send(message).await.unwrap().unwrap();
    assert_eq!(ack.code, "AR");
    assert!(String::from_utf8_lossy(&ack.raw).contains("\rERR|MSH^1^11^202&Unsupported processing id&HL70357\r"));
    let rows = site.rows().await;
    assert_eq!((rows[0].status, rows[0].event.as_deref()), (Status::Refused, Some("A01")));
}

#[tokio::test]
async fn utf_16_is_answered_in_utf_16() {
    let site = listen(ListenerConfig::default()).await;
    let wide: Vec<u8> = String::from_utf8(adt("42")).unwrap().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let message = [b"\xFF\xFE", wide.as_slice()].concat();
    let ack = site.client().await.send(&message).await.unwrap().unwrap();
    assert!(ack.raw.starts_with(b"\xFF\xFEM\0S\0H\0|\0"));
    assert_eq!(id(&ack), "42");
    assert_eq!(site.body(1).await, message);
}

#[tokio::test]
async fn two_listeners_can_share_a_journal() {
    let site = listen(ListenerConfig::default()).await;
    let other = ListenerConfig { name: "lab".into(), ..ListenerConfig::default() };
    let gate = std::sync::Arc::new(crate::listening::PatientGate);
    let intake = std::sync::Arc::new(stoker::mllp::Intake::new(other, site.journal.clone(), gate).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(stoker::mllp::run(listener, intake, site.shutdown.clone()));
    let mut second = stoker::mllp::Client::connect(address, PATIENCE).await.unwrap();
    site.client().await.send(&adt("1")).await.unwrap();
    second.send(&adt("2")).await.unwrap();
    let listeners: Vec<String> = site.rows().await.into_iter().map(|row| row.listener).collect();
    assert_eq!(listeners, ["adt", "lab"]);
    drop(second);
    site.shutdown.cancel();
    served.await.unwrap();
}
