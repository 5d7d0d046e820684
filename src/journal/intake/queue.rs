//! What waits for the thread that writes the log, in the order in which it was posted.
//!
//! A place is taken at once: what is posted first is written first, whatever becomes of its producer meanwhile. That the
//! memory stays bounded is up to the producers: who has more to bring waits until the journal is [ready](IntakeQueue::ready), and
//! posts then. So the limit is a soft one: it is exceeded by at most what each producer posts at a time, which is one
//! message of each connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};

use crate::journal::error::StoreError;
use crate::journal::model::Stored;
use crate::journal::request::{Job, JobDone, JobResult, ReplyTo};

/// The producers' end.
pub struct IntakeQueue {
    sender: mpsc::UnboundedSender<QueuedJob>,
    places: Arc<Semaphore>,
}

/// The writer's end. When it goes, what waits is answered with [`StoreError::Closed`], and nobody waits to post.
pub struct Inbox {
    receiver: mpsc::UnboundedReceiver<QueuedJob>,
    places: Arc<Semaphore>,
}

pub struct QueuedJob {
    pub job: Job,
    pub reply: ReplyTo,
    /// Whether it has one of the places that are counted.
    counted: bool,
}

/// A queue in which about `limit` jobs may wait.
pub fn intake_queue(limit: usize) -> (IntakeQueue, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
    (IntakeQueue { sender, places: Arc::clone(&places) }, Inbox { receiver, places })
}

impl IntakeQueue {
    /// Waits until fewer jobs wait than may. Answers whether it took any time.
    pub async fn ready(&self) -> bool {
        if self.places.available_permits() > 0 {
            return false;
        }
        drop(self.places.acquire().await); // closed: whoever posts is told
        true
    }

    /// Gives it the next place. Where nobody writes any more, the answer never comes.
    pub fn push(&self, job: Job) -> oneshot::Receiver<JobResult> {
        let (reply, answer) = oneshot::channel();
        let counted = self.places.try_acquire().map(SemaphorePermit::forget).is_ok();
        drop(self.sender.send(QueuedJob { job, reply, counted }));
        answer
    }
}

impl Inbox {
    /// Waits for what comes next; `None` when the last producer is gone.
    pub fn next(&mut self) -> Option<QueuedJob> {
        self.receiver.blocking_recv().inspect(|job| self.free(job))
    }

    /// What has been posted already.
    pub fn next_waiting(&mut self) -> Result<QueuedJob, TryRecvError> {
        self.receiver.try_recv().inspect(|job| self.free(job))
    }

    fn free(&self, job: &QueuedJob) {
        self.places.add_permits(usize::from(job.counted));
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.places.close();
    }
}

/// A message that has its place in the journal. As a future it says what storing it came to: `Ok` when it is on disk.
///
/// To drop it does not take the message back: it may be stored.
#[derive(Debug)]
#[must_use = "nobody may be told that a message is safe before this says so"]
pub struct Storing(Option<oneshot::Receiver<JobResult>>);

impl Storing {
    /// Posts it, where there still is a queue.
    pub fn new(queue: Option<&IntakeQueue>, job: Job) -> Self {
        Self(queue.map(|queue| queue.push(job)))
    }
}

impl Future for Storing {
    type Output = Result<Stored, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.0 else { return Poll::Ready(Err(StoreError::Closed)) };
        Poll::Ready(match ready!(Pin::new(answer).poll(context)) {
            Ok(Ok(JobDone::Stored(stored))) => Ok(stored),
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Err(StoreError::Closed),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use tokio::time::timeout;

    use super::*;
    use crate::journal::{Progress, Record};

    fn job(seq: i64) -> Job {
        Job::Record(Box::new(Record::decision(seq, Timestamp::now(), Progress::Delivered)))
    }

    fn seq(queued: &QueuedJob) -> i64 {
        let Job::Record(record) = &queued.job else { panic!("another job") };
        record.seq
    }

    async fn waits(queue: &IntakeQueue) -> bool {
        timeout(Duration::from_millis(50), queue.ready()).await.is_err()
    }

    #[tokio::test]
    async fn the_places_are_given_in_order_also_beyond_the_limit() {
        let (queue, mut inbox) = intake_queue(2);
        assert!(!waits(&queue).await);
        let _answers: Vec<_> = (1..=4).map(|seq| queue.push(job(seq))).collect();
        assert!(waits(&queue).await);
        let taken: Vec<i64> = std::iter::from_fn(|| inbox.next_waiting().ok()).map(|job| seq(&job)).collect();
        assert_eq!(taken, [1, 2, 3, 4]);
        assert!(!waits(&queue).await);
        assert_eq!(queue.places.available_permits(), 2, "a place is given back by those that had one");
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_the_writer_takes_something() {
        let (queue, mut inbox) = intake_queue(1);
        let _answer = queue.push(job(1));
        let (waited, _) = tokio::join!(queue.ready(), async { inbox.next_waiting().unwrap() });
        assert!(waited);
    }

    #[tokio::test]
    async fn when_the_writer_is_gone_nobody_waits() {
        let (queue, inbox) = intake_queue(1);
        let before = queue.push(job(1));
        drop(inbox);
        assert!(!waits(&queue).await);
        assert!(before.await.is_err() && queue.push(job(2)).await.is_err());
    }
}
