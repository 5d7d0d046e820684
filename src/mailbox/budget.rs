//! How much is done at once: bytes of bodies and answers, messages that are taken apart, pages that are read.
//!
//! Small things are never held up by large ones: each class has a budget of its own, and what is small needs none. Whoever
//! finds no room for a while is answered 503, and tries again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::store::model::StoreError;

/// A body of this size is taken apart in less than a millisecond, on the thread that serves its connection. Longer ones
/// are on threads of their own.
pub const SMALL: usize = 16 << 10;
/// Up to here messages are taken apart on as many threads as there are processors; longer ones wait for each other.
pub const MIDDLE: usize = 256 << 10;
/// Large messages at work at once, from the first byte of JSON to the commit. The longest takes ten times its bytes meanwhile,
/// and two of them the half of what the whole daemon may have.
const LARGE_AT_ONCE: usize = 1;
/// KiB of middle bodies, and of answers, that are in memory at once.
const MIDDLE_ROOM: usize = 32 << 10;
const ANSWER_ROOM: usize = 32 << 10;
/// An answer of this size needs no room.
const SMALL_ANSWER: usize = 64 << 10;
/// How long somebody waits for room.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(10) };

/// Room that is held until it is dropped; `None` where none is needed.
pub type Room = Option<OwnedSemaphorePermit>;

#[derive(Debug)]
pub struct Budget {
    middle: Pool,
    large: Pool,
    answers: Pool,
    parsing: Pool,
    large_messages: Pool,
    pages: Pool,
}

#[derive(Debug)]
struct Pool {
    places: Arc<Semaphore>,
    all: u32,
}

impl Pool {
    fn new(places: usize) -> Self {
        let all = u32::try_from(places).unwrap_or(u32::MAX).max(1);
        Self { places: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// What is larger than the pool has all of it.
    async fn take(&self, places: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let places = u32::try_from(places).unwrap_or(u32::MAX).clamp(1, self.all);
        let taken = Arc::clone(&self.places).acquire_many_owned(places);
        match tokio::time::timeout(PATIENCE, taken).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(StoreError::Busy),
        }
    }
}

impl Budget {
    /// For bodies of `body_limit` bytes at most and so many `readers` of the store.
    pub fn new(body_limit: usize, readers: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        Self {
            middle: Pool::new(MIDDLE_ROOM),
            large: Pool::new((body_limit.saturating_mul(2) >> 10).max(32 << 10)),
            answers: Pool::new(ANSWER_ROOM),
            parsing: Pool::new(processors),
            large_messages: Pool::new(LARGE_AT_ONCE),
            pages: Pool::new(readers),
        }
    }

    /// Room for a body.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when there is none for a while; so with all that follow.
    pub async fn body(&self, bytes: usize) -> Result<Room, StoreError> {
        if bytes <= SMALL {
            return Ok(None);
        }
        let pool = if bytes <= MIDDLE { &self.middle } else { &self.large };
        pool.take(bytes.div_ceil(1024)).await.map(Some)
    }

    /// Room for an answer, until it is written.
    pub async fn answer(&self, bytes: usize) -> Result<Room, StoreError> {
        if bytes <= SMALL_ANSWER {
            return Ok(None);
        }
        self.answers.take(bytes.div_ceil(1024)).await.map(Some)
    }

    /// A turn to read a page, until there is room for it as an answer.
    pub async fn page(&self) -> Result<Room, StoreError> {
        self.pages.take(1).await.map(Some)
    }

    /// Does `work` on a text of so many bytes where that holds nobody up. What is returned beside the result is kept until
    /// the message is answered.
    pub async fn parse<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Room), StoreError> {
        if bytes <= SMALL {
            return Ok((work(), None));
        }
        let pool = if bytes <= MIDDLE { &self.parsing } else { &self.large_messages };
        let turn = pool.take(1).await?;
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Damaged("a message's body"))?;
        Ok((done, (bytes > MIDDLE).then_some(turn)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_things_go_past_large_ones_that_have_all_the_room() {
        let budget = Budget::new(16 << 20, 1);
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(budget.body(16 << 20).await.unwrap());
        }
        assert!(matches!(budget.body(MIDDLE + 1).await, Err(StoreError::Busy)));
        assert!(budget.body(SMALL).await.unwrap().is_none() && budget.body(MIDDLE).await.is_ok());
        held.pop();
        assert!(budget.body(16 << 20).await.is_ok());
        let whole = budget.answer(usize::MAX).await.unwrap();
        assert!(budget.answer(1 << 20).await.is_err() && budget.answer(SMALL_ANSWER).await.is_ok());
        drop(whole);
        assert!(budget.answer(1 << 20).await.is_ok());
    }

    #[tokio::test]
    async fn large_messages_take_turns_and_hold_nobody_else_up() {
        let budget = Budget::new(16 << 20, 1);
        let large = MIDDLE + 1;
        let held = budget.parse(large, || 1).await.unwrap();
        assert!(matches!(budget.parse(large, || 3).await, Err(StoreError::Busy)));
        assert_eq!(budget.parse(MIDDLE, || 4).await.unwrap().0, 4);
        assert_eq!(budget.parse(SMALL, || 5).await.unwrap().0, 5);
        drop(held);
        assert_eq!(budget.parse(large, || 6).await.unwrap().0, 6);
    }
}
