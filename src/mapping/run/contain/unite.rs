//! One resource of several that are the same: a patient who stands in several groups of a message.
//!
//! The ids of what they contain mean something within one container only, and the containers have counted alike. So what the
//! others contain is taken in anew, and their references follow.

use std::collections::{HashMap, HashSet};

use super::{Addition, Contained, LongLists};
use crate::fhir::{Node, Object};
use crate::mapping::run::recorder::Recorder;
use crate::work;

/// Adds to `target` what it lacks and the others have, and the items of their lists.
pub fn unite<'a, R: Recorder>(target: &mut Object<'a>, others: impl IntoIterator<Item = Object<'a>>, recorder: &mut R) {
    let mut united = United::of(target);
    for other in others {
        if work::is_spent() {
            return;
        }
        united.add(target, other, recorder);
    }
    united.contained.attach(target);
}

/// A resource that takes others in, and what is known of it for that.
struct United<'a> {
    contained: Contained<'a>,
    referred: References<'a>,
    lists: LongLists<'a>,
    /// So many of those contained are referred to, and so they stay.
    settled: usize,
}

impl<'a> United<'a> {
    fn of(target: &mut Object<'a>) -> Self {
        let contained = Contained::of(target);
        let mut referred = References::default();
        referred.add_all(target);
        contained.resources.iter().for_each(|resource| referred.add_all(&resource.object));
        Self { contained, referred, lists: LongLists::default(), settled: 0 }
    }

    fn add<R: Recorder>(&mut self, target: &mut Object<'a>, mut other: Object<'a>, recorder: &mut R) {
        self.take_over(&mut other, recorder);
        recorder.one(target, &other);
        let mut addition = Addition { grows: |_| true, lists: &mut self.lists, serial: 0 };
        addition.add(target, other, recorder, &mut |node| self.referred.add(node));
        self.drop_unreferred();
    }

    /// Takes in what another container of the same resource contains, and lets the references in that one follow.
    fn take_over<R: Recorder>(&mut self, other: &mut Object<'a>, recorder: &mut R) {
        let arena = other.arena();
        let mut moved: HashMap<&'a str, &'a str> = HashMap::new();
        for mut resource in Contained::of(other).resources {
            // A resource comes behind those which it refers to.
            follow(&mut resource.object, &moved, recorder);
            let at = self.contained.take_in(resource.object, recorder, &mut |node| self.referred.add(node));
            if self.contained.resources[at].id != resource.id {
                moved.insert(resource.id, self.contained.reference(at, arena));
            }
        }
        follow(other, &moved, recorder);
    }

    /// Lets go of what nothing refers to (FHIR R4 domainresource, dom-3).
    fn drop_unreferred(&mut self) {
        loop {
            let new = &self.contained.resources[self.settled..];
            work::steps(new.len() + 1);
            let unreferred = new.iter().filter(|resource| !self.referred.holds(resource.id));
            let gone: Vec<&Object<'a>> = unreferred.clone().map(|resource| &resource.object).collect();
            let ids: HashSet<&'a str> = unreferred.map(|resource| resource.id).collect();
            if gone.is_empty() {
                break;
            }
            gone.into_iter().for_each(|resource| self.referred.take_all(resource));
            self.contained.retain_from(self.settled, |id| !ids.contains(id));
        }
        self.settled = self.contained.resources.len();
    }
}

/// How often each contained resource is referred to.
#[derive(Default)]
struct References<'a> {
    counts: HashMap<&'a str, usize>,
}

impl<'a> References<'a> {
    fn holds(&self, id: &str) -> bool {
        self.counts.get(id).is_some_and(|count| *count > 0)
    }

    fn add(&mut self, node: &Node<'a>) {
        match node {
            Node::Object(object) => self.add_all(object),
            Node::List(list) => list.iter().for_each(|node| self.add(node)),
            _ => {}
        }
    }

    fn add_all(&mut self, object: &Object<'a>) {
        references(object, &mut |id| *self.counts.entry(id).or_default() += 1);
    }

    fn take_all(&mut self, object: &Object<'a>) {
        references(object, &mut |id| *self.counts.entry(id).or_default() -= 1);
    }
}

/// Tells of each reference to something contained, by its id.
fn references<'a>(object: &Object<'a>, found: &mut impl FnMut(&'a str)) {
    work::steps(1);
    if let Some(id) = object.text("reference").and_then(|reference| reference.strip_prefix('#')) {
        found(id);
    }
    for (_, node) in object.members() {
        match node {
            Node::Object(child) => references(child, found),
            Node::List(list) => list.iter().filter_map(Node::as_object).for_each(|child| references(child, found)),
            _ => {}
        }
    }
}

/// Writes new references in the place of those that have moved.
fn follow<'a, R: Recorder>(object: &mut Object<'a>, moved: &HashMap<&'a str, &'a str>, recorder: &mut R) {
    if moved.is_empty() {
        return;
    }
    work::steps(1);
    let old = object.text("reference").and_then(|reference| reference.strip_prefix('#'));
    if let Some(to) = old.and_then(|id| moved.get(id)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::{Arena, List};
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
        unite(&mut one, [patient(vec![practitioner("2", "Lund")])], &mut Warnings::default());
        assert_eq!(doctors(&one), (vec!["Haugen".into(), "Lund".into()], 2));
    }

    #[test]
    fn the_same_person_under_another_id_is_contained_once() {
        let mut one = patient(vec![practitioner("1", "Haugen"), practitioner("2", "Lund")]);
        let other = patient(vec![practitioner("2", "Lund"), practitioner("3", "Vik"), practitioner("1", "Haugen")]);
        unite(&mut one, [other], &mut Warnings::default());
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
        unite(&mut one, [bed("South")], &mut Warnings::default());
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
        unite(&mut one, [managed("2")], &mut Warnings::default());
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
        unite(&mut one, [managed("3", "4")], &mut Warnings::default());
        unite(&mut one, [managed("5", "6")], &mut Warnings::default());
        let contained = one.get("contained").unwrap().as_list();
        let mut ids: Vec<_> = contained.iter().filter_map(|node| node.as_object()?.text("id")).collect();
        ids.dedup();
        assert_eq!(ids.len(), 4, "{ids:?}");
    }
}
