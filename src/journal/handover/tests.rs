use std::sync::mpsc;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::journal::fixture::{arrival, config, open, patient, seq};
use crate::journal::read::pending::{Feed, News};
use crate::journal::read::reader::Work;
use crate::journal::{Journal, JournalConfig, Progress, Record, Status};

#[test]
fn what_is_under_way_stays_within_its_bound_and_makes_room_when_it_has_arrived() {
    let under_way = UnderWay::new(10);
    let first = under_way.load(6).unwrap();
    assert!(under_way.load(5).is_none());
    let second = under_way.load(4).unwrap();
    drop(first);
    assert!(under_way.load(6).is_some());
    drop(second);
    assert!(under_way.load(11).is_none(), "more than may ever be under way goes by the disk");
}

#[test]
fn fresh_messages_stay_within_their_bound_and_the_earlier_ones_stay() {
    let one = weight(&arrival("1", 0));
    let fresh = FreshMessages::new(3 * one);
    (1..=5).for_each(|seq| fresh.add(seq, arrival("1", 0)));
    assert_eq!(fresh.weight(), 3 * one);
    let there: Vec<bool> = (1..=5).map(|seq| fresh.take(seq).is_some()).collect();
    assert_eq!(there, [true, true, true, false, false]);
    assert_eq!(fresh.weight(), 0);
}

#[test]
fn what_nobody_delivers_does_not_stay_and_nothing_is_kept_for_who_is_far_behind() {
    let fresh = FreshMessages::new(usize::MAX);
    let now = Instant::now();
    fresh.add_at(now, 1, arrival("1", 0));
    fresh.add_at(now + FRESH_FOR, AHEAD, arrival("2", 0));
    assert!(fresh.weight() > weight(&arrival("1", 0)));
    fresh.add_at(now + FRESH_FOR * 3, AHEAD + 1, arrival("3", 0));
    assert_eq!(fresh.weight(), 0);
    assert!(fresh.take(AHEAD + 1).is_none());
    fresh.add_at(now + FRESH_FOR * 3, AHEAD + 2, arrival("4", 0));
    assert!(fresh.take(AHEAD + 2).is_some(), "who asks for the latest keeps up");
}

#[test]
fn a_fresh_message_is_taken_once() {
    let fresh = FreshMessages::new(1 << 20);
    fresh.add(1, arrival("1", 0));
    assert!(fresh.take(1).is_some() && fresh.take(1).is_none());
}

/// Nothing goes in memory here.
const NONE: Bounds = Bounds { under_way: 0, fresh: 0 };

fn open_within(bounds: Bounds) -> (TempDir, Journal) {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open_within(&config(&folder), bounds).unwrap();
    (folder, journal)
}

/// With a key in every second, something made of its bytes, and a time that is finer than the tables'.
fn message(n: i64) -> Arrival {
    let mut message = arrival(&n.to_string(), n);
    message.received += Duration::from_nanos(1_234_567_891);
    message.keys.extend((n % 2 == 0).then(|| patient(&format!("H|{n}"))));
    message.parsed = Some(Parsed { made: Arc::new(n), size: 2 * message.raw.len() });
    message
}

async fn next(feed: &mut Feed) -> News {
    timeout(Duration::from_secs(10), feed.next()).await.unwrap().unwrap().unwrap()
}

async fn work(journal: &Journal, seq: Seq) -> Option<Work> {
    journal.work(vec![seq]).await.unwrap().pop()
}

/// Everything but what was made of the bytes, which no disk has.
fn as_text(work: Work) -> String {
    format!("{:?}", Work { parsed: None, ..work })
}

async fn record(journal: &Journal, seq: Seq, progress: Progress) {
    let mut record = Record::decision(seq, Timestamp::now(), progress);
    record.sent = !matches!(record.progress, Progress::Requeued | Progress::Skipped { .. });
    journal.record(record).await.unwrap();
    journal.row(seq).await.unwrap(); // it is in the tables
}

#[tokio::test]
async fn what_comes_from_memory_is_the_same_as_what_comes_from_the_disk() {
    let ((_one, memory), (_other, disk)) = (open(), open_within(NONE));
    let (mut of_memory, mut of_disk) = (memory.feed(), disk.feed());
    for n in 1..=6 {
        assert_eq!(seq(memory.store(message(n)).await.unwrap()), seq(disk.store(message(n)).await.unwrap()));
        assert_eq!(next(&mut of_memory).await, next(&mut of_disk).await);
        let first = work(&memory, n).await.unwrap();
        let made = first.parsed.as_ref().unwrap().made.downcast_ref::<i64>();
        assert_eq!(made, Some(&n), "what was made of the bytes comes with them");
        let again = work(&memory, n).await.unwrap();
        let elsewhere = work(&disk, n).await.unwrap();
        assert!(again.parsed.is_none() && elsewhere.parsed.is_none(), "read from the disk");
        let first = as_text(first);
        assert_eq!((first.clone(), first), (as_text(again), as_text(elsewhere)));
    }
}

#[tokio::test]
async fn who_keeps_up_needs_no_table() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(&JournalConfig { readers: 1, ..config(&folder) }).unwrap();
    let mut feed = journal.feed();
    seq(journal.store(message(1)).await.unwrap());
    next(&mut feed).await;
    let (release, held) = mpsc::channel::<()>();
    let reader = Arc::clone(journal.reader());
    let (occupied, begun) = tokio::sync::oneshot::channel();
    let occupying = tokio::spawn(async move {
        reader.run(move |_| Ok(occupied.send(()).is_ok() && held.recv().is_err())).await.unwrap();
    });
    begun.await.unwrap();
    for n in 2..40 {
        let stored = seq(journal.store(message(n)).await.unwrap());
        assert_eq!(next(&mut feed).await.queued[0].seq, stored);
        let work = timeout(Duration::from_secs(10), work(&journal, stored)).await.unwrap().unwrap();
        assert_eq!(work.raw, message(n).raw);
    }
    drop(release);
    occupying.await.unwrap();
}

#[tokio::test]
async fn who_falls_behind_reads_from_the_disk_and_misses_nothing() {
    let one = weight(&message(1));
    let (_folder, journal) = open_within(Bounds { under_way: 2 * one, fresh: 3 * one });
    let mut feed = journal.feed();
    let stored = futures_util::future::join_all((1..=50).map(|n| journal.store(message(n)))).await;
    assert!(stored.into_iter().all(|stored| stored.is_ok()));
    let mut queued = Vec::new();
    while queued.len() < 50 {
        queued.extend(next(&mut feed).await.queued.into_iter().map(|queued| queued.seq));
        assert!(journal.fresh().weight() <= 3 * one);
    }
    assert_eq!(queued, (1..=50).collect::<Vec<_>>());
    let (mut in_memory, mut ids) = (0, Vec::new());
    for seq in queued {
        let work = work(&journal, seq).await.unwrap();
        in_memory += usize::from(work.parsed.is_some());
        ids.push(work.raw);
    }
    assert!(in_memory <= 3, "{in_memory} were in memory");
    let mut sent: Vec<Bytes> = (1..=50).map(|n| message(n).raw).collect();
    ids.sort();
    sent.sort();
    assert_eq!(ids, sent);
}

#[tokio::test]
async fn what_has_become_of_a_message_is_known_to_its_delivery() {
    let (_folder, journal) = open();
    let mut seqs = Vec::new();
    for n in 1..=4 {
        seqs.push(seq(journal.store(message(n)).await.unwrap()));
    }
    journal.row(seqs[3]).await.unwrap();
    assert!(journal.fresh().weight() > 0);
    let due = Timestamp::now() + Duration::from_secs(60);
    record(&journal, seqs[0], Progress::Skipped { reason: "by jo".into() }).await;
    record(&journal, seqs[1], Progress::Retry { due, reason: "HTTP 503".into() }).await;
    record(&journal, seqs[2], Progress::Requeued).await;
    record(&journal, seqs[3], Progress::Dead { reason: "HTTP 422".into() }).await;
    assert_eq!(journal.fresh().weight(), 0);
    assert!(work(&journal, seqs[0]).await.is_none() && work(&journal, seqs[3]).await.is_none());
    let tried = work(&journal, seqs[1]).await.unwrap();
    assert_eq!((tried.status, tried.attempts), (Status::Retrying, 1));
    assert_eq!(tried.due.map(Timestamp::as_microsecond), Some(due.as_microsecond()));
    let requeued = work(&journal, seqs[2]).await.unwrap();
    assert_eq!((requeued.status, requeued.parsed.is_none()), (Status::Received, true));
}

#[tokio::test]
async fn a_message_that_is_discarded_before_it_is_filed_is_neither_queued_nor_delivered() {
    let (folder, journal) = open();
    let mut feed = journal.feed();
    let first = seq(journal.store(message(1)).await.unwrap());
    next(&mut feed).await;
    let other = rusqlite::Connection::open(config(&folder).path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let discarded = seq(journal.store(message(2)).await.unwrap());
    let kept = seq(journal.store(message(3)).await.unwrap());
    let reason = "by jo".to_owned();
    let decision = journal.record(Record::decision(discarded, Timestamp::now(), Progress::Skipped { reason }));
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.execute_batch("ROLLBACK").unwrap();
    };
    let (decided, ()) = tokio::join!(decision, release);
    decided.unwrap();
    let (mut queued, mut told) = (Vec::new(), Vec::new());
    while !(queued.contains(&kept) && told.contains(&discarded)) {
        let news = next(&mut feed).await;
        queued.extend(news.queued.into_iter().map(|queued| queued.seq));
        told.extend(news.discarded);
    }
    assert!(work(&journal, discarded).await.is_none());
    assert!(work(&journal, kept).await.is_some() && work(&journal, first).await.is_some());
}
