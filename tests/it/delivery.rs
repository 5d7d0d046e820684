//! From the listener to the destination, through everything that can go wrong on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use stoker::engine::control::WaitReason;
use stoker::engine::{Control, Engine, EngineConfig, Queue};
use stoker::journal::{self, Arrival, Fate, Journal, Progress, Query, Record, Row, Status};
use stoker::mapping::{self, Plan};
use stoker::metrics::Metrics;
use stoker::mllp::{self, Client};
use stoker::outbound::{self, Retry};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::receiver::{Receiver, Reply, Request, response};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn ok() -> Reply {
    Reply::Status(200, response("ok", "informational"))
}

/// MSH-10 of the message that a Bundle was made of.
pub fn control_id(request: &Request) -> String {
    let bundle: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    bundle["identifier"]["value"].as_str().unwrap().to_owned()
}

pub fn adt(event: &str, id: &str, patient: &str) -> Vec<u8> {
    let pid = format!("PID|1||{patient}^^^HOSP^MR||Doe^Jane||19700101|F");
    let pv1 = format!("PV1|1|I|W^1^A||||||||||||||||V{patient}^^^HOSP^VN");
    format!("MSH|^~\\&|APP|HOSP|||20260110080000||ADT^{event}|{id}|P|2.5.1\rEVN|{event}|20260110080000\r{pid}\r{pv1}\r")
        .into_bytes()
}

fn merge(id: &str, survivor: &str, absorbed: &str) -> Vec<u8> {
    let mut text = String::from_utf8(adt("A40", id, survivor)).unwrap();
    text.push_str(&format!("MRG|{absorbed}^^^HOSP^MR\r"));
    text.into_bytes()
}

/// An engine that can be stopped and started again over the same journal.
pub struct Site {
    pub config: EngineConfig,
    running: Option<Running>,
    _folder: TempDir,
}

struct Running {
    journal: Journal,
    metrics: Arc<Metrics>,
    control: Control,
    listener: std::net::SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    pub async fn start(receiver: &Receiver) -> Self {
        Self::start_with(receiver, |_| {}).await
    }

    pub async fn start_with(receiver: &Receiver, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let folder = TempDir::new().unwrap();
        let retry = Retry {
            base: Duration::from_millis(20),
            max: Duration::from_millis(200),
            max_age: Duration::from_secs(3600),
        };
        let mut config = EngineConfig {
            journal: journal::JournalConfig {
                path: folder.path().join("journal.db"),
                ..journal::JournalConfig::default()
            },
            listeners: vec![mllp::ListenerConfig {
                bind: ([127, 0, 0, 1], 0).into(),
                ..mllp::ListenerConfig::default()
            }],
            queue: Queue { drain: Duration::from_secs(5), ..Queue::default() },
            outbound: outbound::DestinationConfig {
                url: receiver.url(),
                retry,
                ..outbound::DestinationConfig::default()
            },
            ..EngineConfig::default()
        };
        change(&mut config);
        let mut site = Self { config, running: None, _folder: folder };
        site.run().await;
        site
    }

    pub async fn run(&mut self) {
        let plan = Plan::load(&mapping::MappingConfig::default(), &mapping::Identifiers::default()).unwrap();
        let metrics = Arc::new(Metrics::new());
        let engine = Engine::build(self.config.clone(), plan, metrics.clone()).await.unwrap();
        let shutdown = CancellationToken::new();
        let (journal, control, listener) = (engine.journal(), engine.control(), engine.addresses()[0]);
        let task = tokio::spawn(engine.run(shutdown.clone()));
        self.running = Some(Running { journal, metrics, control, listener, shutdown, task });
    }

    pub fn journal(&self) -> &Journal {
        &self.running.as_ref().unwrap().journal
    }

    pub fn metrics(&self) -> String {
        self.running.as_ref().unwrap().metrics.encode()
    }

    pub fn control(&self) -> &Control {
        &self.running.as_ref().unwrap().control
    }

    pub async fn stream(&self) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(self.running.as_ref().unwrap().listener).await.unwrap()
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.running.as_ref().unwrap().listener, PATIENCE).await.unwrap()
    }

    /// Sends over MLLP and expects a positive ack for each.
    pub async fn send(&self, messages: impl IntoIterator<Item = Vec<u8>>) {
        let mut client = self.client().await;
        for message in messages {
            let ack = client.send(&message).await.unwrap().unwrap();
            assert!(ack.is_positive(), "{ack:?}");
        }
    }

    pub async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        running.shutdown.cancel();
        drop(running.journal);
        running.task.await.unwrap();
    }

    /// As a crash would: nothing is waited for.
    pub async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.task.abort();
        drop(running.journal);
        drop(running.task.await);
        // The journal's file is free when its last user, a task that was cut, is gone.
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = Journal::open(&self.config.journal) {
            assert!(Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn rows(&self) -> HashMap<String, Row> {
        let rows = self.journal().search(Query { limit: 100_000, ..Query::default() }).await.unwrap();
        rows.into_iter().map(|row| (row.control_id.clone(), row)).collect()
    }

    pub async fn row(&self, id: &str) -> Row {
        self.rows().await.remove(id).unwrap()
    }

    /// Waits until the rows are as they should be.
    pub async fn until(&self, what: &str, settled: impl Fn(&HashMap<String, Row>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows = self.rows().await;
            if settled(&rows) {
                return;
            }
            assert!(Instant::now() < deadline, "not {what}: {:#?}", rows.values().take(5).collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_delivered(&self, count: usize) {
        let delivered = |rows: &HashMap<String, Row>| rows.values().filter(|r| r.status == Status::Delivered).count();
        self.until("all delivered", |rows| delivered(rows) == count).await;
    }
}

pub fn ids(receiver: &Receiver) -> Vec<String> {
    receiver.requests().iter().map(control_id).collect()
}

#[tokio::test]
async fn what_is_acknowledged_is_delivered_and_the_journal_says_how() {
    let receiver = Receiver::start(|_| ok()).await;
    let site = Site::start(&receiver).await;
    site.send([adt("A01", "m1", "42")]).await;
    site.until_delivered(1).await;
    let row = site.row("m1").await;
    assert_eq!((row.attempts, row.event.as_deref(), row.listener.as_str()), (1, Some("A01"), "adt"));
    let bundle: serde_json::Value = serde_json::from_slice(&receiver.requests()[0].body).unwrap();
    assert_eq!(bundle["id"], row.bundle.unwrap().to_string());
    assert_eq!(row.plan.as_deref().map(str::is_empty), Some(false));
    assert!(site.metrics().contains("stoker_deliveries_total{outcome=\"delivered\"} 1"), "{}", site.metrics());
    assert!(site.metrics().contains("stoker_messages_total{listener=\"adt\",verdict=\"accepted\"} 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_patients_messages_arrive_in_order_and_patients_go_side_by_side() {
    let (under_way, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let receiver = Receiver::start_slow(Duration::from_millis(5), move |arriving, _| {
        let now = match arriving {
            true => under_way.fetch_add(1, Ordering::SeqCst) + 1,
            false => under_way.fetch_sub(1, Ordering::SeqCst),
        };
        seen.fetch_max(now, Ordering::SeqCst);
        ok()
    })
    .await;
    let site = Site::start(&receiver).await;
    let messages: Vec<_> =
        (0..200).map(|n| adt("A08", &format!("{}-{n:03}", n % 10), &format!("p{}", n % 10))).collect();
    site.send(messages).await;
    site.until_delivered(200).await;
    let ids = ids(&receiver);
    for patient in 0..10 {
        let of_patient: Vec<_> = ids.iter().filter(|id| id.starts_with(&format!("{patient}-"))).collect();
        assert_eq!(of_patient.len(), 20);
        assert!(of_patient.is_sorted(), "{of_patient:?}");
    }
    let most = most.load(Ordering::SeqCst);
    assert!((2..=10).contains(&most), "{most} at the same time");
}

#[tokio::test]
async fn a_message_that_is_tried_again_is_the_same_and_keeps_its_place() {
    let failures = AtomicUsize::new(3);
    let receiver = Receiver::start(move |request| {
        let fail = control_id(request) == "a2"
            && failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if fail { Reply::Status(503, String::new()) } else { ok() }
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send(["a1", "a2", "a3"].map(|id| adt("A08", id, "a"))).await;
    site.until_delivered(3).await;
    assert_eq!(ids(&receiver), ["a1", "a2", "a2", "a2", "a2", "a3"]);
    let requests = receiver.requests();
    assert!(requests[1..5].windows(2).all(|two| two[0].body == two[1].body), "a retry sends the same bytes");
    assert_eq!(site.row("a2").await.attempts, 4);
}

#[tokio::test]
async fn one_bad_patient_never_stops_the_others() {
    let receiver = Receiver::start(|request| match control_id(request).starts_with("bad") {
        true => Reply::Status(503, String::new()),
        false => ok(),
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "bad1", "x"), adt("A08", "bad2", "x")]).await;
    site.send((0..50).map(|n| adt("A08", &format!("good{n}"), &format!("g{n}")))).await;
    site.until_delivered(50).await;
    assert_eq!(site.row("bad1").await.status, Status::Retrying);
    assert_eq!(site.row("bad2").await.attempts, 0, "the second waits behind the first");
}

#[tokio::test]
async fn a_message_that_is_refused_for_good_is_given_up_and_the_next_one_goes() {
    let receiver = Receiver::start(|request| match control_id(request).as_str() {
        "a1" => Reply::Status(422, response("fatal-error", "invariant")),
        _ => ok(),
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send(["a1", "a2"].map(|id| adt("A08", id, "a"))).await;
    site.until("a1 dead and a2 delivered", |rows| {
        rows["a1"].status == Status::Dead && rows["a2"].status == Status::Delivered
    })
    .await;
    let dead = site.row("a1").await;
    assert_eq!(dead.reason.as_deref(), Some("HTTP 422, fatal-error: invariant"));
    assert_eq!(dead.attempts, 1, "never retried");
}

#[tokio::test]
async fn a_merge_waits_for_both_patients_and_holds_both() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let receiver = Receiver::start(move |request| match control_id(request).as_str() {
        "b1" if !gate.load(Ordering::SeqCst) => Reply::Status(503, String::new()),
        _ => ok(),
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send([
        adt("A01", "a1", "a"),
        adt("A01", "b1", "b"),
        merge("merge", "a", "b"),
        adt("A08", "a2", "a"),
        adt("A08", "b2", "b"),
        adt("A01", "c1", "c"),
    ])
    .await;
    site.until("a1 and c1 delivered", |rows| {
        rows["a1"].status == Status::Delivered && rows["c1"].status == Status::Delivered
    })
    .await;
    site.send([adt("A08", "c2", "c")]).await; // the queue has been gone through when this one has come
    site.until("c2 delivered", |rows| rows["c2"].status == Status::Delivered).await;
    assert!(["merge", "a2", "b2"].iter().all(|id| !ids(&receiver).contains(&(*id).to_owned())));
    open.store(true, Ordering::SeqCst);
    site.until_delivered(7).await;
    let ids = ids(&receiver);
    let at = |id: &str| ids.iter().rposition(|other| other == id).unwrap();
    assert!(at("b1") < at("merge") && at("merge") < at("a2") && at("merge") < at("b2"), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_down_gets_probes_and_then_the_whole_backlog_in_order() {
    let up = Arc::new(AtomicBool::new(false));
    let switch = up.clone();
    let receiver = Receiver::start(move |_| match switch.load(Ordering::SeqCst) {
        true => ok(),
        false => Reply::Status(503, String::new()),
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send((0..300).map(|n| adt("A08", &format!("{}-{n:03}", n % 30), &format!("p{}", n % 30)))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let probes = receiver.requests().len();
    assert!(probes < 60, "{probes} requests to a destination that is down");
    assert!(site.metrics().contains("stoker_destination_up 0"));
    up.store(true, Ordering::SeqCst);
    site.until_delivered(300).await;
    assert!(site.metrics().contains("stoker_destination_up 1"));
    let ids: Vec<_> = ids(&receiver).split_off(probes);
    for patient in 0..30 {
        let mut of_patient: Vec<_> = ids.iter().filter(|id| id.starts_with(&format!("{patient}-"))).collect();
        of_patient.dedup();
        assert!(of_patient.is_sorted() && of_patient.len() == 10, "{of_patient:?}");
    }
}

#[tokio::test]
async fn a_destination_that_refuses_us_holds_everything_and_kills_nothing() {
    let allowed = Arc::new(AtomicBool::new(false));
    let switch = allowed.clone();
    let receiver = Receiver::start(move |_| match switch.load(Ordering::SeqCst) {
        true => ok(),
        false => Reply::Status(401, String::new()),
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send((0..100).map(|n| adt("A08", &format!("m{n}"), &format!("p{n}")))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = receiver.requests().len();
    assert!(asked < 40, "{asked} requests to a destination that refuses us");
    assert!(site.rows().await.values().all(|row| row.status.waits()));
    allowed.store(true, Ordering::SeqCst);
    site.until_delivered(100).await;
}

#[tokio::test]
async fn after_a_crash_everything_goes_on_where_it_was() {
    let up = Arc::new(AtomicBool::new(true));
    let switch = up.clone();
    let receiver = Receiver::start(move |_| match switch.load(Ordering::SeqCst) {
        true => ok(),
        false => Reply::Status(503, String::new()),
    })
    .await;
    let mut site = Site::start(&receiver).await;
    site.send((0..20).map(|n| adt("A08", &format!("x{n:02}"), "x"))).await;
    site.until_delivered(20).await;
    up.store(false, Ordering::SeqCst);
    site.send((20..40).map(|n| adt("A08", &format!("x{n:02}"), "x"))).await;
    site.until("x20 tried", |rows| rows["x20"].attempts > 1).await;
    let before = site.row("x20").await;
    site.crash().await;

    up.store(true, Ordering::SeqCst);
    site.run().await;
    site.until_delivered(40).await;
    let after = site.row("x20").await;
    assert!(after.attempts > before.attempts && after.tried == before.tried, "attempts are counted on");
    let mut ids = ids(&receiver);
    ids.dedup();
    assert_eq!(ids.len(), 40, "in order, and none that was delivered came again");
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_and_not_delivered_twice() {
    let receiver = Receiver::start(|_| ok()).await;
    let site = Site::start(&receiver).await;
    site.send([adt("A01", "m1", "42"), adt("A01", "m1", "42"), adt("A08", "m2", "42")]).await;
    site.until_delivered(2).await;
    assert_eq!(ids(&receiver), ["m1", "m2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_lets_what_is_under_way_end_and_starts_nothing_new() {
    let receiver = Receiver::start_slow(Duration::from_millis(300), |_, _| ok()).await;
    let mut site = Site::start(&receiver).await;
    site.send(["a1", "a2"].map(|id| adt("A08", id, "a"))).await;
    while receiver.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.stop().await;
    assert_eq!(ids(&receiver), ["a1"]);
    let journal = Journal::open(&site.config.journal).unwrap();
    let statuses: Vec<_> = journal.search(Query::default()).await.unwrap().into_iter().map(|row| row.status).collect();
    assert_eq!(statuses, [Status::Received, Status::Delivered]);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let receiver = Receiver::start(|_| Reply::Silence).await;
    let short = Duration::from_millis(200);
    let mut site = Site::start_with(&receiver, |config| config.queue.drain = short).await;
    site.send([adt("A08", "a1", "a")]).await;
    while receiver.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    site.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let journal = Journal::open(&site.config.journal).unwrap();
    assert_eq!(journal.backlog().await.unwrap().waiting, 1, "it will be sent again");
}

#[tokio::test]
async fn a_message_that_cannot_be_mapped_is_given_up_unsent_and_can_be_requeued() {
    let receiver = Receiver::start(|_| ok()).await;
    let site = Site::start(&receiver).await;
    let arrival = Arrival {
        listener: "adt".into(),
        peer: ([127, 0, 0, 1], 1).into(),
        received: Timestamp::now(),
        raw: "MSH|^~\\&|APP|HOSP|||20260110||ADT^A01|m1|P|2.5\rEVN|A01".into(),
        control_id: "m1".into(),
        sender: "HOSP|APP".into(),
        event: Some("A01".into()),
        keys: Vec::new(),
        fate: Fate::Queue,
        parsed: None,
    };
    site.journal().store(arrival).await.unwrap();
    site.until("m1 dead", |rows| rows["m1"].status == Status::Dead).await;
    let row = site.row("m1").await;
    assert!(row.reason.unwrap().contains("PID"));
    assert_eq!((row.attempts, receiver.requests().len()), (0, 0));

    site.journal().record(Record::decision(row.seq, Timestamp::now(), Progress::Requeued)).await.unwrap();
    site.until("m1 dead again", |rows| rows["m1"].status == Status::Dead && rows["m1"].changed > row.changed).await;
}

#[tokio::test]
async fn a_person_can_requeue_what_was_given_up() {
    let mended = Arc::new(AtomicBool::new(false));
    let switch = mended.clone();
    let receiver = Receiver::start(move |_| match switch.load(Ordering::SeqCst) {
        true => ok(),
        false => Reply::Status(422, String::new()),
    })
    .await;
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "a1", "a")]).await;
    site.until("a1 dead", |rows| rows["a1"].status == Status::Dead).await;
    mended.store(true, Ordering::SeqCst);
    let seq = site.row("a1").await.seq;
    site.journal().record(Record::decision(seq, Timestamp::now(), Progress::Requeued)).await.unwrap();
    site.until_delivered(1).await;
}

#[tokio::test]
async fn a_message_that_nobody_else_shares_the_trouble_of_is_given_up_at_its_maximum_age() {
    let others = Mutex::new(0);
    let receiver = Receiver::start(move |request| {
        *others.lock().unwrap() += 1;
        if control_id(request) == "bad" { Reply::Status(500, String::new()) } else { ok() }
    })
    .await;
    let site = Site::start_with(&receiver, |config| config.outbound.retry.max_age = Duration::from_millis(300)).await;
    site.send([adt("A08", "bad", "x")]).await;
    for n in 0..40 {
        site.send([adt("A08", &format!("good{n}"), "y")]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.until("bad dead", |rows| rows["bad"].status == Status::Dead).await;
    let reason = site.row("bad").await.reason.unwrap();
    assert!(reason.starts_with("HTTP 500; given up after"), "{reason}");
}

#[tokio::test]
async fn the_engine_says_why_a_message_waits() {
    let receiver = Receiver::start(|request| match control_id(request).as_str() {
        "a1" => Reply::With(503, "retry-after: 60".into(), String::new()),
        "b1" => Reply::Silence,
        _ => ok(),
    })
    .await;
    let site = Site::start_with(&receiver, |config| {
        config.outbound.retry.max = Duration::from_secs(60);
        config.queue.drain = Duration::ZERO;
    })
    .await;
    site.send([adt("A08", "a1", "a"), adt("A08", "a2", "a"), adt("A08", "b1", "b"), adt("A08", "c1", "c")]).await;
    site.until("a1 tried and c1 delivered", |rows| rows["a1"].attempts == 1 && rows["c1"].status == Status::Delivered)
        .await;
    let rows = site.rows().await;
    let why = async |id: &str| site.control().why(rows[id].seq).await.unwrap();
    assert!(matches!(why("a1").await, WaitReason::PutOff { after } if after > Duration::from_secs(30)));
    assert_eq!(why("a2").await, WaitReason::Behind(vec![rows["a1"].seq]));
    assert_eq!(why("b1").await, WaitReason::UnderWay);
    assert_eq!(why("c1").await, WaitReason::NotQueued);
    let state = site.control().state().await.unwrap();
    assert_eq!((state.queued, state.under_way, state.put_off, state.paused), (3, 1, 1, false));
    assert_eq!(state.outage, None);
}

#[tokio::test]
async fn deliveries_can_be_paused_while_messages_are_received() {
    let receiver = Receiver::start(|_| ok()).await;
    let site = Site::start(&receiver).await;
    assert!(site.control().pause(true).await);
    site.send([adt("A08", "a1", "a")]).await;
    let seq = site.row("a1").await.seq;
    let deadline = Instant::now() + PATIENCE;
    while site.control().why(seq).await != Some(WaitReason::Paused) {
        assert!(Instant::now() < deadline, "the queue does not know of it");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(receiver.requests().len(), 0);
    assert!(site.control().pause(false).await);
    site.until_delivered(1).await;
}
