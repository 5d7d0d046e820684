//! Which stored resource each entry of a message means, found before anything is written.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use crate::fhir::ids::is_id;
use crate::mailbox::empi::reuse::Traits;
use crate::mailbox::empi::{self, Match, person};
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::halt::Halt;
use crate::mailbox::process::parse::message::{Entry, Message};
use crate::mailbox::process::stored::{content, was_replaced};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::steps;
use crate::mailbox::store::Transaction;
use crate::mailbox::store::model::{Identifier, Pk, StoreError, StoredResource};

/// What an entry means: a stored resource, or one that is about to be made.
#[derive(Debug)]
pub struct Target {
    pub kind: ResourceType,
    pub id: String,
    /// `None`: new.
    pub row: Option<StoredResource>,
    /// Not stored when the message came.
    pub new: bool,
    /// Found by a number that it had before.
    pub former: bool,
    /// The replaced Patient whose number was given to this new one.
    pub reused: Option<(StoredResource, Identifier)>,
}

impl Target {
    /// How the mailbox's own resources refer to it.
    pub fn local_url(&self) -> String {
        [self.kind.name(), "/", &self.id].concat()
    }
}

/// The targets of a message's entries, by their index; `None` for types that are not stored.
#[derive(Debug, Default)]
pub struct Targets {
    all: Vec<Option<Target>>,
    /// The entries that mean the resources with an id.
    by_id: HashMap<String, Vec<usize>>,
    /// What is known of the persons whose numbers may have been given to others, and which of them each Patient is.
    known: Vec<Traits>,
    persons: HashMap<Pk, usize>,
}

/// Entries of a message that may mean one resource, each by another of its numbers.
const MOST_ALIKE: usize = 100;

impl Targets {
    /// Finds what every stored type's entry means. Patients come first: whose a visit is tells whether an old number is
    /// meant or a new visit.
    pub fn find(tx: &mut dyn Transaction, message: &Message, at: Timestamp) -> Result<Self, Halt> {
        let mut targets = Self { all: message.entries().map(|_| None).collect(), ..Self::default() };
        for kind in ResourceType::ALL {
            for entry in message.of(kind) {
                let target = match kind {
                    ResourceType::Encounter | ResourceType::Patient | ResourceType::Location => {
                        targets.matched(tx, kind, entry, message, at)?
                    }
                    _ => clinical(tx, kind, entry)?,
                };
                targets.set(entry, target)?;
            }
        }
        Ok(targets)
    }

    fn set(&mut self, entry: &Entry, target: Target) -> Result<(), Halt> {
        let alike = self.by_id.entry(target.id.clone()).or_default();
        alike.push(entry.index());
        if alike.len() > MOST_ALIKE {
            let text = format!("more than {MOST_ALIKE} entries mean the same {}: send one", target.kind.name());
            return Err(Halt::Fatal(Issue::error("too-costly", text).at(entry.place(""))));
        }
        if let Some(slot) = self.all.get_mut(entry.index()) {
            *slot = Some(target);
        }
        Ok(())
    }

    /// Two entries that mean the same resource cannot both be what it is now.
    pub fn refuse_doubles(&self, message: &Message) -> Result<(), Halt> {
        let mut seen = HashSet::new();
        for entry in message.entries().filter(|entry| entry.kind.is_some()) {
            let target = self.of(entry)?;
            if !seen.insert((target.kind, &target.id)) {
                let text = format!("two entries mean the same {}: send one", target.kind.name());
                return Err(Halt::Fatal(Issue::error("conflict", text).at(entry.place(""))));
            }
        }
        Ok(())
    }

    pub fn get(&self, entry: &Entry) -> Option<&Target> {
        self.at(entry.index())
    }

    /// Of the entry with this index.
    pub fn at(&self, index: usize) -> Option<&Target> {
        self.all.get(index)?.as_ref()
    }

    /// Those that mean the resource with this id.
    fn meaning(&self, kind: ResourceType, id: &str) -> impl Iterator<Item = &Target> {
        let alike = steps::each(self.by_id.get(id).into_iter().flatten());
        alike.filter_map(|&index| self.at(index)).filter(move |target| target.kind == kind)
    }

    /// The target of an entry of a stored type.
    pub fn of(&self, entry: &Entry) -> Result<&Target, Halt> {
        self.get(entry).ok_or(Halt::Store(StoreError::Damaged("the targets of a message")))
    }

    /// Whether a row was made by this message.
    pub fn is_new(&self, row: &StoredResource) -> bool {
        self.meaning(row.kind, &row.id).any(|target| target.new)
    }

    /// Takes in what was just written, so that others can refer to it.
    pub fn written(&mut self, row: &StoredResource) {
        for &index in steps::each(self.by_id.get(&row.id).into_iter().flatten()) {
            let target = self.all.get_mut(index).and_then(Option::as_mut);
            if let Some(target) = target.filter(|target| target.kind == row.kind) {
                target.row = Some(row.clone());
            }
        }
    }
}

impl Targets {
    /// By the entry's condition; where it has none, by the resource's own identifiers.
    fn matched(
        &mut self,
        tx: &mut dyn Transaction,
        kind: ResourceType,
        entry: &Entry,
        message: &Message,
        at: Timestamp,
    ) -> Result<Target, Halt> {
        let found = match &entry.condition {
            Some(condition) => one(tx, kind, entry, condition, at)?,
            None => by_own_identifiers(tx, kind, entry, at)?,
        };
        let renumbered = match found {
            // The old number is not known, but the new one may be: a later message came first.
            None if kind == ResourceType::Encounter && entry.condition.is_some() => {
                by_own_identifiers(tx, kind, entry, at)?
            }
            found => found,
        };
        let Some((row, former)) = renumbered else { return Ok(target(kind, None)) };
        let number = entry.condition.as_ref();
        if let Some(number) = number.filter(|_| kind == ResourceType::Patient && (former || was_replaced(&row)))
            && let Some(target) = self.reused(tx, entry, &row, number)?
        {
            return Ok(target);
        }
        if former && kind == ResourceType::Encounter && !self.same_person(tx, entry, message, &row)? {
            return Ok(target(kind, None));
        }
        Ok(Target { former, ..target(kind, Some(row)) })
    }

    /// Where the number of a replaced Patient names somebody else by now: that one, or a new Patient.
    fn reused(
        &mut self,
        tx: &mut dyn Transaction,
        entry: &Entry,
        replaced: &StoredResource,
        number: &Identifier,
    ) -> Result<Option<Target>, Halt> {
        if !self.traits(tx, replaced.pk)?.are_of_somebody_else(&entry.resource()?) {
            return Ok(None);
        }
        let holders = tx.holders(ResourceType::Patient, number)?;
        let present = holders.iter().find(|holder| holder.until.is_none() && holder.pk != replaced.pk);
        let row = present.map(|holder| tx.load(holder.pk)).transpose()?;
        let taken = row.is_none().then(|| (replaced.clone(), number.clone()));
        Ok(Some(Target { reused: taken, ..target(ResourceType::Patient, row) }))
    }

    /// What is known of the person that a Patient is; looked up once for all of its Patients.
    fn traits(&mut self, tx: &mut dyn Transaction, patient: Pk) -> Result<&Traits, Halt> {
        if !self.persons.contains_key(&patient) {
            let mut traits = Traits::default();
            for pk in person::everyone(tx, patient)? {
                traits.add(&content(&tx.load(pk)?.tail.whole())?);
                self.persons.insert(pk, self.known.len());
            }
            self.known.push(traits);
        }
        let known = self.persons.get(&patient).and_then(|&at| self.known.get(at));
        known.ok_or(Halt::Store(StoreError::Damaged("the links of Patients")))
    }

    /// Whether a visit entry's patient is the one of a stored visit.
    fn same_person(
        &self,
        tx: &mut dyn Transaction,
        entry: &Entry,
        message: &Message,
        visit: &StoredResource,
    ) -> Result<bool, Halt> {
        let subject = entry.subject.as_ref().and_then(|url| message.entry(url));
        let patient = subject.and_then(|patient| self.get(patient)).and_then(|target| target.row.as_ref());
        match (visit.patient, patient) {
            (Some(held), Some(patient)) => Ok(tx.is_same_person(held, patient.pk)?),
            _ => Ok(false),
        }
    }

    /// A row of this message's targets, by its id.
    pub fn by_id(&self, kind: ResourceType, id: &str) -> Option<&StoredResource> {
        self.meaning(kind, id).next()?.row.as_ref()
    }
}

fn target(kind: ResourceType, row: Option<StoredResource>) -> Target {
    let id = row.as_ref().map_or_else(|| Uuid::now_v7().to_string(), |row| row.id.clone());
    Target { kind, id, new: row.is_none(), row, former: false, reused: None }
}

fn one(
    tx: &mut dyn Transaction,
    kind: ResourceType,
    entry: &Entry,
    identifier: &Identifier,
    at: Timestamp,
) -> Result<Option<(StoredResource, bool)>, Halt> {
    match empi::resolve(tx, kind, identifier, at)? {
        Match::None => Ok(None),
        Match::One(pk) => Ok(Some((tx.load(pk)?, false))),
        Match::Former(pk) => Ok(Some((tx.load(pk)?, true))),
        Match::Several(count) => {
            let text = format!("the condition matches {count} of type {}: nothing was written", kind.name());
            Err(Halt::Refused(
                412,
                Issue::error("multiple-matches", text).at(format!("Bundle.entry[{}].fullUrl", entry.at)),
            ))
        }
    }
}

/// For senders that give no condition: all identifiers that have a system must agree on one resource.
fn by_own_identifiers(
    tx: &mut dyn Transaction,
    kind: ResourceType,
    entry: &Entry,
    at: Timestamp,
) -> Result<Option<(StoredResource, bool)>, Halt> {
    let own: Vec<_> = entry.numbers.current.iter().filter(|id| !id.system.is_empty()).collect();
    if own.is_empty() && entry.condition.is_none() {
        let text = format!("a {} needs a condition in its fullUrl, or an identifier with a system", kind.name());
        return Err(Halt::Fatal(Issue::error("required", text).at(entry.place("identifier"))));
    }
    let mut found: Option<(StoredResource, bool)> = None;
    for identifier in own {
        let row = one(tx, kind, entry, identifier, at)?.filter(|(_, former)| !former);
        match (&found, row) {
            (Some((first, _)), Some((other, _))) if first.pk != other.pk => {
                let text = format!("the identifiers belong to different resources of type {}", kind.name());
                return Err(Halt::Refused(412, Issue::error("multiple-matches", text).at(entry.place("identifier"))));
            }
            (None, Some(row)) => found = Some(row),
            _ => {}
        }
    }
    Ok(found)
}

/// A clinical resource keeps the sender's id, which makes a repeated snapshot an update. An id that belongs to something
/// of another type of owner is decided when it is written.
fn clinical(tx: &mut dyn Transaction, kind: ResourceType, entry: &Entry) -> Result<Target, Halt> {
    let own = entry.id.as_deref().or_else(|| entry.full_url.strip_prefix("urn:uuid:"));
    match own.filter(|id| is_id(id)) {
        Some(id) => Ok(Target { id: id.to_owned(), ..target(kind, tx.find(kind, id)?) }),
        None => Ok(target(kind, None)),
    }
}
