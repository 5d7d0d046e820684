//! Which tokens are taken, as a person writes it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Static bearer tokens. With one, or with `jwt`, every request needs a token.
    pub tokens: Vec<TokenConfig>,
    pub jwt: Option<JwtConfig>,
    /// Serve without tokens on an address that others can reach. Somebody else must keep strangers out then.
    pub open_to_the_network: bool,
}

/// A static token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Stands in the log; the token never does.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal: `printf %s TOKEN | sha256sum`.
    pub sha256: String,
    /// `process-message`, `publish`, `admin` (the queue of the daemon), `system/Encounter.read`, `system/*.read`.
    pub scopes: Vec<String>,
    /// The destinations whose messages this token may retrieve; absent: all.
    #[serde(default)]
    pub destinations: Option<Vec<String>>,
}

/// Which JWTs are taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// A JSON Web Key Set. Read again while it is used: a key that is taken out is not trusted two seconds later.
    pub keys: PathBuf,
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("mailbox.auth.tokens '{name}': {reason}")]
    Token { name: String, reason: String },
    #[error("mailbox.auth.jwt.keys {path}: {reason}")]
    Keys { path: PathBuf, reason: String },
    #[error(
        "the mailbox would be open to anyone who reaches {0}: configure mailbox.auth.tokens or mailbox.auth.jwt, bind to \
         loopback, or say mailbox.auth.open_to_the_network = true"
    )]
    Open(SocketAddr),
}
