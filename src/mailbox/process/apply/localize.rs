//! A resource on its way into the store: its references become those of the mailbox, and entries of types that are not stored by
//! themselves are contained in what refers to them.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::mailbox::json::{Node, Object};
use crate::mailbox::process::matching::targets::Targets;
use crate::mailbox::process::parse::message::{Entry, Message};
use crate::mailbox::process::parse::references::walk;
use crate::mailbox::store::model::StoreError;

/// The resource of `entry` with references of the mailbox's own. Entries that are not stored by themselves, and those that
/// they refer to in turn, are contained in it.
///
/// # Errors
/// [`StoreError::Damaged`] when an entry's text is; what `spend` says, which is told how many KiB are taken apart.
pub fn localize<'m>(
    entry: &'m Entry,
    message: &'m Message,
    targets: &Targets,
    spend: &dyn Fn(usize) -> Result<(), StoreError>,
) -> Result<Object<'m>, StoreError> {
    let (mut waiting, mut taken) = (Vec::new(), HashSet::new());
    spend(entry.template.text().len() >> 10)?;
    let mut resource = entry.resource()?;
    rewrite(&mut resource, message, targets, &mut waiting);
    let mut contained: Vec<Node<'m>> = Vec::new();
    while let Some(entry) = waiting.pop() {
        if !taken.insert(entry.at) {
            continue;
        }
        // Many may refer to one that refers to many: each of the first contains all of the last.
        spend(1 + (entry.template.text().len() >> 10))?;
        let mut content = entry.resource()?;
        content.remove("meta");
        hoist(entry, &mut content, &mut contained);
        rewrite(&mut content, message, targets, &mut waiting);
        content.insert("id", contained_id(entry).into());
        contained.push(Node::Object(content));
    }
    if !contained.is_empty() {
        if !resource.contains_key("contained") {
            resource.insert("contained", Node::Array(Vec::new()));
        }
        let list = resource.get_mut("contained").and_then(Node::as_array_mut);
        list.into_iter().for_each(|list| list.append(&mut contained));
    }
    Ok(resource)
}

/// What a resource contains moves beside it when it is itself contained (dom-2), under ids of its own.
pub fn hoist<'m>(entry: &Entry, content: &mut Object<'m>, contained: &mut Vec<Node<'m>>) {
    let Some(Node::Array(mut inner)) = content.remove("contained") else { return };
    let prefix = contained_id(entry);
    let mut rename = |reference: &mut Cow<'m, str>| {
        if let Some(id) = reference.strip_prefix('#').filter(|id| !id.is_empty()) {
            *reference = Cow::Owned(format!("#{prefix}-{id}"));
        }
    };
    content.values_mut().for_each(|value| walk(value, &mut rename));
    for mut item in inner.drain(..) {
        walk(&mut item, &mut rename);
        let id = format!("{prefix}-{}", item["id"].as_str().unwrap_or_default());
        item.set("id", id);
        contained.push(item);
    }
}

/// Makes the references local, and adds the entries to `carried` that must come along.
pub fn rewrite<'m>(resource: &mut Object<'m>, message: &'m Message, targets: &Targets, carried: &mut Vec<&'m Entry>) {
    let mut to_local = |reference: &mut Cow<'m, str>| {
        let Some(other) = message.entry(reference) else { return };
        *reference = Cow::Owned(match targets.get(other) {
            Some(target) => target.local_url(),
            None => {
                carried.push(other);
                format!("#{}", contained_id(other))
            }
        });
    };
    resource.values_mut().for_each(|value| walk(value, &mut to_local));
}

/// The id of an entry within what contains it: its place in the message, since its own may be anything.
pub fn contained_id(entry: &Entry) -> String {
    format!("entry-{}", entry.at)
}
