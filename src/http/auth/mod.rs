//! Who may do what: bearer tokens, static ones by their hash and OAuth2 JWTs by a key set, each with scopes.
//!
//! - [`scope`]: what a scope allows
//! - [`caller`]: who asks, for which destinations, as which sources
//! - [`keys`]: a key set (RFC 7517), and signatures by its keys; [`key_file`]: the file that it stands in, read again in use
//! - [`jwt`]: what a JWT (RFC 7519) must say; [`claims`]: what it may then do
//!
//! Ours and not the `jsonwebtoken` crate: its two sets of cryptography would stand beside ring, which does TLS here, and with a
//! provider over ring the signatures would still be ours to write. What would go are the checks of the claims, thirty lines.
//!
//! Off by default, and then refused on any address but loopback unless the configuration says that this is meant. The
//! CapabilityStatement is open to everyone; nothing else is, once there is a token or a key set.

pub(super) mod caller;
pub(super) mod config;
mod claims;
pub mod jwt;
pub mod keys;
mod key_file;
pub mod scope;

use std::net::SocketAddr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use caller::{Caller, Denied, Endpoints, Grants};
pub use config::{AuthConfig, AuthError, GrantConfig, JwtConfig, TokenConfig};
use jwt::Issuer;
use scope::Scope;

/// The configuration, checked.
pub struct Authenticator {
    tokens: Vec<([u8; 32], Caller)>,
    issuer: Option<Issuer>,
}

impl Authenticator {
    /// # Errors
    /// [`AuthError`] names the key of the configuration and what is wrong with it.
    pub fn new(config: &AuthConfig) -> Result<Self, AuthError> {
        let tokens: Result<Vec<_>, _> = config.tokens.iter().map(token).collect();
        Ok(Self { tokens: tokens?, issuer: config.jwt.as_ref().map(Issuer::new).transpose()? })
    }

    /// Whether requests need a token at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.tokens.is_empty() || self.issuer.is_some()
    }

    /// What is wrong with the key set's file now, so that no token is trusted, or soon none will be.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.issuer.as_ref().and_then(Issuer::fault)
    }

    /// Whom the token in an Authorization header names.
    ///
    /// # Errors
    /// [`Denied`] when there is none, or none that is valid at `now`.
    pub fn caller(&self, authorization: Option<&str>, now: Timestamp) -> Result<Caller, Denied> {
        let token = authorization.and_then(bearer).ok_or(Denied::NoToken)?;
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // Hashes are compared and not tokens, so how long that takes tells nothing about a token.
        if let Some((_, caller)) = self.tokens.iter().find(|(known, _)| *known == hash) {
            return Ok(caller.clone());
        }
        match &self.issuer {
            Some(issuer) => issuer.caller(token, now),
            None => Err(Denied::BadToken("it is not known")),
        }
    }
}

/// The token in an Authorization header.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn token(config: &TokenConfig) -> Result<([u8; 32], Caller), AuthError> {
    let fault = |reason: String| AuthError::Token { name: config.name.clone(), reason };
    let hash = unhex(&config.sha256)
        .ok_or_else(|| fault("sha256 is 64 hexadecimal digits: printf %s TOKEN | sha256sum".to_owned()))?;
    let scopes = scope::parse(&config.scopes).map_err(|bad| fault(bad.to_string()))?;
    let sends = scopes.iter().any(|scope| matches!(scope, Scope::ProcessMessage | Scope::Publish));
    if sends && config.sources.is_empty() {
        let text = "a token that sends says as whom: sources = [\"urn:...\"], its MessageHeader.source.endpoint, or [\"*\"] \
                    for all, as the engine's own needs";
        return Err(fault(text.to_owned()));
    }
    let endpoints = |list: &[String]| Endpoints::of(list.iter().map(String::as_str));
    let destinations = config.destinations.as_deref().map_or(Endpoints::All, endpoints);
    Ok((hash, Caller::new(&config.name, Grants { scopes, destinations, sources: endpoints(&config.sources) })))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (text.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

/// Refuses to serve everyone at `address` by accident.
///
/// # Errors
/// [`AuthError::Open`] when others can reach it and no token is asked for, unless that is declared.
pub fn check_address(config: &AuthConfig, address: SocketAddr) -> Result<(), AuthError> {
    let guarded = !config.tokens.is_empty() || config.jwt.is_some();
    if guarded || config.open_to_the_network || address.ip().is_loopback() {
        return Ok(());
    }
    Err(AuthError::Open(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `secret`.
    const HASH: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn config(sha256: &str, scope: &str) -> AuthConfig {
        let token = TokenConfig {
            name: "his".into(),
            sha256: sha256.into(),
            scopes: vec![scope.into()],
            destinations: Some(vec!["urn:a".into()]),
            sources: vec!["urn:s".into()],
        };
        AuthConfig { tokens: vec![token], ..AuthConfig::default() }
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let guard = Authenticator::new(&config(HASH, "process-message")).unwrap();
        assert!(guard.is_on());
        let caller = |header: &str| guard.caller(Some(header), Timestamp::UNIX_EPOCH).map(|caller| caller.name);
        assert_eq!(caller("Bearer secret"), Ok("his".into()));
        assert_eq!(caller("bearer  secret"), Ok("his".into()));
        assert_eq!(caller("Bearer Secret"), Err(Denied::BadToken("it is not known")));
        assert_eq!(caller("Basic secret"), Err(Denied::NoToken));
        assert_eq!(guard.caller(None, Timestamp::UNIX_EPOCH).err(), Some(Denied::NoToken));
    }

    #[test]
    fn a_token_that_cannot_work_is_refused_at_the_start() {
        for (sha256, scope, told) in [("abc", "process-message", "64 hexadecimal"), (HASH, "everything", "everything")]
        {
            let fault = Authenticator::new(&config(sha256, scope)).err().unwrap().to_string();
            assert!(fault.contains("'his'") && fault.contains(told), "{fault}");
        }
    }

    #[test]
    fn a_token_retrieves_its_own_destinations_only() {
        let guard = Authenticator::new(&config(HASH, "system/*.read")).unwrap();
        let caller = guard.caller(Some("Bearer secret"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(caller.retrieves(), Ok(&Endpoints::of(["urn:a"])));
        assert!(caller.may(&scope::Need::Read("Patient".into())).is_err());
    }

    #[test]
    fn a_token_that_sends_says_as_whom() {
        let mut config = config(HASH, "process-message");
        config.tokens[0].sources.clear();
        let fault = Authenticator::new(&config).err().unwrap().to_string();
        assert!(fault.contains("'his'") && fault.contains("sources = "), "{fault}");
    }

    #[test]
    fn nobody_is_served_off_loopback_without_a_token_unless_that_is_declared() {
        let (near, far) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([0, 0, 0, 0], 1)));
        let open = AuthConfig::default();
        assert!(check_address(&open, near).is_ok());
        assert!(check_address(&open, far).unwrap_err().to_string().contains("open_to_the_network"));
        assert!(check_address(&config(HASH, "publish"), far).is_ok());
        assert!(check_address(&AuthConfig { open_to_the_network: true, ..open }, far).is_ok());
    }
}
