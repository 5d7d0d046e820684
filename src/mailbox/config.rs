//! What a site may choose about its mailbox. Every key has a default that suits a mailbox embedded in one engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::auth;
use crate::http::limits::{ConnectionLimits, Timeouts};
use crate::http::listener::TlsConfig;
use crate::units;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailboxConfig {
    /// Where HTTP listens when the mailbox runs alone.
    pub bind: SocketAddr,
    /// The base URL as clients write it. Absent: made of the request's Host.
    pub base: Option<String>,
    /// Names by which it may be asked without a token, when it runs alone, and of pages that may; besides its addresses
    /// and that of `base`.
    pub hosts: Vec<String>,
    /// The database file. Its folder is made when it is missing.
    pub data: PathBuf,
    pub snapshot: Snapshot,
    pub unknown_events: UnknownEvents,
    /// How long the answer to a message is remembered for its duplicates; declared as `reliableCache`.
    #[serde(with = "units::duration")]
    pub reliable_cache: Duration,
    /// The most answers that are remembered. When they are more, `reliableCache` declares the shorter time that is left.
    pub reliable_cache_size: u64,
    /// The endpoints for which this mailbox processes messages; empty: for all. Others are kept for retrieval only.
    pub destinations: Vec<String>,
    /// Hosts (`host` or `host:port`) to which answers may be sent when a sender asks for that; others are refused.
    pub response_hosts: Vec<String>,
    /// The proxy through which these are reached. Absent: none, whatever the environment says.
    pub response_proxy: Option<String>,
    /// The largest body that is read.
    #[serde(with = "units::size")]
    pub body_limit: usize,
    /// How deep JSON may nest. FHIR's own resources stay under 20.
    pub depth_limit: usize,
    /// How many JSON values (objects, lists, texts, numbers) a message may hold.
    pub value_limit: usize,
    /// Steps that the processing of one message may take: statements, rows, KiB of text. A resource takes about ten; a
    /// message that takes more is refused (422), and nothing of it is written.
    pub work_limit: u64,
    /// Messages that wait for the writer; when they are this many, the next one is answered 503.
    pub queue: usize,
    /// HTTP connections at a time, when the mailbox runs alone. For a further one the longest idle is closed.
    pub max_connections: usize,
    /// Of these, from one address; 0: no limit but the one of all.
    pub max_connections_per_peer: usize,
    /// When the mailbox runs alone.
    pub timeouts: Timeouts,
    pub auth: auth::AuthConfig,
    /// TLS, when the mailbox runs alone.
    pub tls: Option<TlsConfig>,
    /// Connections to the database for readers.
    pub readers: usize,
    /// The writer's share of memory for database pages.
    #[serde(with = "units::size")]
    pub cache: u64,
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8575)),
            base: None,
            hosts: Vec::new(),
            data: PathBuf::from("data/mailbox.db"),
            snapshot: Snapshot::Complete,
            unknown_events: UnknownEvents::Refuse,
            reliable_cache: Duration::from_secs(30 * 24 * 3600),
            reliable_cache_size: 50_000_000,
            destinations: Vec::new(),
            response_hosts: Vec::new(),
            response_proxy: None,
            body_limit: 8 << 20,
            depth_limit: 48,
            value_limit: 1_000_000,
            work_limit: 50_000,
            queue: 1024,
            max_connections: 512,
            max_connections_per_peer: 128,
            timeouts: Timeouts::default(),
            auth: auth::AuthConfig::default(),
            tls: None,
            readers: 4,
            cache: 64 << 20,
        }
    }
}

impl MailboxConfig {
    #[must_use]
    pub fn limits(&self) -> ConnectionLimits {
        let (most, per_peer) = (self.max_connections, self.max_connections_per_peer);
        ConnectionLimits { most, per_peer, timeouts: self.timeouts }
    }
}

/// What the clinical resources of a `clinical-notify` replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Snapshot {
    /// Everything clinical that is stored for the visit: what the message does not list is gone.
    Complete,
    /// Only the types of which the message holds at least one.
    PerType,
}

/// What happens to a message whose event the mailbox has no rule for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownEvents {
    /// Answered with a fatal-error, `not-supported`; nothing is kept.
    Refuse,
    /// Kept for its destinations to retrieve; no resource is touched.
    Store,
}
