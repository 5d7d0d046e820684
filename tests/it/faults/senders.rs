//! Senders that hold connections and give nothing.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use stoker::mllp::{Client, ListenerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::load::message;
use super::program;
use super::rig::{Part, Rig};
use crate::listening::{PATIENCE, adt, listen};

const IDLE: usize = 2_000;

fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_connections_cost_little_and_slow_nobody() {
    allow_open_files();
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(program(), folder.path(), folder.path());
    let settings = std::fs::read_to_string(rig.config()).unwrap();
    let settings =
        settings.replace("[[listener]]\n", "[[listener]]\nmax_connections = 2100\nmax_connections_per_peer = 0\n");
    std::fs::write(rig.config(), settings).unwrap();
    rig.start(Part::Engine);
    let before = rig.memory(Part::Engine).unwrap();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(rig.mllp).await.unwrap());
    }
    let mut client = Client::connect(rig.mllp, PATIENCE).await.unwrap();
    let mut slowest = Duration::ZERO;
    for n in 0..50 {
        let began = Instant::now();
        assert!(client.send(&message(1, n)).await.unwrap().unwrap().is_positive());
        slowest = slowest.max(began.elapsed());
    }
    let cost = rig.memory(Part::Engine).unwrap().saturating_sub(before);
    assert!(slowest < Duration::from_secs(5), "an ack took {slowest:?}");
    assert!(cost < 64 << 20, "{IDLE} idle connections cost {cost} bytes");
}

#[tokio::test]
async fn frames_fed_a_byte_a_second_end_by_the_clock_and_slow_nobody() {
    let site = listen(ListenerConfig { frame_timeout: Duration::from_secs(3), ..ListenerConfig::default() }).await;
    let slow = (0..50).map(|_| async {
        let mut stream = site.stream().await;
        stream.write_all(b"\x0BMSH|^~\\&|A|B").await.unwrap();
        let began = Instant::now();
        while stream.write_all(b"x").await.is_ok() && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        began.elapsed()
    });
    let other = async {
        let mut client = site.client().await;
        let mut count = 0;
        while site.intake.counters().frame_timeouts.get() < 50 {
            assert!(client.send(&adt(&count.to_string())).await.unwrap().unwrap().is_positive());
            count += 1;
        }
        count
    };
    let (slow, count) = tokio::join!(futures_util::future::join_all(slow), other);
    assert!(slow.iter().all(|took| (3..10).contains(&took.as_secs())), "{slow:?}");
    assert!(count > 100, "{count} messages beside them");
}
