//! What became of the messages of a replay, summed up by event and by reason.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::engine::replay::{ReplayOutcome, Settled};
use crate::journal::Seq;

/// Reasons that are told, the most frequent first.
const REASONS: usize = 20;

pub struct Tally {
    /// Delivered and failed, by event.
    events: BTreeMap<String, (u64, u64)>,
    /// How often, and the first message.
    reasons: BTreeMap<String, (u64, Seq)>,
    /// Pieces of files that are no message.
    pub unreadable: u64,
    began: Instant,
}

impl Default for Tally {
    fn default() -> Self {
        Self { events: BTreeMap::new(), reasons: BTreeMap::new(), unreadable: 0, began: Instant::now() }
    }
}

impl Tally {
    pub fn count(&mut self, settled: &Settled) {
        let event = settled.event.clone().unwrap_or_else(|| "not mapped".to_owned());
        let (delivered, failed) = self.events.entry(event).or_default();
        match &settled.fate {
            ReplayOutcome::Delivered => *delivered += 1,
            ReplayOutcome::Failed { reason } => {
                *failed += 1;
                self.reasons.entry(reason.clone()).or_insert((0, settled.number)).0 += 1;
            }
        }
    }

    pub fn failed(&self) -> u64 {
        self.unreadable + self.events.values().map(|(_, failed)| failed).sum::<u64>()
    }

    fn delivered(&self) -> u64 {
        self.events.values().map(|(delivered, _)| delivered).sum()
    }

    /// To stdout.
    pub fn print(&self) {
        if !self.events.is_empty() {
            println!("{:12} {:>10} {:>10}", "event", "delivered", "failed");
        }
        for (event, (delivered, failed)) in &self.events {
            println!("{event:12} {delivered:>10} {failed:>10}");
        }
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, (count, first))| (std::cmp::Reverse(*count), *first));
        for (reason, (count, first)) in reasons.iter().take(REASONS) {
            println!("{count:>7} x {reason} (first: message {first})");
        }
        if reasons.len() > REASONS {
            println!("and {} more reasons", reasons.len() - REASONS);
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = self.delivered() as f64 / seconds.max(0.001);
        let (delivered, failed) = (self.delivered(), self.failed());
        println!("{delivered} delivered, {failed} failed, in {seconds:.1} s ({rate:.0} a second)");
    }
}
