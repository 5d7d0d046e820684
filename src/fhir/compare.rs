//! What differs between two Bundles: which resources, which elements, from what to what.
//!
//! Items of a list that are the same on both sides are matched first, wherever they stand, so that one more telephone
//! number is one difference and not one for each number behind it. A reference that only follows a resource to its new
//! address is no difference.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use serde::Serialize;

use super::Tree;
use crate::work;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The resource's type; `Bundle` for the Bundle's own elements.
    pub resource: String,
    /// Which one of its type in the Bundle it is in, from 1.
    pub number: usize,
    /// `name[0].family`; empty where the resource as a whole came or went.
    pub path: String,
    pub kind: ChangeKind,
    /// Leaves as their text, anything else as JSON.
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

impl Change {
    /// The element without the numbers of list items: `Patient.name[].family`.
    #[must_use]
    pub fn element(&self) -> String {
        let mut out = self.resource.clone();
        if !self.path.is_empty() {
            out.push('.');
        }
        let mut inside = false;
        for c in self.path.chars() {
            inside = inside && c != ']';
            if !inside {
                out.push(c);
            }
            inside |= c == '[';
        }
        out
    }
}

/// The differences between two message Bundles.
#[must_use]
pub fn bundles(old: &str, new: &str) -> Vec<Change> {
    let (Some(old), Some(new)) = (Tree::read(old), Tree::read(new)) else { return Vec::new() };
    let mut comparison = Comparison::default();
    let (old_entries, new_entries) = (entries(&old), entries(&new));
    let pairs = pair(&old_entries, &new_entries);
    for (old, new) in &pairs {
        if let (Some(old), Some(new)) = (old, new)
            && old.url != new.url
        {
            comparison.moved.insert(old.url.clone(), new.url.clone());
        }
    }
    comparison.resource = "Bundle".into();
    comparison.number = 1;
    comparison.members(&without(&old, "entry"), &without(&new, "entry"), "");
    for (old, new) in pairs {
        comparison.entry(old, new);
    }
    comparison.changes
}

/// A resource of a Bundle.
#[derive(Debug, Clone)]
struct BundleEntry<'t, 'j> {
    url: String,
    kind: String,
    /// Which one of its type, from 1.
    number: usize,
    tree: &'t Tree<'j>,
}

fn entries<'t, 'j>(bundle: &'t Tree<'j>) -> Vec<BundleEntry<'t, 'j>> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let list = bundle.get("entry").map(Tree::items).unwrap_or_default().iter().map(|tree| {
        let kind = tree.get("resource").and_then(|resource| resource.text_of("resourceType")).unwrap_or_default();
        let number = counts.entry(kind.clone()).or_default();
        *number += 1;
        BundleEntry { url: tree.text_of("fullUrl").unwrap_or_default(), number: *number, kind, tree }
    });
    list.collect()
}

type Pair<'t, 'j> = (Option<BundleEntry<'t, 'j>>, Option<BundleEntry<'t, 'j>>);

/// Entries of one address belong together; of the rest those of one type, in their order.
fn pair<'t, 'j>(old: &[BundleEntry<'t, 'j>], new: &[BundleEntry<'t, 'j>]) -> Vec<Pair<'t, 'j>> {
    let mut free: Vec<Option<&BundleEntry<'t, 'j>>> = new.iter().map(Some).collect();
    let by_url = queues(new.iter().map(|entry| (&*entry.kind, &*entry.url)));
    let mut found: Vec<Option<BundleEntry<'t, 'j>>> = Vec::with_capacity(old.len());
    for (at, entry) in taken(by_url, old.iter().map(|entry| (&*entry.kind, &*entry.url))).into_iter().zip(old) {
        work::text(entry.url.len());
        found.push(at.and_then(|at| free[at].take()).cloned());
    }
    let by_kind = queues(free.iter().map(|entry| entry.map_or("", |entry| &entry.kind)));
    let unfound: Vec<usize> = (0..old.len()).filter(|&at| found[at].is_none()).collect();
    let alike = taken(by_kind, unfound.iter().map(|&at| &*old[at].kind));
    for (at, alike) in unfound.into_iter().zip(alike) {
        found[at] = alike.and_then(|at| free[at].take()).cloned();
    }
    let pairs = old.iter().cloned().zip(found).map(|(old, new)| (Some(old), new));
    pairs.chain(free.into_iter().flatten().map(|new| (None, Some(new.clone())))).collect()
}

/// Where each of these stands, in their order.
fn queues<K: Eq + Hash>(items: impl Iterator<Item = K>) -> HashMap<K, VecDeque<usize>> {
    let mut queues: HashMap<K, VecDeque<usize>> = HashMap::new();
    for (at, item) in items.enumerate() {
        work::steps(1);
        queues.entry(item).or_default().push_back(at);
    }
    queues
}

/// For each of these the first place that is left.
fn taken<K: Eq + Hash>(mut queues: HashMap<K, VecDeque<usize>>, wanted: impl Iterator<Item = K>) -> Vec<Option<usize>> {
    let taken = wanted.inspect(|_| work::steps(1)).map(|item| queues.get_mut(&item).and_then(VecDeque::pop_front));
    taken.collect()
}

#[derive(Debug, Default)]
struct Comparison {
    changes: Vec<Change>,
    resource: String,
    number: usize,
    /// Addresses that are others now.
    moved: HashMap<String, String>,
    /// Of what the entry at hand contains.
    moved_inside: HashMap<String, String>,
}

impl Comparison {
    fn entry(&mut self, old: Option<BundleEntry<'_, '_>>, new: Option<BundleEntry<'_, '_>>) {
        if let Some(one) = new.as_ref().or(old.as_ref()) {
            (self.resource, self.number) = (one.kind.clone(), one.number);
        }
        match (old, new) {
            (Some(old), Some(new)) => {
                self.leaf(&old.url, &new.url, "fullUrl");
                let (Some(old), Some(new)) = (old.tree.get("resource"), new.tree.get("resource")) else { return };
                self.follow_contained(old, new);
                self.members(old, new, "");
            }
            (Some(old), None) => self.push(ChangeKind::Removed, "", Some(old.tree), None),
            (None, Some(new)) => self.push(ChangeKind::Added, "", None, Some(new.tree)),
            (None, None) => {}
        }
    }

    /// The same contained resource may have another number now.
    fn follow_contained(&mut self, old: &Tree<'_>, new: &Tree<'_>) {
        let contained = |tree: &Tree<'_>| {
            let items = tree.get("contained").map(Tree::items).unwrap_or_default();
            items
                .iter()
                .map(|item| (item.text_of("id").unwrap_or_default(), without(item, "id").to_json()))
                .collect::<Vec<_>>()
        };
        self.moved_inside.clear();
        let mut by_content: HashMap<String, String> = HashMap::new();
        for (id, content) in contained(new) {
            work::text(content.len());
            by_content.entry(content).or_insert(id);
        }
        for (id, content) in contained(old) {
            work::text(content.len());
            if let Some(other) = by_content.get(&content).filter(|other| **other != id) {
                self.moved_inside.insert(format!("#{id}"), format!("#{other}"));
            }
        }
    }

    fn trees(&mut self, old: &Tree<'_>, new: &Tree<'_>, path: &str) {
        match (old, new) {
            (Tree::Object(_), Tree::Object(_)) => self.members(old, new, path),
            (Tree::List(old), Tree::List(new)) => self.lists(old, new, path),
            (Tree::Leaf(_), Tree::Leaf(_)) => {
                let (old, new) = (shown(old), shown(new));
                self.leaf(&old, &new, path);
            }
            _ => self.push(ChangeKind::Changed, path, Some(old), Some(new)),
        }
    }

    fn leaf(&mut self, old: &str, new: &str, path: &str) {
        work::text(old.len());
        let moved = self.moved_inside.get(old).or_else(|| self.moved.get(old));
        let follows = path.ends_with("reference") && moved.is_some_and(|moved| moved == new);
        if old != new && !follows {
            let (resource, number) = (self.resource.clone(), self.number);
            let (old, new) = (Some(old.to_owned()), Some(new.to_owned()));
            self.changes.push(Change { resource, number, path: path.to_owned(), kind: ChangeKind::Changed, old, new });
        }
    }

    fn members(&mut self, old: &Tree<'_>, new: &Tree<'_>, path: &str) {
        let (Tree::Object(old_members), Tree::Object(new_members)) = (old, new) else { return };
        let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (name, tree) in old_members {
            match new.get(name) {
                Some(other) => self.trees(tree, other, &at(name)),
                None => self.push(ChangeKind::Removed, &at(name), Some(tree), None),
            }
        }
        for (name, tree) in new_members.iter().filter(|(name, _)| old.get(name).is_none()) {
            self.push(ChangeKind::Added, &at(name), None, Some(tree));
        }
    }

    /// Equal items first, then those left over in their order.
    fn lists(&mut self, old: &[Tree<'_>], new: &[Tree<'_>], path: &str) {
        let key = |item: &Tree<'_>| if path == "contained" { without(item, "id").to_json() } else { item.to_json() };
        let (old_keys, new_keys): (Vec<_>, Vec<_>) = (old.iter().map(key).collect(), new.iter().map(key).collect());
        old_keys.iter().chain(&new_keys).for_each(|key| work::text(key.len()));
        let equal = taken(queues(new_keys.iter()), old_keys.iter());
        let mut free: Vec<Option<usize>> = (0..new.len()).map(Some).collect();
        equal.iter().flatten().for_each(|&at| free[at] = None);
        let left: Vec<usize> = (0..old.len()).filter(|&n| equal[n].is_none()).collect();
        let mut free = free.into_iter().flatten();
        for n in left {
            match free.next() {
                Some(at) => self.trees(&old[n], &new[at], &format!("{path}[{at}]")),
                None => self.push(ChangeKind::Removed, &format!("{path}[{n}]"), Some(&old[n]), None),
            }
        }
        for at in free {
            self.push(ChangeKind::Added, &format!("{path}[{at}]"), None, Some(&new[at]));
        }
    }

    fn push(&mut self, kind: ChangeKind, path: &str, old: Option<&Tree<'_>>, new: Option<&Tree<'_>>) {
        let (resource, number) = (self.resource.clone(), self.number);
        let (old, new) = (old.map(shown), new.map(shown));
        self.changes.push(Change { resource, number, path: path.to_owned(), kind, old, new });
    }
}

fn shown(tree: &Tree<'_>) -> String {
    tree.text().unwrap_or_else(|| tree.to_json())
}

fn without<'j>(tree: &Tree<'j>, name: &str) -> Tree<'j> {
    match tree {
        Tree::Object(members) => Tree::Object(members.iter().filter(|(n, _)| *n != name).cloned().collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(entries: &[(&str, &str)]) -> String {
        let entries: Vec<_> = entries
            .iter()
            .map(|(url, resource)| format!("{{\"fullUrl\":\"{url}\",\"resource\":{resource}}}"))
            .collect();
        format!("{{\"resourceType\":\"Bundle\",\"entry\":[{}]}}", entries.join(","))
    }

    fn told(old: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<String> {
        let changes = bundles(&bundle(old), &bundle(new));
        let tell = |c: &Change| {
            format!(
                "{:?} {}.{} {} -> {}",
                c.kind,
                c.resource,
                c.path,
                c.old.as_deref().unwrap_or("-"),
                c.new.as_deref().unwrap_or("-")
            )
        };
        changes.iter().map(tell).collect()
    }

    const URL: &str = "urn:p";

    #[test]
    fn elements_that_came_went_or_changed_are_told_with_both_values() {
        let old = r#"{"resourceType":"Patient","gender":"female","active":true,"x":1.50}"#;
        let new = r#"{"resourceType":"Patient","gender":"unknown","birthDate":"1980","x":1.5}"#;
        assert_eq!(
            told(&[(URL, old)], &[(URL, new)]),
            [
                "Changed Patient.gender female -> unknown",
                "Removed Patient.active true -> -",
                "Changed Patient.x 1.50 -> 1.5",
                "Added Patient.birthDate - -> 1980",
            ]
        );
    }

    #[test]
    fn one_more_item_in_a_list_is_one_difference() {
        let old = r#"{"resourceType":"Patient","name":[{"family":"B"},{"family":"C"}]}"#;
        let new = r#"{"resourceType":"Patient","name":[{"family":"A"},{"family":"B"},{"family":"C"}]}"#;
        assert_eq!(told(&[(URL, old)], &[(URL, new)]), [r#"Added Patient.name[0] - -> {"family":"A"}"#]);
        let changed = r#"{"resourceType":"Patient","name":[{"family":"B"},{"family":"D"}]}"#;
        assert_eq!(told(&[(URL, old)], &[(URL, changed)]), ["Changed Patient.name[1].family C -> D"]);
    }

    #[test]
    fn a_reference_that_follows_its_resource_is_no_difference() {
        let patient = r#"{"resourceType":"Patient"}"#;
        let visit = |url: &str| format!(r#"{{"resourceType":"Encounter","subject":{{"reference":"{url}"}}}}"#);
        let (old, new) = (visit("urn:a"), visit("urn:b"));
        let told = told(&[("urn:a", patient), ("urn:v", &old)], &[("urn:b", patient), ("urn:v", &new)]);
        assert_eq!(told, ["Changed Patient.fullUrl urn:a -> urn:b"]);
    }

    #[test]
    fn a_contained_resource_with_another_number_is_no_difference() {
        let with = |id: &str, more: &str| {
            format!(
                r##"{{"resourceType":"Encounter","who":{{"reference":"#{id}"}},"contained":[{more}{{"resourceType":"P","id":"{id}","name":"x"}}]}}"##
            )
        };
        let (old, new) = (with("p-1", ""), with("p-2", r#"{"resourceType":"P","id":"p-1","name":"y"},"#));
        let told = told(&[(URL, &old)], &[(URL, &new)]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("Added Encounter.contained[0]"), "{told:?}");
    }

    #[test]
    fn resources_that_came_or_went_are_told_as_wholes() {
        let (patient, condition) = (r#"{"resourceType":"Patient"}"#, r#"{"resourceType":"Condition"}"#);
        let changes = bundles(&bundle(&[(URL, patient)]), &bundle(&[(URL, patient), ("urn:c", condition)]));
        assert_eq!((changes[0].kind, changes[0].element().as_str()), (ChangeKind::Added, "Condition"));
    }

    #[test]
    fn an_element_has_one_name_whichever_item_it_stands_in() {
        let change = |path: &str| Change {
            resource: "Patient".into(),
            number: 1,
            path: path.into(),
            kind: ChangeKind::Added,
            old: None,
            new: None,
        };
        assert_eq!(change("name[12].given[0]").element(), "Patient.name[].given[]");
    }
}
