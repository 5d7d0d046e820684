//! `patient-link` and `patient-unlink`: what messages say about which Patients are one person.
//!
//! A replaced Patient is inactive and says by whom it was replaced; both sides name each other in `Patient.link`. An
//! unlink takes exactly that back, and the replaced one is as active as it was before. Each change is recorded with the
//! message that asked for it.

use std::collections::{HashMap, HashSet};

use super::work::Work;
use crate::mailbox::empi::person;
use crate::mailbox::json::Node;
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::halt::Halt;
use crate::mailbox::process::parse::message::Entry;
use crate::mailbox::process::stored::content;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::store::LinkEvent;
use crate::mailbox::store::model::{Link, LinkKind, Pk, Seq, StoreError};

/// Updates the Patients of the message and relates them as their links say.
pub fn link(mut work: Work<'_>, seq: Seq) -> Result<Vec<Issue>, Halt> {
    for entry in work.message.of(ResourceType::Patient) {
        work.upsert(entry)?;
    }
    let wanted = relations(&mut work)?;
    if wanted.is_empty() {
        let text = "a patient-link says in Patient.link who is linked to whom";
        return Err(Halt::Fatal(Issue::error("required", text).at("Bundle.entry")));
    }
    let mut changed = Changed::default();
    for relation in wanted {
        relate(&mut work, &mut changed, relation, seq)?;
    }
    changed.show(&mut work)?;
    Ok(work.issues.told())
}

/// Removes the relations between the Patients of the message, and nothing else.
pub fn unlink(mut work: Work<'_>, seq: Seq) -> Result<Vec<Issue>, Halt> {
    let mut patients = Vec::new();
    let mut places = HashMap::new();
    for entry in work.message.of(ResourceType::Patient) {
        if let Some(row) = &work.targets.of(entry)?.row
            && !places.contains_key(&row.pk)
        {
            places.insert(row.pk, patients.len());
            patients.push(row.pk);
        }
    }
    let mut removed = 0;
    let mut changed = Changed::default();
    for (n, &one) in patients.iter().enumerate() {
        let links = work.tx.links(one)?.into_iter();
        let mut own: Vec<_> = links.filter_map(|link| Some((*places.get(&link.far_end(one))?, link))).collect();
        own.retain(|(place, _)| *place > n);
        own.sort_unstable_by_key(|(place, _)| *place);
        for (_, link) in own {
            part(&mut work, &mut changed, link, seq)?;
            removed += 1;
        }
    }
    if removed == 0 {
        work.issues.push(Issue::warning("not-found", "these Patients were not linked; nothing was changed"));
    }
    changed.show(&mut work)?;
    Ok(work.issues.told())
}

/// Patients whose relations changed. They are written when all have: one to whom a thousand are linked is written once.
#[derive(Default)]
struct Changed {
    order: Vec<Pk>,
    /// And what becomes of `Patient.active`, where it changes: to a value, or to none.
    active: HashMap<Pk, Option<Option<bool>>>,
}

impl Changed {
    fn note(&mut self, pk: Pk, active: Option<Option<bool>>) {
        let slot = self.active.entry(pk).or_insert_with(|| {
            self.order.push(pk);
            None
        });
        *slot = active.or(*slot);
    }

    fn show(self, work: &mut Work<'_>) -> Result<(), Halt> {
        person::settle(work.tx, self.order.iter().copied())?;
        for pk in self.order {
            show(work, pk, self.active.get(&pk).copied().flatten())?;
        }
        Ok(())
    }
}

/// What a message wants to be related: `patient` to `other`, both stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Relation {
    patient: Pk,
    other: Pk,
    kind: LinkKind,
}

/// The relations that the message's Patients state; a pair that is stated from both sides counts once.
fn relations(work: &mut Work<'_>) -> Result<Vec<Relation>, Halt> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    let message = work.message;
    for entry in message.of(ResourceType::Patient) {
        let own = stored(work, entry)?;
        let local = work.local(entry)?;
        let links = local.get("link").and_then(Node::as_array);
        for link in links.into_iter().flatten() {
            let relation = relation(work, entry, own, link)?;
            work.tx.spend(1)?;
            if relation.patient == relation.other {
                work.issues.push(Issue::information("two of the identifiers are one Patient already"));
            } else if known.insert(relation) {
                found.push(relation);
            }
        }
    }
    Ok(found)
}

fn stored(work: &Work<'_>, entry: &Entry) -> Result<Pk, Halt> {
    let row = work.targets.of(entry)?.row.as_ref();
    row.map(|row| row.pk).ok_or(Halt::Store(StoreError::Damaged("the Patients of a message")))
}

fn relation(work: &mut Work<'_>, entry: &Entry, own: Pk, link: &Node<'_>) -> Result<Relation, Halt> {
    let far = work.referenced(ResourceType::Patient, link["other"]["reference"].as_str(), entry, "link.other")?;
    let far = far.ok_or_else(|| {
        Halt::Fatal(Issue::error("not-found", "a link names no Patient of this mailbox").at(entry.place("link.other")))
    })?;
    match link["type"].as_str() {
        Some("replaced-by") => Ok(Relation { patient: own, other: far, kind: LinkKind::Replaced }),
        Some("replaces") => Ok(Relation { patient: far, other: own, kind: LinkKind::Replaced }),
        Some("seealso") => Ok(Relation { patient: own.min(far), other: own.max(far), kind: LinkKind::SeeAlso }),
        _ => {
            let text = "a link is replaced-by, replaces or seealso";
            Err(Halt::Fatal(Issue::error("not-supported", text).at(entry.place("link.type"))))
        }
    }
}

fn relate(work: &mut Work<'_>, changed: &mut Changed, wanted: Relation, seq: Seq) -> Result<(), Halt> {
    let Relation { patient, other, kind } = wanted;
    let existing = work.tx.link_between(patient, other)?;
    if existing.is_some_and(|link| (link.patient, link.other, link.kind) == (patient, other, kind)) {
        work.issues.push(Issue::information("the Patients were linked in this way already"));
        return Ok(());
    }
    if late(work, patient, other)? {
        return Ok(());
    }
    if kind == LinkKind::Replaced && person::closes_circle(work.tx, patient, other)? {
        let text = "the survivor was itself replaced by this Patient: a circle; send a patient-unlink (A37) first";
        return Err(Halt::Fatal(Issue::error("business-rule", text).at("Bundle.entry")));
    }
    let was_active = match work.tx.replacements(patient)?.first() {
        // It is inactive because of that one; what it was before counts.
        Some(earlier) => earlier.was_active,
        None => content(&work.tx.load(patient)?.tail.whole())?.get("active").and_then(Node::as_bool),
    };
    if let Some(old) = existing {
        work.tx.drop_link(&old)?;
    }
    work.tx.put_link(&Link { patient, other, kind, since: work.time, was_active })?;
    work.tx.record_link(&LinkEvent { linked: true, patient, other, kind, at: work.time, message: seq })?;
    changed.note(patient, (kind == LinkKind::Replaced).then_some(Some(false)));
    changed.note(other, None);
    Ok(())
}

/// Removes a relation between two Patients, unless it is newer.
fn part(work: &mut Work<'_>, changed: &mut Changed, link: Link, seq: Seq) -> Result<(), Halt> {
    let Link { patient, other, kind, .. } = link;
    if late(work, patient, other)? {
        return Ok(());
    }
    work.tx.drop_link(&link)?;
    work.tx.record_link(&LinkEvent { linked: false, patient, other, kind, at: work.time, message: seq })?;
    let again = kind == LinkKind::Replaced && !person::is_replaced(work.tx, patient)?;
    changed.note(patient, again.then_some(link.was_active));
    changed.note(other, None);
    Ok(())
}

/// Whether the two were linked or unlinked by a newer event; says so if they were.
fn late(work: &mut Work<'_>, one: Pk, other: Pk) -> Result<bool, Halt> {
    let late = work.tx.last_link_event(one, other)?.is_some_and(|newest| newest > work.time);
    if late {
        let text = "these Patients were linked or unlinked by a newer event; this one was not applied";
        work.issues.push(Issue::warning("conflict", text));
    }
    Ok(late)
}

/// Writes a Patient's links into the resource, and `active` where it is given.
fn show(work: &mut Work<'_>, pk: Pk, active: Option<Option<bool>>) -> Result<(), Halt> {
    let row = work.tx.load(pk)?;
    let text = row.tail.whole();
    let mut resource = content(&text)?;
    match active {
        Some(Some(active)) => resource.insert("active", Node::Bool(active)),
        Some(None) => drop(resource.remove("active")),
        None => {}
    }
    let links = shown(work, pk)?;
    if links.is_empty() {
        resource.remove("link");
    } else {
        resource.insert("link", Node::Array(links));
    }
    work.rewrite(&row, &resource).map(|_| ())
}

fn shown(work: &mut Work<'_>, pk: Pk) -> Result<Vec<Node<'static>>, Halt> {
    let node = |(link, far): (Link, String)| {
        let kind = match link.kind {
            LinkKind::SeeAlso => "seealso",
            LinkKind::Replaced if link.patient == pk => "replaced-by",
            LinkKind::Replaced => "replaces",
        };
        let other = Node::reference(format!("Patient/{far}"));
        Node::Object([("other", other), ("type", kind.into())].into_iter().collect())
    };
    Ok(work.tx.named_links(pk)?.into_iter().map(node).collect())
}
