//! The entries of a Bundle: which resources there are, how each is found, and what refers to what.

use std::cell::RefCell;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use uuid::Uuid;

use super::reader::{MessageReader, Scope};
use crate::mapping::plan::rule::Referent;
use crate::mapping::plan::{Plan, ResourcePlan};
use crate::v2::group::GroupId;

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
    /// Those found by a condition. There are few of them, and nearly every reference means one.
    found: Vec<usize>,
    /// The entries of each segment.
    of_segment: FxHashMap<usize, SmallVec<[usize; 2]>>,
    /// How often an id has been asked for: two segments may have the same key.
    asked: RefCell<FxHashMap<Uuid, u32>>,
}

impl<'a> Entries<'a> {
    pub fn add(&mut self, entry: Entry<'a>) {
        let at = self.list.len();
        if entry.identity.is_some() {
            self.found.push(at);
        }
        self.of_segment.entry(entry.segment).or_default().push(at);
        self.list.push(entry);
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
        self.found.iter().map(|&at| &self.list[at]).any(|e| e.full_url == full_url && e.resource != resource)
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
        if let Some(same) = at_focus.map(|&at| &self.list[at]).find(fits) {
            return SmallVec::from_elem(same.full_url, 1);
        }
        let own = reader.groups.patient(scope.group);
        // A patient that refers to a patient may mean the one of another group: the two of an A24.
        let same_kind = current.is_some_and(|current| is(plan, current, referent));
        let by_condition = plan.resources.iter().any(|r| names(r, referent) && !r.condition.is_empty());
        let candidates: SmallVec<[&Entry<'a>; 4]> = match by_condition {
            true => self.found.iter().map(|&at| &self.list[at]).filter(fits).collect(),
            false => self.list.iter().filter(fits).collect(),
        };
        let near = |entry: &&&Entry<'a>| (own == 0 && all) || reader.groups.patient(entry.group) == own;
        let mut found: SmallVec<[&Entry<'a>; 4]> = candidates.iter().filter(near).copied().collect();
        if found.is_empty() && (own == 0 || same_kind) {
            found = candidates;
        }
        let mut urls: SmallVec<[&'a str; 2]> = SmallVec::new();
        for entry in found.into_iter().take(if all { usize::MAX } else { 1 }) {
            if entry.identity.is_none() || !urls.contains(&entry.full_url) {
                urls.push(entry.full_url);
            }
        }
        urls
    }

    /// The first entry of a type for the patient of a group.
    pub fn of_patient(
        &self,
        reader: &MessageReader<'_, '_>,
        resource_type: &str,
        group: GroupId,
    ) -> Option<&Entry<'a>> {
        let own = reader.groups.patient(group);
        self.found.iter().map(|&at| &self.list[at]).find(|entry| {
            *reader.plan.resources[entry.resource].resource_type == *resource_type
                && reader.groups.patient(entry.group) == own
        })
    }
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
