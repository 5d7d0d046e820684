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
fn a_message_knows_how_many_stand_behind_it() {
    let mut lanes = Lanes::default();
    lanes.push(1, &[A, B]);
    lanes.push(2, &[A, B]);
    lanes.push(3, &[B]);
    lanes.push(4, &[C]);
    let tickets = ready(&mut lanes);
    assert_eq!(seqs(&tickets), [1, 4]);
    assert_eq!((lanes.behind(&tickets[0]), lanes.behind(&tickets[1])), (2, 0));
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
    let hash = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    for n in 0..count {
        lanes.push(n as i64, &[hash(n % 200_000), hash((1 << 40) | (n % 250_000))]);
    }
    let tails = lanes.tails.allocation_size();
    let bytes = lanes.messages.capacity() * size_of::<QueuedMessage>()
        + lanes.places.capacity() * size_of::<LanePlace>()
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
