//! Who may do what: bearer tokens, static ones by their hash and OAuth2 JWTs by a key set, each with scopes.
//!
//! - [`scope`]: what a scope allows
//! - [`keys`]: a key set (RFC 7517), and signatures by its keys
//! - [`jwt`]: what a JWT (RFC 7519) must say
//!
//! Ours and not the `jsonwebtoken` crate: its two sets of cryptography would stand beside ring, which does TLS here, and with a
//! provider over ring the signatures would still be ours to write. What would go are the checks of the claims, thirty lines.
//!
//! Off by default, and then refused on any address but loopback unless the configuration says that this is meant. The
//! CapabilityStatement is open to everyone; nothing else is, once there is a token or a key set.

pub(super) mod caller;
pub(super) mod config;
pub mod jwt;
pub mod keys;
pub mod scope;

use std::net::SocketAddr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use caller::{Caller, Denied};
pub use config::{AuthConfig, AuthError, JwtConfig, TokenConfig};
use jwt::Issuer;
use scope::{BadScope, Scope};

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
    let scopes: Result<Vec<Scope>, BadScope> = config.scopes.iter().map(|scope| scope.parse()).collect();
    let scopes = scopes.map_err(|bad| fault(bad.to_string()))?;
    Ok((hash, Caller::new(&config.name, scopes, config.destinations.clone())))
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
        let guard = Authenticator::new(&config(HASH, "system/Bundle.read")).unwrap();
        let caller = guard.caller(Some("Bearer secret"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(caller.may_retrieve(Some("urn:a")), Ok(()));
        assert_eq!(caller.may_retrieve(Some("urn:b")), Err(Denied::Destination));
        assert_eq!(caller.may_retrieve(None), Err(Denied::Destination));
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
