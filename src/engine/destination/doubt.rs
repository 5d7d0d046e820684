//! Answers that no FHIR endpoint gives: is the destination's address wrong, or is it one message's own fault?
//!
//! A wrong address (404, a page, a redirect) must not make a dead letter of every message, and one message that a proxy
//! does not let through must not stop the others. One answer does not tell the two apart, so a message that is answered
//! so waits until something else does:
//!
//! - **the destination holds** when its `metadata` is no CapabilityStatement, or when another message (and so another
//!   patient's: those of one patient go one by one) is answered likewise;
//! - **the message is given up** when it is answered so again after the destination took or judged another message that was
//!   sent later;
//! - until one of these is known the message is put off, and with it its patient's later ones.
//!
//! While the destination is held for this, `metadata` is asked before a message is sent as a probe: where it is known that
//! the destination has one and it does not answer, no message is sent to whoever stands there now.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::Seq;
use crate::log_throttle::LogThrottle;
use crate::outbound::{Client, Metadata};

/// An answer of `metadata` is as good as a new one for so long: many messages are answered at the same time.
const FRESH: Duration = Duration::from_secs(1);

/// How often a message that is not refused for good is answered so before it is given up.
const TRIES: u32 = 5;

#[derive(Debug, Default)]
pub struct Doubts {
    known: Mutex<Known>,
    asked: tokio::sync::Mutex<Asked>,
}

/// What deliveries have shown.
#[derive(Debug, Default)]
struct Known {
    /// Messages that were answered so and are not done with: as many as were sent while the destination was in doubt.
    doubted: HashMap<Seq, Doubted>,
    /// Those of them that were since the destination last answered as it should.
    since: HashSet<Seq>,
    /// When the latest request began that was answered as it should be.
    proven: Option<Instant>,
    /// Whether the destination is held for this.
    held: bool,
    told: LogThrottle,
}

#[derive(Debug, Clone, Copy)]
struct Doubted {
    first: Instant,
    times: u32,
}

/// What `metadata` has shown.
#[derive(Debug, Default)]
struct Asked {
    last: Option<(Instant, Metadata)>,
    /// Whether a CapabilityStatement was ever there in this run.
    was_there: bool,
}

/// Whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Message,
    /// The destination's; what `metadata` says, or that others fare likewise.
    Destination(String),
    /// Not known yet.
    Open,
}

impl Doubts {
    /// The destination took or judged a message, by an answer of its own.
    pub fn answered(&self, seq: Seq, began: Instant) {
        let mut known = self.known();
        known.doubted.remove(&seq);
        known.since.clear();
        known.held = false;
        known.proven = known.proven.max(Some(began));
    }

    /// A message was answered as no FHIR endpoint answers. `last`: were it its own fault, it is not to be sent again.
    pub async fn weigh(&self, client: &Client, seq: Seq, last: bool) -> Verdict {
        let verdict = self.known().weigh(seq, last, Instant::now());
        if verdict == Verdict::Message {
            return verdict;
        }
        let verdict = match (self.metadata(client, FRESH).await, verdict) {
            (Metadata::NotFhir { said }, _) => Verdict::Destination(format!("GET metadata: {said}")),
            (_, verdict) => verdict,
        };
        self.known().held |= matches!(verdict, Verdict::Destination(_));
        verdict
    }

    /// Before a message is sent as a probe: why that is of no use.
    pub async fn still(&self, client: &Client) -> Option<String> {
        if !self.known().held {
            return None;
        }
        match self.metadata(client, Duration::ZERO).await {
            Metadata::NotFhir { said } if self.asked.lock().await.was_there => Some(said),
            Metadata::NotFhir { .. } | Metadata::Fhir | Metadata::Unknown { .. } => None,
        }
    }

    /// Whether to tell a person of such an answer now, and of how many nothing was told since the last.
    pub fn speak(&self) -> Option<u64> {
        self.known().told.speak()
    }

    /// Asks one at a time; those who wait share its answer.
    async fn metadata(&self, client: &Client, fresh: Duration) -> Metadata {
        let mut asked = self.asked.lock().await;
        if let Some((at, last)) = &asked.last
            && at.elapsed() < fresh
        {
            return last.clone();
        }
        let metadata = client.metadata().await;
        asked.was_there |= metadata == Metadata::Fhir;
        asked.last = Some((Instant::now(), metadata.clone()));
        metadata
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn weigh(&mut self, seq: Seq, last: bool, now: Instant) -> Verdict {
        let doubted = self.doubted.entry(seq).or_insert(Doubted { first: now, times: 0 });
        doubted.times += 1;
        let enough = last || doubted.times >= TRIES;
        if enough && self.proven > Some(doubted.first) {
            self.doubted.remove(&seq);
            self.since.remove(&seq);
            return Verdict::Message;
        }
        self.since.insert(seq);
        match self.since.len() {
            0 | 1 => Verdict::Open,
            _ => Verdict::Destination("other messages are answered likewise".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(known: &Known) -> Instant {
        known.proven.unwrap_or_else(Instant::now) + Duration::from_millis(1)
    }

    fn proven(known: &mut Known, began: Instant) {
        known.since.clear();
        known.proven = Some(began);
    }

    #[test]
    fn a_message_alone_is_given_up_only_when_another_got_through_that_was_sent_after_its_first_answer() {
        let (mut known, start) = (Known::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        proven(&mut known, at(0));
        assert_eq!(known.weigh(1, true, at(1)), Verdict::Open, "what went before may have been another address");
        assert_eq!(known.weigh(1, true, at(2)), Verdict::Open);
        proven(&mut known, at(3));
        assert_eq!(known.weigh(1, true, at(4)), Verdict::Message);
        assert!(known.doubted.is_empty() && known.since.is_empty());
    }

    #[test]
    fn two_that_are_answered_so_with_no_other_between_are_the_destination() {
        let (mut known, start) = (Known::default(), Instant::now());
        assert_eq!(known.weigh(1, true, start), Verdict::Open);
        assert!(matches!(known.weigh(2, true, start), Verdict::Destination(_)));
        proven(&mut known, start + Duration::from_millis(1));
        assert_eq!(known.weigh(1, true, later(&known)), Verdict::Message);
        assert_eq!(known.weigh(2, true, later(&known)), Verdict::Message);
    }

    #[test]
    fn one_that_might_do_better_another_time_is_tried_some_times_before() {
        let (mut known, start) = (Known::default(), Instant::now());
        for time in 1..TRIES {
            let at = start + Duration::from_millis(u64::from(time) * 2);
            assert_eq!(known.weigh(1, false, at), Verdict::Open, "{time}");
            proven(&mut known, at + Duration::from_millis(1));
        }
        assert_eq!(known.weigh(1, false, later(&known)), Verdict::Message);
    }
}
