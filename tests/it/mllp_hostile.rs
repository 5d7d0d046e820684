//! What arrives on an open port.

use std::time::{Duration, Instant};

use stoker::journal::Status;
use stoker::mllp::{Client, ListenerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::listening::{PATIENCE, Site, ack_to, adt, framed, id, listen, read_to_end};

/// One bad peer never stops the others.
async fn still_takes_messages(site: &Site) {
    assert!(site.client().await.send(&adt("after")).await.unwrap().unwrap().is_positive());
}

#[tokio::test]
async fn garbage_before_a_frame_is_counted_and_the_frame_is_taken() {
    let site = listen(ListenerConfig::default()).await;
    let garbage = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = site.stream().await;
    let ack = ack_to(&mut stream, &[garbage.to_vec(), framed(&adt("1"))].concat()).await;
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AA", "1"));
    assert_eq!(site.intake.counters().noise_bytes.get(), garbage.len() as u64);
    let kept: Vec<_> = site.rows().await.into_iter().map(|row| row.status).collect();
    assert_eq!(kept, [Status::Refused, Status::Received], "what is no frame is kept, the first time");
}

#[tokio::test]
async fn a_peer_that_never_sends_a_frame_is_left() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    stream.write_all(&[b'x'; 100_000]).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    still_takes_messages(&site).await;
}

#[tokio::test]
async fn a_message_without_framing_is_kept_with_the_reason() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    stream.write_all(&adt("1")).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    let rows = site.rows_when(1).await;
    assert_eq!((rows[0].status, rows[0].control_id.as_str()), (Status::Refused, "1"));
    assert!(rows[0].reason.as_deref().unwrap().contains("without MLLP framing"), "{rows:?}");
}

#[tokio::test]
async fn frames_that_hold_no_message_are_rejected_and_kept() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    for body in ["", "MSH", "hello", "PID|1||P1", "MSH|^^^^|"] {
        let ack = ack_to(&mut stream, &framed(body.as_bytes())).await;
        assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AR", ""), "{body}");
    }
    let rows = site.rows().await;
    assert!(rows.iter().all(|row| row.status == Status::Refused));
    assert_eq!(rows.len(), 5);
    assert_eq!(site.body(rows[2].seq).await, b"hello");
    assert!(ack_to(&mut stream, &framed(&adt("1"))).await.is_positive());
}

#[tokio::test]
async fn an_msh_alone_is_refused_by_its_control_id() {
    let site = listen(ListenerConfig::default()).await;
    let ack = site.client().await.send(b"MSH|^~\\&|A|B|C|D|1||ADT^A01|77|P|2.5\r").await.unwrap().unwrap();
    assert_eq!((ack.code.as_str(), id(&ack).as_str(), ack.text.as_str()), ("AE", "77", "PID-1-3: PID-3 is empty"));
}

#[tokio::test]
async fn a_frame_of_20_megabytes_is_refused_by_its_control_id_and_the_next_one_is_taken() {
    let site = listen(ListenerConfig::default()).await;
    let mut client = site.client().await;
    let mut huge = adt("huge");
    huge.extend(b"OBX|1|ED|".iter().chain(std::iter::repeat_n(&b'x', 20_000_000)));
    let ack = client.send(&huge).await.unwrap().unwrap();
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AR", "huge"));
    assert!(String::from_utf8_lossy(&ack.raw).contains("|207^Application internal error^HL70357|E|"));
    assert!(client.send(&adt("next")).await.unwrap().unwrap().is_positive());
    let rows = site.rows().await;
    assert_eq!((rows[0].status, rows[0].control_id.as_str()), (Status::Refused, "huge"));
    let kept = site.body(rows[0].seq).await;
    assert!(huge.starts_with(&kept) && kept.len() >= 1024, "{}", kept.len());
}

#[tokio::test]
async fn a_second_message_in_one_frame_is_refused_and_not_lost() {
    let site = listen(ListenerConfig::default()).await;
    let both = [adt("1"), adt("2")].concat();
    let ack = site.client().await.send(&both).await.unwrap().unwrap();
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AE", "1"));
    assert_eq!(site.body(1).await, both);
}

#[tokio::test]
async fn a_frame_that_breaks_off_is_kept_and_not_answered() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    stream.write_all(b"\x0BMSH|^~\\&|A|B|C|D|1||ADT^A01|half|P|2.5\rPI").await.unwrap();
    // It begins again, as a sender does that was restarted behind a proxy.
    let ack = ack_to(&mut stream, &framed(&adt("whole"))).await;
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AA", "whole"));
    stream.write_all(b"\x0BMSH|^~\\&|A|B|C|D|1||ADT^A01|late|P|2.5\r").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"\r");
    let rows = site.rows_when(3).await;
    let seen: Vec<_> = rows.iter().map(|row| (row.control_id.as_str(), row.status)).collect();
    assert_eq!(seen, [("half", Status::Refused), ("whole", Status::Received), ("late", Status::Refused)]);
}

#[tokio::test]
async fn random_bytes_harm_nobody() {
    let site = listen(ListenerConfig { max_frame: 4096, ..ListenerConfig::default() }).await;
    let until = Instant::now() + Duration::from_secs(3);
    let mut noise = Vec::new();
    for seed in 1..5_u64 {
        let address = site.address;
        noise.push(tokio::spawn(async move {
            let mut random = Random(seed);
            while Instant::now() < until {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                for _ in 0..20 {
                    // The listener may have left: then the next connection goes on.
                    if stream.write_all(&random.bytes()).await.is_err() {
                        break;
                    }
                }
            }
        }));
    }
    let mut client = site.client().await;
    let mut taken = 0;
    while Instant::now() < until {
        assert!(client.send(&adt(&format!("good{taken}"))).await.unwrap().unwrap().is_positive());
        taken += 1;
    }
    for task in noise {
        task.await.unwrap();
    }
    drop(client);
    site.shutdown.cancel();
    tokio::time::timeout(PATIENCE, site.served).await.unwrap().unwrap();
    let counters = site.intake.counters();
    assert_eq!((counters.connections(), counters.accepted.get()), (0, taken));
    assert!(counters.refused.get() > 0 && counters.noise_bytes.get() > 0);
}

/// xorshift64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Up to 2 KB, with framing bytes and headers more often than chance would have them.
    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.next() % 200 {
            match self.next() % 12 {
                0 => bytes.push(0x0B),
                1 => bytes.extend(b"\x1C\r"),
                2 => bytes.extend(b"MSH|^~\\&|"),
                3 => bytes.extend(b"||||ADT^A01|"),
                4 => bytes.push(b'\r'),
                _ => bytes.extend(self.next().to_le_bytes()),
            }
        }
        bytes
    }
}

#[tokio::test]
async fn a_sender_may_be_slow_and_must_come_to_an_end() {
    let site = listen(ListenerConfig { frame_timeout: Duration::from_millis(600), ..ListenerConfig::default() }).await;
    let mut stream = site.stream().await;
    let message = b"\x0BMSH|^~\\&|A|B|||1||ADT^A01|slow|P|2.5\rPID|1||P1\x1C";
    for byte in message {
        stream.write_u8(*byte).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(ack_to(&mut stream, b"\r").await.is_positive());

    let began = Instant::now();
    let mut dripping = site.stream().await;
    dripping.write_all(b"\x0BMSH|^~\\&|A|B|||1||ADT^A01|drip|P|2.5\rPID|1||P1").await.unwrap();
    let drip = async {
        while dripping.write_u8(b'x').await.is_ok() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    tokio::time::timeout(PATIENCE, drip).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(600));
    assert_eq!(site.intake.counters().frame_timeouts.get(), 1);
    let rows = site.rows_when(2).await;
    assert_eq!((rows[1].control_id.as_str(), rows[1].status), ("drip", Status::Refused));
}

#[tokio::test]
async fn a_fast_endless_frame_comes_to_an_end_too() {
    let site = listen(ListenerConfig { frame_timeout: Duration::from_millis(500), ..ListenerConfig::default() }).await;
    let mut stream = site.stream().await;
    stream.write_all(b"\x0BMSH|^~\\&|A|B|||1||ADT^A01|endless|P|2.5\r").await.unwrap();
    let flood = async { while stream.write_all(&[b'x'; 65_536]).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood).await.unwrap();
    assert_eq!(site.rows_when(1).await[0].control_id, "endless");
}

#[tokio::test]
async fn connections_over_the_cap_wait_for_a_place() {
    let site = listen(ListenerConfig { max_connections: 2, ..ListenerConfig::default() }).await;
    let (mut first, mut second) = (site.client().await, site.client().await);
    first.send(&adt("1")).await.unwrap();
    second.send(&adt("2")).await.unwrap();
    let mut third = Client::connect(site.address, Duration::from_millis(300)).await.unwrap();
    assert!(third.send(&adt("3")).await.is_err());
    drop(first);
    let mut fourth = Client::connect(site.address, PATIENCE).await.unwrap();
    drop(third);
    assert!(fourth.send(&adt("4")).await.unwrap().unwrap().is_positive());
    assert!(second.send(&adt("5")).await.unwrap().unwrap().is_positive());
    assert!(site.intake.counters().connections() <= 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let site = listen(ListenerConfig { idle_timeout: Duration::from_millis(300), ..ListenerConfig::default() }).await;
    let mut stream = site.stream().await;
    assert!(ack_to(&mut stream, &framed(&adt("1"))).await.is_positive());
    let since = Instant::now();
    assert_eq!(read_to_end(&mut stream).await, b"\r");
    assert!(since.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn a_peer_that_never_reads_its_acks_is_left_and_holds_up_nobody() {
    let site = listen(ListenerConfig { write_timeout: Duration::from_millis(500), ..ListenerConfig::default() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(site.address).await.unwrap();
    // The ack echoes the control id, and so is as long.
    let long = "x".repeat(60_000);
    let talk = async {
        for n in 0.. {
            if deaf.write_all(&framed(&adt(&format!("{n}{long}")))).await.is_err() {
                break;
            }
        }
    };
    let other = async {
        let mut client = site.client().await;
        while site.intake.counters().write_timeouts.get() == 0 {
            assert!(client.send(&adt("1")).await.unwrap().unwrap().is_positive());
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(talk, other) }).await.unwrap();
    assert_eq!(site.intake.counters().write_timeouts.get(), 1);
}

#[tokio::test]
async fn what_a_peer_sent_before_it_broke_off_is_stored_all_the_same() {
    let site = listen(ListenerConfig::default()).await;
    let held = site.hold_commits().await;
    let mut stream = site.stream().await;
    for n in 0..50 {
        stream.write_all(&framed(&adt(&n.to_string()))).await.unwrap();
    }
    stream.write_all(b"\x0BMSH|^~\\&|A|B|||1||ADT^A01|half|P|2.5\r").await.unwrap();
    site.taken((0..50).map(|n| adt(&n.to_string()).len()).sum()).await;
    // A reset, so that no ack can be written.
    stream.set_zero_linger().unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(held);
    let rows = site.rows_when(51).await;
    assert_eq!((rows[50].control_id.as_str(), rows[50].status), ("half", Status::Refused));
}
