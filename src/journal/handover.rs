//! What goes from hand to hand in memory while everybody keeps up, and how much of it there may be.
//!
//! A message is in memory when it is stored, and is wanted there twice more: by the thread that files it a few milliseconds
//! later, and by its delivery soon after. [`UnderWay`] bounds what the writer hands to the filer, [`FreshMessages`] what
//! the filer keeps for the deliveries. Neither is needed for anything to be right: what does not fit is read back from the
//! disk, as everything is after a restart, and who has fallen behind costs no memory.
//!
//! A message is fresh from its filing until anything but its arrival is filed that concerns it, or a delivery takes it.
//! [`super::tables::filer`] sees to that in the order of the log and before it tells anybody, so that whoever knows of a
//! decision never gets the message as it was before.
//!
//! A message counts its bytes, what was made of them, and a kilobyte for itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use super::model::{Arrival, Parsed, Seq, time};

/// How much may be in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the writer to the filer: as much as a transaction takes.
    pub under_way: usize,
    /// Filed, and to be delivered: some hundred messages, more than an engine that keeps up has before it.
    pub fresh: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { under_way: 4 << 20, fresh: 2 << 20 }
    }
}

/// A message that is still not delivered after so long is left to the disk: something holds it up, and may for days.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// How many messages the latest one may be ahead of the deliveries. Where it is further, they have fallen behind, and it
/// would not be fresh any more when it is its turn: a million that wait for a destination take no memory here.
const AHEAD: Seq = 4_096;

/// How many entries the filer may be behind the writer. Where it is further, what comes next goes by the disk, so that a
/// burst takes no memory for longer than it helps.
pub const BEHIND: u64 = 2_048;

/// What a message may take in memory.
pub fn weight(arrival: &Arrival) -> usize {
    arrival.raw.len() + arrival.parsed.as_ref().map_or(0, |parsed| parsed.size) + ITSELF
}

/// What anything takes, besides the bytes of a message and what was made of them.
pub const ITSELF: usize = 1 << 10;

/// Counts what is on its way from the writer to the filer.
#[derive(Debug)]
pub struct UnderWay {
    limit: usize,
    bytes: Arc<AtomicUsize>,
}

/// So much is on its way, until this is dropped.
#[derive(Debug)]
pub struct Load {
    weight: usize,
    bytes: Arc<AtomicUsize>,
}

impl UnderWay {
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: Arc::default() }
    }

    /// `None` when it is too much with what is on its way already. Only one thread loads.
    pub fn load(&self, weight: usize) -> Option<Load> {
        if self.bytes.load(Ordering::Acquire) + weight > self.limit {
            return None;
        }
        self.bytes.fetch_add(weight, Ordering::AcqRel);
        Some(Load { weight, bytes: Arc::clone(&self.bytes) })
    }
}

impl Load {
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Takes the other's weight over.
    pub fn join(&mut self, mut other: Self) {
        self.weight += std::mem::take(&mut other.weight);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.weight, Ordering::AcqRel);
    }
}

/// A message as a delivery wants it, that was filed just now and with which nothing has happened since.
#[derive(Debug, Clone)]
pub struct FreshMessage {
    pub raw: Bytes,
    pub parsed: Option<Parsed>,
    pub listener: Arc<str>,
    pub received: Timestamp,
}

impl From<Arrival> for FreshMessage {
    /// The time is that of the tables, which have microseconds.
    fn from(arrival: Arrival) -> Self {
        let received = time(arrival.received.as_microsecond());
        Self { raw: arrival.raw, parsed: arrival.parsed, listener: arrival.listener, received }
    }
}

/// The messages that were filed just now, for those who deliver them.
#[derive(Debug)]
pub struct FreshMessages {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By their numbers, which is their order too.
    messages: BTreeMap<Seq, (Instant, usize, FreshMessage)>,
    weight: usize,
    /// The latest message that a delivery wanted.
    asked_for: Seq,
}

impl FreshMessages {
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    /// Keeps it where there is room and the deliveries keep up. Of those that compete for room the earlier ones stay: they
    /// are delivered first.
    pub fn add(&self, seq: Seq, arrival: Arrival) {
        self.add_at(Instant::now(), seq, arrival);
    }

    fn add_at(&self, now: Instant, seq: Seq, arrival: Arrival) {
        let (weight, mut held) = (weight(&arrival), self.lock());
        held.expire(now);
        if seq - held.asked_for <= AHEAD && held.weight + weight <= self.limit {
            held.weight += weight;
            held.messages.insert(seq, (now, weight, arrival.into()));
        }
    }

    /// Takes it for a delivery. When it is asked for again, the tables have it.
    pub fn take(&self, seq: Seq) -> Option<FreshMessage> {
        let mut held = self.lock();
        held.asked_for = held.asked_for.max(seq);
        held.remove(seq)
    }

    /// Something has become of it that only the tables tell.
    pub fn remove(&self, seq: Seq) {
        drop(self.lock().remove(seq));
    }

    /// What the tables have is not certain.
    pub fn clear(&self) {
        let mut held = self.lock();
        *held = Held { asked_for: held.asked_for, ..Held::default() };
    }

    #[cfg(test)]
    pub fn weight(&self) -> usize {
        self.lock().weight
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn remove(&mut self, seq: Seq) -> Option<FreshMessage> {
        let (_, weight, message) = self.messages.remove(&seq)?;
        self.weight -= weight;
        Some(message)
    }

    fn expire(&mut self, now: Instant) {
        while let Some((&seq, (since, ..))) = self.messages.first_key_value()
            && now.saturating_duration_since(*since) > FRESH_FOR
        {
            self.remove(seq);
        }
    }
}

#[cfg(test)]
mod tests;
