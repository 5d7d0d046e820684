//! What became of messages, for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::{MetricKind, Metrics, Sample};

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Applied,
    /// Something of it was older than what is stored, and left out.
    Late,
    Duplicate,
    /// Kept for its destinations only: published, or for endpoints that are not served here.
    Kept,
    /// Understood, and refused by a rule.
    Refused,
    /// Not valid enough to be processed.
    Invalid,
    /// Not taken now: busy, or the store failed.
    Failed,
}

impl Disposition {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Applied, "applied"),
        (Self::Late, "late"),
        (Self::Duplicate, "duplicate"),
        (Self::Kept, "kept"),
        (Self::Refused, "refused"),
        (Self::Invalid, "invalid"),
        (Self::Failed, "failed"),
    ];
}

#[derive(Debug, Default)]
pub struct MessageCounts {
    outcomes: [AtomicU64; Disposition::ALL.len()],
    waiting: AtomicU64,
}

/// A reader that waits for a message, counted until it is dropped.
pub struct Waiting<'c>(&'c MessageCounts);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl MessageCounts {
    pub fn add(&self, outcome: Disposition) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Shows the counts in `metrics` for as long as the mailbox lives.
    pub fn show(self: &Arc<Self>, metrics: &Metrics) {
        let counts = Arc::downgrade(self);
        let help = "Messages that the mailbox received, by what became of them";
        metrics.collect("mailbox_messages", help, MetricKind::Counter, move || {
            let Some(counts) = counts.upgrade() else { return Vec::new() };
            let sample = |(outcome, name): &(Disposition, &str)| Sample {
                labels: vec![("outcome", (*name).to_owned())],
                value: counts.outcomes[*outcome as usize].load(Ordering::Relaxed),
            };
            Disposition::ALL.iter().map(sample).collect()
        });
        let counts = Arc::downgrade(self);
        metrics.collect("mailbox_waiting_readers", "Readers that wait for a message", MetricKind::Gauge, move || {
            let waiting = counts.upgrade().map(|counts| counts.waiting.load(Ordering::Relaxed));
            waiting.map(|value| Sample { labels: Vec::new(), value }).into_iter().collect()
        });
    }
}
