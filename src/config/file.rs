//! The file's form: what stands under which key. Each part belongs to the room that reads it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::log::Log;
use super::source::Source;
use crate::{engine, journal, mailbox, mapping, mllp, outbound, tls};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub log: Log,
    pub http: Http,
    #[serde(rename = "listener")]
    pub listeners: Vec<mllp::ListenerConfig>,
    pub journal: journal::JournalConfig,
    pub mapping: mapping::MappingConfig,
    pub identifiers: mapping::Identifiers,
    pub destination: outbound::DestinationConfig,
    pub queue: engine::Queue,
    pub mailbox: mailbox::MailboxConfig,
    /// Where it was read, for those who say what is wrong with it.
    #[serde(skip)]
    pub source: Source,
    /// Said with the command, never in the file: a new journal may begin where a folder holds other data.
    #[serde(skip)]
    pub new_journal: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log: Log::default(),
            http: Http::default(),
            listeners: vec![mllp::ListenerConfig::default()],
            journal: journal::JournalConfig::default(),
            mapping: mapping::MappingConfig::default(),
            identifiers: mapping::Identifiers::default(),
            destination: outbound::DestinationConfig::default(),
            queue: engine::Queue::default(),
            mailbox: mailbox::MailboxConfig::default(),
            source: Source::default(),
            new_journal: false,
        }
    }
}

/// The daemon's HTTP: mailbox, metrics, health.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub bind: SocketAddr,
    /// Whether the daemon carries a mailbox of its own at `/fhir`.
    pub mailbox: bool,
    /// Further connections wait in the system's queue until one closes.
    pub max_connections: usize,
    /// Speaks HTTPS and nothing else.
    pub tls: Option<tls::TlsConfig>,
}

impl Default for Http {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([127, 0, 0, 1], 8575)), mailbox: true, max_connections: 512, tls: None }
    }
}

impl Config {
    /// What follows from what: with a mailbox of its own the daemon delivers to it, and conditions begin with the base
    /// URL of the receiver, unless the configuration says otherwise.
    #[must_use]
    pub fn settled(mut self, http: SocketAddr) -> Self {
        let default = Self::default();
        self.http.bind = http;
        let scheme = if self.http.tls.is_some() { "https" } else { "http" };
        if self.http.mailbox && self.destination.url == default.destination.url {
            self.destination.url = format!("{scheme}://{http}/fhir/$process-message");
        }
        if self.mapping.base == default.mapping.base {
            let base = self.destination.url.strip_suffix("/$process-message").unwrap_or(&self.destination.url);
            self.mapping.base = base.to_owned();
        }
        self
    }
}
