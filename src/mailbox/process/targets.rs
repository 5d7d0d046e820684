//! Which stored resource each entry of a message means, found before anything is written.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::Halt;
use super::message::{Entry, Message};
use crate::mailbox::empi::{self, Match};
use crate::mailbox::kind::Kind;
use crate::mailbox::outcome::Issue;
use crate::mailbox::search::index;
use crate::mailbox::store::{Identifier, Row, StoreError, Transaction};

/// What an entry means: a stored resource, or one that is about to be made.
#[derive(Debug)]
pub struct Target {
    pub kind: Kind,
    pub id: String,
    /// `None`: new.
    pub row: Option<Row>,
}

/// The targets of a message's entries, by fullUrl.
#[derive(Debug, Default)]
pub struct Targets {
    by_url: HashMap<String, Target>,
}

impl Targets {
    /// Finds what every stored type's entry means.
    pub fn find(tx: &mut dyn Transaction, message: &Message, at: Timestamp) -> Result<Self, Halt> {
        let mut targets = Self::default();
        for entry in &message.entries {
            let Some(kind) = entry.kind else { continue };
            let target = if kind.is_clinical() { clinical(tx, kind, entry)? } else { matched(tx, kind, entry, at)? };
            targets.add(entry, target)?;
        }
        Ok(targets)
    }

    fn add(&mut self, entry: &Entry, target: Target) -> Result<(), Halt> {
        let same = |other: &Target| other.kind == target.kind && other.id == target.id;
        if self.by_url.values().any(same) {
            let text = format!("two entries mean the same {}: send one", target.kind.name());
            return Err(Halt::Fatal(Issue::error("conflict", text).at(entry.place(""))));
        }
        self.by_url.insert(entry.full_url.clone(), target);
        Ok(())
    }

    pub fn get(&self, url: &str) -> Option<&Target> {
        self.by_url.get(url)
    }

    /// The target of an entry of a stored type.
    pub fn of(&self, entry: &Entry) -> Result<&Target, Halt> {
        self.get(&entry.full_url).ok_or(Halt::Store(StoreError::Damaged("the targets of a message")))
    }

    /// Takes in what was just written, so that others can refer to it.
    pub fn written(&mut self, url: &str, row: Row) {
        if let Some(target) = self.by_url.get_mut(url) {
            target.row = Some(row);
        }
    }
}

/// By the entry's condition; where it has none, by the resource's own identifiers.
fn matched(tx: &mut dyn Transaction, kind: Kind, entry: &Entry, at: Timestamp) -> Result<Target, Halt> {
    let row = match &entry.condition {
        Some(condition) => one(tx, kind, entry, condition, at)?,
        None => by_own_identifiers(tx, kind, entry, at)?,
    };
    let id = row.as_ref().map_or_else(|| Uuid::now_v7().to_string(), |row| row.id.clone());
    Ok(Target { kind, id, row })
}

fn one(
    tx: &mut dyn Transaction,
    kind: Kind,
    entry: &Entry,
    identifier: &Identifier,
    at: Timestamp,
) -> Result<Option<Row>, Halt> {
    match empi::resolve(tx, kind, identifier, at)? {
        Match::None => Ok(None),
        Match::One(pk) => Ok(Some(tx.load(pk)?)),
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
fn by_own_identifiers(tx: &mut dyn Transaction, kind: Kind, entry: &Entry, at: Timestamp) -> Result<Option<Row>, Halt> {
    let own: Vec<_> = index::identifiers(&entry.resource).into_iter().filter(|id| !id.system.is_empty()).collect();
    if own.is_empty() {
        let text = format!("a {} needs a condition in its fullUrl, or an identifier with a system", kind.name());
        return Err(Halt::Fatal(Issue::error("required", text).at(entry.place("identifier"))));
    }
    let mut found: Option<Row> = None;
    for identifier in &own {
        let row = one(tx, kind, entry, identifier, at)?;
        match (&found, row) {
            (Some(first), Some(other)) if first.pk != other.pk => {
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
fn clinical(tx: &mut dyn Transaction, kind: Kind, entry: &Entry) -> Result<Target, Halt> {
    let own = entry.resource.get("id").and_then(|id| id.as_str()).or_else(|| entry.full_url.strip_prefix("urn:uuid:"));
    match own.filter(|id| is_id(id)) {
        Some(id) => Ok(Target { kind, id: id.to_owned(), row: tx.find(kind, id)? }),
        None => Ok(Target { kind, id: Uuid::now_v7().to_string(), row: None }),
    }
}

/// FHIR R4 datatype id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}
