//! What one listener has seen since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use super::turned_away::TurnedAway;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counted as it happens; a message is in exactly one of `accepted`, `skipped`, `refused`, `duplicates` and `unstored`.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections_opened: Counter,
    pub connections_closed: Counter,
    /// Closed at once: of no allowed network, or one too many of its peer.
    pub connections_refused: Counter,
    /// Whose they were.
    pub turned_away: TurnedAway,
    /// Connections that came to no TLS handshake.
    pub handshake_faults: Counter,
    /// Bytes of the frames, without framing.
    pub bytes: Counter,
    pub accepted: Counter,
    /// Taken and kept, but not delivered, by policy.
    pub skipped: Counter,
    /// Answered with an error: whole frames, oversize and partial ones, and messages outside a frame.
    pub refused: Counter,
    /// Of the skipped and the refused: those that were counted and not kept.
    pub unkept: Counter,
    pub duplicates: Counter,
    /// Control ids used again for other bytes; these are among the accepted.
    pub reused_control_ids: Counter,
    /// The journal could not store: no positive ack was sent.
    pub unstored: Counter,
    pub oversize: Counter,
    pub partial: Counter,
    /// Bytes outside any frame.
    pub noise_bytes: Counter,
    pub frame_timeouts: Counter,
    pub write_timeouts: Counter,
}

impl Counters {
    /// Connections open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections_opened.get().saturating_sub(self.connections_closed.get())
    }
}
