//! What frames in progress cost in memory, and who waits when it is used up.

use std::time::Duration;

use stoker::journal::JournalConfig;
use stoker::mllp::{Client, ListenerConfig, MllpConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::listening::{PATIENCE, adt, framed, id, listen_within, next_ack, read_to_end};
use crate::process::Daemon;

/// The most memory that the process has had, in bytes.
fn peak(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// A message of about this length.
fn long(control_id: &str, length: usize) -> Vec<u8> {
    let mut message = adt(control_id);
    message.extend(b"OBX|1|TX|||".iter().chain(std::iter::repeat_n(&b'x', length)));
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_peers_with_two_frames_of_16_megabytes_each_stay_below_300_megabytes_together() {
    let daemon = Daemon::start("");
    let body: &'static [u8] = vec![b'x'; (16 << 20) - 1].leak();
    let mllp = daemon.mllp;
    let peers: Vec<_> = (0..40)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(mllp).await.unwrap();
                for _ in 0..2 {
                    stream.write_all(b"\x0B").await.unwrap();
                    stream.write_all(body).await.unwrap();
                    stream.write_all(b"\x1C\r").await.unwrap();
                }
                stream.shutdown().await.unwrap();
                let mut answers = Vec::new();
                stream.read_to_end(&mut answers).await.unwrap();
                memchr::memmem::find_iter(&answers, b"\rMSA|AR|").count()
            })
        })
        .collect();
    let mut client = Client::connect(mllp, PATIENCE).await.unwrap();
    let mut acknowledged = 0;
    while peers.iter().any(|peer| !peer.is_finished()) {
        assert!(client.send(&adt(&format!("small{acknowledged}"))).await.unwrap().unwrap().is_positive());
        acknowledged += 1;
        assert!(peak(&daemon) < 300 << 20, "{} bytes", peak(&daemon));
    }
    for peer in peers {
        assert_eq!(peer.await.unwrap(), 2, "each frame comes to its end and is answered");
    }
    assert!(acknowledged > 10, "only {acknowledged} small messages beside them");
    assert!(peak(&daemon) < 300 << 20, "{} bytes", peak(&daemon));
}

#[tokio::test]
async fn a_long_frame_that_stalls_while_others_wait_is_given_up_and_they_go_on() {
    let shared = MllpConfig { frame_memory: 1 << 20 };
    let site = listen_within(ListenerConfig::default(), JournalConfig::default(), shared).await;
    let (mut one, mut two) = (site.stream().await, site.stream().await);
    for stalled in [&mut one, &mut two] {
        let begun = [b"\x0B".to_vec(), long("stalled", 700_000)].concat();
        stalled.write_all(&begun).await.unwrap();
    }
    let mut client = site.client().await;
    // A small one waits for nobody.
    let small = timeout(Duration::from_secs(2), client.send(&adt("small"))).await.unwrap().unwrap().unwrap();
    assert!(small.is_positive());
    let mut other = site.stream().await;
    other.write_all(&framed(&long("other", 500_000))).await.unwrap();
    let ack = next_ack(&mut other).await;
    assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AA", "other"));
    assert!(site.intake.counters().frame_timeouts.get() >= 1);
}

#[tokio::test]
async fn frames_longer_than_all_the_memory_come_through_one_after_the_other() {
    let shared = MllpConfig { frame_memory: 1 << 20 };
    let site = listen_within(ListenerConfig::default(), JournalConfig::default(), shared).await;
    let mut streams = Vec::new();
    for n in 0..8 {
        let mut stream = site.stream().await;
        let message = framed(&long(&format!("long{n}"), 4 << 20));
        streams.push(tokio::spawn(async move {
            stream.write_all(&message).await.unwrap();
            id(&next_ack(&mut stream).await)
        }));
    }
    for (n, stream) in streams.into_iter().enumerate() {
        assert_eq!(timeout(PATIENCE * 3, stream).await.unwrap().unwrap(), format!("long{n}"));
    }
}

#[tokio::test]
async fn a_connection_keeps_no_more_than_its_own_buffer_after_a_long_frame() {
    let shared = MllpConfig { frame_memory: 1 << 20 };
    let site = listen_within(ListenerConfig::default(), JournalConfig::default(), shared).await;
    let mut kept = Vec::new();
    for n in 0..8 {
        let mut stream = site.stream().await;
        // Behind it the beginning of another, which would share its memory.
        let sent = [framed(&long(&format!("long{n}"), 600_000)), b"\x0BMSH|".to_vec()].concat();
        stream.write_all(&sent).await.unwrap();
        assert_eq!(id(&next_ack(&mut stream).await), format!("long{n}"));
        kept.push(stream);
    }
    assert_eq!(site.intake.counters().frame_timeouts.get(), 0);
}

#[tokio::test]
async fn an_msh_too_long_to_be_echoed_and_a_batch_too_long_to_be_answered_are_refused_with_words() {
    let site = listen_within(ListenerConfig::default(), JournalConfig::default(), MllpConfig::default()).await;
    let mut stream = site.stream().await;
    let header = [b"MSH|^~\\&|".to_vec(), vec![b'A'; 70_000], b"||||||ADT^A01|1|P|2.5\r".to_vec()].concat();
    stream.write_all(&framed(&header)).await.unwrap();
    let ack = next_ack(&mut stream).await;
    assert_eq!((ack.code.as_str(), ack.text.as_str()), ("AR", "MSH is longer than 64 KiB"));
    let batch = [b"BHS|^~\\&|A\r".to_vec(), b"MSH|^~\\&|\r".repeat(40_000), b"BTS|40000\r".to_vec()].concat();
    stream.write_all(&framed(&batch)).await.unwrap();
    let ack = next_ack(&mut stream).await;
    assert!(ack.text.contains("more than 32768 messages; send them in several batches"), "{}", ack.text);
    stream.write_all(&framed(&adt("next"))).await.unwrap();
    assert!(next_ack(&mut stream).await.is_positive());
    stream.shutdown().await.unwrap();
    read_to_end(&mut stream).await;
}
