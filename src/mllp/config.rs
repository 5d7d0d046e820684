//! One `[[listener]]` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::connection::network::Network;
use crate::tls;
use crate::units;

/// What a person writes. An [`Intake`](super::Intake) is made only of one that [`validate`](ListenerConfig::validate)s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerConfig {
    /// Stands in the journal, the log and the metrics.
    pub name: String,
    /// What it was called before. Messages that came under these names are read with its zone and character set.
    pub formerly: Vec<String>,
    pub bind: SocketAddr,
    /// Networks whose peers may connect; empty: all.
    pub allow: Vec<Network>,
    /// The longest message taken. A longer one is answered with error 207.
    #[serde(with = "units::size")]
    pub max_frame: usize,
    /// Further connections wait in the system's queue until one closes.
    pub max_connections: usize,
    /// Further connections from the same address are closed, so that no peer shuts out the others; 0: no limit of its own.
    pub max_connections_per_peer: usize,
    /// A connection that brings no message for this long is closed. Senders open a new one when they need it.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
    /// From a frame's first byte to its last: a sender that is slower holds a place for nothing.
    #[serde(with = "units::duration")]
    pub frame_timeout: Duration,
    /// A peer that does not read its acks for this long is left.
    #[serde(with = "units::duration")]
    pub write_timeout: Duration,
    /// Messages of one connection that may wait for the journal's commit at once. Acks keep the order of the messages.
    pub pipeline: usize,
    /// The answer when the journal cannot store.
    pub transient: Transient,
    /// When an application acknowledgement that MSH-16 asks for is sent.
    pub application_acks: ApplicationAcks,
    /// Where to send later ones, `host:port`; absent: on a connection from the address that the message came from.
    pub application_acks_to: Option<String>,
    /// MSH-11 values that are taken; an empty MSH-11 always is.
    pub processing_ids: Vec<String>,
    /// Message types and trigger events that no mapping knows.
    pub unsupported: Policy,
    /// Messages without an MSH-10. Accepted, they are told apart by their bytes alone.
    pub empty_control_id: Policy,
    /// The sender's time zone, an IANA name, for times that state no offset.
    pub zone: Option<String>,
    /// The character set where MSH-18 is empty.
    pub charset: Option<String>,
    /// Use `charset` whatever MSH-18 says.
    pub charset_override: bool,
    /// Speaks TLS and nothing else; with `client_ca` mutual.
    pub tls: Option<tls::TlsConfig>,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            name: "adt".into(),
            formerly: Vec::new(),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 2575)),
            allow: Vec::new(),
            max_frame: 16 << 20,
            max_connections: 256,
            // An interface engine with all its channels behind one address has some dozens.
            max_connections_per_peer: 64,
            idle_timeout: Duration::from_mins(10),
            frame_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(30),
            pipeline: 64,
            transient: Transient::Close,
            application_acks: ApplicationAcks::AtOnce,
            application_acks_to: None,
            processing_ids: ["P", "T", "D"].map(String::from).into(),
            unsupported: Policy::Accept,
            empty_control_id: Policy::Accept,
            zone: None,
            charset: None,
            charset_override: false,
            tls: None,
        }
    }
}

/// What a sender hears when its message could not be stored, through no fault of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transient {
    /// The connection is closed without an ack: the one signal after which every sender tries again.
    #[serde(rename = "close")]
    Close,
    #[serde(rename = "AR")]
    Ar,
    #[serde(rename = "AE")]
    Ae,
}

/// Enhanced mode has two acknowledgements: one that the message is safe, and one of what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApplicationAcks {
    /// One answer to each message, when it is on disk. Senders that count answers stay in step.
    AtOnce,
    /// By what became of the delivery, as a message of its own.
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Accept,
    Reject,
}

/// What is wrong with a `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("listener name '{0}' must be one to 64 letters, digits, '-', '_' or '.'")]
    Name(String),
    #[error("listener '{listener}': {key} = {value} is out of range: {range}")]
    Range { listener: String, key: &'static str, value: String, range: &'static str },
    #[error(
        "listener '{listener}': processing_ids must name at least one of \"P\", \"T\", \"D\"; '{id}' is none of them"
    )]
    ProcessingId { listener: String, id: String },
    #[error("listener '{listener}': tls: {fault}")]
    Tls { listener: String, fault: tls::TlsError },
    #[error("listener '{listener}': application_acks_to needs application_acks = \"later\"")]
    ReturnAddress { listener: String },
    #[error("[mllp] frame_memory = {bytes}B is out of range: from 1MiB to 1024GiB")]
    FrameMemory { bytes: usize },
    #[error("listener '{listener}': charset_override = true needs a charset")]
    Override { listener: String },
}

const MAX_FRAME: usize = 1 << 30;
const MAX_CONNECTIONS: usize = 65_536;
const MAX_PIPELINE: usize = 4_096;

impl ListenerConfig {
    /// # Errors
    /// The first of [`Self::faults`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.faults().into_iter().next().map_or(Ok(()), |(_, fault)| Err(fault))
    }

    /// Everything that can be said without the mappings: keys that cannot work, and what they may be. Zone and character set
    /// are the engine's to look up.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, ConfigError)> {
        let frame = (1024..=MAX_FRAME).contains(&self.max_frame);
        let connections = (1..=MAX_CONNECTIONS).contains(&self.max_connections);
        let pipeline = (1..=MAX_PIPELINE).contains(&self.pipeline);
        let listener = || self.name.clone();
        let returned = self.application_acks_to.is_some() && self.application_acks == ApplicationAcks::AtOnce;
        let unnamed = self.charset_override && self.charset.is_none();
        let judged = [
            ("name", self.names().try_for_each(validate_name)),
            ("max_frame", self.range(frame, "max_frame", &format_args!("{}B", self.max_frame), "from 1KiB to 1GiB")),
            ("max_connections", self.range(connections, "max_connections", &self.max_connections, "from 1 to 65536")),
            ("pipeline", self.range(pipeline, "pipeline", &self.pipeline, "from 1 to 4096")),
            ("idle_timeout", self.positive("idle_timeout", self.idle_timeout)),
            ("frame_timeout", self.positive("frame_timeout", self.frame_timeout)),
            ("write_timeout", self.positive("write_timeout", self.write_timeout)),
            ("processing_ids", self.validate_processing_ids()),
            ("application_acks_to", self.validate_return_address()),
            ("application_acks_to", refuse(returned, || ConfigError::ReturnAddress { listener: listener() })),
            ("charset_override", refuse(unnamed, || ConfigError::Override { listener: listener() })),
        ];
        judged.into_iter().filter_map(|(key, judged)| Some((key, judged.err()?))).collect()
    }

    fn validate_return_address(&self) -> Result<(), ConfigError> {
        let Some(address) = &self.application_acks_to else { return Ok(()) };
        let port = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        self.range(port, "application_acks_to", address, "a host and its port, as in \"192.0.2.7:2576\"")
    }

    /// Its name and those that it had before: messages came under any of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.formerly).map(String::as_str)
    }

    fn validate_processing_ids(&self) -> Result<(), ConfigError> {
        let unknown = self.processing_ids.iter().find(|id| !matches!(id.as_str(), "P" | "T" | "D"));
        let missing = self.processing_ids.is_empty().then(String::new);
        match unknown.cloned().or(missing) {
            Some(id) => Err(ConfigError::ProcessingId { listener: self.name.clone(), id }),
            None => Ok(()),
        }
    }

    fn positive(&self, key: &'static str, value: Duration) -> Result<(), ConfigError> {
        self.range(!value.is_zero(), key, &format_args!("{value:?}"), "more than 0s")
    }

    fn range(
        &self,
        within: bool,
        key: &'static str,
        value: &dyn std::fmt::Display,
        range: &'static str,
    ) -> Result<(), ConfigError> {
        if within {
            return Ok(());
        }
        Err(ConfigError::Range { listener: self.name.clone(), key, value: value.to_string(), range })
    }
}

fn refuse(wrong: bool, fault: impl FnOnce() -> ConfigError) -> Result<(), ConfigError> {
    if wrong { Err(fault()) } else { Ok(()) }
}

fn validate_name(name: &str) -> Result<(), ConfigError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(ConfigError::Name(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        toml::from_str::<ListenerConfig>(text).unwrap().validate().unwrap_err().to_string()
    }

    #[test]
    fn an_empty_table_is_a_listener_on_loopback() {
        let config: ListenerConfig = toml::from_str("").unwrap();
        assert_eq!(config, ListenerConfig::default());
        assert_eq!(config.bind.to_string(), "127.0.0.1:2575");
        config.validate().unwrap();
    }

    #[test]
    fn what_is_printed_is_read_back() {
        let text =
            toml::to_string(&ListenerConfig { zone: Some("Europe/Oslo".into()), ..ListenerConfig::default() }).unwrap();
        assert!(text.contains("max_frame = \"16MiB\"") && text.contains("idle_timeout = \"10m\""), "{text}");
        assert_eq!(toml::from_str::<ListenerConfig>(&text).unwrap().zone.as_deref(), Some("Europe/Oslo"));
    }

    #[test]
    fn a_key_that_does_not_exist_is_refused() {
        assert!(toml::from_str::<ListenerConfig>("max_frames = \"1MiB\"").is_err());
        assert!(toml::from_str::<ListenerConfig>("transient = \"CR\"").is_err());
    }

    #[test]
    fn errors_name_the_listener_the_key_and_what_it_may_be() {
        assert_eq!(fault("pipeline = 0"), "listener 'adt': pipeline = 0 is out of range: from 1 to 4096");
        assert_eq!(fault("max_frame = \"10B\""), "listener 'adt': max_frame = 10B is out of range: from 1KiB to 1GiB");
        assert!(fault("idle_timeout = \"0s\"").contains("idle_timeout = 0ns"));
        assert!(fault("processing_ids = [\"P\", \"X\"]").contains("'X' is none of them"));
        assert!(fault("processing_ids = []").contains("at least one"));
        assert!(fault("name = \"a b\"").contains("'a b'"));
        assert!(fault("formerly = [\"old\", \"c d\"]").contains("'c d'"));
        assert!(fault("charset_override = true").contains("needs a charset"));
        assert!(fault("application_acks_to = \"hub\"").contains("a host and its port"));
        assert!(fault("application_acks_to = \"hub:2576\"").contains("needs application_acks = \"later\""));
    }
}
