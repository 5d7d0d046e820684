//! What was just stored, in memory, for the engine that keeps up: the places of new messages in the queue, and the messages
//! themselves.
//!
//! The thread that writes the log puts a message in as soon as it is synced. The engine gets its place when the tables have
//! it, as it always did, and takes the message once, when it is its turn. Both are bounded: what does not fit is left out,
//! and read from the tables by who comes too late for it.
//!
//! Promises: what is taken from here is what the tables say. Whatever is decided about a message after its arrival goes
//! through the same thread, which takes the message out first ([`Handover::forget`]), so that nothing here is older than the
//! log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use super::keys::Hashes;
use super::model::{Parsed, Queued, Seq, Status, Work};

/// Places kept for the queue: some seconds' worth at full speed.
const PLACES: usize = 16_384;

/// What the bytes of the messages here may add up to. An engine that keeps up needs a fraction of it; with one that does not,
/// it is what a backlog costs besides its places.
const BYTES: usize = 4 << 20;

/// With what was made of a message when it was read, it takes about so many times its bytes.
const WITH_PARSED: usize = 2;

#[derive(Debug, Default)]
pub struct Handover {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The number of the message whose place comes first.
    first: Seq,
    /// `None` for those that are not to be delivered.
    places: VecDeque<Option<Hashes>>,
    messages: FxHashMap<Seq, Fresh>,
    bytes: usize,
}

/// A message that is to be delivered.
#[derive(Debug)]
pub struct Fresh {
    pub lanes: Hashes,
    pub raw: bytes::Bytes,
    pub parsed: Option<Parsed>,
    pub received: Timestamp,
    pub listener: Arc<str>,
}

impl Fresh {
    fn size(&self) -> usize {
        self.raw.len() * if self.parsed.is_some() { WITH_PARSED } else { 1 }
    }
}

impl Handover {
    /// Messages that follow each other from `first` on, as they were stored; `None` for one that is not to be delivered.
    pub fn put(&self, first: Seq, stored: impl IntoIterator<Item = Option<Fresh>>) {
        let mut inner = self.lock();
        for (seq, fresh) in (first..).zip(stored) {
            inner.put(seq, fresh);
        }
    }

    /// Something becomes of a message besides its arrival: from now on the tables tell.
    pub fn forget(&self, seq: Seq) {
        let mut inner = self.lock();
        inner.take(seq);
        if seq >= inner.first && seq < inner.end() {
            inner.places.clear(); // whoever has not seen it yet reads how it stands
        }
    }

    /// The places of all messages after `after` up to `newest` that are to be delivered, at most those of `limit` messages,
    /// and how far that goes. `None` where not all of them are here.
    pub fn queued(&self, after: Seq, newest: Seq, limit: usize) -> Option<(Vec<Queued>, Seq)> {
        let mut inner = self.lock();
        let last = newest.min(after.saturating_add(limit as Seq));
        if after + 1 < inner.first || inner.end() <= last || last <= after {
            return None;
        }
        while inner.first <= after {
            inner.places.pop_front()?;
            inner.first += 1;
        }
        let mut queued = Vec::new();
        while inner.first <= last {
            let seq = inner.first;
            queued.extend(inner.places.pop_front()?.map(|lanes| Queued { seq, lanes }));
            inner.first += 1;
        }
        Some((queued, last))
    }

    /// A message whose turn it is, if it is here and nothing became of it yet.
    pub fn take(&self, seq: Seq) -> Option<Work> {
        let Fresh { raw, parsed, received, listener, .. } = self.lock().take(seq)?;
        let listener = listener.to_string();
        let status = Status::Received;
        Some(Work { seq, raw, parsed, received, listener, status, attempts: 0, tried: None, due: None })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The number behind the last place.
    fn end(&self) -> Seq {
        self.first + self.places.len() as Seq
    }

    fn put(&mut self, seq: Seq, fresh: Option<Fresh>) {
        if self.places.is_empty() || self.end() != seq {
            self.places.clear();
            self.first = seq;
        }
        if self.places.len() == PLACES {
            self.places.pop_front();
            self.first += 1;
        }
        self.places.push_back(fresh.as_ref().map(|fresh| fresh.lanes.clone()));
        if let Some(fresh) = fresh
            && self.bytes + fresh.size() <= BYTES
        {
            self.bytes += fresh.size();
            self.messages.insert(seq, fresh);
        }
    }

    fn take(&mut self, seq: Seq) -> Option<Fresh> {
        let fresh = self.messages.remove(&seq)?;
        self.bytes -= fresh.size();
        if self.messages.is_empty() {
            self.messages.shrink_to(1024);
        }
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(bytes: usize) -> Option<Fresh> {
        let received = Timestamp::UNIX_EPOCH;
        Some(Fresh { lanes: Hashes::new(), raw: vec![7; bytes].into(), parsed: None, received, listener: "adt".into() })
    }

    fn seqs(queued: Option<(Vec<Queued>, Seq)>) -> Option<(Vec<Seq>, Seq)> {
        queued.map(|(queued, last)| (queued.iter().map(|queued| queued.seq).collect(), last))
    }

    #[test]
    fn places_are_handed_on_in_order_and_once() {
        let handover = Handover::default();
        handover.put(5, [fresh(1), None, fresh(1)]);
        handover.put(8, [fresh(1)]);
        assert_eq!(seqs(handover.queued(4, 7, 10)), Some((vec![5, 7], 7)));
        assert_eq!(seqs(handover.queued(7, 8, 10)), Some((vec![8], 8)));
        assert_eq!(seqs(handover.queued(7, 8, 10)), None, "they are gone");
    }

    #[test]
    fn who_is_behind_what_is_here_reads_the_tables() {
        let handover = Handover::default();
        handover.put(5, [fresh(1), fresh(1)]);
        assert_eq!(seqs(handover.queued(3, 6, 10)), None);
        assert_eq!(seqs(handover.queued(4, 7, 10)), None, "the seventh is not here");
        assert_eq!(seqs(handover.queued(4, 6, 1)), Some((vec![5], 5)));
    }

    #[test]
    fn a_gap_in_the_numbers_is_never_bridged() {
        let handover = Handover::default();
        handover.put(5, [fresh(1)]);
        handover.put(7, [fresh(1)]);
        assert_eq!(seqs(handover.queued(4, 7, 10)), None);
        assert_eq!(seqs(handover.queued(6, 7, 10)), Some((vec![7], 7)));
    }

    #[test]
    fn what_was_decided_about_is_read_from_the_tables() {
        let handover = Handover::default();
        handover.put(1, [fresh(1), fresh(1)]);
        handover.forget(2);
        assert!(handover.take(2).is_none() && handover.take(1).is_some());
        assert_eq!(seqs(handover.queued(0, 2, 10)), None);
        handover.put(3, [fresh(1)]);
        assert_eq!(seqs(handover.queued(2, 3, 10)), Some((vec![3], 3)));
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let handover = Handover::default();
        handover.put(1, (0..5).map(|_| fresh(1 << 20)));
        assert!(handover.take(5).is_none(), "four fit");
        for seq in 1..=4 {
            assert_eq!(handover.take(seq).map(|work| work.raw.len()), Some(1 << 20));
        }
        assert_eq!(handover.lock().bytes, 0);
        handover.put(6, (0..PLACES + 10).map(|_| None));
        assert_eq!(handover.lock().places.len(), PLACES);
    }
}
