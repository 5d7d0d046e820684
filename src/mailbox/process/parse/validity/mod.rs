//! Whether a message is valid enough to be processed and to be handed on: elements, types, formats, required ones,
//! required bindings, what references may point at, and the invariants that matter here.
//!
//! Not checked: terminology beyond required bindings, and profiles. What passes and is stored can be read back by any R4
//! client. Elements that only erase (see [`crate::mailbox::process::merge`]) are exempt from what their content would have to be.

mod invariants;
mod primitive;

use std::fmt::Write as _;

use crate::fhir::r4::{self, Element, Type};
use crate::mailbox::json::{Node, Object};
use crate::mailbox::outcome::Issue;
use crate::mailbox::process::merge::erases;

/// Faults after which the search for more ends.
const ENOUGH: usize = 20;

/// Checks one resource at `place` (`Bundle.entry[1].resource`). `target` tells the type of the resource that a reference
/// of the message means.
pub fn check<'a>(resource: &'a Object<'a>, place: &'a str, target: &'a dyn Fn(&str) -> Option<String>) -> Vec<Issue> {
    let mut check = Check { issues: Vec::new(), place, steps: Vec::new(), target };
    let kind = resource.get("resourceType").and_then(Node::as_str).unwrap_or_default();
    match r4::of(kind) {
        Some(of) => {
            check.object(of, resource);
            check.resource(kind, resource);
        }
        None => check.unknown(kind),
    }
    check.issues
}

enum PathStep<'a> {
    Name(&'a str),
    Index(usize),
}

struct Check<'a> {
    issues: Vec<Issue>,
    place: &'a str,
    steps: Vec<PathStep<'a>>,
    target: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Check<'a> {
    fn fault(&mut self, code: &'static str, text: impl Into<String>) {
        if self.issues.len() < ENOUGH {
            let expression = self.expression();
            self.issues.push(Issue::error(code, text).at(expression));
        }
    }

    fn expression(&self) -> String {
        let mut out = self.place.to_owned();
        for step in &self.steps {
            // Writing to a String cannot fail.
            match step {
                PathStep::Name(name) => write!(out, ".{name}"),
                PathStep::Index(index) => write!(out, "[{index}]"),
            }
            .unwrap_or_default();
        }
        out
    }

    fn at(&mut self, step: PathStep<'a>, check: impl FnOnce(&mut Self)) {
        self.steps.push(step);
        check(self);
        self.steps.pop();
    }

    /// The members of an object whose elements `of` lists.
    fn object(&mut self, of: &'static Type, object: &'a Object<'a>) {
        if object.is_empty() {
            return self.fault("invariant", "an element has a value or children (ele-1)");
        }
        let mut choices: Vec<&'static str> = Vec::new();
        for (name, value) in object.iter().filter(|(name, _)| *name != "resourceType") {
            self.at(PathStep::Name(name), |check| check.member(of, name, value, &mut choices));
        }
        self.required(of, object);
    }

    fn member(&mut self, of: &'static Type, name: &'a str, value: &'a Node<'a>, choices: &mut Vec<&'static str>) {
        if let Some(base) = name.strip_prefix('_') {
            match of.element(base) {
                Some(element) if element.primitive() => self.companion(element, value),
                _ => self.fault("structure", format!("{} has no primitive element '{base}'", of.name)),
            }
            return;
        }
        let Some(element) = of.element(name) else {
            return self.fault("structure", format!("{} has no element '{name}'", of.name));
        };
        if element.choice {
            let base = choice(element);
            if choices.contains(&base) {
                self.fault("structure", format!("{base}[x] has one value, and two were sent"));
            }
            choices.push(base);
        }
        match value {
            Node::Array(_) if !element.list => self.fault("structure", "this is one element, and a list was sent"),
            Node::Array(items) if items.is_empty() => self.fault("invariant", "a list is not empty"),
            Node::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.at(PathStep::Index(index), |check| check.value(element, item));
                }
            }
            _ if element.list => self.fault("structure", "this is a list, and one element was sent"),
            value => self.value(element, value),
        }
    }

    fn value(&mut self, element: &'static Element, value: &'a Node<'a>) {
        if element.primitive() {
            // A null keeps the place of an item that has extensions only.
            if value.is_null() && element.list {
                return;
            }
            if let Some(expected) = primitive::fault(element.kind, value) {
                return self.fault("value", format!("this is no {}: {expected}", element.kind));
            }
            return self.code(element, value);
        }
        let Node::Object(object) = value else {
            return self.fault("structure", format!("this is a {}, and no object was sent", element.kind));
        };
        if erases(value) {
            return;
        }
        match element.kind {
            "Resource" => self.contained(object),
            "Reference" => {
                r4::of("Reference").into_iter().for_each(|of| self.object(of, object));
                self.reference(element, object);
            }
            _ => {
                if let Some(of) = r4::of(r4::members_of(element)) {
                    self.object(of, object);
                    self.datatype(of.name, object);
                }
            }
        }
    }

    fn code(&mut self, element: &Element, value: &Node<'_>) {
        let Some(mut allowed) = element.allowed() else { return };
        if value.as_str().is_some_and(|code| !allowed.any(|known| known == code)) {
            let known = element.codes.unwrap_or_default().replace('|', ", ");
            self.fault("code-invalid", format!("the code is not one of {known}"));
        }
    }

    fn contained(&mut self, object: &'a Object<'a>) {
        match object.get("resourceType").and_then(Node::as_str) {
            None => self.fault("required", "a resource says its resourceType"),
            Some(kind) => match r4::of(kind) {
                Some(of) => self.object(of, object),
                None => self.unknown(kind),
            },
        }
    }

    /// A resource of a type that the table has not may be one of those that the mailbox only carries along.
    fn unknown(&mut self, kind: &str) {
        if r4::is_primitive(kind) {
            self.fault("structure", format!("'{kind}' is no type of resource"));
        }
    }

    /// `_name`: the id and extensions of a primitive, item by item for a list.
    fn companion(&mut self, element: &Element, value: &'a Node<'a>) {
        match value {
            Node::Array(items) if element.list => {
                for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    self.at(PathStep::Index(index), |check| check.companion_of_one(item));
                }
            }
            value if !element.list => self.companion_of_one(value),
            _ => self.fault("structure", "the list of extensions of a list of primitives is a list"),
        }
    }

    fn companion_of_one(&mut self, value: &'a Node<'a>) {
        match value {
            Node::Object(object) if object.keys().all(|name| matches!(name, "id" | "extension")) => {
                self.object(r4::bare(), object);
            }
            _ => self.fault("structure", "this holds id and extensions of a primitive, and nothing else"),
        }
    }

    fn required(&mut self, of: &Type, object: &Object<'_>) {
        for element in &of.required {
            let present = |name: &str| object.contains_key(name) || object.contains_key(&format!("_{name}"));
            let given = if element.choice {
                let base = choice(element);
                of.required.iter().filter(|e| e.choice && choice(e) == base).any(|e| present(e.name()))
            } else {
                present(element.name())
            };
            if !given {
                let name = if element.choice { format!("{}[x]", choice(element)) } else { element.name().to_owned() };
                self.fault("required", format!("{}.{name} is missing", of.name));
            }
        }
    }

    fn reference(&mut self, element: &Element, object: &Object<'_>) {
        let Some(reference) = object.get("reference").and_then(Node::as_str) else { return };
        let (Some(targets), Some(kind)) = (element.targets, (self.target)(reference)) else { return };
        if !targets.split('|').any(|target| target == kind || target == "Resource") {
            self.fault("value", format!("this refers to {} and may refer to {}", kind, targets.replace('|', ", ")));
        }
    }
}

/// `deceased` of `deceasedBoolean`.
fn choice(element: &Element) -> &'static str {
    let name = element.name();
    name.get(..name.len().saturating_sub(element.kind.len())).unwrap_or(name)
}
