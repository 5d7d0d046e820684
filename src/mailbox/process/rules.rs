//! What decides about a message besides the message: the configuration, and how it came.

use std::time::Duration;

use crate::mailbox::config::{MailboxConfig, Snapshot, UnknownEvents};

/// What of the configuration decides about messages.
#[derive(Debug, Clone)]
pub struct Rules {
    pub snapshot: Snapshot,
    pub unknown_events: UnknownEvents,
    pub memory: Duration,
    pub memory_size: u64,
    /// Endpoints for which messages are processed; empty: all.
    pub served: Vec<String>,
    /// Steps that one message may take.
    pub work_limit: u64,
}

impl From<&MailboxConfig> for Rules {
    fn from(config: &MailboxConfig) -> Self {
        Self {
            snapshot: config.snapshot,
            unknown_events: config.unknown_events,
            memory: config.reliable_cache,
            memory_size: config.reliable_cache_size,
            served: config.destinations.clone(),
            work_limit: config.work_limit,
        }
    }
}

/// How a message came: what the URL said besides the body.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// Our base URL, which names the mailbox where the sender addressed no destination.
    pub base: String,
    /// Where the answer is to be sent.
    pub respond_to: Option<String>,
}
