//! The memory of all frames in progress, of all listeners: one budget.
//!
//! A frame counts from its first read to its answer: what was read of it, then the message, what was made of it, and the acks of a
//! batch. Each connection has [`BASE`] bytes of its own to read into, so that a small frame waits for nothing while it comes. For
//! more than that, the connection reads on when it is granted memory: until then TCP holds its sender back. A quarter of the budget
//! is kept for small frames, so that a few big ones never stop them.
//!
//! Nobody waits for ever. One frame at a time may go beyond the budget, up to its listener's `max_frame`: among those that hold
//! memory and wait for more, one can always finish. And a frame that comes slowly while others wait is given up
//! ([`FrameMemory::is_contended`]).
//!
//! What is handed on from the journal's writer counts there: see the journal's `handover`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::ConfigError;
use crate::log_throttle::{LogThrottle, throttled};
use crate::units;

/// What each connection may read into, besides the budget.
pub const BASE: usize = 32 << 10;

/// What a message takes besides its bytes.
const ITSELF: usize = 1 << 10;

/// Memory is counted in pieces of this size.
const UNIT: usize = 1 << 10;

/// `[mllp]`: what all listeners share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MllpConfig {
    /// For the frames in progress of all listeners. Where it is used up nothing more is read, and senders wait.
    #[serde(with = "units::size")]
    pub frame_memory: usize,
}

impl Default for MllpConfig {
    fn default() -> Self {
        Self { frame_memory: 32 << 20 }
    }
}

impl MllpConfig {
    /// # Errors
    /// When so much memory cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bytes = self.frame_memory;
        if (1 << 20..=1 << 40).contains(&bytes) { Ok(()) } else { Err(ConfigError::FrameMemory { bytes }) }
    }
}

#[derive(Debug)]
pub struct FrameMemory {
    /// For frames of no more than [`BASE`].
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    large_size: usize,
    /// Who has it may take more than there is.
    beyond: Arc<Semaphore>,
    /// Large frames are taken apart one after the other: that takes several times their size.
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    used_up: LogThrottle,
}

/// So much memory is used, until this is dropped.
#[derive(Debug, Default)]
pub struct MemoryGrant {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

/// Somebody waits for memory, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FrameMemory {
    #[must_use]
    pub fn new(config: &MllpConfig) -> Self {
        let all = units(config.frame_memory) as usize;
        let (small, large) = (all / 4, all - all / 4);
        Self {
            small: Arc::new(Semaphore::new(small)),
            large: Arc::new(Semaphore::new(large)),
            large_size: large,
            beyond: Arc::new(Semaphore::new(1)),
            turns: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            used_up: LogThrottle::minutely(),
        }
    }

    /// For a piece of this size that has been read into a connection's own memory; waits until there is room.
    pub async fn small(&self, bytes: usize) -> MemoryGrant {
        let wanted = units(bytes + ITSELF);
        let small = match Arc::clone(&self.small).try_acquire_many_owned(wanted) {
            Ok(permit) => Some(permit),
            Err(_) => {
                let _waiting = self.wait();
                Arc::clone(&self.small).acquire_many_owned(wanted).await.ok()
            }
        };
        MemoryGrant { small, ..MemoryGrant::default() }
    }

    /// Brings a grant up to so many bytes; waits until there is room, or it is its turn to go beyond. Loses nothing when it is
    /// dropped before it is ready.
    pub async fn grow(&self, grant: &mut MemoryGrant, bytes: usize) {
        let Some(missing) = grant.missing(bytes) else { return };
        if let Ok(permit) = Arc::clone(&self.large).try_acquire_many_owned(missing) {
            return grant.add(permit);
        }
        let _waiting = self.wait();
        // At the head of the queue it would take all that comes free, and never be served.
        let ever = missing as usize <= self.large_size;
        tokio::select! {
            biased;
            Ok(permit) = Arc::clone(&self.large).acquire_many_owned(missing), if ever => grant.add(permit),
            Ok(beyond) = Arc::clone(&self.beyond).acquire_owned() => grant.beyond = Some(beyond),
            else => {}
        }
    }

    /// Gives back what is more than so many bytes, and the turn to go beyond where there is room by now.
    pub fn shrink(&self, grant: &mut MemoryGrant, bytes: usize) {
        grant.give_back(units(bytes + ITSELF));
        if grant.beyond.is_some() {
            match grant.lacking(bytes + ITSELF) {
                None => grant.beyond = None,
                Some(missing) => {
                    if let Ok(permit) = Arc::clone(&self.large).try_acquire_many_owned(missing) {
                        grant.add(permit);
                        grant.beyond = None;
                    }
                }
            }
        }
    }

    /// So many bytes more, where there is room now.
    pub fn try_add(&self, grant: &mut MemoryGrant, bytes: usize) -> bool {
        let (pool, own) = match grant.large.is_some() || grant.beyond.is_some() {
            true => (&self.large, &mut grant.large),
            false => (&self.small, &mut grant.small),
        };
        let Ok(permit) = Arc::clone(pool).try_acquire_many_owned(units(bytes)) else { return false };
        merge(own, permit);
        true
    }

    /// The turn of a large frame to be taken apart.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    /// Whether somebody waits for memory.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn wait(&self) -> Waiting<'_> {
        throttled!(warn, self.used_up, "[mllp] frame_memory is used up; senders of further frames wait");
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }
}

impl Default for FrameMemory {
    fn default() -> Self {
        Self::new(&MllpConfig::default())
    }
}

impl MemoryGrant {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.small.is_none() && self.large.is_none() && self.beyond.is_none()
    }

    /// How many units it needs for so many bytes; `None` where it has them, or may have any number.
    fn missing(&self, bytes: usize) -> Option<u32> {
        if self.beyond.is_some() { None } else { self.lacking(bytes) }
    }

    fn lacking(&self, bytes: usize) -> Option<u32> {
        units(bytes).checked_sub(self.units()).filter(|missing| *missing > 0)
    }

    fn units(&self) -> u32 {
        let of = |permit: &Option<OwnedSemaphorePermit>| permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        u32::try_from(of(&self.small) + of(&self.large)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, large: OwnedSemaphorePermit) {
        merge(&mut self.large, large);
    }

    fn give_back(&mut self, keep: u32) {
        let excess = self.units().saturating_sub(keep) as usize;
        if let Some(large) = &mut self.large {
            drop(large.split(excess.min(large.num_permits())));
        }
    }
}

fn merge(into: &mut Option<OwnedSemaphorePermit>, permit: OwnedSemaphorePermit) {
    match into {
        Some(own) => own.merge(permit),
        None => *into = Some(permit),
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn memory(mebibytes: usize) -> FrameMemory {
        FrameMemory::new(&MllpConfig { frame_memory: mebibytes << 20 })
    }

    async fn waits<T>(future: impl Future<Output = T>) -> bool {
        timeout(Duration::from_millis(20), future).await.is_err()
    }

    #[tokio::test]
    async fn many_that_grow_at_once_all_come_to_their_end() {
        let memory = Arc::new(memory(4));
        let frames: Vec<_> = (0..40)
            .map(|_| {
                let memory = Arc::clone(&memory);
                tokio::spawn(async move {
                    let mut grant = MemoryGrant::default();
                    for step in 16..=24 {
                        memory.grow(&mut grant, 1 << step).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for frame in frames {
            timeout(Duration::from_secs(20), frame).await.unwrap().unwrap();
        }
        assert_eq!(memory.large.available_permits(), memory.large_size);
        assert_eq!((memory.beyond.available_permits(), memory.is_contended()), (1, false));
    }

    #[tokio::test]
    async fn big_frames_leave_the_small_ones_their_share() {
        let memory = memory(4);
        let (mut one, mut two, mut three) = Default::default();
        memory.grow(&mut one, 3 << 20).await;
        memory.grow(&mut two, 8 << 20).await;
        assert!(waits(memory.grow(&mut three, 64 << 10)).await, "one goes beyond, and no other");
        assert!(!waits(memory.small(30_000)).await);
        drop(one);
        assert!(!waits(memory.grow(&mut three, 64 << 10)).await);
    }

    #[tokio::test]
    async fn who_went_beyond_makes_room_for_the_next_as_soon_as_there_is_some() {
        let memory = memory(4);
        let (mut one, mut two) = Default::default();
        memory.grow(&mut one, 3 << 20).await;
        memory.grow(&mut two, 1 << 20).await;
        assert!(two.beyond.is_some());
        drop(one);
        memory.shrink(&mut two, 500_000);
        assert!(two.beyond.is_none() && two.units() >= 500_000 / 1_024);
        memory.shrink(&mut two, 100_000);
        assert_eq!(two.units(), units(100_000 + ITSELF));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_waits_no_more() {
        let memory = memory(4);
        let held = memory.small((1 << 20) - ITSELF).await;
        assert!(waits(memory.small(1)).await);
        assert!(!memory.is_contended());
        let mut more = MemoryGrant::default();
        assert!(!memory.try_add(&mut more, 1));
        drop(held);
        assert!(memory.try_add(&mut more, 1) && !more.is_empty());
    }

    #[test]
    fn so_little_that_nothing_could_be_read_is_refused() {
        let config: MllpConfig = toml::from_str("frame_memory = \"100KiB\"").unwrap();
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "[mllp] frame_memory = 102400B is out of range: from 1MiB to 1024GiB"
        );
    }
}
