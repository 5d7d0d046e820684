use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::journal::fixture::{arrival, config, open, seq};
use crate::journal::{Fate, Progress, Status};

#[tokio::test]
async fn what_was_stored_is_there_after_opening_again() {
    let (folder, journal) = open();
    let sent = arrival("1", 0);
    let first = seq(journal.store(sent.clone()).await.unwrap());
    drop(journal);

    let journal = Journal::open(&config(&folder)).unwrap();
    assert_eq!(journal.body(first).await.unwrap().unwrap(), sent.raw);
    let row = journal.row(first).await.unwrap().unwrap();
    assert_eq!((row.control_id.as_str(), row.status, row.size), ("1", Status::Received, sent.raw.len() as u64));
    assert_eq!(row.received, sent.received);
    assert_eq!(seq(journal.store(arrival("2", 0)).await.unwrap()), first + 1);
}

#[tokio::test]
async fn the_same_message_is_stored_once_and_its_first_fate_told_again() {
    let (_folder, journal) = open();
    let first = seq(journal.store(arrival("1", 0)).await.unwrap());
    let again = journal.store(arrival("1", 5)).await.unwrap();
    assert_eq!(again, Stored::Duplicate { of: first, fate: Fate::Queue });

    let mut refused = arrival("2", 0);
    refused.fate = Fate::Refuse { reason: "PID is missing".into() };
    let second = seq(journal.store(refused.clone()).await.unwrap());
    let again = journal.store(refused.clone()).await.unwrap();
    assert_eq!(again, Stored::Duplicate { of: second, fate: refused.fate });
    assert_eq!(journal.count(Query::default()).await.unwrap(), 2);
}

#[tokio::test]
async fn duplicates_that_arrive_together_are_stored_once() {
    let (_folder, journal) = open();
    let stored = futures_util::future::join_all((0..50).map(|_| journal.store(arrival("1", 0)))).await;
    let new = stored.into_iter().filter(|s| matches!(s, Ok(Stored::New { .. }))).count();
    assert_eq!(new, 1);
    assert_eq!(journal.count(Query::default()).await.unwrap(), 1);
}

#[tokio::test]
async fn a_refused_message_is_taken_when_it_comes_again_and_is_now_acceptable() {
    let (_folder, journal) = open();
    let mut refused = arrival("1", 0);
    refused.fate = Fate::Refuse { reason: "event not supported".into() };
    let first = seq(journal.store(refused).await.unwrap());
    assert!(matches!(journal.store(arrival("1", 1)).await.unwrap(), Stored::New { seq } if seq > first));
}

#[tokio::test]
async fn other_bytes_under_a_known_control_id_are_stored_and_marked() {
    let (_folder, journal) = open();
    let first = seq(journal.store(arrival("1", 0)).await.unwrap());
    let mut other = arrival("1", 1);
    other.raw = "MSH|^~\\&|another".into();
    assert_eq!(journal.store(other.clone()).await.unwrap(), Stored::Reused { seq: first + 1 });
    assert_eq!(journal.store(arrival("1", 2)).await.unwrap(), Stored::Duplicate { of: first, fate: Fate::Queue });
    let of_second = Stored::Duplicate { of: first + 1, fate: Fate::Queue };
    assert_eq!(journal.store(other).await.unwrap(), of_second);
}

#[tokio::test]
async fn a_control_id_is_free_again_after_the_window_and_another_senders_is_its_own() {
    let (_folder, journal) = open();
    let first = seq(journal.store(arrival("1", 0)).await.unwrap());
    let mut other_sender = arrival("1", 1);
    other_sender.sender = "OTHER|APP".into();
    assert_eq!(journal.store(other_sender).await.unwrap(), Stored::New { seq: first + 1 });
    let eight_days = 8 * 24 * 60;
    assert_eq!(journal.store(arrival("1", eight_days)).await.unwrap(), Stored::New { seq: first + 2 });
}

#[tokio::test]
async fn messages_without_a_control_id_are_never_duplicates() {
    let (_folder, journal) = open();
    seq(journal.store(arrival("", 0)).await.unwrap());
    assert!(matches!(journal.store(arrival("", 0)).await.unwrap(), Stored::New { .. }));
}

#[tokio::test]
async fn each_step_of_a_delivery_is_kept() {
    let (_folder, journal) = open();
    let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
    let at: Timestamp = "2026-01-10T09:00:00Z".parse().unwrap();
    let due = at + SignedDuration::from_secs(5);
    let mut record = Record::decision(seq, at, Progress::Retry { due, reason: "HTTP 503".into() });
    record.sent = true;
    record.plan = Some("abc".into());
    journal.record(record.clone()).await.unwrap();
    let row = journal.row(seq).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempts, row.due, row.tried), (Status::Retrying, 1, Some(due), Some(at)));
    assert_eq!((row.reason.as_deref(), row.plan.as_deref()), (Some("HTTP 503"), Some("abc")));

    record.progress = Progress::Delivered;
    record.at = due;
    record.bundle = Some(uuid::Uuid::from_u128(7));
    journal.record(record).await.unwrap();
    let row = journal.row(seq).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempts, row.due, row.reason), (Status::Delivered, 2, None, None));
    assert_eq!((row.tried, row.changed, row.bundle), (Some(at), due, Some(uuid::Uuid::from_u128(7))));
}

#[tokio::test]
async fn what_is_owed_stands_until_it_has_been_told_over_a_restart_too() {
    let (folder, journal) = open();
    let first = seq(journal.store(arrival("1", 0)).await.unwrap());
    let second = seq(journal.store(arrival("2", 0)).await.unwrap());
    for seq in [first, second] {
        let mut record = Record::decision(seq, Timestamp::now(), Progress::Delivered);
        record.owes = seq == second;
        journal.record(record).await.unwrap();
    }
    drop(journal);
    let journal = Journal::open(&config(&folder)).unwrap();
    let owed = journal.owed(0, 10).await.unwrap();
    assert_eq!(owed.iter().map(|owed| (owed.seq, owed.status)).collect::<Vec<_>>(), [(second, Status::Delivered)]);
    assert!(journal.owed(second, 10).await.unwrap().is_empty());
    journal.record(Record::decision(second, Timestamp::now(), Progress::Told)).await.unwrap();
    assert!(journal.owed(0, 10).await.unwrap().is_empty());
    assert_eq!(journal.row(second).await.unwrap().unwrap().status, Status::Delivered);
}

#[tokio::test]
async fn an_outcome_of_an_unknown_message_is_an_error_of_its_own() {
    let (_folder, journal) = open();
    let unknown = journal.record(Record::decision(99, Timestamp::now(), Progress::Delivered));
    let (unknown, stored) = tokio::join!(unknown, journal.store(arrival("1", 0)));
    assert_eq!(unknown, Err(StoreError::Unknown(99)));
    assert!(stored.is_ok());
}

#[tokio::test]
async fn a_full_journal_takes_no_message_and_still_records_outcomes() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(&Config { max_size: 2 << 20, ..config(&folder) }).unwrap();
    let mut stored = Vec::new();
    let full = loop {
        let mut large = arrival(&format!("{}", stored.len()), 0);
        large.raw = vec![b'x'; 20_000].into();
        match journal.store(large).await {
            Ok(s) => stored.push(seq(s)),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Full(_)), "{full}");
    assert!(stored.len() > 10);
    for seq in &stored {
        let mut record = Record::decision(*seq, Timestamp::now(), Progress::Dead { reason: "a reason".repeat(9) });
        record.detail = Some("d".repeat(300));
        journal.record(record).await.unwrap();
    }
    assert_eq!(journal.count(Query::default()).await.unwrap(), stored.len() as u64);
}

#[tokio::test]
async fn a_message_that_is_too_large_for_what_is_left_is_refused_and_the_small_ones_still_fit() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(&Config { max_size: 1 << 20, ..config(&folder) }).unwrap();
    let mut huge = arrival("huge", 0);
    huge.raw = vec![b'x'; 2 << 20].into();
    let small = (0..20).map(|n| journal.store(arrival(&n.to_string(), 0)));
    let (huge, small) = tokio::join!(journal.store(huge), futures_util::future::join_all(small));
    assert!(matches!(huge, Err(StoreError::Full(_))), "{huge:?}");
    assert!(small.iter().all(Result::is_ok), "{small:?}");
    assert_eq!(journal.count(Query::default()).await.unwrap(), 20);
}

#[tokio::test]
async fn messages_are_refused_before_the_disk_is_full() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(&Config { min_free: u64::MAX, ..config(&folder) }).unwrap();
    assert!(matches!(journal.store(arrival("1", 0)).await, Err(StoreError::Full(_))));
}

#[tokio::test]
async fn commits_are_shared_and_told_to_the_observer() {
    let (_folder, journal) = open();
    let (told, commits) = std::sync::mpsc::channel();
    journal.observe(move |commit| told.send(*commit).unwrap());
    let all = (0..200).map(|n| journal.store(arrival(&n.to_string(), 0)));
    futures_util::future::join_all(all).await;
    drop(journal);
    let commits: Vec<Commit> = commits.try_iter().collect();
    assert_eq!(commits.iter().map(|c| c.messages).sum::<usize>(), 200);
    assert!(commits.len() < 100, "200 messages took {} commits", commits.len());
}
