//! The file's form: what stands under which key. Each part belongs to the room that reads it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::log::Log;
use super::source::Source;
use crate::{engine, http, journal, mailbox, mapping, mllp, outbound, tls};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub log: Log,
    pub http: Http,
    #[serde(rename = "listener")]
    pub listeners: Vec<mllp::ListenerConfig>,
    pub mllp: mllp::MllpConfig,
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
            mllp: mllp::MllpConfig::default(),
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
    /// Names by which it may be asked without a token, and of pages that may; besides its addresses and that of
    /// `mailbox.base`.
    pub hosts: Vec<String>,
    /// Connections at a time. For a further one the longest idle is closed.
    pub max_connections: usize,
    /// Of these, from one address; 0: no limit but the one of all.
    pub max_connections_per_peer: usize,
    pub timeouts: http::limits::Timeouts,
    /// Speaks HTTPS and nothing else.
    pub tls: Option<tls::TlsConfig>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8575)),
            mailbox: true,
            hosts: Vec::new(),
            max_connections: 512,
            max_connections_per_peer: 128,
            timeouts: http::limits::Timeouts::default(),
            tls: None,
        }
    }
}

impl Http {
    #[must_use]
    pub fn limits(&self) -> http::limits::ConnectionLimits {
        let (most, per_peer) = (self.max_connections, self.max_connections_per_peer);
        http::limits::ConnectionLimits { most, per_peer, timeouts: self.timeouts }
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

    /// Whether the destination is the mailbox of this daemon, of a configuration that is [settled](Self::settled): its
    /// deliveries then need neither a connection nor a token, and no certificate has to be trusted.
    #[must_use]
    pub fn delivers_to_itself(&self) -> bool {
        let rest =
            self.destination.url.strip_prefix("http://").or_else(|| self.destination.url.strip_prefix("https://"));
        let Some((authority, "fhir/$process-message")) = rest.and_then(|rest| rest.split_once('/')) else {
            return false;
        };
        let Some((host, port)) = authority.rsplit_once(':') else { return false };
        let host = if host == "localhost" { "127.0.0.1" } else { host.trim_matches(['[', ']']) };
        let (bind, host) = (self.http.bind, host.parse::<IpAddr>());
        let reaches = |host: IpAddr| host == bind.ip() || (bind.ip().is_unspecified() && host.is_loopback());
        self.http.mailbox && port.parse() == Ok(bind.port()) && host.is_ok_and(reaches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_toml_shows_every_key_with_its_default() {
        let shown = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap();
        // A key without a default is shown as a comment; a value given for it here must be one that is taken.
        let read: toml::Value = toml::from_str(&shown).unwrap();
        let default = toml::Value::try_from(Config::default()).unwrap();
        assert_eq!(
            read,
            default,
            "config.toml and the defaults differ; the defaults are\n{}",
            toml::to_string(&default).unwrap()
        );
        Config::parse(&shown).unwrap();
    }

    #[test]
    fn a_key_that_does_not_exist_is_named_with_its_line() {
        let error = Config::parse("[http]\nbond = \"127.0.0.1:1\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("bond"), "{error}");
    }

    #[test]
    fn what_is_delivered_where_follows_the_http_address() {
        let config = Config::default().settled(SocketAddr::from(([127, 0, 0, 1], 9000)));
        assert_eq!(config.destination.url, "http://127.0.0.1:9000/fhir/$process-message");
        assert_eq!(config.mapping.base, "http://127.0.0.1:9000/fhir");
        let elsewhere = Config::parse("[destination]\nurl = \"https://hub.test/r4/$process-message\"").unwrap();
        assert_eq!(elsewhere.settled(SocketAddr::from(([127, 0, 0, 1], 9000))).mapping.base, "https://hub.test/r4");
    }

    #[test]
    fn a_daemon_knows_the_address_of_its_own_mailbox() {
        let own = |bind: &str, url: &str| {
            let mut config = Config::default();
            config.destination.url = url.into();
            config.settled(bind.parse().unwrap()).delivers_to_itself()
        };
        assert!(Config::default().settled(SocketAddr::from(([127, 0, 0, 1], 9000))).delivers_to_itself());
        for (bind, url, expected) in [
            ("127.0.0.1:9000", "http://localhost:9000/fhir/$process-message", true),
            ("0.0.0.0:9000", "https://127.0.0.1:9000/fhir/$process-message", true),
            ("[::1]:9000", "http://[::1]:9000/fhir/$process-message", true),
            ("127.0.0.1:9000", "http://127.0.0.1:9001/fhir/$process-message", false),
            ("127.0.0.1:9000", "http://127.0.0.1:9000/other/$process-message", false),
            ("127.0.0.1:9000", "http://127.0.0.1:9000/fhir/$process-message?async=true", false),
            ("127.0.0.1:9000", "http://hub.test:9000/fhir/$process-message", false),
        ] {
            assert_eq!(own(bind, url), expected, "{bind} {url}");
        }
    }
}
