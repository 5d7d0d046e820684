//! The configuration: one TOML file, each part owned by the module that reads it. Without a file every key has its
//! default; `config.toml` shows them all.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::{engine, journal, mailbox, mapping, mllp, outbound, tls};

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
        }
    }
}

/// What goes to stderr. Patient data never does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or by module as in `info,stoker::mllp=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
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
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or has a key or a value that means nothing; with its line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is not a configuration", path.display()))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text)?;
        config.validate()?;
        Ok(config)
    }

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

    fn validate(&self) -> anyhow::Result<()> {
        self.mllp.validate()?;
        let mut names = BTreeSet::new();
        for listener in &self.listeners {
            listener.validate()?;
            for name in listener.names() {
                if !names.insert(name) {
                    bail!("two listeners are named '{name}', or were; each needs a name of its own");
                }
            }
        }
        Ok(())
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
}
