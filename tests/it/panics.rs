//! A bug of ours that one message meets.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use stoker::engine::attempt::Attempts;
use stoker::engine::mapper::{self, Mapper};
use stoker::engine::rules::SiteRules;
use stoker::engine::worker::Worker;
use stoker::journal::{Arrival, Fate, Journal, JournalConfig, Key, KeyKind, Line, Parsed, Query, Status};
use stoker::mapping::{Context, ConvertError, Converted, Identifiers, MappingConfig, Plan};
use stoker::metrics::Metrics;
use stoker::mllp::ListenerConfig;
use stoker::mllp::config::ApplicationAcks;
use stoker::outbound::{Client, DestinationConfig};
use tokio_util::sync::CancellationToken;

use crate::delivery::{PATIENCE, adt, ok};
use crate::receiver::Receiver;

/// The mapping, with a bug that the messages of control id `bug...` meet.
fn with_a_bug(plan: &Plan, raw: &[u8], parsed: Option<&Parsed>, context: &Context) -> Result<Converted, ConvertError> {
    assert!(!String::from_utf8_lossy(raw).contains("|bug"), "a bug of ours");
    mapper::map(plan, raw, parsed, context)
}

async fn store(journal: &Journal, id: &str, patient: &str) {
    let raw = String::from_utf8(adt("A08", id, patient)).unwrap().replacen("|P|2.5.1\r", "|P|2.5.1|||AL|AL\r", 1);
    let arrival = Arrival {
        listener: "adt".into(),
        peer: "127.0.0.1:4000".parse().unwrap(),
        received: Timestamp::now(),
        raw: raw.into_bytes().into(),
        control_id: id.into(),
        sender: "HOSP|APP".into(),
        event: Some("A08".into()),
        keys: vec![Key { kind: KeyKind::Patient, value: format!("HOSP|{patient}") }],
        fate: Fate::Queue,
        parsed: None,
    };
    journal.enqueue(&Line::default(), arrival).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_mapping_is_a_dead_letter_of_that_message_told_to_its_sender_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| ok()).await;
    let journal =
        Journal::open(&JournalConfig { path: folder.path().join("journal.db"), ..JournalConfig::default() }).unwrap();
    let plan = Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap();
    let plan = Arc::new(ArcSwap::from_pointee(plan));
    let later = ListenerConfig { application_acks: ApplicationAcks::Later, ..ListenerConfig::default() };
    let destination = DestinationConfig { url: receiver.url(), ..DestinationConfig::default() };
    let attempts = Attempts {
        journal: journal.clone(),
        client: Client::new(&destination).unwrap(),
        plan: plan.clone(),
        rules: SiteRules::new(&[later], Some(plan)).unwrap(),
        mapper: Mapper::with(with_a_bug),
        sending: tokio::sync::Semaphore::new(8),
        retry: destination.retry,
        promote: false,
        bell: Arc::default(),
        metrics: Arc::new(Metrics::new()),
        up: AtomicBool::new(true),
        doubts: Default::default(),
    };
    let (worker, _control) = Worker::new(Arc::new(attempts), 4, 1_000, false);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(journal.feed(), shutdown.clone(), Duration::from_secs(5)));
    for (id, patient) in [("a1", "a"), ("bug1", "a"), ("a2", "a"), ("b1", "b"), ("bug2", "b"), ("b2", "b")] {
        store(&journal, id, patient).await;
    }
    let until = Instant::now() + PATIENCE;
    let rows = loop {
        let rows = journal.search(Query { limit: 100, ..Query::default() }).await.unwrap();
        if rows.len() == 6 && rows.iter().all(|row| !row.status.waits()) {
            break rows;
        }
        assert!(Instant::now() < until, "{rows:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    for row in &rows {
        let bug = row.control_id.starts_with("bug");
        assert_eq!(row.status, if bug { Status::Dead } else { Status::Delivered }, "{row:?}");
        assert_eq!(bug, row.reason.as_deref().is_some_and(|reason| reason.contains("internal fault")), "{row:?}");
    }
    let owed = journal.owed(0, 100).await.unwrap();
    let dead = owed.iter().filter(|owed| owed.status == Status::Dead).count();
    assert_eq!((owed.len(), dead), (6, 2), "senders are told of these too");
    shutdown.cancel();
    running.await.unwrap();
}
