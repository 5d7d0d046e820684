//! What the engine is built from, and why it is not.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{journal, mllp, outbound, units};

/// Everything the engine runs on; each part belongs to the module that it configures.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    pub journal: journal::JournalConfig,
    pub listeners: Vec<mllp::ListenerConfig>,
    pub mllp: mllp::MllpConfig,
    pub queue: Queue,
    pub outbound: outbound::DestinationConfig,
    /// The routes of the destination, where it is in this process.
    pub own: Option<axum::Router>,
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// At most so many waiting messages are known by number; those behind them wait in the journal. Each takes about a
    /// hundred bytes of memory.
    pub window: usize,
    /// For how long what is under way may end when the program is told to stop.
    #[serde(with = "units::duration")]
    pub drain: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { window: 2_000_000, drain: Duration::from_secs(20) }
    }
}

/// Why there is no engine. Nothing has been received or sent.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Outbound(#[from] outbound::BuildError),
    #[error(transparent)]
    Listener(#[from] mllp::config::ConfigError),
    #[error("two listeners are named '{0}'; give each a name of its own")]
    SameName(String),
    #[error("listener '{listener}': zone '{zone}' is not an IANA time zone such as Europe/Oslo")]
    Zone { listener: String, zone: String },
    #[error("listener '{listener}': {reason}")]
    Charset { listener: String, reason: String },
    #[error("listener '{listener}' cannot listen on {bind}: {reason}")]
    Bind { listener: String, bind: SocketAddr, reason: String },
    #[error(
        "{messages} messages wait that came by listener '{listener}', and none is called so: their time zone and character set \
         are not known. Write formerly = [\"{listener}\"] into the [[listener]] that took its place, or configure it again \
         until they are delivered"
    )]
    Unconfigured { listener: String, messages: u64 },
    #[error("the engine cannot start: {0}")]
    Runtime(String),
}
