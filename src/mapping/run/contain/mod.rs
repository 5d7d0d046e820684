//! Contained resources: practitioners and locations travel inside the resource that refers to them, one for each distinct
//! person or place (FHIR R4 references 2.3.0.5).
//!
//! A field may repeat a person tens of thousands of times, so that among more than a few the same one is found by a hash of
//! what makes it the same. [`unite`] makes one of two resources that contain some.

pub mod unite;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::recorder::Recorder;
use crate::fhir::known::{FEW, KnownItems, Places, Sameness};
use crate::fhir::node::concat;
use crate::fhir::{Arena, List, Node, Object};
use crate::work;

/// What one resource contains so far.
#[derive(Debug, Default)]
pub struct Contained<'a> {
    resources: Vec<ContainedResource<'a>>,
    /// The numbers in the ids of each resource type, rising.
    numbers: Vec<(&'a str, Vec<usize>)>,
    /// How many there have been, with those that were let go of.
    taken: usize,
    index: Option<Box<SameIndex>>,
    lists: LongLists<'a>,
}

#[derive(Debug)]
struct ContainedResource<'a> {
    id: &'a str,
    /// No other has it, whatever is let go of.
    serial: usize,
    object: Object<'a>,
}

/// Finds the same resource among many.
#[derive(Debug, Default)]
struct SameIndex {
    /// As many of the resources are in it.
    indexed: usize,
    by_hash: HashMap<u64, Places>,
    secret: RandomState,
}

/// Indices of lists that were added to, by a number of the resource and the list's name.
type LongLists<'a> = HashMap<(usize, &'a str), KnownItems>;

impl<'a> Contained<'a> {
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// What a finished resource contains, taken out of it.
    fn of(container: &mut Object<'a>) -> Self {
        let mut contained = Self::default();
        let Some(Node::List(list)) = container.remove("contained") else { return contained };
        for node in list {
            if let Node::Object(mut resource) = node
                && let Some(Node::Text(id)) = resource.remove("id")
            {
                let serial = contained.next_serial();
                contained.keep(ContainedResource { id, serial, object: resource });
            }
        }
        contained
    }

    /// Takes a resource in, and gives the reference to it.
    pub fn refer<R: Recorder>(&mut self, resource: Object<'a>, recorder: &mut R) -> Node<'a> {
        let arena = resource.arena();
        let at = self.take_in(resource, recorder, &mut |_| {});
        let mut reference = Object::new(arena);
        reference.data = true;
        reference.push("reference", Node::Text(self.reference(at, arena)));
        Node::Object(reference)
    }

    /// Takes a resource in, unless it is there already; where it stands. `added` hears of all that is new.
    ///
    /// The same identifier means the same person, though one field may have the name and another only the number: what
    /// the first lacks is then added to it. Without an identifier only equal content is the same.
    fn take_in<R: Recorder>(
        &mut self,
        resource: Object<'a>,
        recorder: &mut R,
        added: &mut impl FnMut(&Node<'a>),
    ) -> usize {
        if let Some(at) = self.find(&resource) {
            let ContainedResource { serial, object, .. } = &mut self.resources[at];
            recorder.one(object, &resource);
            // Its identifiers stay as they are; they are why the two are the same.
            let mut addition = Addition { grows: |name| name != "identifier", lists: &mut self.lists, serial: *serial };
            addition.add(object, resource, recorder, added);
            return at;
        }
        let (id, serial) = (self.next_id(&resource), self.next_serial());
        let node = Node::Object(resource);
        added(&node);
        if let Node::Object(object) = node {
            self.keep(ContainedResource { id, serial, object });
        }
        self.resources.len() - 1
    }

    fn find(&mut self, resource: &Object<'a>) -> Option<usize> {
        work::steps(1);
        let same = |known: &ContainedResource<'a>| same(resource, &known.object);
        if self.resources.len() <= FEW {
            return self.resources.iter().position(same);
        }
        let SameIndex { indexed, by_hash, secret } = &mut **self.index.get_or_insert_default();
        for (at, known) in self.resources.iter().enumerate().skip(*indexed) {
            by_hash.entry(secret.hash_one(Identity::of(&known.object))).or_default().push(at);
        }
        *indexed = self.resources.len();
        let alike = by_hash.get(&secret.hash_one(Identity::of(resource)))?;
        alike.iter().copied().find(|&at| same(&self.resources[at]))
    }

    fn reference(&self, at: usize, arena: &'a Arena) -> &'a str {
        concat(&["#", self.resources[at].id], arena)
    }

    fn keep(&mut self, resource: ContainedResource<'a>) {
        work::steps(1);
        let kind = resource.kind();
        let number = resource.id.get(kind.len() + 1..).and_then(|number| number.parse().ok()).unwrap_or(0);
        self.numbers_of(kind).push(number);
        self.resources.push(resource);
    }

    fn numbers_of(&mut self, kind: &'a str) -> &mut Vec<usize> {
        let known = self.numbers.iter().position(|(known, _)| *known == kind);
        let at = known.unwrap_or_else(|| {
            self.numbers.push((kind, Vec::new()));
            self.numbers.len() - 1
        });
        &mut self.numbers[at].1
    }

    /// `practitioner-1`, `practitioner-2`, `location-1` ... What was let go of has left gaps, so the next number is that
    /// behind the last one, not how many there are.
    fn next_id(&mut self, resource: &Object<'a>) -> &'a str {
        let kind = resource.text("resourceType").unwrap_or_default();
        let last = self.numbers_of(kind).last().copied().unwrap_or(0);
        concat(&[&kind.to_ascii_lowercase(), "-", &(last + 1).to_string()], resource.arena())
    }

    fn next_serial(&mut self) -> usize {
        self.taken += 1;
        self.taken
    }

    /// Lets go of some of those that stand from `first` on.
    fn retain_from(&mut self, first: usize, stays: impl Fn(&str) -> bool) {
        let behind = self.resources.split_off(first);
        for (at, resource) in (first..).zip(&behind) {
            work::steps(1);
            self.numbers_of(resource.kind()).pop();
            if let Some(SameIndex { indexed, by_hash, secret }) = self.index.as_deref_mut()
                && at < *indexed
                && let Some(places) = by_hash.get_mut(&secret.hash_one(Identity::of(&resource.object)))
            {
                places.retain(|place| *place < first);
            }
        }
        if let Some(index) = &mut self.index {
            index.indexed = index.indexed.min(first);
        }
        behind.into_iter().filter(|resource| stays(resource.id)).for_each(|resource| self.keep(resource));
    }

    /// Puts what is contained into its container.
    pub fn attach(self, container: &mut Object<'a>) {
        if self.resources.is_empty() {
            return;
        }
        let list = self.resources.into_iter().map(|ContainedResource { id, mut object, .. }| {
            object.identify(id);
            Node::Object(object)
        });
        let list = List::from_iter_in(list, container.arena());
        container.push("contained", Node::List(list));
    }
}

impl<'a> ContainedResource<'a> {
    fn kind(&self) -> &'a str {
        self.object.text("resourceType").unwrap_or_default()
    }
}

/// What of another object is added to one that is the same.
struct Addition<'l, 'a> {
    /// The lists that take new items.
    grows: fn(&str) -> bool,
    lists: &'l mut LongLists<'a>,
    /// Of the object, in `lists`.
    serial: usize,
}

impl<'a> Addition<'_, 'a> {
    /// Adds what `first` lacks: elements, and items of lists.
    fn add<R: Recorder>(
        &mut self,
        first: &mut Object<'a>,
        other: Object<'a>,
        recorder: &mut R,
        added: &mut impl FnMut(&Node<'a>),
    ) {
        for (name, node) in other.into_members() {
            work::steps(1);
            match (first.get_mut(name), node) {
                (None, node) => {
                    added(&node);
                    first.push(name, node);
                }
                (Some(Node::List(known)), Node::List(more)) => self.items(name, known, more, recorder, added),
                (Some(Node::Object(known)), Node::Object(other)) => recorder.same(known, &other),
                _ => {}
            }
        }
    }

    fn items<R: Recorder>(
        &mut self,
        name: &'a str,
        known: &mut List<'a>,
        more: List<'a>,
        recorder: &mut R,
        added: &mut impl FnMut(&Node<'a>),
    ) {
        let grows = (self.grows)(name);
        if !grows && R::BRIEF {
            return;
        }
        let mut alone = KnownItems::default();
        let index = if known.len() > FEW { self.lists.entry((self.serial, name)).or_default() } else { &mut alone };
        for item in more {
            match (index.find(known, &item, Sameness::Content), item) {
                (Some(at), Node::Object(other)) => {
                    if let Node::Object(known) = &mut known[at] {
                        recorder.same(known, &other);
                    }
                }
                (None, item) if grows => {
                    added(&item);
                    known.push(item);
                }
                _ => {}
            }
        }
    }
}

/// What makes a contained resource the same as another.
#[derive(Debug, Hash)]
enum Identity<'o, 'a> {
    /// Of this type, with this system and value.
    Number(Option<&'a str>, (Option<&'a str>, &'a str)),
    Content(&'o Object<'a>),
}

impl<'o, 'a> Identity<'o, 'a> {
    fn of(resource: &'o Object<'a>) -> Self {
        work::steps(1);
        match own_number(resource) {
            Some(number) => Self::Number(resource.text("resourceType"), number),
            None => Self::Content(resource),
        }
    }
}

/// Whether two contained resources are the same person, organization or place.
fn same<'a>(one: &Object<'a>, other: &Object<'a>) -> bool {
    work::steps(1);
    match (Identity::of(one), Identity::of(other)) {
        (Identity::Number(kind, number), Identity::Number(other, known)) => kind == other && number == known,
        (Identity::Content(one), Identity::Content(other)) => one == other,
        _ => false,
    }
}

/// System and value of the first identifier, where it tells whom it means.
fn own_number<'a>(resource: &Object<'a>) -> Option<(Option<&'a str>, &'a str)> {
    if !matches!(resource.text("resourceType"), Some("Practitioner" | "Organization")) {
        return None;
    }
    let identifier = resource.get("identifier")?.as_list().first()?.as_object()?;
    Some((identifier.text("system"), identifier.text("value")?))
}
