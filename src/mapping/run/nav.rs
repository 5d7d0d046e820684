//! The NAV profile (Norway, FHIR messaging between EHRs and NAV): what a MessageHeader and references may not carry there.

use crate::fhir::{Node, Object};

/// Takes off a resource what the profile does not allow: every reference is `reference` only; the header has no meta,
/// nothing contained and nobody who would be, no extensions, source and destination hold an endpoint and nothing else,
/// and the event has no display.
pub fn strip(resource: &mut Object<'_>) {
    bare_references(resource);
    if resource.text("resourceType") != Some("MessageHeader") {
        return;
    }
    for name in ["meta", "contained", "sender", "responsible", "enterer", "author"] {
        resource.remove(name);
    }
    without_extensions(resource);
    for name in ["source", "destination"] {
        match resource.get_mut(name) {
            Some(Node::Object(endpoint)) => only(endpoint, "endpoint"),
            Some(Node::List(list)) => {
                list.iter_mut().filter_map(Node::as_object_mut).for_each(|endpoint| only(endpoint, "endpoint"));
            }
            _ => {}
        }
    }
    if let Some(event) = resource.get_mut("eventCoding").and_then(Node::as_object_mut) {
        event.remove("display");
    }
}

fn only(object: &mut Object<'_>, name: &str) {
    let others: Vec<String> = object.members().map(|(n, _)| n.to_owned()).filter(|n| n != name).collect();
    for other in others {
        object.remove(&other);
    }
}

fn without_extensions(object: &mut Object<'_>) {
    let names: Vec<String> =
        object.members().map(|(n, _)| n.to_owned()).filter(|n| n == "extension" || n.starts_with('_')).collect();
    for name in names {
        object.remove(&name);
    }
    children(object, without_extensions);
}

fn bare_references(object: &mut Object<'_>) {
    if object.get("reference").is_some() {
        only(object, "reference");
    }
    children(object, bare_references);
}

fn children(object: &mut Object<'_>, visit: fn(&mut Object<'_>)) {
    for node in object.values_mut() {
        match node {
            Node::Object(child) => visit(child),
            Node::List(list) => list.iter_mut().filter_map(Node::as_object_mut).for_each(visit),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::Arena;

    #[test]
    fn a_header_keeps_endpoints_and_bare_references_only() {
        let arena = &Arena::new();
        let mut reference = Object::new(arena);
        reference.push("reference", Node::Text("urn:uuid:1"));
        reference.push("display", Node::Text("x"));
        let mut source = Object::new(arena);
        source.push("name", Node::Text("APP"));
        source.push("endpoint", Node::Text("urn:oid:1"));
        let mut header = Object::resource("MessageHeader", arena);
        header.push("meta", Node::Object(Object::new(arena)));
        header.push("source", Node::Object(source));
        header.push("focus", Node::list_of(Node::Object(reference), arena));
        header.push("_definition", Node::Object(Object::new(arena)));
        strip(&mut header);
        assert_eq!(
            Node::Object(header).to_json(),
            r#"{"resourceType":"MessageHeader","source":{"endpoint":"urn:oid:1"},"focus":[{"reference":"urn:uuid:1"}]}"#
        );
    }
}
