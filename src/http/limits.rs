//! How many connections a listener of HTTP holds, and for how long it waits for their peers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units;

/// For how long a peer may keep us waiting. What we do ourselves, a long poll for one, has no limit here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the connection, or the first byte of a later request, to the end of the request's header.
    #[serde(with = "units::duration")]
    pub header: Duration,
    /// From the header to the last byte of the body.
    #[serde(with = "units::duration")]
    pub body: Duration,
    /// Between two bytes of a body, and between two that the peer takes of an answer.
    #[serde(with = "units::duration")]
    pub stall: Duration,
    /// From the first byte of an answer to the last that the peer takes.
    #[serde(with = "units::duration")]
    pub answer: Duration,
    /// Between two requests of one connection.
    #[serde(with = "units::duration")]
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            body: Duration::from_secs(120),
            stall: Duration::from_secs(20),
            answer: Duration::from_secs(300),
            idle: Duration::from_secs(60),
        }
    }
}

/// What one listener allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at a time.
    pub most: usize,
    /// Of these, from one address; 0: no limit but the one of all.
    pub per_peer: usize,
    pub timeouts: Timeouts,
}

impl ConnectionLimits {
    /// How many connections one address may have.
    pub fn of_one_peer(&self) -> usize {
        if self.per_peer == 0 { self.most() } else { self.per_peer.min(self.most()) }
    }

    pub fn most(&self) -> usize {
        self.most.max(1)
    }
}
