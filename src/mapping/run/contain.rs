//! Contained resources: practitioners and locations travel inside the resource that refers to them, one for each distinct
//! person or place (FHIR R4 references 2.3.0.5).
//!
//! Their ids mean something within one container only. Two containers that become one (a patient who stands in several
//! groups of a message) have counted alike, so what the second contains is taken in anew, and its references follow.

use super::recorder::Recorder;
use crate::fhir::node::concat;
use crate::fhir::{Arena, List, Node, Object};

/// What one resource contains so far, each with its id.
#[derive(Debug, Default)]
pub struct Contained<'a> {
    resources: Vec<(&'a str, Object<'a>)>,
}

impl<'a> Contained<'a> {
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// What a finished resource contains, taken out of it.
    fn of(container: &mut Object<'a>) -> Self {
        let Some(Node::List(list)) = container.remove("contained") else { return Self::default() };
        let resources = list.into_iter().filter_map(|node| match node {
            Node::Object(mut resource) => match resource.remove("id") {
                Some(Node::Text(id)) => Some((id, resource)),
                _ => None,
            },
            _ => None,
        });
        Self { resources: resources.collect() }
    }

    /// Takes a resource in, and gives the reference to it.
    pub fn refer<R: Recorder>(&mut self, resource: Object<'a>, recorder: &mut R) -> Node<'a> {
        let arena = resource.arena();
        let at = self.take_in(resource, recorder);
        let mut reference = Object::new(arena);
        reference.data = true;
        reference.push("reference", Node::Text(self.reference(at, arena)));
        Node::Object(reference)
    }

    /// Takes a resource in, unless it is there already; where it stands.
    ///
    /// The same identifier means the same person, though one field may have the name and another only the number: what
    /// the first lacks is then added to it. Without an identifier only equal content is the same.
    fn take_in<R: Recorder>(&mut self, resource: Object<'a>, recorder: &mut R) -> usize {
        let known = {
            let is_same = same(&resource);
            self.resources.iter().position(|(_, known)| is_same(known))
        };
        match known {
            Some(at) => {
                recorder.same(&mut self.resources[at].1, &resource);
                merge(&mut self.resources[at].1, resource);
                at
            }
            None => {
                self.resources.push((self.id(&resource), resource));
                self.resources.len() - 1
            }
        }
    }

    fn reference(&self, at: usize, arena: &'a Arena) -> &'a str {
        concat(&["#", self.resources[at].0], arena)
    }

    /// Takes in what another container of the same resource contains, and lets the references in that one follow.
    fn take_over<R: Recorder>(&mut self, other: &mut Object<'a>, recorder: &mut R) {
        let arena = other.arena();
        let mut moved: Vec<(String, &'a str)> = Vec::new();
        for (id, mut resource) in Self::of(other).resources {
            // A resource comes behind those which it refers to.
            follow(&mut resource, &moved, recorder);
            let at = self.take_in(resource, recorder);
            moved.push((format!("#{id}"), self.reference(at, arena)));
        }
        moved.retain(|(from, to)| from != to);
        follow(other, &moved, recorder);
    }

    /// Lets go of what nothing refers to (FHIR R4 domainresource, dom-3).
    fn drop_unreferred(&mut self, container: &Object<'a>) {
        loop {
            let mut referred = Vec::new();
            references(container, &mut referred);
            self.resources.iter().for_each(|(_, resource)| references(resource, &mut referred));
            let before = self.resources.len();
            self.resources.retain(|(id, _)| referred.iter().any(|r| r.strip_prefix('#') == Some(*id)));
            if self.resources.len() == before {
                return;
            }
        }
    }

    /// `practitioner-1`, `practitioner-2`, `location-1` ... What was let go of has left gaps, so the next number is that
    /// behind the last one, not how many there are.
    fn id(&self, resource: &Object<'a>) -> &'a str {
        let resource_type = resource.text("resourceType").unwrap_or_default();
        let number = |known: &str| known.get(resource_type.len() + 1..)?.parse::<usize>().ok();
        let same_kind = self.resources.iter().filter(|(_, known)| known.text("resourceType") == Some(resource_type));
        let last = same_kind.filter_map(|(known, _)| number(known)).max().unwrap_or(0);
        concat(&[&resource_type.to_ascii_lowercase(), "-", &(last + 1).to_string()], resource.arena())
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
        let list = List::from_iter_in(list, container.arena());
        container.push("contained", Node::List(list));
    }
}

/// Makes one of two resources that are the same: `other` adds what `target` lacks, and items to its lists.
pub fn unite<'a, R: Recorder>(target: &mut Object<'a>, mut other: Object<'a>, recorder: &mut R) {
    let mut contained = Contained::of(target);
    contained.take_over(&mut other, recorder);
    recorder.same(target, &other);
    add(target, other, |_| true);
    contained.drop_unreferred(target);
    contained.attach(target);
}

/// Writes new references in the place of those that have moved.
fn follow<'a, R: Recorder>(object: &mut Object<'a>, moved: &[(String, &'a str)], recorder: &mut R) {
    if moved.is_empty() {
        return;
    }
    let new = object.text("reference").and_then(|old| moved.iter().find(|(from, _)| from == old));
    if let Some((_, to)) = new {
        object.set("reference", Node::Text(to));
        recorder.rewritten(object, "reference");
    }
    for node in object.values_mut() {
        match node {
            Node::Object(child) => follow(child, moved, recorder),
            Node::List(list) => {
                list.iter_mut().filter_map(Node::as_object_mut).for_each(|child| follow(child, moved, recorder));
            }
            _ => {}
        }
    }
}

fn references<'a>(object: &Object<'a>, found: &mut Vec<&'a str>) {
    found.extend(object.text("reference"));
    for (_, node) in object.members() {
        match node {
            Node::Object(child) => references(child, found),
            Node::List(list) => list.iter().filter_map(Node::as_object).for_each(|child| references(child, found)),
            _ => {}
        }
    }
}

/// Adds what `first` lacks: elements, and items of lists (a name in another script). Its identifiers stay as they are;
/// they are why the two are the same.
fn merge<'a>(first: &mut Object<'a>, other: Object<'a>) {
    add(first, other, |name| name != "identifier");
}

fn add<'a>(first: &mut Object<'a>, other: Object<'a>, grows: impl Fn(&str) -> bool) {
    for (name, node) in other.into_members() {
        match (first.get_mut(name), node) {
            (None, node) => first.push(name, node),
            (Some(Node::List(known)), Node::List(more)) if grows(name) => {
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

/// Whether another contained resource is the same person, organization or place as this one.
fn same<'o, 'a>(one: &'o Object<'a>) -> impl Fn(&Object<'a>) -> bool + use<'o, 'a> {
    let kind = one.text("resourceType");
    let own = matches!(kind, Some("Practitioner" | "Organization")).then(|| number(one)).flatten();
    move |other| {
        kind == other.text("resourceType")
            && match (own, own.and_then(|_| number(other))) {
                (Some(own), Some(number)) => own == number,
                _ => one == other,
            }
    }
}

/// System and value of the first identifier.
fn number<'a>(resource: &Object<'a>) -> Option<(Option<&'a str>, &'a str)> {
    let identifier = resource.get("identifier")?.as_list().first()?.as_object()?;
    Some((identifier.text("system"), identifier.text("value")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::run::recorder::Warnings;

    fn arena() -> &'static Arena {
        Box::leak(Box::default())
    }

    fn practitioner(number: &'static str, family: &'static str) -> Object<'static> {
        let mut identifier = Object::new(arena());
        identifier.push("value", Node::Text(number));
        let mut name = Object::new(arena());
        name.push("family", Node::Text(family));
        let mut resource = Object::resource("Practitioner", arena());
        resource.push("identifier", Node::list_of(Node::Object(identifier), arena()));
        resource.push("name", Node::list_of(Node::Object(name), arena()));
        resource
    }

    fn patient(doctors: Vec<Object<'static>>) -> Object<'static> {
        let (mut contained, mut recorder) = (Contained::default(), Warnings::default());
        let list = doctors.into_iter().map(|doctor| contained.refer(doctor, &mut recorder));
        let list = List::from_iter_in(list, arena());
        let mut patient = Object::resource("Patient", arena());
        patient.push("generalPractitioner", Node::List(list));
        contained.attach(&mut patient);
        patient
    }

    /// The families of those referred to, in the order of the references, and how many are contained.
    fn doctors(patient: &Object<'_>) -> (Vec<String>, usize) {
        let contained = patient.get("contained").map(Node::as_list).unwrap_or_default();
        let family = |reference: &Node<'_>| {
            let id = reference.as_object()?.text("reference")?.strip_prefix('#')?;
            let mut hits = contained.iter().filter_map(Node::as_object).filter(|c| c.text("id") == Some(id));
            let (hit, none) = (hits.next()?, hits.next());
            assert!(none.is_none(), "two have the id {id}");
            Some(hit.get("name")?.as_list()[0].as_object()?.text("family")?.to_owned())
        };
        let references = patient.get("generalPractitioner").unwrap().as_list();
        (references.iter().map(|r| family(r).unwrap()).collect(), contained.len())
    }

    #[test]
    fn different_persons_under_one_id_are_renumbered_and_their_references_follow() {
        let mut one = patient(vec![practitioner("1", "Haugen")]);
        unite(&mut one, patient(vec![practitioner("2", "Lund")]), &mut Warnings::default());
        assert_eq!(doctors(&one), (vec!["Haugen".into(), "Lund".into()], 2));
    }

    #[test]
    fn the_same_person_under_another_id_is_contained_once() {
        let mut one = patient(vec![practitioner("1", "Haugen"), practitioner("2", "Lund")]);
        let other = patient(vec![practitioner("2", "Lund"), practitioner("3", "Vik"), practitioner("1", "Haugen")]);
        unite(&mut one, other, &mut Warnings::default());
        assert_eq!(doctors(&one), (vec!["Haugen".into(), "Lund".into(), "Vik".into()], 3));
    }

    #[test]
    fn a_place_within_a_place_keeps_the_one_it_stands_in() {
        let bed = |ward: &'static str| {
            let (mut contained, mut recorder) = (Contained::default(), Warnings::default());
            let mut outer = Object::resource("Location", arena());
            outer.push("name", Node::Text(ward));
            let mut inner = Object::resource("Location", arena());
            inner.push("name", Node::Text("1"));
            let reference = contained.refer(outer, &mut recorder);
            inner.push("partOf", reference);
            let reference = contained.refer(inner, &mut recorder);
            let mut visit = Object::resource("Encounter", arena());
            visit.push("location", Node::list_of(reference, arena()));
            contained.attach(&mut visit);
            visit
        };
        let mut one = bed("North");
        unite(&mut one, bed("South"), &mut Warnings::default());
        let json = Node::Object(one).to_json();
        for expected in [
            r##"{"resourceType":"Location","id":"location-2","name":"1","partOf":{"reference":"#location-1"}}"##,
            r##"{"resourceType":"Location","id":"location-3","name":"South"}"##,
            r##"{"resourceType":"Location","id":"location-4","name":"1","partOf":{"reference":"#location-3"}}"##,
            r##""location":[{"reference":"#location-2"},{"reference":"#location-4"}]"##,
        ] {
            assert!(json.contains(expected), "{expected}\n{json}");
        }
    }

    #[test]
    fn what_nothing_refers_to_any_longer_is_not_contained() {
        let managed = |number| {
            let (mut contained, mut recorder) = (Contained::default(), Warnings::default());
            let reference = contained.refer(practitioner(number, "Org"), &mut recorder);
            let mut patient = Object::resource("Patient", arena());
            patient.push("managingOrganization", reference);
            contained.attach(&mut patient);
            patient
        };
        let mut one = managed("1");
        unite(&mut one, managed("2"), &mut Warnings::default());
        assert_eq!(one.get("contained").unwrap().as_list().len(), 1);
    }

    #[test]
    fn a_number_that_was_let_go_of_makes_no_clash() {
        let managed = |manager, doctor| {
            let (mut contained, mut recorder) = (Contained::default(), Warnings::default());
            let manager = contained.refer(practitioner(manager, "Org"), &mut recorder);
            let doctor = contained.refer(practitioner(doctor, "Vik"), &mut recorder);
            let mut patient = Object::resource("Patient", arena());
            patient.push("managingOrganization", manager);
            patient.push("generalPractitioner", Node::list_of(doctor, arena()));
            contained.attach(&mut patient);
            patient
        };
        let mut one = managed("1", "2");
        unite(&mut one, managed("3", "4"), &mut Warnings::default());
        unite(&mut one, managed("5", "6"), &mut Warnings::default());
        let contained = one.get("contained").unwrap().as_list();
        let mut ids: Vec<_> = contained.iter().filter_map(|node| node.as_object()?.text("id")).collect();
        ids.dedup();
        assert_eq!(ids.len(), 4, "{ids:?}");
    }
}
