//! Who asks, what that one may do, and why a request is turned away.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::http::auth::scope::{Need, Scope};

/// The resource type that messages are read as. All other types belong to no destination.
const MESSAGES: &str = "Bundle";

/// Who asks, and what that one may do.
#[derive(Debug, Clone)]
pub struct Caller {
    pub name: String,
    grants: Arc<Grants>,
}

/// What somebody may do: nothing, unless it is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    pub scopes: Vec<Scope>,
    /// Whose messages may be retrieved. Who is bound to some reads messages and nothing else.
    pub destinations: Endpoints,
    /// As whom messages may be sent (`MessageHeader.source.endpoint`).
    pub sources: Endpoints,
}

/// Endpoints of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoints {
    All,
    Only(BTreeSet<String>),
}

impl Default for Endpoints {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Endpoints {
    /// Those of a list, in which `*` stands for all.
    pub fn of<'t>(list: impl IntoIterator<Item = &'t str>) -> Self {
        let only: BTreeSet<String> = list.into_iter().map(str::to_owned).collect();
        if only.contains("*") { Self::All } else { Self::Only(only) }
    }

    #[must_use]
    pub fn has(&self, endpoint: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => only.contains(endpoint),
        }
    }

    pub fn extend(&mut self, more: &Self) {
        match (&mut *self, more) {
            (Self::Only(own), Self::Only(more)) => own.extend(more.iter().cloned()),
            (_, Self::All) => *self = Self::All,
            (Self::All, _) => {}
        }
    }
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
    #[error("the token is bound to destinations and reads their messages only: a {0} belongs to no destination")]
    Bound(String),
    #[error("the token may not send as this MessageHeader.source.endpoint: have it added to the token's sources")]
    Source,
}

impl Denied {
    /// Whether nobody is known to ask, so that a token would help.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::NoToken | Self::BadToken(_))
    }
}

impl Caller {
    #[must_use]
    pub fn new(name: &str, grants: Grants) -> Self {
        Self { name: name.to_owned(), grants: Arc::new(grants) }
    }

    /// Whoever asks where no tokens are asked for.
    #[must_use]
    pub fn anyone() -> Self {
        let scopes = vec![Scope::ProcessMessage, Scope::Publish, Scope::Read(None)];
        Self::new("anyone", Grants { scopes, destinations: Endpoints::All, sources: Endpoints::All })
    }

    /// # Errors
    /// [`Denied::Scope`] with the scope that is missing; [`Denied::Bound`] for what belongs to no destination.
    pub fn may(&self, need: &Need) -> Result<(), Denied> {
        if !self.grants.scopes.iter().any(|scope| scope.allows(need)) {
            return Err(Denied::Scope(need.to_string()));
        }
        match need {
            Need::Read(kind) if kind != MESSAGES && self.grants.destinations != Endpoints::All => {
                Err(Denied::Bound(kind.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whose messages may be retrieved.
    ///
    /// # Errors
    /// [`Denied::Scope`] when no messages may be.
    pub fn retrieves(&self) -> Result<&Endpoints, Denied> {
        self.may(&Need::Read(MESSAGES.to_owned()))?;
        Ok(&self.grants.destinations)
    }

    /// Whether a message may come from this `MessageHeader.source.endpoint`.
    ///
    /// # Errors
    /// [`Denied::Source`].
    pub fn may_send_as(&self, source: &str) -> Result<(), Denied> {
        if self.grants.sources.has(source) { Ok(()) } else { Err(Denied::Source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(destinations: &[&str], sources: &[&str]) -> Caller {
        let scopes = vec![Scope::Read(None), Scope::ProcessMessage];
        let [destinations, sources] = [destinations, sources].map(|list| Endpoints::of(list.iter().copied()));
        Caller::new("x", Grants { scopes, destinations, sources })
    }

    #[test]
    fn who_is_bound_to_destinations_reads_messages_and_nothing_else() {
        for bound in [caller(&["urn:a"], &[]), caller(&[], &[])] {
            assert!(bound.may(&Need::Read("Bundle".into())).is_ok());
            for kind in ["Patient", "Encounter", "Provenance", "Nothing"] {
                assert_eq!(bound.may(&Need::Read(kind.into())), Err(Denied::Bound(kind.into())));
            }
        }
        let free = caller(&["*"], &[]);
        assert!(free.may(&Need::Read("Patient".into())).is_ok());
        assert_eq!(free.retrieves(), Ok(&Endpoints::All));
    }

    #[test]
    fn who_was_granted_nothing_may_do_nothing() {
        let nobody = Caller::new("x", Grants::default());
        assert!(nobody.may(&Need::ProcessMessage).is_err() && nobody.retrieves().is_err());
        assert_eq!(nobody.may_send_as("urn:a"), Err(Denied::Source));
    }

    #[test]
    fn messages_are_sent_as_one_of_the_own_sources() {
        let bound = caller(&[], &["urn:a"]);
        assert_eq!(bound.may_send_as("urn:a"), Ok(()));
        for other in ["urn:b", "urn:a ", "", "*"] {
            assert_eq!(bound.may_send_as(other), Err(Denied::Source), "{other}");
        }
        assert_eq!(caller(&[], &["*"]).may_send_as("urn:b"), Ok(()));
    }
}
