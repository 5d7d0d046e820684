//! What the mailbox keeps, and the only place that knows how.
//!
//! Three small traits stand between the rules and the database: [`Transaction`] is what the processing of one message
//! reads and writes, [`Reader`] what the REST side asks, [`Store`] hands out both. [`sqlite`] is the one implementation;
//! nothing in the traits is SQLite's own, so that a shared PostgreSQL can be the second.
//!
//! Promises: one message is one transaction, all or nothing; an answer is given only after the commit that holds it is
//! on disk; readers see committed states only. Refuses: a database written by a newer schema.

pub mod sqlite;

use jiff::Timestamp;

use super::canonical::Tail;
use super::kind::Kind;

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
    #[error("the mailbox is closing")]
    Closed,
}

/// A business identifier. Both parts count: a bare value identifies nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier {
    pub system: String,
    pub value: String,
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
pub struct Row {
    pub pk: Pk,
    pub kind: Kind,
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
    pub tail: Tail,
}

/// What is searched besides identifiers, taken out of the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub status: Option<String>,
    /// Microseconds since 1970, both ends inclusive.
    pub date: Option<(i64, i64)>,
}

/// A new version of a resource.
#[derive(Debug)]
pub struct Put<'a> {
    /// The row it follows, `None` for a new resource.
    pub before: Option<&'a Row>,
    pub kind: Kind,
    pub id: &'a str,
    pub tail: Tail,
    pub patient: Option<Pk>,
    pub encounter: Option<Pk>,
    pub facts: &'a Facts,
    pub event: Timestamp,
}

/// How two Patients are the same person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A link or unlink as it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct LinkEvent {
    pub linked: bool,
    pub patient: Pk,
    pub other: Pk,
    pub kind: LinkKind,
    pub at: Timestamp,
    /// The message that asked for it.
    pub message: Seq,
}

/// Whose clinical resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Patient(Pk),
    Encounter(Pk),
}

/// A message or an answer as it is kept for retrieval.
#[derive(Debug)]
pub struct Parcel<'a> {
    pub bundle_id: &'a str,
    pub message_id: &'a str,
    /// `MessageHeader.source.endpoint`.
    pub source: &'a str,
    /// `MessageHeader.destination.endpoint`, each once.
    pub destinations: &'a [String],
    /// `MessageHeader.eventCoding` as `system|code`.
    pub event: &'a str,
    /// `Bundle.identifier`, which carries the v2 control id.
    pub control: Option<&'a Identifier>,
    pub body: &'a str,
}

/// A message's number: rises by one for each one kept, in order of arrival.
pub type Seq = i64;

/// A message that came under a Bundle id before.
#[derive(Debug, Clone)]
pub struct BundleUse {
    pub seq: Seq,
    pub message_id: String,
    /// Its bytes.
    pub body: String,
}

/// An answer that is still to be sent.
#[derive(Debug, Clone)]
pub struct Errand {
    pub answer: Seq,
    pub url: String,
    pub body: String,
    pub attempts: u32,
    /// When the answer was given.
    pub since: Timestamp,
}

/// What a message was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub bundle_id: String,
    /// Whether the message was accepted; a refused one may be tried again.
    pub accepted: bool,
    /// The log's number of the answer.
    pub response: Seq,
    pub body: String,
}

/// What the processing of one message reads and writes.
pub trait Transaction {
    /// The time of this transaction, milliseconds, never less than that of an earlier one.
    fn now(&self) -> Timestamp;
    /// Undoes everything that this piece of work wrote so far.
    fn undo(&mut self) -> Result<(), StoreError>;

    /// Everyone who carries the identifier or did, in no order.
    fn holders(&mut self, kind: Kind, identifier: &Identifier) -> Result<Vec<Holder>, StoreError>;
    fn load(&mut self, pk: Pk) -> Result<Row, StoreError>;
    fn find(&mut self, kind: Kind, id: &str) -> Result<Option<Row>, StoreError>;
    /// Current clinical resources of one type, oldest first.
    fn clinical(&mut self, kind: Kind, owner: Owner) -> Result<Vec<Row>, StoreError>;
    /// Writes a new version, and gives it.
    fn put(&mut self, put: Put<'_>) -> Result<Row, StoreError>;
    /// Marks as removed; its versions stay in history.
    fn remove(&mut self, row: &Row) -> Result<(), StoreError>;
    /// Notes that an event was applied though no element changed.
    fn touch(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError>;
    fn touch_clinical(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError>;
    fn claim(&mut self, kind: Kind, pk: Pk, identifier: &Identifier, since: Timestamp) -> Result<(), StoreError>;
    /// The resource lost the identifier; `listed`: it still shows it, marked as old.
    fn retire(
        &mut self,
        kind: Kind,
        pk: Pk,
        identifier: &Identifier,
        until: Timestamp,
        listed: bool,
    ) -> Result<(), StoreError>;

    /// The relations of one Patient, either way.
    fn links(&mut self, patient: Pk) -> Result<Vec<Link>, StoreError>;
    /// Adds a relation, or replaces the one between the same two.
    fn put_link(&mut self, link: &Link) -> Result<(), StoreError>;
    fn drop_link(&mut self, link: &Link) -> Result<(), StoreError>;
    fn record_link(&mut self, event: &LinkEvent) -> Result<(), StoreError>;
    /// The time of the newest link or unlink between the two, in either direction.
    fn last_link_event(&mut self, one: Pk, other: Pk) -> Result<Option<Timestamp>, StoreError>;
    /// Notes which person a Patient is; `None` when it is linked to nobody.
    fn set_person(&mut self, patient: Pk, person: Option<Pk>) -> Result<(), StoreError>;

    /// The answer given to a message of this sender, if it is still remembered.
    fn answer(&mut self, source: &str, message_id: &str, not_before: Timestamp) -> Result<Option<Answer>, StoreError>;
    /// What this sender used the Bundle id for.
    fn bundle_use(&mut self, source: &str, bundle_id: &str) -> Result<Option<BundleUse>, StoreError>;
    /// Appends to the log and to the lists of its destinations.
    fn append(&mut self, parcel: &Parcel<'_>) -> Result<Seq, StoreError>;
    /// Remembers what a message was answered: `response` is the log's number of the answer.
    fn remember(&mut self, parcel: &Parcel<'_>, accepted: bool, response: Seq) -> Result<(), StoreError>;
    /// Forgets answers given before `before`, and the oldest beyond `most`; some each time.
    fn forget(&mut self, before: Timestamp, most: u64) -> Result<(), StoreError>;

    /// Notes that an answer is to be sent to `url`, unless it is noted already.
    fn put_errand(&mut self, answer: Seq, url: &str) -> Result<(), StoreError>;
    /// Errands that are due, the oldest first, at most `most`.
    fn due_errands(&mut self, most: usize) -> Result<Vec<Errand>, StoreError>;
    /// Puts an errand off after a failed attempt.
    fn put_off(&mut self, errand: &Errand, due: Timestamp) -> Result<(), StoreError>;
    fn drop_errand(&mut self, errand: &Errand) -> Result<(), StoreError>;
}

/// One unit of work for the writer.
pub trait Work: Send {
    /// Runs inside the transaction. `Ok(false)`: an answer was found, but what was written is to be undone. May be called
    /// again after everything was undone.
    fn run(&mut self, transaction: &mut dyn Transaction) -> Result<bool, StoreError>;
    /// Called once, after the commit that holds the work, or with the reason why there is none.
    fn settle(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A version of a resource as readers get it.
#[derive(Debug, Clone)]
pub struct Version {
    pub kind: Kind,
    pub id: String,
    pub version: i64,
    pub updated: Timestamp,
    pub removed: bool,
    pub tail: String,
}

/// A position in a search: the sort key and number of the last resource of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub key: i64,
    pub pk: Pk,
}

/// One page of a search.
#[derive(Debug, Default)]
pub struct Page {
    pub found: Vec<(Pk, Version)>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
}

/// Which messages of the log.
#[derive(Debug, Clone)]
pub struct MessageQuery {
    pub which: Which,
    /// When they were received; all must hold.
    pub received: Vec<super::search::Comparison>,
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

/// An event's code that messages of the list have under several systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this event code came under several systems: write system|code")]
pub struct AmbiguousEvent;

/// What the REST side asks. Each call sees one committed state.
pub trait Reader {
    fn current(&mut self, kind: Kind, id: &str) -> Result<Option<Version>, StoreError>;
    fn version(&mut self, kind: Kind, id: &str, version: i64) -> Result<Option<Version>, StoreError>;
    /// Newest first, starting below version `below`; at most `count`.
    fn history(&mut self, kind: Kind, id: &str, below: i64, count: usize) -> Result<Vec<Version>, StoreError>;
    fn search(&mut self, query: &super::search::Query) -> Result<Page, StoreError>;
    fn count(&mut self, query: &super::search::Query) -> Result<i64, StoreError>;
    /// All Patients that are the same person as whoever carries the identifier, oldest first.
    fn person(&mut self, identifier: &Identifier) -> Result<Vec<Version>, StoreError>;
    /// Whether any resource of the type ever carried an identifier of the system.
    fn system_known(&mut self, kind: Kind, system: &str) -> Result<bool, StoreError>;
    /// Links and unlinks, oldest first.
    fn link_events(&mut self, asked: &LinkEvents<'_>) -> Result<Vec<RecordedLink>, StoreError>;
    /// Messages in order of arrival. `Err` inside: the event's code alone is ambiguous.
    fn messages(&mut self, query: &MessageQuery) -> Result<Result<MessagePage, AmbiguousEvent>, StoreError>;
    /// The time up to which answers were forgotten because there were too many.
    fn forgotten_until(&mut self) -> Result<Option<Timestamp>, StoreError>;
    /// The Patients that the given resources belong to, each once.
    fn patients_of(&mut self, resources: &[Pk]) -> Result<Vec<Version>, StoreError>;
    /// The resources of one type that belong to any of the given visits.
    fn about_visits(&mut self, kind: Kind, visits: &[Pk]) -> Result<Vec<Version>, StoreError>;
}

/// Where transactions and readers come from.
pub trait Store: Send + Sync {
    /// Queues work for the next group commit.
    fn submit(&self, work: Box<dyn Work>) -> Result<(), StoreError>;
    /// Runs `ask` on a reader; blocks while all are in use.
    fn read(&self, ask: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>) -> Result<(), StoreError>;
    /// Finishes what is queued and ends the writer. Later work is refused.
    fn close(&self);
}
