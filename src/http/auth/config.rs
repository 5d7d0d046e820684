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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Stands in the log; the token never does.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal: `printf %s TOKEN | sha256sum`.
    pub sha256: String,
    /// `process-message`, `publish`, `admin` (the queue of the daemon), `system/Encounter.read`, `system/*.read`.
    pub scopes: Vec<String>,
    /// The destinations whose messages this token may retrieve; it reads nothing else then. Absent or `*`: all.
    #[serde(default)]
    pub destinations: Option<Vec<String>>,
    /// The endpoints that this token may send as (`MessageHeader.source.endpoint`); `*`: all. A token with the scope
    /// `process-message` or `publish` says it.
    #[serde(default)]
    pub sources: Vec<String>,
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
    /// The claims that hold scopes, as a list or as words.
    #[serde(default = "scope_claims")]
    pub scopes_claims: Vec<String>,
    /// The claim that holds the destinations whose messages a token may retrieve, `*` for all. Without it, or where the
    /// claim is absent, a token reads nothing but what `grants` say.
    #[serde(default)]
    pub destinations_claim: Option<String>,
    /// The claim that holds the endpoints that a token may send as, `*` for all. Without it likewise.
    #[serde(default)]
    pub sources_claim: Option<String>,
    /// What tokens may do besides, by what a claim says.
    #[serde(default)]
    pub grants: Vec<GrantConfig>,
}

fn scope_claims() -> Vec<String> {
    ["scope", "scp"].map(str::to_owned).into()
}

/// What the tokens with a value in a claim may do, for issuers that know neither scopes nor endpoints of ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The claim's name; one that begins with `/` is a JSON pointer (`/realm_access/roles`).
    pub claim: String,
    /// What the claim must be or, as a list or as words, hold.
    pub value: String,
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub destinations: Vec<String>,
    #[serde(default)]
    pub sources: Vec<String>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("mailbox.auth.tokens '{name}': {reason}")]
    Token { name: String, reason: String },
    #[error("mailbox.auth.jwt.grants, {claim} = '{value}': {reason}")]
    Grant { claim: String, value: String, reason: String },
    #[error("mailbox.auth.jwt.keys {path}: {reason}")]
    Keys { path: PathBuf, reason: String },
    #[error(
        "the mailbox would be open to anyone who reaches {0}: configure mailbox.auth.tokens or mailbox.auth.jwt, bind to \
         loopback, or say mailbox.auth.open_to_the_network = true"
    )]
    Open(SocketAddr),
}
