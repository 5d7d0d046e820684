//! What the REST side asks.

use jiff::Timestamp;

use super::model::{Cursor, Identifier, LinkKind, Pk, Seq, StoreError};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search;

/// A version of a resource as readers get it.
#[derive(Debug, Clone)]
pub struct Version {
    pub kind: ResourceType,
    pub id: String,
    pub version: i64,
    pub updated: Timestamp,
    pub removed: bool,
    pub tail: String,
}

/// One page of a search.
#[derive(Debug, Default)]
pub struct ResourcePage {
    pub found: Vec<(Cursor, Version)>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
}

/// Which messages of the log.
#[derive(Debug, Clone)]
pub struct MessageQuery {
    pub which: Which,
    /// When they were received; all must hold.
    pub received: Vec<search::Comparison>,
    /// How many of those that match to pass over.
    pub offset: usize,
    pub count: usize,
}

#[derive(Debug, Clone)]
pub enum Which {
    All,
    /// For a destination; of one event, as `code` or `system|code`.
    List {
        destination: String,
        event: Option<String>,
    },
    /// By one of their identifiers, a handful; of these only those for a destination.
    Named {
        name: Name,
        destination: Option<String>,
    },
}

#[derive(Debug, Clone)]
pub enum Name {
    BundleId(String),
    /// `Bundle.identifier`; without a system any.
    Identifier {
        system: Option<String>,
        value: String,
    },
    /// The answers that the message with this MessageHeader.id was given, as long as they are remembered.
    AnswerTo(String),
}

/// A message of the log.
#[derive(Debug, Clone)]
pub struct LoggedMessage {
    pub seq: Seq,
    pub bundle_id: String,
    pub received: Timestamp,
    /// As it came, or as it was answered.
    pub body: String,
}

#[derive(Debug, Default)]
pub struct MessagePage {
    pub found: Vec<LoggedMessage>,
    /// How many match altogether.
    pub total: i64,
}

/// Which links and unlinks.
#[derive(Debug, Clone, Copy)]
pub enum LinkEvents<'a> {
    /// By number.
    One(i64),
    /// Of the Patient with this id.
    Of(&'a str),
}

/// A link or unlink as readers get it.
#[derive(Debug, Clone)]
pub struct RecordedLink {
    pub number: i64,
    pub linked: bool,
    pub kind: LinkKind,
    /// Ids of the two Patients; the first was replaced, where one was.
    pub patients: [String; 2],
    pub at: Timestamp,
    pub recorded: Timestamp,
    /// The sender's endpoint and the ids of the message that asked for it.
    pub source: String,
    pub message_id: String,
    pub bundle_id: String,
}

/// What cannot be said of messages; the words are for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    #[error("this event code came under several systems: write system|code")]
    AmbiguousEvent,
    #[error(
        "more messages than can be looked through have this name: read those of a destination, by time or from an _offset on"
    )]
    TooManyNamed,
}

/// What the REST side asks, in the name of one caller. Each call sees one committed state. What the caller may not read at
/// all is [`StoreError::Denied`]; a message for destinations that are not the caller's is not there.
pub trait Reader {
    fn current(&mut self, kind: ResourceType, id: &str) -> Result<Option<Version>, StoreError>;
    fn version(&mut self, kind: ResourceType, id: &str, version: i64) -> Result<Option<Version>, StoreError>;
    /// Newest first, starting below version `below`; at most `count`. And whether there are older ones.
    fn history(
        &mut self,
        kind: ResourceType,
        id: &str,
        below: i64,
        count: usize,
    ) -> Result<(Vec<Version>, bool), StoreError>;
    fn search(&mut self, query: &search::Query) -> Result<ResourcePage, StoreError>;
    fn count(&mut self, query: &search::Query) -> Result<i64, StoreError>;
    /// All Patients that are the same person as whoever carries the identifier, oldest first.
    fn person(&mut self, identifier: &Identifier) -> Result<Vec<Version>, StoreError>;
    /// Whether any resource of the type ever carried an identifier of the system.
    fn system_known(&mut self, kind: ResourceType, system: &str) -> Result<bool, StoreError>;
    /// Links and unlinks, oldest first.
    fn link_events(&mut self, asked: &LinkEvents<'_>) -> Result<Vec<RecordedLink>, StoreError>;
    /// Messages in order of arrival.
    fn messages(&mut self, query: &MessageQuery) -> Result<Result<MessagePage, Unanswerable>, StoreError>;
    /// The time up to which answers were forgotten because there were too many.
    fn forgotten_until(&mut self) -> Result<Option<Timestamp>, StoreError>;
    /// The Patients that the given resources belong to, each once.
    fn patients_of(&mut self, resources: &[Pk]) -> Result<Vec<Version>, StoreError>;
    /// The resources of one type that belong to any of the given visits.
    fn about_visits(&mut self, kind: ResourceType, visits: &[Pk]) -> Result<Vec<Version>, StoreError>;
}
