//! What waits to be delivered, in the order of its commits: first what was left from before, then what comes in.
//!
//! Whoever keeps up hears of each message from the thread that files, in memory. Whoever has fallen behind further than
//! that thread remembers ([`Head`]), or has just begun, reads the tables page by page, so that an engine that lags costs no
//! memory. Both give the same messages in the same order.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use super::reader::Reader;
use crate::journal::error::ReadError;
use crate::journal::keys;
use crate::journal::model::{Queued, Seq, Status};
use crate::journal::tables::head::{HELD, Head};
use crate::journal::tables::schema::WAITING;
use crate::journal::watermarks::Watermarks;

/// What is new in the queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// To be put at the end of their lanes, in this order.
    pub queued: Vec<Queued>,
    /// Already in their lanes, waiting for their due time: a person wants them tried now.
    pub hurried: Vec<Seq>,
    /// Discarded by a person: they are not to be delivered any more.
    pub discarded: Vec<Seq>,
    /// Given up before this feed began; only for one that asked for [dead letters](Feed::with_dead_letters).
    pub dead: Vec<Queued>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.hurried.is_empty() && self.discarded.is_empty() && self.dead.is_empty()
    }
}

/// One reader of the queue. There is one engine, so there is one feed.
#[derive(Debug)]
pub struct Feed {
    reader: Arc<Reader>,
    head: watch::Receiver<Head>,
    /// Everything up to here has been handed on.
    last: Seq,
    /// Taken from the head, not yet handed on.
    requeued: Vec<(Seq, Status)>,
    discarded: Vec<Seq>,
    /// Whether the dead letters are still to be handed on.
    dead: bool,
    page: usize,
    /// Until everything that was stored before the first call is in the tables.
    late: Option<Arc<Watermarks>>,
}

impl Feed {
    pub fn new(reader: Arc<Reader>, head: watch::Receiver<Head>, marks: Arc<Watermarks>) -> Self {
        let (requeued, discarded) = (Vec::new(), Vec::new());
        Self { reader, head, last: 0, requeued, discarded, dead: false, page: HELD, late: Some(marks) }
    }

    /// Hands on what was given up before, too, ahead of all that waits: for an engine that holds back what comes after.
    #[must_use]
    pub fn with_dead_letters(self) -> Self {
        Self { dead: true, ..self }
    }

    /// The next part of the queue; waits until there is one. `None` when the journal is closed.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the file cannot be read. The next call tries the same part again.
    pub async fn next(&mut self) -> Result<Option<News>, ReadError> {
        if let Some(marks) = &self.late {
            marks.caught_up().await;
            self.late = None;
        }
        loop {
            let (newest, unheard) = {
                let head = self.head.borrow_and_update();
                (head.newest, head.take())
            };
            self.requeued.extend(unheard.requeued);
            self.discarded.extend(unheard.discarded);
            if newest <= self.last && self.requeued.is_empty() && self.discarded.is_empty() && !self.dead {
                if self.head.changed().await.is_err() {
                    return Ok(None);
                }
                continue;
            }
            let followed = unheard.after <= self.last && unheard.queued.len() <= self.page;
            let news = if followed && !self.asks_the_tables() {
                self.hear(newest, unheard.queued)
            } else {
                self.read(newest).await?
            };
            if !news.is_empty() {
                return Ok(Some(news));
            }
        }
    }

    /// Whether there is something to be told that only the tables know.
    fn asks_the_tables(&self) -> bool {
        self.dead || !self.requeued.is_empty()
    }

    /// Nothing was missed: all that waits behind the last message is here.
    fn hear(&mut self, newest: Seq, mut queued: Vec<Queued>) -> News {
        queued.retain(|queued| queued.seq > self.last);
        self.last = self.last.max(newest);
        News { queued, discarded: std::mem::take(&mut self.discarded), ..News::default() }
    }

    async fn read(&mut self, newest: Seq) -> Result<News, ReadError> {
        let (after, limit) = (self.last, self.page);
        // Those ahead of the cursor will be found by a page.
        let requeued = self.requeued.iter().filter(|(seq, _)| *seq <= after);
        let (hurried, mut again): (Vec<_>, Vec<_>) = requeued.copied().partition(|(_, was)| was.waits());
        again.sort_unstable_by_key(|(seq, _)| *seq); // those of one patient in the order of their arrival
        let letters = self.dead;
        let page = self.reader.run(move |connection| {
            let dead = if letters { dead(connection)? } else { Vec::new() };
            let mut queued = Vec::new();
            for (seq, _) in again {
                queued.extend(one(connection, seq)?);
            }
            let page = pending(connection, after, limit)?;
            let (last, full) = (page.last().map_or(after, |q| q.seq), page.len() == limit);
            queued.extend(page);
            Ok((dead, queued, if full { last } else { last.max(newest) }))
        });
        let (dead, queued, last) = page.await?;
        self.last = last;
        self.requeued.clear();
        self.dead = false;
        let discarded = std::mem::take(&mut self.discarded);
        Ok(News { queued, hurried: hurried.into_iter().map(|(seq, _)| seq).collect(), discarded, dead })
    }
}

/// The next `limit` messages after `after` that wait, in order.
pub fn pending(connection: &Connection, after: Seq, limit: usize) -> rusqlite::Result<Vec<Queued>> {
    let sql = format!(
        "SELECT seq, keys, listener FROM message INDEXED BY message_waiting
         WHERE {WAITING} AND seq > ?1 ORDER BY seq LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![after, limit], queued)?;
    rows.collect()
}

/// What was given up, in order.
fn dead(connection: &Connection) -> rusqlite::Result<Vec<Queued>> {
    let sql = "SELECT seq, keys, listener FROM message WHERE status = 'dead' ORDER BY seq";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], queued)?;
    rows.collect()
}

fn one(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Queued>> {
    let sql = format!("SELECT seq, keys, listener FROM message WHERE {WAITING} AND seq = ?1");
    connection.prepare_cached(&sql)?.query_row([seq], queued).optional()
}

fn queued(row: &rusqlite::Row<'_>) -> rusqlite::Result<Queued> {
    Ok(Queued::new(row.get(0)?, keys::hashes(row.get_ref(1)?.as_str()?), row.get_ref(2)?.as_str()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::journal::fixture::{arrival, config, open, patient, seq, visit};
    use crate::journal::keys::Hashes;
    use crate::journal::{Fate, Journal, Progress, Record};

    async fn seqs(feed: &mut Feed) -> Vec<Seq> {
        feed.next().await.unwrap().unwrap().queued.into_iter().map(|q| q.seq).collect()
    }

    async fn is_quiet(feed: &mut Feed) -> bool {
        tokio::time::timeout(Duration::from_millis(50), feed.next()).await.is_err()
    }

    async fn record(journal: &Journal, seq: Seq, progress: Progress) {
        journal.record(Record::decision(seq, Timestamp::now(), progress)).await.unwrap();
    }

    #[tokio::test]
    async fn the_backlog_comes_first_then_what_arrives() {
        let (folder, journal) = open();
        let mut waiting = Vec::new();
        for n in 0..10 {
            waiting.push(seq(journal.store(arrival(&n.to_string(), 0)).await.unwrap()));
        }
        let delivered = waiting.remove(3);
        record(&journal, delivered, Progress::Delivered).await;
        let retry = Progress::Retry { due: Timestamp::now(), reason: "busy".into() };
        record(&journal, waiting[0], retry).await;
        drop(journal);

        let journal = Journal::open(&config(&folder)).unwrap();
        let mut feed = journal.feed();
        assert_eq!(seqs(&mut feed).await, waiting);
        assert!(is_quiet(&mut feed).await);
        let new = seq(journal.store(arrival("new", 0)).await.unwrap());
        assert_eq!(seqs(&mut feed).await, [new]);
    }

    #[tokio::test]
    async fn a_feed_that_lags_reads_page_by_page_and_misses_nothing() {
        let (_folder, journal) = open();
        let mut feed = journal.feed();
        feed.page = 7;
        let mut stored = Vec::new();
        for n in 0..100 {
            stored.push(seq(journal.store(arrival(&n.to_string(), 0)).await.unwrap()));
        }
        let mut read = Vec::new();
        while read.len() < stored.len() {
            let page = seqs(&mut feed).await;
            assert!(page.len() <= 7);
            read.extend(page);
        }
        assert_eq!(read, stored);
        assert!(is_quiet(&mut feed).await);
    }

    #[tokio::test]
    async fn what_is_not_to_be_delivered_is_not_in_the_feed() {
        let (_folder, journal) = open();
        let mut feed = journal.feed();
        let mut skipped = arrival("1", 0);
        skipped.fate = Fate::Skip { reason: "A60 is not supported".into() };
        seq(journal.store(skipped).await.unwrap());
        assert!(is_quiet(&mut feed).await);
        let queued = seq(journal.store(arrival("2", 0)).await.unwrap());
        journal.store(arrival("2", 0)).await.unwrap();
        assert_eq!(seqs(&mut feed).await, [queued]);
        assert!(is_quiet(&mut feed).await);
    }

    #[tokio::test]
    async fn a_dead_message_comes_again_when_a_person_wants_it() {
        let (_folder, journal) = open();
        let mut feed = journal.feed();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        assert_eq!(seqs(&mut feed).await, [seq]);
        record(&journal, seq, Progress::Dead { reason: "HTTP 422".into() }).await;
        assert!(is_quiet(&mut feed).await);
        record(&journal, seq, Progress::Requeued).await;
        assert_eq!(seqs(&mut feed).await, [seq]);
        assert!(is_quiet(&mut feed).await);
    }

    #[tokio::test]
    async fn dead_letters_come_before_the_backlog_to_a_feed_that_asks_for_them() {
        let (folder, journal) = open();
        let mut waiting = Vec::new();
        for n in 0..4 {
            waiting.push(seq(journal.store(arrival(&n.to_string(), 0)).await.unwrap()));
        }
        let dead = waiting.remove(2);
        record(&journal, dead, Progress::Dead { reason: "HTTP 422".into() }).await;
        drop(journal);

        let journal = Journal::open(&config(&folder)).unwrap();
        let mut feed = journal.feed().with_dead_letters();
        let news = feed.next().await.unwrap().unwrap();
        let numbers = |queued: &[Queued]| queued.iter().map(|q| q.seq).collect::<Vec<_>>();
        assert_eq!((numbers(&news.dead), numbers(&news.queued)), (vec![dead], waiting));
        assert!(is_quiet(&mut feed).await, "they come once");
        assert!(journal.feed().next().await.unwrap().unwrap().dead.is_empty());
    }

    #[tokio::test]
    async fn what_a_person_discards_is_told() {
        let (_folder, journal) = open();
        let mut feed = journal.feed();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        assert_eq!(seqs(&mut feed).await, [seq]);
        record(&journal, seq, Progress::Skipped { reason: "a test".into() }).await;
        let news = feed.next().await.unwrap().unwrap();
        assert_eq!(news, News { discarded: vec![seq], ..News::default() });
    }

    #[tokio::test]
    async fn a_message_requeued_before_the_feed_reached_it_comes_once() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        record(&journal, seq, Progress::Dead { reason: "HTTP 422".into() }).await;
        record(&journal, seq, Progress::Requeued).await;
        let mut feed = journal.feed();
        assert_eq!(seqs(&mut feed).await, [seq]);
        assert!(is_quiet(&mut feed).await);
    }

    #[tokio::test]
    async fn a_retrying_message_is_hurried_and_not_queued_twice() {
        let (_folder, journal) = open();
        let mut feed = journal.feed();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        assert_eq!(seqs(&mut feed).await, [seq]);
        let due = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        record(&journal, seq, Progress::Retry { due, reason: "busy".into() }).await;
        record(&journal, seq, Progress::Requeued).await;
        let news = feed.next().await.unwrap().unwrap();
        assert_eq!(news, News { hurried: vec![seq], ..News::default() });
        assert_eq!(journal.row(seq).await.unwrap().unwrap().due, None);
    }

    #[tokio::test]
    async fn lanes_are_those_of_patients_and_visits_or_else_of_the_source() {
        let (_folder, journal) = open();
        let mut feed = journal.feed();
        let mut both = arrival("1", 0);
        both.keys = vec![patient("H|42"), visit("H|V1")];
        let mut same_patient = arrival("2", 0);
        same_patient.keys = vec![patient("42")];
        let (none, mut elsewhere) = (arrival("3", 0), arrival("4", 0));
        elsewhere.listener = "lab".into();
        for one in [both, same_patient, none, elsewhere] {
            seq(journal.store(one).await.unwrap());
        }
        let lanes: Vec<Hashes> = feed.next().await.unwrap().unwrap().queued.into_iter().map(|q| q.lanes).collect();
        assert_eq!(lanes[0].len(), 2);
        assert_eq!(lanes[1].as_slice(), &lanes[0][..1]);
        assert_eq!((lanes[2].len(), lanes[3].len()), (1, 1));
        assert_ne!(lanes[2], lanes[3]);
    }
}
