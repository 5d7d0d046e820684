//! What is stored, in the words that store, search and processing share.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;

use crate::http::auth::Denied;
use crate::mailbox::canonical::Tail;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::steps;

/// A resource's number in the store. Never shown to clients.
pub type Pk = i64;

/// Why the store could not do what it was asked. Nothing was written when this is returned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Holds no patient data: an SQL state and its words.
    #[error("the mailbox's database failed: {0}")]
    Database(String),
    #[error("the mailbox's database holds something unreadable in {0}")]
    Damaged(&'static str),
    #[error("the mailbox is busy: its queue of messages is full")]
    Busy,
    #[error("the mailbox's files are gone: {0}")]
    Gone(String),
    #[error("the mailbox is closing")]
    Closed,
    #[error(
        "the message takes more work than one message may: send it in several, or have mailbox.work_limit raised for it"
    )]
    TooCostly,
    /// It is not for whoever asked.
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// A business identifier. Both parts count: a bare value identifies nobody.
#[derive(Debug, Clone, Eq)]
pub struct Identifier {
    pub system: String,
    pub value: String,
}

impl PartialEq for Identifier {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Hash for Identifier {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.system, &self.value).hash(state);
    }
}

impl PartialOrd for Identifier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Identifier {
    fn cmp(&self, other: &Self) -> Ordering {
        steps::take(1);
        (&self.system, &self.value).cmp(&(&other.system, &other.value))
    }
}

/// A resource that carries an identifier, or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub pk: Pk,
    /// The event time from which it carried the identifier.
    pub since: Timestamp,
    /// The event time at which it lost it (renumbered, moved); `None` while it carries it.
    pub until: Option<Timestamp>,
}

/// A resource's current state.
#[derive(Debug, Clone)]
pub struct StoredResource {
    pub pk: Pk,
    pub kind: ResourceType,
    pub id: String,
    pub version: i64,
    /// The store's number of this version.
    pub current: i64,
    pub removed: bool,
    pub patient: Option<Pk>,
    pub encounter: Option<Pk>,
    /// The time of the newest event applied to it.
    pub event: Timestamp,
    /// Encounter and Patient: the time of the newest clinical snapshot applied to it.
    pub clinical: Option<Timestamp>,
    pub facts: Facts,
    pub tail: Tail,
}

/// What is searched besides identifiers, taken out of the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub status: Option<String>,
    /// Microseconds since 1970, both ends inclusive.
    pub date: Option<(i64, i64)>,
}

/// How two Patients are the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// `patient` was replaced by `other`.
    Replaced,
    /// Both stay in use.
    SeeAlso,
}

/// A relation between two Patients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub patient: Pk,
    pub other: Pk,
    pub kind: LinkKind,
    /// The time of the event that asked for it.
    pub since: Timestamp,
    /// `Patient.active` before it was replaced.
    pub was_active: Option<bool>,
}

impl Link {
    /// The one that `pk` is linked to.
    #[must_use]
    pub fn far_end(&self, pk: Pk) -> Pk {
        if self.patient == pk { self.other } else { self.patient }
    }
}

/// A message's number: rises by one for each one kept, in order of arrival.
pub type Seq = i64;

/// A position in a search: the sort key and number of the last resource of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub key: i64,
    pub pk: Pk,
}
