//! What keeps the journal small, asked for from outside: old bytes go and the disk gets the room, in small steps with
//! pauses nine times as long as a step took. The steps are [`super::tables::retention`].

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::error::StoreError;
use super::journal::Journal;
use super::model::Act;
use super::request::{Job, JobDone, Maintenance, MaintenanceDone};

/// How often it is looked whether something has become old.
const EVERY: Duration = Duration::from_secs(3600);

impl Journal {
    /// Keeps what a person is about to do. When this returns `Ok`, it is on disk; the number counts acts from 1.
    ///
    /// # Errors
    /// [`StoreError`]: it is not written, and what it stands for must not be done.
    pub async fn note(&self, act: Act) -> Result<i64, StoreError> {
        Ok(self.maintain(Maintenance::Note(act)).await?.count)
    }

    /// Removes the bytes of messages that were finished before `before`, in small steps with pauses; how many.
    ///
    /// # Errors
    /// When the journal cannot be written. What was removed before stays removed.
    pub async fn retire(&self, before: Timestamp) -> Result<u64, StoreError> {
        let (before, mut after, mut removed) = (before.as_microsecond(), 0, 0);
        loop {
            let step = self.maintain(Maintenance::Retire { before, after }).await?;
            removed += step.count.unsigned_abs();
            let Some(next) = step.next else { return Ok(removed) };
            after = next;
            tokio::time::sleep(step.took * 9).await;
        }
    }

    /// Gives free room back to the disk, in small steps with pauses, but for an eighth of the file; how many pages.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn give_back(&self) -> Result<u64, StoreError> {
        let mut pages = 0;
        loop {
            let step = self.maintain(Maintenance::GiveBack).await?;
            if step.count <= 0 {
                return Ok(pages);
            }
            pages += step.count.unsigned_abs();
            tokio::time::sleep(step.took * 9).await;
        }
    }

    /// Removes what is older than `keep` for as long as it is let; zero keeps everything.
    pub async fn keep(&self, keep: Duration) {
        let Ok(keep) = SignedDuration::try_from(keep) else { return };
        while !keep.is_zero() {
            let before = Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::MIN);
            match self.tidy(before).await {
                Ok((0, 0)) => {}
                Ok((messages, pages)) => {
                    tracing::info!(messages, pages, "bytes of old finished messages removed, free pages given back");
                }
                Err(error) => tracing::warn!(%error, "old messages cannot be removed; trying again in an hour"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn tidy(&self, before: Timestamp) -> Result<(u64, u64), StoreError> {
        Ok((self.retire(before).await?, self.give_back().await?))
    }

    async fn maintain(&self, step: Maintenance) -> Result<MaintenanceDone, StoreError> {
        match self.ask(Job::Maintain(step)).await? {
            JobDone::Maintained(tended) => Ok(tended),
            _ => Err(StoreError::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fixture::{arrival, config, open, seq};
    use crate::journal::{Fate, Progress, Record, Seq, Status};

    /// Finishes a message some minutes after the time at which all messages here begin.
    async fn finish(journal: &Journal, seq: Seq, minute: i64, progress: Progress) {
        let mut record = Record::decision(seq, arrival("", minute).received, progress);
        (record.sent, record.detail) = (true, Some("said of it".into()));
        journal.record(record).await.unwrap();
    }

    #[tokio::test]
    async fn only_bytes_of_messages_that_were_finished_before_go_and_their_rows_stay() {
        let (_folder, journal) = open();
        let mut seqs = Vec::new();
        for n in 0..5 {
            seqs.push(seq(journal.store(arrival(&n.to_string(), n)).await.unwrap()));
        }
        let mut refused = arrival("refused", 5);
        refused.fate = Fate::Refuse { reason: "no PID".into() };
        seqs.push(seq(journal.store(refused).await.unwrap()));
        finish(&journal, seqs[0], 6, Progress::Delivered).await;
        finish(&journal, seqs[1], 6, Progress::Dead { reason: "HTTP 422".into() }).await;
        finish(&journal, seqs[2], 6, Progress::Retry { due: Timestamp::now(), reason: "HTTP 503".into() }).await;
        finish(&journal, seqs[3], 200, Progress::Delivered).await;

        assert_eq!(journal.retire(arrival("", 100).received).await.unwrap(), 2);
        let mut left = Vec::new();
        for (n, seq) in seqs.iter().enumerate() {
            if journal.body(*seq).await.unwrap().is_some() {
                left.push(n);
            }
        }
        assert_eq!(left, [1, 2, 3, 4]);
        let row = journal.row(seqs[0]).await.unwrap().unwrap();
        assert_eq!((row.status, row.control_id.as_str(), row.detail), (Status::Delivered, "0", None));
    }

    #[tokio::test]
    async fn a_message_whose_bytes_are_gone_is_not_queued_again_and_the_refusal_says_why() {
        let (_folder, journal) = open();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        finish(&journal, seq, 1, Progress::Delivered).await;
        journal.retire(arrival("", 2).received).await.unwrap();
        let again = journal.record(Record::decision(seq, Timestamp::now(), Progress::Requeued)).await;
        let why = again.unwrap_err();
        assert_eq!(why, StoreError::NoBytes(seq));
        assert!(why.to_string().contains("keep_bodies") && why.to_string().contains("send it again"), "{why}");
        assert_eq!(journal.row(seq).await.unwrap().unwrap().status, Status::Delivered);
    }

    #[tokio::test]
    async fn the_file_becomes_shorter_and_what_is_left_is_whole() {
        let (folder, journal) = open();
        let size = || std::fs::metadata(config(&folder).path).unwrap().len();
        let mut seqs = Vec::new();
        for n in 0..1_200 {
            let mut large = arrival(&n.to_string(), 0);
            large.raw = vec![b'x'; 12_000].into();
            seqs.push(large);
        }
        let stored = futures_util::future::join_all(seqs.into_iter().map(|a| journal.store(a))).await;
        let seqs: Vec<Seq> = stored.into_iter().map(|s| seq(s.unwrap())).collect();
        let finished = seqs[..1_100].iter().map(|seq| finish(&journal, *seq, 1, Progress::Delivered));
        futures_util::future::join_all(finished).await;
        drop(journal);
        let before = size();
        let journal = Journal::open(&config(&folder)).unwrap();
        assert_eq!(journal.retire(arrival("", 100).received).await.unwrap(), 1_100);
        assert!(journal.give_back().await.unwrap() > 500);
        drop(journal);
        assert!(before > 14_000_000 && size() < before / 4, "{before} bytes became {}", size());
        let journal = Journal::open(&config(&folder)).unwrap();
        assert_eq!(journal.body(seqs[1_150]).await.unwrap().unwrap().len(), 12_000);
    }

    #[tokio::test]
    async fn while_old_bytes_go_new_messages_are_stored_without_waiting_for_all_of_it() {
        let (_folder, journal) = open();
        let old = (0..3_000).map(|n| journal.store(arrival(&format!("old{n}"), 0)));
        for stored in futures_util::future::join_all(old).await {
            finish(&journal, seq(stored.unwrap()), 1, Progress::Delivered).await;
        }
        let retiring = tokio::spawn({
            let journal = journal.clone();
            async move { journal.retire(arrival("", 100).received).await.unwrap() }
        });
        let mut stored = 0;
        while !retiring.is_finished() {
            seq(journal.store(arrival(&format!("new{stored}"), 500)).await.unwrap());
            stored += 1;
        }
        assert_eq!(retiring.await.unwrap(), 3_000);
        assert!(stored >= 5, "only {stored} messages came between the steps");
    }
}
