//! Who asks, what that one may do, and why a request is turned away.

use crate::http::auth::scope::{Need, Scope};

/// Who asks, and what that one may do.
#[derive(Debug, Clone)]
pub struct Caller {
    pub name: String,
    scopes: Vec<Scope>,
    destinations: Option<Vec<String>>,
}

/// Why a request is turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("send a bearer token")]
    NoToken,
    #[error("the token is not valid: {0}")]
    BadToken(&'static str),
    #[error("the token's scopes do not allow this: it needs {0}")]
    Scope(String),
    #[error("the token's destinations do not allow this: name one of them in message.destination-uri")]
    Destination,
}

impl Caller {
    pub fn new(name: &str, scopes: Vec<Scope>, destinations: Option<Vec<String>>) -> Self {
        Self { name: name.to_owned(), scopes, destinations }
    }

    /// # Errors
    /// [`Denied::Scope`] with the scope that is missing.
    pub fn may(&self, need: &Need) -> Result<(), Denied> {
        if self.scopes.iter().any(|scope| scope.allows(need)) {
            return Ok(());
        }
        Err(Denied::Scope(need.to_string()))
    }

    /// Whether messages for `destination` may be retrieved; `None` for those of any.
    ///
    /// # Errors
    /// [`Denied::Destination`].
    pub fn may_retrieve(&self, destination: Option<&str>) -> Result<(), Denied> {
        match (&self.destinations, destination) {
            (None, _) => Ok(()),
            (Some(own), Some(destination)) if own.iter().any(|uri| uri == destination) => Ok(()),
            _ => Err(Denied::Destination),
        }
    }
}
