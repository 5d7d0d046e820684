//! The order of the queue, and nothing else: no clock, no IO, no bodies.
//!
//! Every patient and every visit is a lane. A message stands in each of its lanes and is ready when it is the first in
//! all of them; until it is done, it holds them all. So the messages of one patient go in the order of their arrival,
//! those of different patients at the same time, and a merge waits for both its patients and holds both. A message that is to be tried
//! later keeps its place: it holds up its own lanes and no others.
//!
//! Which message is next is known without looking for it, and a waiting message costs some seventy bytes: a million
//! that wait for a destination to come back fit into memory.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use hashbrown::HashTable;
use rustc_hash::FxHashMap;

use crate::journal::Seq;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// How many slots are kept when the queue runs empty.
const KEPT: usize = 1 << 16;

/// The messages that wait, and those that are under way.
#[derive(Debug, Default)]
pub struct Lanes {
    nodes: Slab<Node>,
    places: Slab<Place>,
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
    node: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    seq: Seq,
    /// The first of its places, chained by `sibling`.
    places: u32,
    /// In how many lanes somebody stands before it.
    blockers: u32,
}

/// One message's place in one lane.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The lane, in halves, which makes a place 20 bytes.
    lane: [u32; 2],
    node: u32,
    /// Who stands behind it in the lane.
    behind: u32,
    /// The same message's place in another lane.
    sibling: u32,
}

impl Place {
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
        self.nodes.len()
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
        let node = self.nodes.add(Node { seq, places: NONE, blockers: 0 });
        for &lane in lanes.iter().rev() {
            self.queue_up(node, lane);
        }
        if self.nodes[node].blockers == 0 {
            self.ready.push_back(node);
        }
    }

    fn queue_up(&mut self, node: u32, lane: u64) {
        let sibling = self.nodes[node].places;
        let behind = Place { lane: halves(lane), node, behind: NONE, sibling };
        let same = |&tail: &u32| self.places[tail].lane() == lane;
        let Some(tail) = self.tails.find(lane, same).copied() else {
            let place = self.places.add(behind);
            self.nodes[node].places = place;
            self.tails.insert_unique(lane, place, |&tail| self.places[tail].lane());
            return;
        };
        if self.places[tail].node == node {
            return; // the same lane named twice
        }
        let place = self.places.add(behind);
        self.nodes[node].places = place;
        self.nodes[node].blockers += 1;
        self.places[tail].behind = place;
        if let Some(slot) = self.tails.find_mut(lane, |&other| other == tail) {
            *slot = place;
        }
    }

    /// The next message to be delivered, those first that have become due.
    pub fn next(&mut self, now: Instant) -> Option<Ticket> {
        let node = self.next_due(now).or_else(|| self.ready.pop_front())?;
        Some(Ticket { seq: self.nodes[node].seq, node })
    }

    fn next_due(&mut self, now: Instant) -> Option<u32> {
        let &(due, node) = self.delayed.first()?;
        if due > now {
            return None;
        }
        self.delayed.pop_first();
        self.due.remove(&self.nodes[node].seq);
        Some(node)
    }

    /// When the next of those put off becomes due.
    #[must_use]
    pub fn wakes(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// The message is out of the queue; those behind it may go.
    pub fn done(&mut self, ticket: Ticket) {
        let node = self.nodes.remove(ticket.node, Node { seq: ticket.seq, places: NONE, blockers: 0 });
        let mut next = node.places;
        while next != NONE {
            let place = self.places[next];
            self.places.remove(next, Place { behind: NONE, ..place });
            if place.behind == NONE {
                self.close(place.lane(), next);
            } else {
                self.advance(self.places[place.behind].node);
            }
            next = place.sibling;
        }
        if self.is_empty() && self.nodes.slots.len() > KEPT {
            *self = Self::default(); // gives back the memory of a backlog
        }
    }

    /// Nobody stands in the lane any more.
    fn close(&mut self, lane: u64, last: u32) {
        if let Ok(entry) = self.tails.find_entry(lane, |&tail| tail == last) {
            entry.remove();
        }
    }

    fn advance(&mut self, node: u32) {
        self.nodes[node].blockers -= 1;
        if self.nodes[node].blockers == 0 {
            self.ready.push_back(node);
        }
    }

    /// The message keeps its lanes and comes again at `until`.
    pub fn delay(&mut self, ticket: Ticket, until: Instant) {
        self.delayed.insert((until, ticket.node));
        self.due.insert(ticket.seq, (until, ticket.node));
    }

    /// A message that was put off is ready now; whether there was one.
    pub fn hurry(&mut self, seq: Seq) -> bool {
        let Some(entry) = self.due.remove(&seq) else { return false };
        self.delayed.remove(&entry);
        self.ready.push_front(entry.1);
        true
    }

    /// Those directly before a message in its lanes: what it waits for. Looks through the whole queue, so it is for
    /// a person's question only.
    #[must_use]
    pub fn before(&self, seq: Seq) -> Vec<Seq> {
        let of_seq = |place: &Place| self.nodes[place.node].seq == seq;
        let blocking = self.places.slots.iter().filter(|p| p.behind != NONE && of_seq(&self.places[p.behind]));
        let mut seqs: Vec<Seq> = blocking.map(|place| self.nodes[place.node].seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        seqs
    }
}

/// Numbered slots, used again when they are free.
#[derive(Debug)]
struct Slab<T> {
    slots: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Four thousand million messages do not fit into memory before they run out of numbers.
    fn add(&mut self, item: T) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = item;
                slot
            }
            None => {
                self.slots.push(item);
                self.slots.len() as u32 - 1
            }
        }
    }

    /// Frees a slot and leaves `vacant` in it.
    fn remove(&mut self, slot: u32, vacant: T) -> T {
        self.free.push(slot);
        std::mem::replace(&mut self.slots[slot as usize], vacant)
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        &self.slots[slot as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        &mut self.slots[slot as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const A: u64 = 1;
    const B: u64 = 2;
    const C: u64 = 3;

    fn now() -> Instant {
        Instant::now()
    }

    fn ready(lanes: &mut Lanes) -> Vec<Ticket> {
        std::iter::from_fn(|| lanes.next(now())).collect()
    }

    fn seqs(tickets: &[Ticket]) -> Vec<Seq> {
        tickets.iter().map(|ticket| ticket.seq).collect()
    }

    #[test]
    fn messages_of_one_patient_go_one_after_the_other() {
        let mut lanes = Lanes::default();
        for seq in 1..=3 {
            lanes.push(seq, &[A]);
        }
        for seq in 1..=3 {
            let mut tickets = ready(&mut lanes);
            assert_eq!(seqs(&tickets), [seq]);
            lanes.done(tickets.remove(0));
        }
        assert!(lanes.is_empty());
    }

    #[test]
    fn messages_of_different_patients_go_at_the_same_time() {
        let mut lanes = Lanes::default();
        lanes.push(1, &[A]);
        lanes.push(2, &[B]);
        lanes.push(3, &[]);
        assert_eq!(seqs(&ready(&mut lanes)), [1, 2, 3]);
    }

    #[test]
    fn a_merge_waits_for_both_patients_and_holds_both() {
        let mut lanes = Lanes::default();
        lanes.push(1, &[A]);
        lanes.push(2, &[B]);
        lanes.push(3, &[A, B]);
        lanes.push(4, &[A]);
        lanes.push(5, &[B]);
        lanes.push(6, &[C]);
        let mut first = ready(&mut lanes);
        assert_eq!(seqs(&first), [1, 2, 6]);
        assert_eq!(lanes.before(3), [1, 2]);
        lanes.done(first.remove(0));
        assert!(ready(&mut lanes).is_empty(), "one patient is not enough");
        lanes.done(first.remove(0));
        let mut merge = ready(&mut lanes);
        assert_eq!(seqs(&merge), [3]);
        assert_eq!(lanes.before(4), [3]);
        lanes.done(merge.remove(0));
        assert_eq!(seqs(&ready(&mut lanes)), [4, 5]);
    }

    #[test]
    fn a_message_that_is_put_off_holds_up_its_own_lanes_only() {
        let mut lanes = Lanes::default();
        lanes.push(1, &[A]);
        lanes.push(2, &[A]);
        lanes.push(3, &[B]);
        let start = now();
        let first = lanes.next(start).unwrap();
        let due = start + Duration::from_secs(5);
        lanes.delay(first, due);
        assert_eq!((lanes.delayed(), lanes.wakes()), (1, Some(due)));
        let other = lanes.next(start).unwrap();
        assert_eq!(other.seq, 3);
        assert_eq!(lanes.next(due - Duration::from_millis(1)), None);
        let again = lanes.next(due).unwrap();
        assert_eq!(again.seq, 1);
        lanes.done(again);
        assert_eq!(lanes.next(start).unwrap().seq, 2);
    }

    #[test]
    fn a_person_can_hurry_a_message_that_was_put_off() {
        let mut lanes = Lanes::default();
        lanes.push(1, &[A]);
        let ticket = lanes.next(now()).unwrap();
        lanes.delay(ticket, now() + Duration::from_secs(3600));
        assert!(!lanes.hurry(2));
        assert!(lanes.hurry(1));
        assert_eq!(seqs(&ready(&mut lanes)), [1]);
        assert_eq!((lanes.delayed(), lanes.wakes()), (0, None));
    }

    #[test]
    fn a_lane_named_twice_does_not_wait_for_itself() {
        let mut lanes = Lanes::default();
        lanes.push(1, &[A, B, A]);
        assert_eq!(seqs(&ready(&mut lanes)), [1]);
    }

    #[test]
    fn a_million_waiting_messages_take_less_than_a_hundred_bytes_each() {
        let mut lanes = Lanes::default();
        let count = 1_000_000;
        let hash =
            |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        for n in 0..count {
            lanes.push(n as i64, &[hash(n % 200_000), hash(1 << 40 | n % 250_000)]);
        }
        let tails = lanes.tails.allocation_size();
        let bytes = lanes.nodes.slots.capacity() * size_of::<Node>()
            + lanes.places.slots.capacity() * size_of::<Place>()
            + lanes.ready.capacity() * size_of::<u32>()
            + tails;
        assert!(bytes < 100 * count as usize, "{} bytes each", bytes / count as usize);
    }

    /// What the model knows of a message.
    #[derive(Debug, Clone)]
    struct Waiting {
        seq: Seq,
        lanes: Vec<u64>,
        state: State,
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum State {
        Waits,
        UnderWay,
        Until(u64),
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(Vec<u64>),
        Take,
        Done(usize),
        Delay(usize, u64),
        Hurry(usize),
        Pass(u64),
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => proptest::collection::vec(0..6u64, 0..4).prop_map(Step::Push),
            5 => Just(Step::Take),
            4 => any::<usize>().prop_map(Step::Done),
            2 => (any::<usize>(), 1..50u64).prop_map(|(n, wait)| Step::Delay(n, wait)),
            1 => any::<usize>().prop_map(Step::Hurry),
            1 => (1..40u64).prop_map(Step::Pass),
            1 => Just(Step::Restart),
        ]
    }

    /// The order of the queue said in the plainest way: a list, and a look at everybody who stands before.
    #[derive(Debug, Default)]
    struct Model {
        list: Vec<Waiting>,
        clock: u64,
    }

    impl Model {
        fn may_go(&self) -> Vec<Seq> {
            let free = |at: usize| {
                let this = &self.list[at];
                let due = match this.state {
                    State::Waits => true,
                    State::UnderWay => false,
                    State::Until(due) => due <= self.clock,
                };
                due && !self.list[..at].iter().any(|other| other.lanes.iter().any(|lane| this.lanes.contains(lane)))
            };
            (0..self.list.len()).filter(|&at| free(at)).map(|at| self.list[at].seq).collect()
        }

        fn of(&mut self, seq: Seq) -> &mut Waiting {
            self.list.iter_mut().find(|waiting| waiting.seq == seq).unwrap()
        }
    }

    /// The lanes, the model, and the tickets that are out.
    struct Run {
        lanes: Lanes,
        model: Model,
        tickets: Vec<Ticket>,
        start: Instant,
        next: Seq,
    }

    impl Run {
        fn at(&self, clock: u64) -> Instant {
            self.start + Duration::from_secs(clock)
        }

        fn apply(&mut self, step: Step) {
            match step {
                Step::Push(lanes) => {
                    self.next += 1;
                    self.lanes.push(self.next, &lanes);
                    self.model.list.push(Waiting { seq: self.next, lanes, state: State::Waits });
                }
                Step::Take => self.take(),
                Step::Done(n) if !self.tickets.is_empty() => {
                    let ticket = self.tickets.swap_remove(n % self.tickets.len());
                    self.model.list.retain(|waiting| waiting.seq != ticket.seq);
                    self.lanes.done(ticket);
                }
                Step::Delay(n, wait) if !self.tickets.is_empty() => {
                    let ticket = self.tickets.swap_remove(n % self.tickets.len());
                    let due = self.model.clock + wait;
                    self.model.of(ticket.seq).state = State::Until(due);
                    let due = self.at(due);
                    self.lanes.delay(ticket, due);
                }
                Step::Hurry(n) if !self.model.list.is_empty() => {
                    let at = n % self.model.list.len();
                    let waiting = &mut self.model.list[at];
                    let put_off = matches!(waiting.state, State::Until(_));
                    assert_eq!(self.lanes.hurry(waiting.seq), put_off);
                    if put_off {
                        waiting.state = State::Waits;
                    }
                }
                Step::Pass(time) => self.model.clock += time,
                Step::Restart => self.restart(),
                Step::Done(_) | Step::Delay(..) | Step::Hurry(_) => {}
            }
        }

        fn take(&mut self) {
            let may_go = self.model.may_go();
            let now = self.at(self.model.clock);
            match self.lanes.next(now) {
                None => assert_eq!(may_go, [0; 0], "these may go, and nothing is given"),
                Some(ticket) => {
                    assert!(may_go.contains(&ticket.seq), "{} went, and only {may_go:?} may", ticket.seq);
                    self.model.of(ticket.seq).state = State::UnderWay;
                    self.tickets.push(ticket);
                }
            }
        }

        /// What was under way is not known to have arrived, and goes again.
        fn restart(&mut self) {
            self.lanes = Lanes::default();
            self.tickets.clear();
            for waiting in &mut self.model.list {
                waiting.state = State::Waits;
                self.lanes.push(waiting.seq, &waiting.lanes);
            }
        }
    }

    proptest! {
        #[test]
        fn every_order_is_one_that_the_plain_model_allows(steps in proptest::collection::vec(step(), 1..200)) {
            let (lanes, model) = (Lanes::default(), Model::default());
            let mut run = Run { lanes, model, tickets: Vec::new(), start: now(), next: 0 };
            for step in steps {
                run.apply(step);
                prop_assert_eq!(run.lanes.len(), run.model.list.len());
            }
            // Everybody comes out in the end, and nothing is left behind.
            run.model.clock += 1_000;
            while !run.model.list.is_empty() {
                run.take();
                run.apply(Step::Done(0));
            }
            prop_assert!(run.lanes.tails.is_empty());
            prop_assert_eq!(run.lanes.places.len(), 0);
            prop_assert_eq!(run.lanes.delayed(), 0);
        }
    }
}
