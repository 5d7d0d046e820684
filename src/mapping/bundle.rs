//! The entries of a Bundle: which resources there are, how each is found, and what refers to what.

use smallvec::SmallVec;

use super::plan::{Plan, Referent};
use super::value::{Reader, Scope};
use crate::v2::group::GroupId;

/// One resource of the Bundle, known before it is built.
#[derive(Debug)]
pub(super) struct Entry {
    /// Index into the plan's resources.
    pub resource: usize,
    pub group: GroupId,
    pub segment: usize,
    pub full_url: String,
    /// Identifier system and value, where it is found by a condition.
    pub identity: Option<(String, String)>,
    pub id: Option<String>,
    /// It will be in the Bundle: found by a condition, or built already.
    pub present: bool,
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    pub list: Vec<Entry>,
    /// The one being built: nothing refers to itself.
    pub current: Option<usize>,
}

impl Entries {
    /// The fullUrls that a `ref` means, seen from a scope: the resource of the same segment, else those of the same
    /// patient, else, for a rule that takes all, every one there is. Never the resource that asks.
    pub fn find(
        &self,
        reader: &Reader<'_, '_>,
        referent: &Referent,
        scope: &Scope<'_, '_, '_>,
        all: bool,
    ) -> SmallVec<[String; 2]> {
        let plan = reader.plan;
        let current = self.current.and_then(|at| self.list.get(at));
        let is_other = |entry: &Entry| current.is_none_or(|current| current.full_url != entry.full_url);
        let fits = |entry: &&Entry| entry.present && is(plan, entry, referent) && is_other(entry);
        let own = reader.groups.patient(scope.group);
        let whole = own == 0 && all;
        // A patient that refers to a patient may mean the one of another group: the two of an A24.
        let same_kind = current.is_some_and(|current| is(plan, current, referent));
        let mut found: SmallVec<[&Entry; 4]> =
            self.list.iter().filter(fits).filter(|entry| whole || reader.groups.patient(entry.group) == own).collect();
        if found.is_empty() && (own == 0 || same_kind) {
            found.extend(self.list.iter().filter(fits));
        }
        if let Some(same) = found.iter().find(|entry| Some(entry.segment) == scope.focus) {
            return SmallVec::from_elem(same.full_url.clone(), 1);
        }
        let mut urls: SmallVec<[String; 2]> = SmallVec::new();
        for entry in found {
            if !urls.contains(&entry.full_url) {
                urls.push(entry.full_url.clone());
            }
            if !all {
                break;
            }
        }
        urls
    }

    /// The first entry of a type for the patient of a group.
    pub fn of_patient(&self, reader: &Reader<'_, '_>, resource_type: &str, group: GroupId) -> Option<&Entry> {
        let own = reader.groups.patient(group);
        self.list.iter().find(|entry| {
            entry.identity.is_some()
                && *reader.plan.resources[entry.resource].resource_type == *resource_type
                && reader.groups.patient(entry.group) == own
        })
    }
}

fn is(plan: &Plan, entry: &Entry, referent: &Referent) -> bool {
    let resource = &plan.resources[entry.resource];
    match referent {
        Referent::Type(resource_type) => resource.resource_type == *resource_type,
        Referent::Name(name) => resource.name == *name,
    }
}
