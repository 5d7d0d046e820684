//! A hospital: patients who are admitted and moved from bed to bed, over a number of connections, at a rate.
//!
//! Each sender has patients of its own and sends a message until it is acknowledged before it sends the next, over as
//! many connections as that takes. So what was acknowledged is known exactly: the first so many messages of each patient.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use stoker::mllp::Client;
use tokio::net::{TcpSocket, TcpStream};
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

/// What is sent, and from where.
#[derive(Debug, Clone)]
pub struct Feed {
    pub to: SocketAddr,
    pub patients: usize,
    pub senders: usize,
    /// In all; without one as fast as it is acknowledged.
    pub per_second: Option<u32>,
    /// The senders' own addresses, in turn; none: whichever the system gives them.
    pub from: Vec<IpAddr>,
    /// A sender connects anew after so many messages; none: only when it must.
    pub renew: Option<u64>,
}

/// Senders at work.
pub struct Load {
    counts: Arc<Counts>,
    senders: Vec<JoinHandle<()>>,
}

struct Counts {
    /// Of each patient.
    acked: Vec<AtomicU32>,
    total: AtomicU64,
    slowest: AtomicU64,
    /// Sent again because the connection ended or no ack came.
    again: AtomicU64,
    refused: AtomicU64,
    refusal: OnceLock<String>,
    /// Microseconds from when a message was due to its ack.
    delays: Mutex<Vec<u32>>,
    stop: AtomicBool,
}

/// What came of a load.
#[derive(Debug)]
pub struct Sent {
    /// Messages of each patient that were acknowledged: the first so many.
    pub acked: Vec<u32>,
    pub again: u64,
    pub refused: u64,
    /// The first refusal, as it was answered.
    pub refusal: Option<String>,
    /// From when a message was due, which a feed that is held up puts off for nobody, to its ack; sorted.
    pub delays: Vec<Duration>,
}

impl Load {
    /// `per_second` in all; without one as fast as it is acknowledged.
    pub fn start(to: SocketAddr, patients: usize, senders: usize, per_second: Option<u32>) -> Self {
        Self::of(Feed { to, patients, senders, per_second, from: Vec::new(), renew: None })
    }

    pub fn of(feed: Feed) -> Self {
        let counts = Arc::new(Counts {
            acked: (0..feed.patients).map(|_| AtomicU32::new(0)).collect(),
            total: AtomicU64::default(),
            slowest: AtomicU64::default(),
            again: AtomicU64::default(),
            refused: AtomicU64::default(),
            refusal: OnceLock::new(),
            delays: Mutex::default(),
            stop: AtomicBool::default(),
        });
        let feed = Arc::new(feed);
        let sender = |number| Sender { number, feed: feed.clone(), counts: counts.clone() };
        let senders = (0..feed.senders).map(|number| tokio::spawn(sender(number).run())).collect();
        Self { counts, senders }
    }

    /// Messages acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.counts.total.load(Ordering::Relaxed)
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
        Duration::from_micros(self.counts.slowest.swap(0, Ordering::Relaxed))
    }

    /// Lets each sender bring its message to its ack; gives how many messages of each patient were acknowledged.
    pub async fn stop(self) -> Vec<u32> {
        let sent = self.end(Duration::MAX).await;
        assert_eq!(sent.refused, 0, "{:?}", sent.refusal);
        sent.acked
    }

    /// Lets each sender bring its message to its ack, for at most so long.
    pub async fn end(mut self, patience: Duration) -> Sent {
        self.counts.stop.store(true, Ordering::Relaxed);
        let patience = tokio::time::sleep(patience);
        tokio::pin!(patience);
        for sender in &mut self.senders {
            tokio::select! {
                ended = &mut *sender => ended.unwrap(),
                () = &mut patience => sender.abort(),
            }
        }
        let counts = &self.counts;
        let mut delays = std::mem::take(&mut *counts.delays.lock().unwrap());
        delays.sort_unstable();
        Sent {
            acked: counts.acked.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            again: counts.again.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            refusal: counts.refusal.get().cloned(),
            delays: delays.into_iter().map(|micros| Duration::from_micros(micros.into())).collect(),
        }
    }
}

struct Sender {
    number: usize,
    feed: Arc<Feed>,
    counts: Arc<Counts>,
}

impl Sender {
    async fn run(self) {
        let feed = self.feed.clone();
        let pace = feed.per_second.map(|rate| Duration::from_secs_f64(feed.senders as f64 / f64::from(rate)));
        let mut ticks = pace.map(tokio::time::interval);
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst); // a feed that was held up catches up
        }
        let (mut client, mut sent) = (None, 0_u64);
        for n in 0.. {
            for patient in (self.number..feed.patients).step_by(feed.senders) {
                if self.counts.stop.load(Ordering::Relaxed) {
                    return;
                }
                let due = match &mut ticks {
                    Some(ticks) => ticks.tick().await.into_std(),
                    None => Instant::now(),
                };
                if feed.renew.is_some_and(|renew| sent.is_multiple_of(renew)) {
                    client = None;
                }
                self.send(&mut client, &message(patient, n)).await;
                sent += 1;
                self.counts.acked[patient].store(n + 1, Ordering::Relaxed);
                self.counts.total.fetch_add(1, Ordering::Relaxed);
                let delay = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
                self.counts.delays.lock().unwrap().push(delay);
            }
        }
    }

    /// Until it is acknowledged.
    async fn send(&self, client: &mut Option<Client>, message: &[u8]) {
        loop {
            if client.is_none() {
                *client = self.connect().await;
            }
            let Some(open) = client else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let began = Instant::now();
            match open.send(message).await {
                Ok(Some(ack)) if ack.is_positive() => {
                    let took = u64::try_from(began.elapsed().as_micros()).unwrap();
                    self.counts.slowest.fetch_max(took, Ordering::Relaxed);
                    return;
                }
                Ok(Some(ack)) => {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    self.counts.refusal.get_or_init(|| format!("{} {}", ack.code, ack.text));
                    tokio::time::sleep(RETRY).await;
                }
                Ok(None) => panic!("an ack was asked for"),
                Err(_) => {
                    self.counts.again.fetch_add(1, Ordering::Relaxed);
                    *client = None;
                }
            }
        }
    }

    async fn connect(&self) -> Option<Client> {
        let from = self.feed.from.get(self.number % self.feed.from.len().max(1)).copied();
        let connected = tokio::time::timeout(PATIENCE, connect(from, self.feed.to)).await;
        let stream = connected.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Client::over(stream, PATIENCE))
    }
}

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(50);

/// A connection from an address of this machine.
pub async fn connect(from: Option<IpAddr>, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    socket.connect(to).await
}
