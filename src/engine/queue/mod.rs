//! The order of the queue, and nothing else: no clock, no IO, no bodies.
//!
//! Every patient and every visit is a lane. A message stands in each of its lanes and is ready when it is the first in
//! all of them; until it is done, it holds them all. So the messages of one patient go in the order of their arrival,
//! those of different patients at the same time, and a merge waits for both its patients and holds both. A message that is to be tried
//! later keeps its place: it holds up its own lanes and no others.
//!
//! Which message is next is known without looking for it, and a waiting message costs some seventy bytes: a million
//! that wait for a destination to come back fit into memory.

mod slab;

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use hashbrown::HashTable;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::journal::Seq;
use slab::Slab;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// How many slots are kept when the queue runs empty.
const KEPT: usize = 1 << 16;

/// The messages that wait, and those that are under way.
#[derive(Debug, Default)]
pub struct Lanes {
    messages: Slab<QueuedMessage>,
    places: Slab<LanePlace>,
    /// The last place of each lane that is not empty, found by the lane's hash.
    tails: HashTable<u32>,
    ready: VecDeque<u32>,
    /// By the time they are due.
    delayed: BTreeSet<(Instant, u32)>,
    due: FxHashMap<Seq, (Instant, u32)>,
}

/// A message that may be delivered now. It holds its lanes until it is given back to [`Lanes::done`] or
/// [`Lanes::delay`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket that is lost holds its lanes for ever"]
pub struct Ticket {
    pub seq: Seq,
    message: u32,
}

#[derive(Debug, Clone, Copy)]
struct QueuedMessage {
    seq: Seq,
    /// The first of its places, chained by `sibling`.
    places: u32,
    /// In how many lanes somebody stands before it.
    blockers: u32,
}

/// One message's place in one lane.
#[derive(Debug, Clone, Copy)]
struct LanePlace {
    /// The lane, in halves, which makes a place 20 bytes.
    lane: [u32; 2],
    message: u32,
    /// Who stands behind it in the lane.
    behind: u32,
    /// The same message's place in another lane.
    sibling: u32,
}

impl LanePlace {
    fn lane(&self) -> u64 {
        join(self.lane)
    }
}

fn join([high, low]: [u32; 2]) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}

fn halves(lane: u64) -> [u32; 2] {
    [(lane >> 32) as u32, lane as u32]
}

impl Lanes {
    /// Messages here, those under way included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Messages that are put off.
    #[must_use]
    pub fn delayed(&self) -> usize {
        self.delayed.len()
    }

    /// Puts a message at the end of its lanes, which are named by hashes that are spread evenly over all 64 bits. One
    /// without lanes waits for nobody.
    pub fn push(&mut self, seq: Seq, lanes: &[u64]) {
        let message = self.messages.add(QueuedMessage { seq, places: NONE, blockers: 0 });
        for &lane in lanes.iter().rev() {
            self.queue_up(message, lane);
        }
        if self.messages[message].blockers == 0 {
            self.ready.push_back(message);
        }
    }

    fn queue_up(&mut self, message: u32, lane: u64) {
        let sibling = self.messages[message].places;
        let behind = LanePlace { lane: halves(lane), message, behind: NONE, sibling };
        let same = |&tail: &u32| self.places[tail].lane() == lane;
        let Some(tail) = self.tails.find(lane, same).copied() else {
            let place = self.places.add(behind);
            self.messages[message].places = place;
            self.tails.insert_unique(lane, place, |&tail| self.places[tail].lane());
            return;
        };
        if self.places[tail].message == message {
            return; // the same lane named twice
        }
        let place = self.places.add(behind);
        self.messages[message].places = place;
        self.messages[message].blockers += 1;
        self.places[tail].behind = place;
        if let Some(slot) = self.tails.find_mut(lane, |&other| other == tail) {
            *slot = place;
        }
    }

    /// The next message to be delivered, those first that have become due.
    pub fn next(&mut self, now: Instant) -> Option<Ticket> {
        let message = self.next_due(now).or_else(|| self.ready.pop_front())?;
        Some(Ticket { seq: self.messages[message].seq, message })
    }

    /// The same, those first that were not put off.
    pub fn next_fresh(&mut self, now: Instant) -> Option<Ticket> {
        let message = self.ready.pop_front().or_else(|| self.next_due(now))?;
        Some(Ticket { seq: self.messages[message].seq, message })
    }

    fn next_due(&mut self, now: Instant) -> Option<u32> {
        let &(due, message) = self.delayed.first()?;
        if due > now {
            return None;
        }
        self.delayed.pop_first();
        self.due.remove(&self.messages[message].seq);
        Some(message)
    }

    /// When the next of those put off becomes due.
    #[must_use]
    pub fn wakes(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// The message is out of the queue; those behind it may go.
    pub fn done(&mut self, ticket: Ticket) {
        let message =
            self.messages.remove(ticket.message, QueuedMessage { seq: ticket.seq, places: NONE, blockers: 0 });
        let mut next = message.places;
        while next != NONE {
            let place = self.places[next];
            self.places.remove(next, LanePlace { behind: NONE, ..place });
            if place.behind == NONE {
                self.close(place.lane(), next);
            } else {
                self.advance(self.places[place.behind].message);
            }
            next = place.sibling;
        }
        if self.is_empty() && self.messages.capacity() > KEPT {
            *self = Self::default(); // gives back the memory of a backlog
        }
    }

    /// Nobody stands in the lane any more.
    fn close(&mut self, lane: u64, last: u32) {
        if let Ok(entry) = self.tails.find_entry(lane, |&tail| tail == last) {
            entry.remove();
        }
    }

    /// How many messages stand behind this one in its lanes.
    #[must_use]
    pub fn behind(&self, ticket: &Ticket) -> usize {
        let mut found = FxHashSet::default();
        let mut own = self.messages[ticket.message].places;
        while own != NONE {
            let mut next = self.places[own].behind;
            while next != NONE {
                found.insert(self.places[next].message);
                next = self.places[next].behind;
            }
            own = self.places[own].sibling;
        }
        found.len()
    }

    fn advance(&mut self, message: u32) {
        self.messages[message].blockers -= 1;
        if self.messages[message].blockers == 0 {
            self.ready.push_back(message);
        }
    }

    /// The message keeps its lanes and comes again at `until`.
    pub fn delay(&mut self, ticket: Ticket, until: Instant) {
        self.delayed.insert((until, ticket.message));
        self.due.insert(ticket.seq, (until, ticket.message));
    }

    /// A message that was put off is ready now; whether there was one.
    pub fn hurry(&mut self, seq: Seq) -> bool {
        let Some(entry) = self.due.remove(&seq) else { return false };
        self.delayed.remove(&entry);
        self.ready.push_front(entry.1);
        true
    }

    /// When a message that was put off is due.
    #[must_use]
    pub fn due(&self, seq: Seq) -> Option<Instant> {
        self.due.get(&seq).map(|(due, _)| *due)
    }

    /// Whether a message is the first in all its lanes and waits for nothing else. Looks through those that do.
    #[must_use]
    pub fn is_ready(&self, seq: Seq) -> bool {
        self.ready.iter().any(|&message| self.messages[message].seq == seq)
    }

    /// Those directly before a message in its lanes: what it waits for. Looks through the whole queue, so it is for
    /// a person's question only.
    #[must_use]
    pub fn before(&self, seq: Seq) -> Vec<Seq> {
        let of_seq = |place: &LanePlace| self.messages[place.message].seq == seq;
        let blocking = self.places.iter().filter(|p| p.behind != NONE && of_seq(&self.places[p.behind]));
        let mut seqs: Vec<Seq> = blocking.map(|place| self.messages[place.message].seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }
}

#[cfg(test)]
mod tests;
