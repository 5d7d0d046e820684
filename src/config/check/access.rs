//! Who may come in, and with what we go out.

use std::collections::BTreeSet;

use reqwest::Url;

use super::findings::Collector;
use crate::http::auth::{AuthConfig, Authenticator, TokenConfig};

/// SHA-256 of nothing: what `sha256sum` says when it was given no token.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub fn check(found: &mut Collector<'_>) {
    tokens(found);
    jwt(found);
    outgoing(found);
}

fn tokens(found: &mut Collector<'_>) {
    let tokens = &found.config.mailbox.auth.tokens;
    let (mut names, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    for (n, token) in tokens.iter().enumerate() {
        let key = |key: &str| format!("mailbox.auth.tokens.{n}.{key}");
        let alone = AuthConfig { tokens: vec![token.clone()], ..AuthConfig::default() };
        if let Err(fault) = Authenticator::new(&alone) {
            found.fault_as(key(if is_hash(token) { "scopes" } else { "sha256" }), fault);
        }
        if token.sha256.eq_ignore_ascii_case(OF_NOTHING) {
            found.fault(key("sha256"), "is that of an empty token, which nobody can send: printf %s TOKEN | sha256sum");
        }
        if !hashes.insert(token.sha256.to_ascii_lowercase()) {
            found.fault(key("sha256"), "another entry has the same token, and would never be asked; give each its own");
        }
        if !names.insert(&token.name) {
            found.fault(key("name"), "another token has this name, and the log could not tell them apart");
        }
        if token.scopes.is_empty() {
            found.fault(key("scopes"), "there is none, so the token may do nothing; name some, as process-message");
        }
    }
}

fn is_hash(token: &TokenConfig) -> bool {
    token.sha256.len() == 64 && token.sha256.bytes().all(|b| b.is_ascii_hexdigit())
}

fn jwt(found: &mut Collector<'_>) {
    let Some(jwt) = &found.config.mailbox.auth.jwt else { return };
    for (key, value) in [("issuer", &jwt.issuer), ("audience", &jwt.audience)] {
        if value.trim().is_empty() {
            found.fault(format!("mailbox.auth.jwt.{key}"), "is empty; write what the tokens say there");
        }
    }
    let alone = AuthConfig { jwt: Some(jwt.clone()), ..AuthConfig::default() };
    if let Err(fault) = Authenticator::new(&alone)
        && !found.is_at_fault("mailbox.auth.jwt")
    {
        found.fault_as("mailbox.auth.jwt.keys", fault);
    }
}

fn outgoing(found: &mut Collector<'_>) {
    let destination = &found.config.destination;
    if destination.token.is_some() && destination.token_file.is_some() {
        found.fault("destination.token", "destination.token_file is given too; leave one of them out");
    }
    if let Some(path) = &destination.token_file
        && !found.is_at_fault("destination.token_file")
    {
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {
                found.fault(
                    "destination.token_file",
                    format_args!("{} is empty; put the token into it", path.display()),
                );
            }
            Ok(_) => {}
            Err(error) => {
                found.fault("destination.token_file", format_args!("{} cannot be read: {error}", path.display()));
            }
        }
    }
    let Ok(url) = Url::parse(&destination.url) else { return };
    let near = url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
    if url.scheme() == "http" {
        if (destination.token.is_some() || destination.token_file.is_some()) && !near {
            found.warn("destination.url", "the token travels in the clear; use https");
        }
        let unused = [("ca_file", &destination.ca_file), ("identity_file", &destination.identity_file)];
        for (key, _) in unused.into_iter().filter(|(_, file)| file.is_some()) {
            found.warn(format!("destination.{key}"), "is for https, and destination.url is http");
        }
    }
}
