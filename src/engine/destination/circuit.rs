//! Whether the destination takes messages: closed, open (it fails), or held (it refuses us, or is not
//! there: a person has to mend that).
//!
//! A destination that is down must not cost every waiting message an attempt, fill the log, or drive messages into
//! their maximum age. So after some failures in a row only one message at a time is sent, at growing intervals, until
//! one gets through. A fault that is one message's own never opens the circuit, as others succeed in between.

use std::time::{Duration, Instant};

use crate::engine::control::Outage;
use crate::outbound::{Retry, backoff};

/// Failures in a row, without any success, that mean the destination and not the message.
const TOLERATED: u32 = 5;

/// The longest time between two probes: so long may a destination be back before it is noticed.
const SLOWEST: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Circuit {
    pace: Retry,
    state: CircuitState,
}

#[derive(Debug)]
enum CircuitState {
    Closed { failures: u32 },
    Open(OpenCircuit),
}

#[derive(Debug)]
struct OpenCircuit {
    outage: Outage,
    /// Probes that failed.
    probes: u32,
    next: Instant,
    probing: bool,
}

/// How many messages may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    All,
    /// One, to see whether the destination is back.
    One,
    /// None before this time, or before the probe that is under way comes back.
    NoneUntil(Option<Instant>),
}

/// What an attempt says about the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationSignal {
    /// It took the message, or judged it.
    Answered,
    Failed(String),
    /// Something answered that is no FHIR endpoint, and it may be for this message alone: says nothing unless the
    /// destination is in doubt already.
    Doubted(String),
    /// It takes nothing from us until a person has mended something.
    Refused(String),
}

/// Something to tell a person, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CircuitChange {
    WentDown { held: bool, reason: String },
    CameBack { after: Duration },
}

impl Circuit {
    #[must_use]
    pub fn new(retry: &Retry) -> Self {
        let pace = Retry { max: retry.max.min(SLOWEST), base: retry.base.min(SLOWEST), ..retry.clone() };
        Self { pace, state: CircuitState::Closed { failures: 0 } }
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, CircuitState::Closed { .. })
    }

    /// Whether a person has to mend something before anything is delivered.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(&self.state, CircuitState::Open(open) if open.outage.held)
    }

    /// Why nothing is delivered, and since when.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        match &self.state {
            CircuitState::Closed { .. } => None,
            CircuitState::Open(open) => Some(open.outage.clone()),
        }
    }

    #[must_use]
    pub fn allows(&self, now: Instant) -> Allowed {
        match &self.state {
            CircuitState::Closed { .. } => Allowed::All,
            CircuitState::Open(open) if open.probing => Allowed::NoneUntil(None),
            CircuitState::Open(open) if open.next <= now => Allowed::One,
            CircuitState::Open(open) => Allowed::NoneUntil(Some(open.next)),
        }
    }

    /// Whether the next probe is to be a message that was not tried yet: every other one is, so that a message that will
    /// never get through does not keep the destination in doubt.
    #[must_use]
    pub fn wants_a_fresh_probe(&self) -> bool {
        matches!(&self.state, CircuitState::Open(open) if open.probes % 2 == 1)
    }

    /// A message was sent that [`Allowed::One`] allowed.
    pub fn probe(&mut self) {
        if let CircuitState::Open(open) = &mut self.state {
            open.probing = true;
        }
    }

    /// The probe did not get as far as the destination.
    pub fn probe_came_to_nothing(&mut self) {
        if let CircuitState::Open(open) = &mut self.state {
            open.probing = false;
        }
    }

    pub fn note(&mut self, signal: DestinationSignal, now: Instant) -> Option<CircuitChange> {
        match signal {
            DestinationSignal::Answered => self.close(now),
            DestinationSignal::Failed(reason) => self.fail(&reason, false, now),
            DestinationSignal::Doubted(_) if self.is_closed() => None,
            DestinationSignal::Doubted(reason) => self.fail(&reason, true, now),
            DestinationSignal::Refused(reason) => self.fail(&reason, true, now),
        }
    }

    fn close(&mut self, now: Instant) -> Option<CircuitChange> {
        match std::mem::replace(&mut self.state, CircuitState::Closed { failures: 0 }) {
            CircuitState::Closed { .. } => None,
            CircuitState::Open(open) => {
                Some(CircuitChange::CameBack { after: now.saturating_duration_since(open.outage.since) })
            }
        }
    }

    fn fail(&mut self, reason: &str, held: bool, now: Instant) -> Option<CircuitChange> {
        match &mut self.state {
            CircuitState::Closed { failures } if !held && *failures + 1 < TOLERATED => {
                *failures += 1;
                None
            }
            CircuitState::Closed { .. } => {
                let reason = reason.to_owned();
                let next = now + backoff::delay(&self.pace, 1, 0);
                let outage = Outage { since: now, held, reason: reason.clone() };
                self.state = CircuitState::Open(OpenCircuit { outage, probes: 0, next, probing: false });
                Some(CircuitChange::WentDown { held, reason })
            }
            CircuitState::Open(open) => {
                let was_held = open.outage.held;
                open.note(reason, held, now, &self.pace);
                let becomes_held = open.outage.held && !was_held;
                becomes_held.then(|| CircuitChange::WentDown { held: true, reason: reason.to_owned() })
            }
        }
    }
}

impl OpenCircuit {
    /// Also hears of messages that were under way when it began; those are no probes.
    fn note(&mut self, reason: &str, held: bool, now: Instant, pace: &Retry) {
        if !std::mem::take(&mut self.probing) {
            return;
        }
        self.probes = self.probes.saturating_add(1);
        self.outage.held = held;
        reason.clone_into(&mut self.outage.reason);
        self.next = now + backoff::delay(pace, self.probes, u64::from(self.probes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> (Circuit, Instant) {
        (Circuit::new(&Retry::default()), Instant::now())
    }

    fn opened() -> (Circuit, Instant) {
        let (mut circuit, now) = circuit();
        for _ in 0..TOLERATED {
            circuit.note(DestinationSignal::Failed("HTTP 503".into()), now);
        }
        (circuit, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_say_so_once() {
        let (mut circuit, now) = circuit();
        let mut changes = (0..20).filter_map(|_| circuit.note(DestinationSignal::Failed("HTTP 503".into()), now));
        assert_eq!(changes.next(), Some(CircuitChange::WentDown { held: false, reason: "HTTP 503".into() }));
        assert_eq!(changes.next(), None);
        assert!(matches!(circuit.allows(now), Allowed::NoneUntil(Some(_))));
    }

    #[test]
    fn an_outage_that_a_person_has_to_mend_after_all_is_told_of() {
        let (mut circuit, now) = opened();
        circuit.probe();
        let held = DestinationSignal::Refused("HTTP 401".into());
        let change = circuit.note(held.clone(), now);
        assert_eq!(change, Some(CircuitChange::WentDown { held: true, reason: "HTTP 401".into() }));
        assert!(circuit.is_held());
        circuit.probe();
        assert_eq!(circuit.note(held, now), None, "once");
    }

    #[test]
    fn a_success_in_between_keeps_it_closed() {
        let (mut circuit, now) = circuit();
        for _ in 0..50 {
            for _ in 1..TOLERATED {
                assert_eq!(circuit.note(DestinationSignal::Failed("HTTP 500".into()), now), None);
            }
            assert_eq!(circuit.note(DestinationSignal::Answered, now), None);
        }
        assert_eq!(circuit.allows(now), Allowed::All);
    }

    #[test]
    fn a_refusal_of_ourselves_holds_at_once() {
        let (mut circuit, now) = circuit();
        let change = circuit.note(DestinationSignal::Refused("HTTP 401".into()), now);
        assert_eq!(change, Some(CircuitChange::WentDown { held: true, reason: "HTTP 401".into() }));
        assert_eq!(circuit.outage(), Some(Outage { since: now, held: true, reason: "HTTP 401".into() }));
    }

    #[test]
    fn a_doubt_opens_nothing_and_ends_nothing() {
        let (mut circuit, now) = circuit();
        for _ in 0..20 {
            assert_eq!(circuit.note(DestinationSignal::Doubted("HTTP 404".into()), now), None);
        }
        assert_eq!(circuit.allows(now), Allowed::All);
        circuit.note(DestinationSignal::Refused("HTTP 404".into()), now);
        let later = now + Duration::from_secs(60);
        assert!(!circuit.wants_a_fresh_probe());
        circuit.probe();
        circuit.note(DestinationSignal::Doubted("HTTP 404".into()), later);
        assert!(circuit.wants_a_fresh_probe(), "the other may be the one that never gets through");
        assert!(matches!(circuit.allows(later), Allowed::NoneUntil(Some(_))), "paced as any probe that failed");
    }

    #[test]
    fn one_probe_at_a_time_at_growing_intervals_until_one_gets_through() {
        let (mut circuit, start) = opened();
        let (mut now, mut waits) = (start, Vec::new());
        for _ in 0..12 {
            let Allowed::NoneUntil(Some(next)) = circuit.allows(now) else { panic!("{:?}", circuit.allows(now)) };
            waits.push(next - now);
            now = next;
            assert_eq!(circuit.allows(now), Allowed::One);
            circuit.probe();
            assert_eq!(circuit.allows(now), Allowed::NoneUntil(None), "one is under way");
            circuit.note(DestinationSignal::Failed("HTTP 503".into()), now);
        }
        assert!(waits[0] <= Duration::from_secs(1), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= SLOWEST), "{waits:?}");
        assert!(waits[11] > waits[0] * 4, "{waits:?}");
        circuit.probe();
        let change = circuit.note(DestinationSignal::Answered, now);
        assert_eq!(change, Some(CircuitChange::CameBack { after: now - start }));
        assert_eq!(circuit.allows(now), Allowed::All);
    }

    #[test]
    fn failures_of_those_that_were_under_way_do_not_slow_the_probes() {
        let (mut circuit, now) = opened();
        let before = circuit.allows(now);
        for _ in 0..30 {
            circuit.note(DestinationSignal::Failed("HTTP 503".into()), now);
        }
        assert_eq!(circuit.allows(now), before);
    }

    #[test]
    fn a_probe_that_never_reached_the_destination_can_be_repeated() {
        let (mut circuit, now) = opened();
        let later = now + Duration::from_secs(60);
        assert_eq!(circuit.allows(later), Allowed::One);
        circuit.probe();
        circuit.probe_came_to_nothing();
        assert_eq!(circuit.allows(later), Allowed::One);
    }
}
