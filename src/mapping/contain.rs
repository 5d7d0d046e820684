//! Contained resources: practitioners and locations travel inside the resource that refers to them, one for each distinct
//! person or place (FHIR R4 references 2.3.0.5).

use rustc_hash::FxHashMap;

use super::record::Recorder;
use crate::fhir::{Node, Object};

/// What one resource contains so far.
#[derive(Debug, Default)]
pub(super) struct Contained<'a> {
    resources: Vec<Object<'a>>,
    ids: FxHashMap<String, usize>,
}

impl<'a> Contained<'a> {
    /// Takes a resource in, unless it is there already, and gives the reference to it.
    ///
    /// The same identifier means the same person, though one field may have the name and another only the number: what
    /// the first lacks is then added to it. Without an identifier only equal content is the same.
    pub fn refer<R: Recorder>(&mut self, resource: Object<'a>, recorder: &mut R) -> Node<'a> {
        let key = identity(&resource);
        let at = match self.ids.get(&key) {
            Some(&at) => {
                recorder.same(&mut self.resources[at], &resource);
                merge(&mut self.resources[at], resource);
                at
            }
            None => {
                self.resources.push(resource);
                self.ids.insert(key, self.resources.len() - 1);
                self.resources.len() - 1
            }
        };
        let mut reference = Object::new();
        reference.data = true;
        reference.push("reference", Node::text(format!("#{}", self.id(at))));
        Node::Object(reference)
    }

    fn id(&self, at: usize) -> String {
        let resource_type = self.resources[at].text("resourceType").unwrap_or_default();
        let number = self.resources[..=at].iter().filter(|r| r.text("resourceType") == Some(resource_type)).count();
        format!("{}-{number}", resource_type.to_lowercase())
    }

    /// Puts what is contained into its container.
    pub fn attach(self, container: &mut Object<'a>) {
        if self.resources.is_empty() {
            return;
        }
        let ids: Vec<_> = (0..self.resources.len()).map(|at| self.id(at)).collect();
        let list = self.resources.into_iter().zip(ids).map(|(mut resource, id)| {
            resource.identify(id);
            Node::Object(resource)
        });
        container.push("contained", Node::List(list.collect()));
    }
}

/// Adds what `first` lacks.
fn merge<'a>(first: &mut Object<'a>, other: Object<'a>) {
    for (name, node) in other.into_members() {
        if first.get(&name).is_none() {
            first.push(name, node);
        }
    }
}

/// The text by which two contained resources are the same.
fn identity(resource: &Object<'_>) -> String {
    let resource_type = resource.text("resourceType").unwrap_or_default();
    let person = matches!(resource_type, "Practitioner" | "Organization");
    let identifier = resource.get("identifier").and_then(|list| list.as_list().first()).and_then(Node::as_object);
    match identifier.map(|i| (i.text("system"), i.text("value"))) {
        Some((system, Some(value))) if person => {
            format!("{resource_type}|{}|{value}", system.unwrap_or_default())
        }
        _ => Node::Object(resource.clone()).to_json(),
    }
}
