//! What the processing of one message reads and writes, by what it is about.

use jiff::Timestamp;

use super::Compressed;
use super::model::{Facts, Holder, Identifier, Link, LinkKind, Pk, Seq, StoreError, StoredResource};
use crate::mailbox::canonical::Tail;
use crate::mailbox::resource_type::ResourceType;

/// A new version of a resource.
#[derive(Debug)]
pub struct Put<'a> {
    /// The row it follows, `None` for a new resource.
    pub before: Option<&'a StoredResource>,
    pub kind: ResourceType,
    pub id: &'a str,
    pub tail: Tail,
    pub patient: Option<Pk>,
    pub encounter: Option<Pk>,
    pub facts: &'a Facts,
    pub event: Timestamp,
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
pub struct NewMessage<'a> {
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
    pub body: &'a Compressed,
}

impl NewMessage<'_> {
    /// Bytes of its body as it is kept.
    #[must_use]
    pub fn size(&self) -> usize {
        match self.body {
            Compressed::Plain(text) => text.len(),
            Compressed::Zstd(frame) => frame.len(),
        }
    }
}

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
pub struct PendingAnswer {
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

/// Everything that one message can touch.
pub trait Transaction: Resources + Identities + Correspondence {
    /// The time of this transaction, milliseconds, never less than that of an earlier one.
    fn now(&self) -> Timestamp;
    /// Undoes everything that this piece of work wrote so far.
    fn undo(&mut self) -> Result<(), StoreError>;
    /// Lets this piece of work take `most` steps from here on; what takes more ends with [`StoreError::TooCostly`].
    fn allow(&mut self, most: u64);
    /// Takes steps of those that are allowed, for work outside the store: one for each KiB of text that is made or taken apart.
    fn spend(&self, steps: usize) -> Result<(), StoreError>;
}

/// Resources and their versions.
pub trait Resources {
    fn load(&mut self, pk: Pk) -> Result<StoredResource, StoreError>;
    fn find(&mut self, kind: ResourceType, id: &str) -> Result<Option<StoredResource>, StoreError>;
    /// Current clinical resources of one type, oldest first.
    fn clinical(&mut self, kind: ResourceType, owner: Owner) -> Result<Vec<StoredResource>, StoreError>;
    /// Writes a new version, and gives it.
    fn put(&mut self, put: Put<'_>) -> Result<StoredResource, StoreError>;
    /// Marks as removed; its versions stay in history.
    fn remove(&mut self, row: &StoredResource) -> Result<(), StoreError>;
    /// Notes that an event was applied though no element changed.
    fn touch(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError>;
    fn touch_clinical(&mut self, pk: Pk, event: Timestamp) -> Result<(), StoreError>;
}

/// Numbers, and who is one person.
pub trait Identities {
    /// Whether this resource carries the identifier or did.
    fn holds(&mut self, kind: ResourceType, pk: Pk, identifier: &Identifier) -> Result<bool, StoreError>;
    /// Whether anyone but `except` carries the identifier.
    fn is_carried(
        &mut self,
        kind: ResourceType,
        identifier: &Identifier,
        except: Option<Pk>,
    ) -> Result<bool, StoreError>;
    /// Everyone who carries the identifier or did, in no order.
    fn holders(&mut self, kind: ResourceType, identifier: &Identifier) -> Result<Vec<Holder>, StoreError>;
    fn claim(
        &mut self,
        kind: ResourceType,
        pk: Pk,
        identifier: &Identifier,
        since: Timestamp,
    ) -> Result<(), StoreError>;
    /// The resource lost the identifier; `listed`: it still shows it, marked as old.
    fn retire(
        &mut self,
        kind: ResourceType,
        pk: Pk,
        identifier: &Identifier,
        until: Timestamp,
        listed: bool,
    ) -> Result<(), StoreError>;

    /// The relations of one Patient, either way.
    fn links(&mut self, patient: Pk) -> Result<Vec<Link>, StoreError>;
    /// The same, with the id of the other one.
    fn named_links(&mut self, patient: Pk) -> Result<Vec<(Link, String)>, StoreError>;
    /// The relations by which one Patient was replaced.
    fn replacements(&mut self, patient: Pk) -> Result<Vec<Link>, StoreError>;
    /// The relation between two Patients, either way.
    fn link_between(&mut self, one: Pk, other: Pk) -> Result<Option<Link>, StoreError>;
    /// Whether two Patients are one person, by what [`Self::set_person`] noted.
    fn is_same_person(&mut self, one: Pk, other: Pk) -> Result<bool, StoreError>;
    /// Adds a relation, or replaces the one between the same two.
    fn put_link(&mut self, link: &Link) -> Result<(), StoreError>;
    fn drop_link(&mut self, link: &Link) -> Result<(), StoreError>;
    fn record_link(&mut self, event: &LinkEvent) -> Result<(), StoreError>;
    /// The time of the newest link or unlink between the two, in either direction.
    fn last_link_event(&mut self, one: Pk, other: Pk) -> Result<Option<Timestamp>, StoreError>;
    /// Notes which person a Patient is; `None` when it is linked to nobody.
    fn set_person(&mut self, patient: Pk, person: Option<Pk>) -> Result<(), StoreError>;
}

/// The log of messages, what they were answered, and answers on their way.
pub trait Correspondence {
    /// The answer given to a message of this sender, if it is still remembered.
    fn answer(&mut self, source: &str, message_id: &str, not_before: Timestamp) -> Result<Option<Answer>, StoreError>;
    /// What this sender used the Bundle id for.
    fn bundle_use(&mut self, source: &str, bundle_id: &str) -> Result<Option<BundleUse>, StoreError>;
    /// Appends to the log and to the lists of its destinations.
    fn append(&mut self, parcel: &NewMessage<'_>) -> Result<Seq, StoreError>;
    /// Remembers what a message was answered: `response` is the log's number of the answer.
    fn remember(&mut self, parcel: &NewMessage<'_>, accepted: bool, response: Seq) -> Result<(), StoreError>;
    /// Forgets answers given before `before`, and the oldest beyond `most`; some each time.
    fn forget(&mut self, before: Timestamp, most: u64) -> Result<(), StoreError>;

    /// Notes that an answer is to be sent to `url`, unless it is noted already.
    fn put_errand(&mut self, answer: Seq, url: &str) -> Result<(), StoreError>;
    /// Errands that are due, the oldest first, at most `most`.
    fn due_errands(&mut self, most: usize) -> Result<Vec<PendingAnswer>, StoreError>;
    /// Puts an errand off after a failed attempt.
    fn put_off(&mut self, errand: &PendingAnswer, due: Timestamp) -> Result<(), StoreError>;
    fn drop_errand(&mut self, errand: &PendingAnswer) -> Result<(), StoreError>;
}
