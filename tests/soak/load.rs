//! A hospital: patients who are admitted and moved from bed to bed, over a number of connections, at a rate.
//!
//! Each sender has patients of its own and sends a message until it is acknowledged before it sends the next, over as
//! many connections as that takes. So what was acknowledged is known exactly: the first so many messages of each patient.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stoker::mllp::Client;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// How long a sender waits for an ack before it sends again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The `n`th message of a patient. The bed tells its number, and the event's time rises with it.
pub fn message(patient: usize, n: u32) -> Vec<u8> {
    let event = if n == 0 { "A01" } else { "A02" };
    let start: jiff::civil::DateTime = jiff::civil::date(2026, 3, 1).at(0, 0, 0, 0);
    let time = (start + jiff::SignedDuration::from_secs(i64::from(n))).strftime("%Y%m%d%H%M%S+0100").to_string();
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|{time}||ADT^{event}^ADT_{event}|C{patient}-{n}|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
         EVN|{event}|{time}|||OPER7^Berg^Anne\r\
         PID|1||P{patient}^^^NORD^MR~{patient:011}^^^NOR^NNNOR||Nordmann^Kari^Ann^^Fru||19700101|F|||\
         Storgata {patient}^^Troms\u{f8}^^9008^NO||+4777{patient:06}^PRN^PH|||M\r\
         NK1|1|Nordmann^Ola|SPO|Storgata {patient}^^Troms\u{f8}^^9008^NO|+4777{patient:06}\r\
         PV1|1|I|WARD^1^{n}^NORD||||DR1^Hansen^Per|DR2^Olsen^Liv||MED||||||||IP|V{patient}^^^NORD^VN|||||||||||||||||||||||||{time}\r\
         PV2|||^Chest pain|||||||||||||||||||||||||||||||||||||N\r"
    )
    .into_bytes()
}

/// Senders at work.
pub struct Load {
    acked: Arc<Vec<AtomicU32>>,
    total: Arc<AtomicU64>,
    slowest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// `per_second` in all; without one as fast as it is acknowledged.
    pub fn start(to: SocketAddr, patients: usize, senders: usize, per_second: Option<u32>) -> Self {
        let acked: Arc<Vec<AtomicU32>> = Arc::new((0..patients).map(|_| AtomicU32::new(0)).collect());
        let mut load =
            Self { acked, total: Arc::default(), slowest: Arc::default(), stop: Arc::default(), senders: Vec::new() };
        let pace = per_second.map(|rate| Duration::from_secs_f64(senders as f64 / f64::from(rate)));
        for number in 0..senders {
            let own = (0..patients).filter(|patient| patient % senders == number).collect();
            let sender = Sender {
                to,
                patients: own,
                pace,
                acked: load.acked.clone(),
                total: load.total.clone(),
                slowest: load.slowest.clone(),
                stop: load.stop.clone(),
            };
            load.senders.push(tokio::spawn(sender.run()));
        }
        load
    }

    /// Messages acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Waits until so many were.
    pub async fn until_acked(&self, count: u64, patience: Duration) -> Result<(), String> {
        let until = Instant::now() + patience;
        while self.acked() < count {
            if Instant::now() > until {
                return Err(format!("{} of {count} messages were acknowledged in {patience:?}", self.acked()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The longest time from a message to its ack since this was last asked; those that had to be sent again left out.
    pub fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest.swap(0, Ordering::Relaxed))
    }

    /// Lets each sender bring its message to its ack; gives how many messages of each patient were acknowledged.
    pub async fn stop(self) -> Vec<u32> {
        self.stop.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.await.unwrap();
        }
        self.acked.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

struct Sender {
    to: SocketAddr,
    patients: Vec<usize>,
    pace: Option<Duration>,
    acked: Arc<Vec<AtomicU32>>,
    total: Arc<AtomicU64>,
    slowest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Sender {
    async fn run(self) {
        let mut ticks = self.pace.map(tokio::time::interval);
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst); // a feed that was held up catches up
        }
        let mut client = None;
        for n in 0.. {
            for &patient in &self.patients {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                self.send(&mut client, &message(patient, n)).await;
                self.acked[patient].store(n + 1, Ordering::Relaxed);
                self.total.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Until it is acknowledged.
    async fn send(&self, client: &mut Option<Client>, message: &[u8]) {
        loop {
            if client.is_none() {
                *client = Client::connect(self.to, PATIENCE).await.ok();
            }
            let Some(open) = client else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let began = std::time::Instant::now();
            match open.send(message).await {
                Ok(Some(ack)) => {
                    assert!(ack.is_positive(), "{ack:?}");
                    let took = u64::try_from(began.elapsed().as_micros()).unwrap();
                    self.slowest.fetch_max(took, Ordering::Relaxed);
                    return;
                }
                Ok(None) => panic!("an ack was asked for"),
                Err(_) => *client = None,
            }
        }
    }
}
