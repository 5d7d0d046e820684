//! Certificates and keys: there, whole, in their time, and one for the other.

use super::findings::Collector;
use crate::tls::{self, Flaw, TlsConfig};

pub fn check(found: &mut Collector<'_>) {
    let config = found.config;
    for (n, listener) in config.listeners.iter().enumerate() {
        serving(found, &format!("listener.{n}.tls"), listener.tls.as_ref());
    }
    serving(found, "http.tls", config.http.tls.as_ref());
    serving(found, "mailbox.tls", config.mailbox.tls.as_ref());
    if let Some(path) = &config.destination.ca_file {
        tell(found, "destination.ca_file", tls::flaws_of_authorities(path));
    }
    if let Some(path) = &config.destination.identity_file {
        tell(found, "destination.identity_file", tls::flaws_of_identity(path));
    }
}

fn serving(found: &mut Collector<'_>, table: &str, tls: Option<&TlsConfig>) {
    for (key, flaws) in tls.map(tls::flaws).unwrap_or_default() {
        tell(found, &format!("{table}.{key}"), flaws);
    }
}

fn tell(found: &mut Collector<'_>, key: &str, flaws: Vec<Flaw>) {
    // That nothing is there has been said already, with the place where it was before.
    if found.is_at_fault(key) {
        return;
    }
    for flaw in flaws {
        match flaw {
            Flaw::Unusable(text) => found.fault(key, text),
            Flaw::Odd(text) => found.warn(key, text),
        }
    }
}
