//! What a person can set about the destination.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::units;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DestinationConfig {
    /// Where messages are posted to: the whole address, `$process-message` included.
    pub url: String,
    /// At most so many messages are under way at the same time, each of another patient.
    pub parallel: usize,
    #[serde(with = "units::duration")]
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte of the answer.
    #[serde(with = "units::duration")]
    pub timeout: Duration,
    /// An answer larger than this is not read to its end.
    #[serde(with = "units::size")]
    pub max_answer: usize,
    /// What follows when a message has been given up.
    pub on_dead_letter: OnDeadLetter,
    /// What a 202, or a 200 without a body, counts for.
    pub on_accepted: OnAccepted,
    /// Sends a clinical-notify as admin-notify, which creates the visit, when the destination answers that it does not
    /// know the visit.
    pub promote: bool,
    pub retry: Retry,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// A file that holds the token; read again when the destination refuses it.
    pub token_file: Option<PathBuf>,
    /// PEM certificates of the authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM with our certificate and private key, for mutual TLS.
    pub identity_file: Option<PathBuf>,
    /// The proxy through which the destination is reached, with a password perhaps. Absent: none, whatever the environment
    /// says.
    pub proxy: Option<Secret>,
}

impl DestinationConfig {
    /// The way out, where one is configured.
    ///
    /// # Errors
    /// When it is no address. The text does not repeat it, for it may hold a password.
    pub fn way_out(&self) -> Option<Result<reqwest::Proxy, &'static str>> {
        let proxy = self.proxy.as_ref()?;
        Some(reqwest::Proxy::all(proxy.reveal()).map_err(|_| "is no address of a proxy, as http://proxy.example:3128"))
    }
}

/// What becomes of the later messages of a patient or visit when one before them has been given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeadLetter {
    /// They are delivered.
    Continue,
    /// They wait until a person has sent it again or discarded it.
    Hold,
}

/// What it means that the destination has taken a message without saying what came of it (FHIR R4 messaging 2.4.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnAccepted {
    /// It has custody now, and the message is delivered.
    Delivered,
    /// It is asked again with the same message until it says the outcome, or the message's maximum age is reached. For
    /// receivers that remember their answers, as reliable messaging demands.
    AskAgain,
}

/// When a message is tried again that the destination could not take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The wait after the first failure; doubled after each.
    #[serde(with = "units::duration")]
    pub base: Duration,
    /// No wait is longer, not even one that the destination asks for.
    #[serde(with = "units::duration")]
    pub max: Duration,
    /// Given up so long after its first attempt, unless nothing at all gets through in the meantime.
    #[serde(with = "units::duration")]
    pub max_age: Duration,
}

impl Default for DestinationConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8575/fhir/$process-message".into(),
            parallel: 64,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            max_answer: 4 << 20,
            on_dead_letter: OnDeadLetter::Continue,
            on_accepted: OnAccepted::Delivered,
            promote: false,
            retry: Retry::default(),
            token: None,
            token_file: None,
            ca_file: None,
            identity_file: None,
            proxy: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(5 * 60),
            max_age: Duration::from_secs(3 * 86_400),
        }
    }
}

/// A token: can be read from the configuration and used, never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        self.0.trim()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        let config: DestinationConfig = toml::from_str("token = 'abc123'").unwrap();
        assert_eq!(config.token.as_ref().unwrap().reveal(), "abc123");
        let printed = format!("{config:?}{}", toml::to_string(&config).unwrap());
        assert!(!printed.contains("abc123"), "{printed}");
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(toml::from_str::<DestinationConfig>("paralel = 3").is_err());
        assert!(toml::from_str::<DestinationConfig>("[retry]\nbase = 5").is_err());
    }
}
