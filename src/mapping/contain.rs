//! Contained resources: practitioners and locations travel inside the resource that refers to them, one for each distinct
//! person or place (FHIR R4 references 2.3.0.5).

use super::record::Recorder;
use crate::fhir::{Node, Object};

/// What one resource contains so far, each with its id.
#[derive(Debug, Default)]
pub(super) struct Contained<'a> {
    resources: Vec<(String, Object<'a>)>,
}

impl<'a> Contained<'a> {
    /// Takes a resource in, unless it is there already, and gives the reference to it.
    ///
    /// The same identifier means the same person, though one field may have the name and another only the number: what
    /// the first lacks is then added to it. Without an identifier only equal content is the same.
    pub fn refer<R: Recorder>(&mut self, resource: Object<'a>, recorder: &mut R) -> Node<'a> {
        let known = self.resources.iter().position(|(_, known)| same(known, &resource));
        let at = known.unwrap_or(self.resources.len());
        match known {
            Some(at) => {
                recorder.same(&mut self.resources[at].1, &resource);
                merge(&mut self.resources[at].1, resource);
            }
            None => self.resources.push((self.id(&resource), resource)),
        }
        let mut reference = Object::new();
        reference.data = true;
        reference.push("reference", Node::text(format!("#{}", self.resources[at].0)));
        Node::Object(reference)
    }

    /// `practitioner-1`, `practitioner-2`, `location-1` ...
    fn id(&self, resource: &Object<'a>) -> String {
        let kind = resource.text("resourceType").unwrap_or_default();
        let before = self.resources.iter().filter(|(_, known)| known.text("resourceType") == Some(kind)).count();
        format!("{}-{}", kind.to_lowercase(), before + 1)
    }

    /// Puts what is contained into its container.
    pub fn attach(self, container: &mut Object<'a>) {
        if self.resources.is_empty() {
            return;
        }
        let list = self.resources.into_iter().map(|(id, mut resource)| {
            resource.identify(id);
            Node::Object(resource)
        });
        container.push("contained", Node::List(list.collect()));
    }
}

/// Adds what `first` lacks: elements, and items of lists (a name in another script). Its identifiers stay as they are;
/// they are why the two are the same.
fn merge<'a>(first: &mut Object<'a>, other: Object<'a>) {
    for (name, node) in other.into_members() {
        match (first.get_mut(&name), node) {
            (None, node) => first.push(name, node),
            (Some(Node::List(known)), Node::List(more)) if name != "identifier" => {
                for item in more {
                    if !known.contains(&item) {
                        known.push(item);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether two contained resources are the same person, organization or place.
fn same(one: &Object<'_>, other: &Object<'_>) -> bool {
    let kind = one.text("resourceType");
    if kind != other.text("resourceType") {
        return false;
    }
    let named = matches!(kind, Some("Practitioner" | "Organization"));
    match (number(one), number(other)) {
        (Some(one), Some(other)) if named => one == other,
        _ => one == other,
    }
}

/// System and value of the first identifier.
fn number<'o>(resource: &'o Object<'_>) -> Option<(Option<&'o str>, &'o str)> {
    let identifier = resource.get("identifier")?.as_list().first()?.as_object()?;
    Some((identifier.text("system"), identifier.text("value")?))
}
