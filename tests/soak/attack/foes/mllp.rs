//! Attacks on the MLLP listener.

use std::net::IpAddr;
use std::time::Duration;

use stoker::mllp::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::super::load::connect;
use super::{Foes, Tally, address, inputs};

/// Messages that cost much to map: so many at once, and again after so many seconds. `make` takes a name that is used once.
pub fn volleys(
    tasks: &mut JoinSet<()>,
    attack: &'static str,
    foes: &Foes,
    tally: Tally,
    at_once: u8,
    every: u64,
    make: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static,
) {
    for n in 0..at_once {
        let (make, foes, tally) = (make.clone(), foes.clone(), tally.clone());
        tasks.spawn(async move {
            let mut ticks = interval(Duration::from_secs(every));
            for turn in 0.. {
                ticks.tick().await;
                let message = make(&format!("{attack}-{}-{n}-{turn}", foes.round));
                send(attack, &foes, &tally, address(10 + n), &message).await;
            }
        });
    }
}

async fn send(attack: &'static str, foes: &Foes, tally: &Tally, from: IpAddr, message: &[u8]) {
    let Ok(stream) = connect(Some(from), foes.mllp).await else { return tally.add(attack, "no connection", 1) };
    match Client::over(stream, Duration::from_secs(60)).send(message).await {
        Ok(Some(ack)) => {
            tally.add(attack, ack.code.clone(), 1);
            if ack.is_positive() {
                tally.add(attack, KEPT, message.len() as u64);
            }
        }
        Ok(None) => tally.add(attack, "no ack", 1),
        Err(_) => tally.add(attack, "no ack", 1),
    }
}

/// Bytes that the daemon took, and may keep.
pub const KEPT: &str = "bytes taken";

const MEBI: usize = 1 << 20;

/// Peers with two frames of nearly 16 MiB each. The first of them is whole, a message once and no HL7 from then on; the
/// second lacks its end for as long as the daemon waits.
pub fn frames(tasks: &mut JoinSet<()>, attack: &'static str, foes: &Foes, tally: &Tally) {
    for n in 0..40 {
        let (foes, tally) = (foes.clone(), tally.clone());
        tasks.spawn(async move {
            for turn in 0.. {
                let first = match turn {
                    0 => inputs::long(&format!("{attack}-{}-{n}", foes.round), 15 * MEBI + MEBI / 2),
                    _ => vec![b'x'; 15 * MEBI + MEBI / 2],
                };
                if let Ok(stream) = connect(Some(address(60 + n)), foes.mllp).await {
                    let (reader, writer) = stream.into_split();
                    let both = [&b"\x0B"[..], &first, b"\x1C\r\x0B", &vec![b'y'; 15 * MEBI]].concat();
                    let length = first.len() as u64;
                    drop(first);
                    tokio::join!(trickle(writer, &both), count_acks(attack, &tally, reader, length));
                }
                tally.add(attack, "connections ended", 1);
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
}

/// At half a mebibyte a second; then it waits until the other side ends the connection.
async fn trickle(mut writer: OwnedWriteHalf, bytes: &[u8]) {
    for part in bytes.chunks(MEBI / 4) {
        if writer.write_all(part).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(500)).await;
    }
    while writer.write_all(b"z").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
    }
}

async fn count_acks(attack: &'static str, tally: &Tally, mut reader: OwnedReadHalf, length: u64) {
    let mut answer = vec![0; 4096];
    while let Ok(read) = reader.read(&mut answer).await
        && read > 0
    {
        let positive = answer[..read].windows(6).any(|six| matches!(six, b"MSA|AA" | b"MSA|CA"));
        tally.add(attack, if positive { "taken" } else { "other answers" }, 1);
        if positive {
            tally.add(attack, KEPT, length);
        }
    }
}

/// More connections of one address than a listener has by default; each comes again when it was closed.
pub fn connections(tasks: &mut JoinSet<()>, attack: &'static str, foes: &Foes, tally: &Tally) {
    for _ in 0..300 {
        let (foes, tally) = (foes.clone(), tally.clone());
        tasks.spawn(async move {
            loop {
                if let Ok(mut stream) = connect(Some(address(31)), foes.mllp).await {
                    tally.add(attack, "connected", 1);
                    while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    tally.add(attack, "closed", 1);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
}

/// Frames without anything in them.
pub async fn empty(attack: &'static str, foes: Foes, tally: Tally) {
    let flood = b"\x0B\x1C".repeat(32 << 10);
    loop {
        pour(attack, &foes, &tally, address(32), || flood.clone(), Duration::from_millis(62), usize::MAX).await;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Writes `make` again and again, and reads what is answered, until the other side ends the connection.
async fn pour(
    attack: &'static str,
    foes: &Foes,
    tally: &Tally,
    from: IpAddr,
    mut make: impl FnMut() -> Vec<u8>,
    every: Duration,
    times: usize,
) {
    let Ok(stream) = connect(Some(from), foes.mllp).await else { return };
    tally.add(attack, "connected", 1);
    let (mut reader, mut writer) = stream.into_split();
    let read = async {
        let mut answer = vec![0; 64 << 10];
        while reader.read(&mut answer).await.is_ok_and(|read| read > 0) {}
    };
    let write = async {
        for _ in 0..times {
            let bytes = make();
            tally.add(attack, "bytes sent", bytes.len() as u64);
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
            sleep(every).await;
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}

/// Bytes from a generator, with and without frames around them, and what other protocols would say.
pub fn garbage(tasks: &mut JoinSet<()>, attack: &'static str, foes: &Foes, tally: &Tally) {
    let kinds: [fn(&mut u64) -> Vec<u8>; 3] = [
        |dice| noise(dice, 16 << 10),
        |dice| {
            [b"\x0B", &noise(dice, 2 << 10).iter().map(|byte| byte | 0x20).collect::<Vec<u8>>()[..], b"\x1C\r"].concat()
        },
        |_| b"GET / HTTP/1.1\r\nHost: hospital\r\n\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_vec(),
    ];
    for (n, make) in kinds.into_iter().enumerate() {
        let (foes, tally) = (foes.clone(), tally.clone());
        tasks.spawn(async move {
            let mut dice = 0x9e37_79b9_7f4a_7c15 + n as u64;
            loop {
                pour(attack, &foes, &tally, address(33 + n as u8), || make(&mut dice), Duration::from_millis(60), 20)
                    .await;
                sleep(Duration::from_millis(60)).await;
            }
        });
    }
}

/// xorshift64*, so that each run has the same.
fn noise(state: &mut u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
