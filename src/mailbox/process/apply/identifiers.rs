//! The identifiers of a Patient or Encounter that is about to be stored: which are kept, which are old, whose they are.

use std::collections::HashSet;

use crate::mailbox::json::{Node, Object};
use crate::mailbox::process::parse::message::{Entry, Message};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::index::{self};
use crate::mailbox::store::model::Identifier;

/// Brings the identifiers, links and `active` of an incoming resource into the form in which they are to be merged.
///
/// `former`: the resource was found by a number that it had before.
pub fn prepare<'a>(
    message: &Message,
    kind: ResourceType,
    entry: &Entry,
    former: bool,
    stored: &Object<'a>,
    incoming: &mut Object<'a>,
) {
    if kind == ResourceType::Patient {
        leave_links_alone(stored, incoming, entry.condition.as_ref());
    }
    let old = entry.condition.as_ref().filter(|_| former);
    if old.is_some_and(|old| index::numbers(incoming).is_current(old)) {
        // A straggler that still uses the number it had.
        incoming.remove("identifier");
    }
    let adds = message.is_link()
        || matches!(message.header.trigger.as_deref(), Some("A35" | "A41" | "A42" | "A43" | "A44" | "A45"));
    let Some(Node::Array(list)) = incoming.get_mut("identifier") else { return };
    if (adds && kind == ResourceType::Patient) || list.iter().any(is_old) {
        add_held(stored, list);
    }
}

pub fn is_old(item: &Node<'_>) -> bool {
    item["use"] == "old"
}

/// Adds the identifiers that are held already and that `list` does not speak of.
pub fn add_held<'a>(stored: &Object<'a>, list: &mut Vec<Node<'a>>) {
    let held = stored.get("identifier").and_then(Node::as_array);
    let said: HashSet<Identifier> = list.iter().filter_map(index::identifier).collect();
    let silent = |item: &&Node<'a>| index::identifier(item).is_none_or(|id| !said.contains(&id));
    list.extend(held.into_iter().flatten().filter(silent).cloned());
}

/// Links are made by patient-link alone, and who was replaced stays inactive until it is unlinked. The number that a
/// merge calls old remains the replaced one's own: it is how everybody finds where to go.
pub fn leave_links_alone(stored: &Object<'_>, incoming: &mut Object<'_>, number: Option<&Identifier>) {
    let replaced_now = says_replaced(incoming);
    incoming.remove("link");
    if !replaced_now && !says_replaced(stored) {
        return;
    }
    incoming.remove("active");
    incoming.remove("_active");
    let items = incoming.get_mut("identifier").and_then(Node::as_array_mut);
    for item in items.into_iter().flatten().filter(|_| replaced_now && number.is_some()) {
        if index::identifier(item).as_ref() == number {
            item.as_object_mut().map(|own| own.remove("use"));
        }
    }
}

pub fn says_replaced(patient: &Object<'_>) -> bool {
    let links = patient.get("link").and_then(Node::as_array);
    links.is_some_and(|links| links.iter().any(|link| link["type"] == "replaced-by"))
}
