//! Puts values into the tree: walks a target's steps, making what is missing on the way.

use std::borrow::Cow;

use super::plan::{At, Step, Target};
use crate::fhir::{Node, Object};

/// The extension that says why an element has no value (FHIR R4 extension data-absent-reason).
pub const DATA_ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Where a value came from, as far as dropping objects of constants is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub data: bool,
    pub stated: bool,
}

/// Whether the target has a value, or goes out as erased; for a list whether it has any.
pub(super) fn is_set(object: &Object<'_>, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    if rest.is_empty() && object.members().any(|(name, _)| name.strip_prefix('_') == Some(&*step.name)) {
        return true;
    }
    let Some(node) = object.get(&step.name) else { return false };
    let child = match &step.at {
        At::Single | At::Append => node,
        At::Index(n) => match node.as_list().get(*n) {
            Some(node) => node,
            None => return false,
        },
        At::Extension(url) => match node.as_list().iter().find(|node| has_url(node, url)) {
            Some(node) => node,
            None => return false,
        },
    };
    rest.is_empty() || child.as_object().is_some_and(|object| is_set(object, rest))
}

fn has_url(node: &Node<'_>, url: &str) -> bool {
    node.as_object().is_some_and(|object| object.text("url") == Some(url))
}

/// Puts a value in its place; whether it found room there.
pub(super) fn put<'a>(object: &mut Object<'a>, steps: &'a [Step], node: Node<'a>, origin: Origin) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    object.data |= origin.data;
    object.stated |= origin.stated;
    if rest.is_empty() {
        return put_last(object, step, node);
    }
    match child(object, step) {
        Some(child) => put(child, rest, node, origin),
        None => false,
    }
}

fn put_last<'a>(object: &mut Object<'a>, step: &'a Step, node: Node<'a>) -> bool {
    match &step.at {
        At::Single => {
            object.push(&*step.name, node);
            true
        }
        At::Append | At::Index(_) => match object.list_mut(&step.name) {
            Some(list) if !list.contains(&node) => {
                list.push(node);
                true
            }
            // The same item twice says nothing new: a person who is both in PV1-7 and in a ROL.
            Some(_) => true,
            None => false,
        },
        At::Extension(url) => match (object.list_mut(&step.name), node) {
            (Some(list), Node::Object(mut extension)) => {
                extension.set("url", Node::text(&**url));
                list.push(Node::Object(extension));
                true
            }
            _ => false,
        },
    }
}

/// The object that a step on the way names, made where it is missing.
fn child<'o, 'a>(object: &'o mut Object<'a>, step: &'a Step) -> Option<&'o mut Object<'a>> {
    let list = match &step.at {
        At::Single => return object.object_mut(&step.name),
        At::Index(_) | At::Append | At::Extension(_) => object.list_mut(&step.name)?,
    };
    let at = match &step.at {
        At::Index(n) => Some(*n).filter(|n| *n < list.len()),
        At::Extension(url) => list.iter().position(|node| has_url(node, url)),
        At::Single | At::Append => None,
    };
    let at = at.unwrap_or_else(|| {
        let mut item = Object::new();
        if let At::Extension(url) = &step.at {
            item.push("url", Node::text(&**url));
        }
        list.push(Node::Object(item));
        list.len() - 1
    });
    match list.get_mut(at) {
        Some(Node::Object(object)) => Some(object),
        _ => None,
    }
}

/// Writes "there is no value, erase yours": the element with nothing but a data-absent-reason.
pub(super) fn erase<'a>(object: &mut Object<'a>, target: &'a Target, reason: &'a str) {
    let Some((last, way)) = target.steps.split_last() else { return };
    let mut marker = Object::new();
    marker.data = true;
    marker.push("extension", Node::List(vec![absent_reason(reason)]));
    let marker = Node::Object(marker);
    let name = if target.primitive { Cow::Owned(format!("_{}", last.name)) } else { Cow::Borrowed(&*last.name) };
    let node = if last.at == At::Single { marker } else { Node::List(vec![marker]) };
    let mut at = object;
    at.data = true;
    for step in way {
        match child(at, step) {
            Some(next) => at = next,
            None => return,
        }
        at.data = true;
    }
    at.set(name, node);
}

/// The data-absent-reason extension with a code of its value set.
pub(super) fn absent_reason(reason: &str) -> Node<'_> {
    let mut extension = Object::new();
    extension.data = true;
    extension.push("url", Node::text(DATA_ABSENT));
    extension.push("valueCode", Node::text(reason));
    Node::Object(extension)
}

/// Whether the target is the code of a coding: a fixed code says something by itself.
pub(super) fn states_code(target: &Target) -> bool {
    match target.steps.as_slice() {
        [.., parent, last] => &*last.name == "code" && &*parent.name == "coding",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, at: At) -> Step {
        Step { name: name.into(), at }
    }

    const DATA: Origin = Origin { data: true, stated: false };

    #[test]
    fn an_index_is_shared_by_all_rules_that_name_it() {
        let code = [step("type", At::Index(0)), step("code", At::Single)];
        let text = [step("type", At::Index(0)), step("text", At::Single)];
        let mut object = Object::new();
        assert!(put(&mut object, &code, Node::text("a"), DATA));
        assert!(is_set(&object, &code) && !is_set(&object, &text));
        assert!(put(&mut object, &text, Node::text("b"), DATA));
        assert_eq!(Node::Object(object).to_json(), r#"{"type":[{"code":"a","text":"b"}]}"#);
    }

    #[test]
    fn extensions_are_told_apart_by_their_url() {
        let at = |url: &str| [step("extension", At::Extension(url.into())), step("valueCode", At::Single)];
        let (one, two) = (at("u:1"), at("u:2"));
        let mut object = Object::new();
        put(&mut object, &one, Node::text("a"), DATA);
        assert!(!is_set(&object, &two));
        put(&mut object, &two, Node::text("b"), DATA);
        assert_eq!(object.get("extension").unwrap().as_list().len(), 2);
    }

    #[test]
    fn erasing_marks_a_primitive_beside_and_a_complex_element_in_its_place() {
        let primitive = Target {
            steps: smallvec::smallvec![step("period", At::Single), step("end", At::Single)],
            primitive: true,
            append: false,
        };
        let list = Target { steps: smallvec::smallvec![step("name", At::Append)], primitive: false, append: true };
        let mut object = Object::new();
        erase(&mut object, &primitive, "unknown");
        erase(&mut object, &list, "unknown");
        let json = Node::Object(object).to_json();
        assert!(json.starts_with(r#"{"period":{"_end":{"extension":[{"url":"http://hl7.org/fhir/"#), "{json}");
        assert!(json.contains(r#""name":[{"extension":[{"#), "{json}");
    }
}
