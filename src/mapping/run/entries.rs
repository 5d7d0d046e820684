//! The entries of a Bundle: which resources there are, how each is found, and what refers to what.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use uuid::Uuid;

use super::reader::{MessageReader, Scope};
use crate::fhir::known::FEW;
use crate::mapping::plan::rule::Referent;
use crate::mapping::plan::{Plan, ResourcePlan};
use crate::v2::group::GroupId;
use crate::work;

/// One resource of the Bundle, known before it is built.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Index into the plan's resources.
    pub resource: usize,
    pub group: GroupId,
    pub segment: usize,
    pub full_url: &'a str,
    /// Identifier system and value, where it is found by a condition.
    pub identity: Option<(&'a str, &'a str)>,
    pub id: Option<&'a str>,
    /// It will be in the Bundle: found by a condition, or built already.
    pub present: bool,
}

#[derive(Debug, Default)]
pub struct Entries<'a> {
    pub list: Vec<Entry<'a>>,
    /// The one being built: nothing refers to itself.
    pub current: Option<usize>,
    /// The entries of each segment.
    of_segment: FxHashMap<usize, SmallVec<[usize; 2]>>,
    /// How often an id has been asked for: two segments may have the same key.
    asked: RefCell<HashMap<Uuid, u32>>,
    /// The resources of those found by a condition, in their order. There are few, and nearly every reference means one.
    found: SmallVec<[usize; 4]>,
    /// Of those, the first of a resource for each patient.
    first: FxHashMap<(usize, GroupId), usize>,
    /// By which condition each is found, and whose: resources of two files must not be found by the same.
    urls: HashMap<&'a str, SmallVec<[usize; 1]>>,
    present: PresentEntries,
}

/// The entries that will be in the Bundle, of each resource in their order: all of them, and those of each patient.
#[derive(Debug, Default)]
struct PresentEntries {
    all: FxHashMap<usize, BTreeSet<usize>>,
    of_patient: FxHashMap<(usize, GroupId), BTreeSet<usize>>,
    /// The resources in the order of their entries, which stand side by side.
    resources: SmallVec<[usize; 8]>,
    /// Of each entry, for which patient it is.
    patients: Vec<GroupId>,
}

impl PresentEntries {
    fn set(&mut self, at: usize, resource: usize, present: bool) {
        let patient = self.patients[at];
        let sets = [self.all.entry(resource).or_default(), self.of_patient.entry((resource, patient)).or_default()];
        for set in sets {
            let _ = if present { set.insert(at) } else { set.remove(&at) };
        }
    }

    /// Those of some resources, of one patient or of all.
    fn of(&self, resources: impl Iterator<Item = usize>, patient: Option<GroupId>) -> impl Iterator<Item = usize> {
        let sets = resources.filter_map(move |resource| match patient {
            Some(patient) => self.of_patient.get(&(resource, patient)),
            None => self.all.get(&resource),
        });
        sets.flatten().copied()
    }
}

impl<'a> Entries<'a> {
    pub fn add(&mut self, entry: Entry<'a>, reader: &MessageReader<'_, '_>) {
        let (at, resource) = (self.list.len(), entry.resource);
        let patient = reader.groups.patient(entry.group);
        if entry.identity.is_some() {
            if self.found.last() != Some(&resource) {
                self.found.push(resource);
            }
            self.first.entry((resource, patient)).or_insert(at);
            let of_url = self.urls.entry(entry.full_url).or_default();
            if !of_url.contains(&resource) {
                of_url.push(resource);
            }
        }
        if self.present.resources.last() != Some(&resource) {
            self.present.resources.push(resource);
        }
        self.present.patients.push(patient);
        if entry.present {
            self.present.set(at, resource, true);
        }
        self.of_segment.entry(entry.segment).or_default().push(at);
        self.list.push(entry);
    }

    /// Whether an entry will be in the Bundle.
    pub fn set_present(&mut self, at: usize, present: bool) {
        self.list[at].present = present;
        self.present.set(at, self.list[at].resource, present);
    }

    /// How many resources before this one have the same key.
    pub fn repeats(&self, id: Uuid) -> u32 {
        let mut asked = self.asked.borrow_mut();
        let count = asked.entry(id).or_default();
        *count += 1;
        *count - 1
    }

    /// Whether an entry of another file is found by the same condition.
    pub fn taken(&self, full_url: &str, resource: usize) -> bool {
        work::text(full_url.len());
        self.urls.get(full_url).is_some_and(|of_url| of_url.iter().any(|known| *known != resource))
    }

    /// The fullUrls that a `ref` means, seen from a scope: the resource of the same segment, else those of the same
    /// patient, else, for a rule that takes all, every one there is. Never the resource that asks.
    pub fn find(
        &self,
        reader: &MessageReader<'_, '_>,
        referent: &Referent,
        scope: &Scope<'_, '_, '_>,
        all: bool,
    ) -> SmallVec<[&'a str; 2]> {
        let plan = reader.plan;
        let current = self.current.and_then(|at| self.list.get(at));
        let is_other = |entry: &Entry<'_>| current.is_none_or(|current| current.full_url != entry.full_url);
        let fits = |entry: &&Entry<'a>| entry.present && is(plan, entry, referent) && is_other(entry);
        let at_focus = scope.focus.and_then(|segment| self.of_segment.get(&segment)).into_iter().flatten();
        work::steps(1);
        if let Some(same) = at_focus.map(|&at| &self.list[at]).find(fits) {
            return SmallVec::from_elem(same.full_url, 1);
        }
        let own = reader.groups.patient(scope.group);
        // A patient that refers to a patient may mean the one of another group: the two of an A24.
        let same_kind = current.is_some_and(|current| is(plan, current, referent));
        let by_condition = plan.resources.iter().any(|r| names(r, referent) && !r.condition.is_empty());
        let meant = |patient: Option<GroupId>| {
            let resources = self.present.resources.iter().copied();
            let resources = resources.filter(move |&resource| {
                let resource = &plan.resources[resource];
                names(resource, referent) && (!by_condition || !resource.condition.is_empty())
            });
            let entries = self.present.of(resources, patient).map(|at| &self.list[at]);
            entries.inspect(|_| work::steps(1)).filter(move |entry| is_other(entry))
        };
        let near = if own == 0 && all { None } else { Some(own) };
        let found = urls(meant(near), all);
        if found.is_empty() && (own == 0 || same_kind) { urls(meant(None), all) } else { found }
    }

    /// The first entry of a type for the patient of a group.
    pub fn of_patient(
        &self,
        reader: &MessageReader<'_, '_>,
        resource_type: &str,
        group: GroupId,
    ) -> Option<&Entry<'a>> {
        let own = reader.groups.patient(group);
        work::steps(1);
        let mut of_type = self.found.iter().filter(|&&n| *reader.plan.resources[n].resource_type == *resource_type);
        of_type.find_map(|&resource| self.first.get(&(resource, own))).map(|&at| &self.list[at])
    }
}

/// The addresses of entries, each once, or that of the first.
fn urls<'e, 'a: 'e>(entries: impl Iterator<Item = &'e Entry<'a>>, all: bool) -> SmallVec<[&'a str; 2]> {
    let mut urls: SmallVec<[&'a str; 2]> = SmallVec::new();
    let mut seen: HashSet<&'a str> = HashSet::new();
    for entry in entries.take(if all { usize::MAX } else { 1 }) {
        let new = match entry.identity {
            Some(_) if urls.len() <= FEW => !urls.contains(&entry.full_url),
            Some(_) => {
                if seen.is_empty() {
                    seen.extend(urls.iter().copied());
                }
                seen.insert(entry.full_url)
            }
            None => true,
        };
        if new {
            urls.push(entry.full_url);
        }
    }
    urls
}

fn is(plan: &Plan, entry: &Entry<'_>, referent: &Referent) -> bool {
    names(&plan.resources[entry.resource], referent)
}

fn names(resource: &ResourcePlan, referent: &Referent) -> bool {
    match referent {
        Referent::Type(resource_type) => resource.resource_type == *resource_type,
        Referent::Name(name) => resource.name == *name,
    }
}
