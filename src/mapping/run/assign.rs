//! Puts values into the tree: walks a target's steps, making what is missing on the way.

use super::recorder::Recorder;
use crate::fhir::known::{KnownItems, Sameness};
use crate::fhir::{Arena, Node, Object};
use crate::mapping::plan::rule::{At, Target, TargetStep};
use crate::work;

/// The extension that says why an element has no value (FHIR R4 extension data-absent-reason).
pub const DATA_ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// Where a value came from, as far as dropping objects of constants is concerned.
#[derive(Debug, Clone, Copy)]
pub struct ValueOrigin {
    pub data: bool,
    pub stated: bool,
}

/// Whether the target has a value, or goes out as erased; for a list whether it has any.
pub fn is_set(object: &Object<'_>, steps: &[TargetStep]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    if rest.is_empty() && object.has_beside(&step.name) {
        return true;
    }
    if step.choice.as_deref().is_some_and(|base| other_form(object, base, &step.name)) {
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

/// Whether another form of a choice stands there: `valueString` where `valueQuantity` is asked for.
fn other_form(object: &Object<'_>, base: &str, name: &str) -> bool {
    let bare = |name: &'_ str| name.strip_prefix('_').map_or(0, |_| 1);
    object.members().map(|(other, _)| &other[bare(other)..]).any(|other| {
        let rest = other.as_bytes().strip_prefix(base.as_bytes());
        rest.and_then(<[u8]>::first).is_some_and(u8::is_ascii_uppercase) && other != &name[bare(name)..]
    })
}

fn has_url(node: &Node<'_>, url: &str) -> bool {
    work::steps(1);
    node.as_object().is_some_and(|object| object.text("url") == Some(url))
}

/// Puts a value in its place; whether it found room there. `known` is the index of the list that the target ends in, where
/// it ends in one: the same for all values of a rule that are put into one object.
pub fn put<'a, R: Recorder>(
    object: &mut Object<'a>,
    steps: &'a [TargetStep],
    mut node: Node<'a>,
    origin: ValueOrigin,
    known: &mut KnownItems,
    recorder: &mut R,
) -> bool {
    let Some((step, rest)) = steps.split_first() else { return false };
    object.data |= origin.data;
    object.stated |= origin.stated;
    let given = if rest.is_empty() {
        recorder.placed(object, &step.name, &mut node);
        put_last(object, step, node, known, recorder)
    } else {
        child(object, step).is_some_and(|child| put(child, rest, node, origin, known, recorder))
    };
    // What holds only constants may have to go, and what was made on a way that led nowhere.
    object.pruned &= given && (origin.data || origin.stated);
    given
}

fn put_last<'a, R: Recorder>(
    object: &mut Object<'a>,
    step: &'a TargetStep,
    node: Node<'a>,
    known: &mut KnownItems,
    recorder: &mut R,
) -> bool {
    count(&node);
    match &step.at {
        At::Single => {
            object.push(&step.name, node);
            true
        }
        At::Append | At::Index(_) => match object.list_mut(&step.name) {
            Some(list) => {
                // The same item twice says nothing new: a person who is both in PV1-7 and in a ROL.
                match known.find(list, &node, Sameness::of_list(&step.name)) {
                    Some(at) => merge_same(&mut list[at], &node, recorder),
                    None => list.push(node),
                }
                true
            }
            None => false,
        },
        At::Extension(url) => match (object.list_mut(&step.name), node) {
            (Some(list), Node::Object(mut extension)) => {
                extension.set("url", Node::Text(url));
                list.push(Node::Object(extension));
                true
            }
            _ => false,
        },
    }
}

/// What is put somewhere is written in the end, and once more where it has to be sent again.
fn count(node: &Node<'_>) {
    work::steps(2);
    if let Node::Text(text) = node {
        work::steps(text.len() / 4);
    }
}

/// An item that is there already takes over a display that it lacks.
fn merge_same<'a, R: Recorder>(known: &mut Node<'a>, new: &Node<'a>, recorder: &mut R) {
    let (Node::Object(known), Node::Object(new)) = (known, new) else { return };
    recorder.same(known, new);
    if let (None, Some(display)) = (known.get("display"), new.get("display")) {
        known.push("display", display.clone());
    }
}

/// The object that a step on the way names, made where it is missing.
fn child<'o, 'a>(object: &'o mut Object<'a>, step: &'a TargetStep) -> Option<&'o mut Object<'a>> {
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
        let mut item = Object::new(list.bump());
        if let At::Extension(url) = &step.at {
            item.push("url", Node::Text(url));
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
/// `mark` is that of the object which says so.
pub fn erase<'a>(object: &mut Object<'a>, target: &'a Target, reason: &'a str, mark: u32) {
    let Some((last, way)) = target.steps.split_last() else { return };
    let arena = object.arena();
    let mut marker = Object::new(arena);
    marker.data = true;
    marker.mark = mark;
    marker.push("extension", Node::list_of(absent_reason(reason, arena), arena));
    let marker = Node::Object(marker);
    let node = if last.at == At::Single { marker } else { Node::list_of(marker, arena) };
    let mut at = object;
    (at.data, at.pruned) = (true, false);
    for step in way {
        match child(at, step) {
            Some(next) => at = next,
            None => return,
        }
        (at.data, at.pruned) = (true, false);
    }
    at.set(&target.absence, node);
}

/// Takes the end off every period that ends before it starts (FHIR invariant per-1); how many there were.
pub fn drop_impossible_ends<R: Recorder>(object: &mut Object<'_>, recorder: &mut R) -> usize {
    let mut dropped = 0;
    if let (Some(start), Some(end)) = (object.text("start"), object.text("end"))
        && before(end, start)
    {
        recorder.removed(object, "end", "the period would end before it starts");
        object.remove("end");
        dropped += 1;
    }
    for node in object.values_mut() {
        match node {
            Node::Object(child) => dropped += drop_impossible_ends(child, recorder),
            Node::List(list) => {
                for child in list.iter_mut().filter_map(Node::as_object_mut) {
                    dropped += drop_impossible_ends(child, recorder);
                }
            }
            _ => {}
        }
    }
    dropped
}

/// Whether a FHIR dateTime is certainly before another: by the moment where both have one, else by what both say.
fn before(one: &str, other: &str) -> bool {
    match (one.parse::<jiff::Timestamp>(), other.parse::<jiff::Timestamp>()) {
        (Ok(one), Ok(other)) => one < other,
        _ => {
            let common = one.len().min(other.len()).min(10);
            one.get(..common) < other.get(..common)
        }
    }
}

/// The data-absent-reason extension with a code of its value set.
pub fn absent_reason<'a>(reason: &'a str, arena: &'a Arena) -> Node<'a> {
    let mut extension = Object::new(arena);
    extension.data = true;
    extension.push("url", Node::Text(DATA_ABSENT));
    extension.push("valueCode", Node::Text(reason));
    Node::Object(extension)
}

/// Whether the target is the code of a coding: a fixed code says something by itself.
pub fn states_code(target: &Target) -> bool {
    match target.steps.as_slice() {
        [.., parent, last] => &*last.name == "code" && &*parent.name == "coding",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::run::recorder::Warnings;

    fn step(name: &str, at: At) -> TargetStep {
        TargetStep { name: name.into(), at, choice: None }
    }

    #[test]
    fn one_form_of_a_choice_is_enough() {
        let form = |name: &str| [TargetStep { name: name.into(), at: At::Single, choice: Some("value".into()) }];
        let (quantity, text) = (form("valueQuantity"), form("valueString"));
        let arena = Arena::new();
        let mut object = Object::new(&arena);
        put(&mut object, &quantity, Node::Text("1"), DATA, &mut KnownItems::default(), &mut Warnings::default());
        assert!(is_set(&object, &text));
        assert!(!is_set(&Object::new(&arena), &text));
    }

    const DATA: ValueOrigin = ValueOrigin { data: true, stated: false };

    #[test]
    fn an_index_is_shared_by_all_rules_that_name_it() {
        let code = [step("type", At::Index(0)), step("code", At::Single)];
        let text = [step("type", At::Index(0)), step("text", At::Single)];
        let arena = Arena::new();
        let mut object = Object::new(&arena);
        assert!(put(&mut object, &code, Node::Text("a"), DATA, &mut KnownItems::default(), &mut Warnings::default()));
        assert!(is_set(&object, &code) && !is_set(&object, &text));
        assert!(put(&mut object, &text, Node::Text("b"), DATA, &mut KnownItems::default(), &mut Warnings::default()));
        assert_eq!(Node::Object(object).to_json(), r#"{"type":[{"code":"a","text":"b"}]}"#);
    }

    #[test]
    fn extensions_are_told_apart_by_their_url() {
        let at = |url: &str| [step("extension", At::Extension(url.into())), step("valueCode", At::Single)];
        let (one, two) = (at("u:1"), at("u:2"));
        let arena = Arena::new();
        let mut object = Object::new(&arena);
        put(&mut object, &one, Node::Text("a"), DATA, &mut KnownItems::default(), &mut Warnings::default());
        assert!(!is_set(&object, &two));
        put(&mut object, &two, Node::Text("b"), DATA, &mut KnownItems::default(), &mut Warnings::default());
        assert_eq!(object.get("extension").unwrap().as_list().len(), 2);
    }

    #[test]
    fn erasing_marks_a_primitive_beside_and_a_complex_element_in_its_place() {
        let primitive = Target {
            steps: smallvec::smallvec![step("period", At::Single), step("end", At::Single)],
            absence: "_end".into(),
            append: false,
            uri: false,
        };
        let list = Target {
            steps: smallvec::smallvec![step("name", At::Append)],
            absence: "name".into(),
            append: true,
            uri: false,
        };
        let arena = Arena::new();
        let mut object = Object::new(&arena);
        erase(&mut object, &primitive, "unknown", 0);
        erase(&mut object, &list, "unknown", 0);
        let json = Node::Object(object).to_json();
        assert!(json.starts_with(r#"{"period":{"_end":{"extension":[{"url":"http://hl7.org/fhir/"#), "{json}");
        assert!(json.contains(r#""name":[{"extension":[{"#), "{json}");
    }
}
