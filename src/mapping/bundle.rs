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
}

impl Entries {
    /// The fullUrls that a `ref` means, seen from a scope: the resource of the same segment, else those of the same
    /// patient, else, for a rule that takes all, every one there is.
    pub fn find(
        &self,
        reader: &Reader<'_, '_>,
        referent: &Referent,
        scope: &Scope<'_, '_, '_>,
        all: bool,
    ) -> SmallVec<[String; 2]> {
        let plan = reader.plan;
        // A file that refers to itself by name means the other one: the two patients of an A24.
        let itself =
            self.list.iter().find(|entry| Some(entry.segment) == scope.focus && is_named(plan, entry, referent));
        let is_self = |entry: &Entry| itself.is_some_and(|own| own.segment == entry.segment);
        let fits = |entry: &&Entry| entry.present && is(plan, entry, referent) && !is_self(entry);
        let own = reader.groups.patient(scope.group);
        let whole = own == 0 && all;
        let mut found: SmallVec<[&Entry; 4]> =
            self.list.iter().filter(fits).filter(|entry| whole || reader.groups.patient(entry.group) == own).collect();
        if found.is_empty() && (own == 0 || itself.is_some()) {
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

fn is_named(plan: &Plan, entry: &Entry, referent: &Referent) -> bool {
    matches!(referent, Referent::Name(_)) && is(plan, entry, referent)
}

fn is(plan: &Plan, entry: &Entry, referent: &Referent) -> bool {
    let resource = &plan.resources[entry.resource];
    match referent {
        Referent::Type(resource_type) => resource.resource_type == *resource_type,
        Referent::Name(name) => resource.name == *name,
    }
}
