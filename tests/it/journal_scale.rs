//! The journal at the size of a large hospital: sixty days of 50,000 messages a day. Takes some minutes and 8 GB of disk, so it
//! runs only when asked for: `cargo test --release --test it journal_scale -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use stoker::journal::{Arrival, Fate, Journal, JournalConfig, Key, KeyKind, Progress, Query, Record, Status, Stored};

const EVENTS: [&str; 8] = ["A08", "A08", "A08", "A01", "A02", "A03", "A04", "A31"];
const PATIENTS: u64 = 200_000;

fn messages() -> u64 {
    std::env::var("MESSAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000_000)
}

fn arrival(n: u64, start: Timestamp) -> Arrival {
    let patient = n.wrapping_mul(2_654_435_761) % PATIENTS;
    let key = |kind, value: String| Key { kind, value };
    Arrival {
        listener: Arc::from("adt"),
        peer: ([10, 0, 0, 1], 4711).into(),
        received: start + SignedDuration::from_millis(i64::try_from(n * 1_728).unwrap()),
        raw: format!("MSH|{n}|{}", "x".repeat(1_400)).into_bytes().into(),
        control_id: format!("MSG{n:09}"),
        sender: "HOSP|APP".into(),
        event: Some(if n % 100_000 == 7 { "A37" } else { EVENTS[(n % 8) as usize] }.into()),
        keys: vec![
            key(KeyKind::Patient, format!("HOSP|{patient:07}")),
            key(KeyKind::Patient, format!("SSN|{:09}", patient * 31)),
            key(KeyKind::Visit, format!("HOSP|V{patient}-{}", n / 1_000_000)),
        ],
        fate: Fate::Queue,
        parsed: None,
    }
}

/// What became of it: one in twenty thousand is dead, the last thousand wait.
fn progress(n: u64, count: u64) -> Option<Progress> {
    match n {
        n if n + 1_000 >= count => None,
        n if n.is_multiple_of(20_000) => Some(Progress::Dead { reason: "HTTP 422".into() }),
        _ => Some(Progress::Delivered),
    }
}

async fn fill(journal: &Journal, start: Timestamp, count: u64) {
    let producers = 128;
    let began = Instant::now();
    let all = (0..producers).map(|producer| {
        let journal = journal.clone();
        tokio::spawn(async move {
            for n in (producer..count).step_by(128) {
                let Stored::New { seq } = journal.store(arrival(n, start)).await.unwrap() else { panic!("known") };
                if let Some(progress) = progress(n, count) {
                    journal.record(Record::decision(seq, Timestamp::now(), progress)).await.unwrap();
                }
            }
        })
    });
    futures_util::future::join_all(all).await;
    let rate = count as f64 / began.elapsed().as_secs_f64();
    eprintln!("{count} stored and recorded, {rate:.0} a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and gigabytes"]
async fn sixty_days_are_searched_in_less_than_a_second() {
    let folder = tempfile::TempDir::new_in(std::env::var("SCALE_DIR").unwrap_or("/tmp".into())).unwrap();
    let config = JournalConfig { path: folder.path().join("journal.db"), ..JournalConfig::default() };
    let (count, start) = (messages(), "2026-01-01T00:00:00Z".parse().unwrap());
    let journal = Journal::open(&config).unwrap();
    fill(&journal, start, count).await;
    drop(journal);
    eprintln!("file: {} MB", std::fs::metadata(&config.path).unwrap().len() >> 20);
    let began = Instant::now();
    let journal = Journal::open(&config).unwrap();
    eprintln!("open: {:?}", began.elapsed());

    let text = |text: String| Some(text);
    let day = |n: i64| Some(start + SignedDuration::from_hours(24 * n));
    let questions = [
        ("patient", Query { patient: text("0012345".into()), ..Query::default() }),
        ("patient by authority", Query { patient: text("HOSP|0012345".into()), ..Query::default() }),
        ("unknown patient", Query { patient: text("nobody".into()), ..Query::default() }),
        ("visit", Query { visit: text("V12345-1".into()), ..Query::default() }),
        ("control id", Query { control_id: text(format!("MSG{:09}", count / 2)), ..Query::default() }),
        ("frequent event", Query { event: text("A08".into()), ..Query::default() }),
        ("rare event", Query { event: text("A37".into()), ..Query::default() }),
        ("event in a day", Query { event: text("A01".into()), from: day(20), until: day(21), ..Query::default() }),
        ("dead", Query { status: Some(Status::Dead), ..Query::default() }),
        ("waiting", Query { status: Some(Status::Received), ..Query::default() }),
        ("retrying, of which there are none", Query { status: Some(Status::Retrying), ..Query::default() }),
        (
            "an hour",
            Query { from: day(30), until: day(30).map(|d| d + SignedDuration::from_hours(1)), ..Query::default() },
        ),
        ("the latest", Query::default()),
    ];
    for (name, query) in questions {
        let began = Instant::now();
        let found = journal.search(query).await.unwrap().len();
        let took = began.elapsed();
        eprintln!("{name}: {found} in {took:?}");
        assert!(took < Duration::from_secs(1), "{name} took {took:?}");
    }
    let began = Instant::now();
    let waiting = journal.backlog().await.unwrap().waiting;
    eprintln!("backlog: {waiting} in {:?}", began.elapsed());
    assert_eq!(waiting, count.min(1_000));
}
