//! The one thread that writes: takes what waits, commits it as one, then answers each.
//!
//! Producers send over a bounded channel and wait for their answer, so a slow disk slows the senders down instead of
//! filling the memory. While one batch is being synced the next gathers; nothing waits for a timer.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::feed::Head;
use super::keep::{Chore, Tended};
use super::row::Status;
use super::{Arrival, Record, StoreError, Stored};

pub(super) enum Job {
    Store(Box<Intake>),
    Record(Box<Record>),
    Tend(Chore),
}

pub(super) struct Intake {
    pub arrival: Arrival,
    pub digest: [u8; 16],
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Done {
    Stored(Stored),
    Recorded,
    Requeued { was: Status },
    Tended(Tended),
}

/// Where batches are written to. The writer knows nothing of SQL, and this is all that another database would have to
/// bring.
pub(super) trait Ledger: Send + 'static {
    /// Writes all jobs in one durable transaction. `Err`: nothing of it was written, or cannot be known to have been.
    /// An error inside the list is one job's own, and does not touch the others.
    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Result<Done, StoreError>>, StoreError>;
}

pub(super) struct Post {
    pub job: Job,
    pub reply: oneshot::Sender<Result<Done, StoreError>>,
}

/// One commit, for the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    pub messages: usize,
    pub records: usize,
    pub bytes: usize,
    pub took: Duration,
    pub failed: bool,
}

pub(super) type Observer = Arc<OnceLock<Box<dyn Fn(&Commit) + Send + Sync>>>;

pub(super) struct Writer<L> {
    pub ledger: L,
    pub head: watch::Sender<Head>,
    pub observer: Observer,
    pub batch_messages: usize,
    pub batch_bytes: usize,
}

impl<L: Ledger> Writer<L> {
    /// Until the last producer is gone.
    pub(super) fn run(mut self, mut posts: mpsc::Receiver<Post>) {
        while let Some(first) = posts.blocking_recv() {
            let batch = self.gather(first, &mut posts);
            self.settle(batch);
        }
    }

    fn gather(&self, first: Post, posts: &mut mpsc::Receiver<Post>) -> Vec<Post> {
        let mut bytes = first.job.bytes();
        let mut batch = vec![first];
        while batch.len() < self.batch_messages && bytes < self.batch_bytes {
            let Ok(next) = posts.try_recv() else { break };
            bytes += next.job.bytes();
            batch.push(next);
        }
        batch
    }

    fn settle(&mut self, batch: Vec<Post>) {
        let (jobs, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|post| (post.job, post.reply)).unzip();
        match self.commit(&jobs) {
            Ok(outcomes) => {
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    answer(reply, outcome);
                }
            }
            Err(StoreError::Io(reason)) => {
                for reply in replies {
                    answer(reply, Err(StoreError::Io(reason.clone())));
                }
            }
            Err(error) if jobs.len() == 1 => replies.into_iter().for_each(|reply| answer(reply, Err(error.clone()))),
            // One message too large for what is left must not take the others with it.
            Err(_) => jobs.into_iter().zip(replies).for_each(|(job, reply)| self.settle(vec![Post { job, reply }])),
        }
    }

    fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
        let started = Instant::now();
        let result = self.ledger.commit(jobs);
        if let Ok(outcomes) = &result {
            self.publish(jobs, outcomes);
        }
        if let Some(observe) = self.observer.get() {
            let messages = jobs.iter().filter(|job| matches!(job, Job::Store(_))).count();
            let records = jobs.iter().filter(|job| matches!(job, Job::Record(_))).count();
            observe(&Commit {
                messages,
                records,
                bytes: jobs.iter().map(Job::bytes).sum(),
                took: started.elapsed(),
                failed: result.is_err(),
            });
        }
        result
    }

    /// Tells the feed how far it may read now.
    fn publish(&self, jobs: &[Job], outcomes: &[Result<Done, StoreError>]) {
        let newest = outcomes.iter().rev().find_map(|outcome| match outcome {
            Ok(Done::Stored(Stored::New { seq } | Stored::Reused { seq })) => Some(*seq),
            _ => None,
        });
        let requeued: Vec<_> = jobs
            .iter()
            .zip(outcomes)
            .filter_map(|(job, outcome)| match (job, outcome) {
                (Job::Record(record), Ok(Done::Requeued { was })) => Some((record.seq, *was)),
                _ => None,
            })
            .collect();
        let discarded: Vec<_> = jobs
            .iter()
            .zip(outcomes)
            .filter_map(|(job, outcome)| match (job, outcome) {
                (Job::Record(record), Ok(_)) => record.is_discard().then_some(record.seq),
                _ => None,
            })
            .collect();
        if newest.is_none() && requeued.is_empty() && discarded.is_empty() {
            return;
        }
        self.head.send_modify(|head| {
            head.newest = newest.unwrap_or(head.newest);
            head.requeue(&requeued);
            head.discard(&discarded);
        });
    }
}

/// A producer that has gone away meanwhile, because its connection broke, does not need the answer.
fn answer(reply: oneshot::Sender<Result<Done, StoreError>>, outcome: Result<Done, StoreError>) {
    drop(reply.send(outcome));
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Store(intake) => intake.arrival.raw.len(),
            Self::Record(_) | Self::Tend(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;
    use crate::journal::fixture::arrival;

    /// A disk that fails when it is told to, which no real one does.
    struct Failing {
        next: std_mpsc::Receiver<Option<StoreError>>,
        seq: i64,
    }

    impl Ledger for Failing {
        fn commit(&mut self, jobs: &[Job]) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
            match self.next.try_recv() {
                Ok(Some(error)) => Err(error),
                _ => Ok(jobs.iter().map(|_| self.stored()).collect()),
            }
        }
    }

    impl Failing {
        fn stored(&mut self) -> Result<Done, StoreError> {
            self.seq += 1;
            Ok(Done::Stored(Stored::New { seq: self.seq }))
        }
    }

    struct Bench {
        writer: Writer<Failing>,
        fail: std_mpsc::Sender<Option<StoreError>>,
        head: watch::Receiver<Head>,
    }

    fn bench() -> Bench {
        let (fail, next) = std_mpsc::channel();
        let (sender, head) = watch::channel(Head::at(0));
        let ledger = Failing { next, seq: 0 };
        let writer =
            Writer { ledger, head: sender, observer: Observer::default(), batch_messages: 3, batch_bytes: 1 << 20 };
        Bench { writer, fail, head }
    }

    type Answer = oneshot::Receiver<Result<Done, StoreError>>;

    /// Posts that wait before the writer starts, so that what makes a batch is certain.
    fn posts(count: usize) -> (mpsc::Receiver<Post>, Vec<Answer>) {
        let (sender, receiver) = mpsc::channel(count);
        let answers = (0..count).map(|n| {
            let (reply, answer) = oneshot::channel();
            let intake = Intake { arrival: arrival(&n.to_string(), 0), digest: [0; 16] };
            sender.try_send(Post { job: Job::Store(Box::new(intake)), reply }).map_err(|_| "full").unwrap();
            answer
        });
        let answers = answers.collect();
        (receiver, answers)
    }

    fn oks(answers: Vec<Answer>) -> Vec<bool> {
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap().is_ok()).collect()
    }

    #[test]
    fn a_failed_commit_is_ok_for_nobody_and_the_next_batch_goes_on() {
        let Bench { writer, fail, head } = bench();
        let (waiting, answers) = posts(5);
        fail.send(Some(StoreError::Io("fsync failed".into()))).unwrap();
        writer.run(waiting);
        assert_eq!(oks(answers), [false, false, false, true, true]);
        assert_eq!(head.borrow().newest, 2);
    }

    #[test]
    fn when_a_batch_does_not_fit_each_is_tried_alone() {
        let Bench { writer, fail, .. } = bench();
        let (waiting, answers) = posts(3);
        let full = || Some(StoreError::Full("no pages".into()));
        for next in [full(), None, full(), None] {
            fail.send(next).unwrap();
        }
        writer.run(waiting);
        assert_eq!(oks(answers), [true, false, true]);
    }

    #[test]
    fn a_failed_commit_is_not_published() {
        let Bench { writer, fail, head } = bench();
        let (waiting, answers) = posts(1);
        fail.send(Some(StoreError::Io("fsync failed".into()))).unwrap();
        writer.run(waiting);
        assert_eq!(oks(answers), [false]);
        assert_eq!(head.borrow().newest, 0);
    }
}
