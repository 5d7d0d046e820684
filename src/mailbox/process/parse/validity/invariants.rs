//! The invariants of R4 that what is stored here could break, by their keys in the standard.

use std::collections::HashSet;

use super::Check;
use crate::mailbox::json::{Node, Object};
use crate::mailbox::search::date;
use crate::mailbox::steps;

impl Check<'_> {
    pub fn datatype(&mut self, kind: &str, object: &Object<'_>) {
        let has = |name: &str| object.keys().any(|key| key.strip_prefix('_').unwrap_or(key) == name);
        let value = || object.keys().any(|name| name.trim_start_matches('_').starts_with("value"));
        let broken = match kind {
            "Extension" if has("extension") == value() => {
                Some("ext-1: an extension has a value or extensions, not both")
            }
            "ContactPoint" if has("value") && !has("system") => Some("cpt-2: a value needs a system"),
            "Period" if date::is_reversed(object) => Some("per-1: the end lies before the start"),
            "Quantity" | "Duration" | "Age" if has("code") && !has("system") => Some("qty-3: a code needs a system"),
            "Patient.contact" if !["name", "telecom", "address", "organization"].into_iter().any(has) => {
                Some("pat-1: a contact has a name, telecom, address or organization")
            }
            _ => None,
        };
        if let Some(broken) = broken {
            self.fault("invariant", broken);
        }
    }

    /// What holds for a resource as a whole.
    pub fn resource(&mut self, kind: &str, resource: &Object<'_>) {
        self.contains_what_it_refers_to(resource);
        let code = |element: &str| resource.get(element).map(|value| &value["coding"][0]["code"]);
        let in_error = code("verificationStatus").is_some_and(|code| *code == "entered-in-error");
        let broken = match kind {
            "AllergyIntolerance" if !in_error && code("clinicalStatus").is_none() => {
                Some("ait-1: clinicalStatus is missing")
            }
            "AllergyIntolerance" if in_error && code("clinicalStatus").is_some() => {
                Some("ait-2: an entry in error has no clinicalStatus")
            }
            "Condition" if in_error && code("clinicalStatus").is_some() => {
                Some("con-5: an entry in error has no clinicalStatus")
            }
            "Condition" if is_abated(resource) && !is_over(code("clinicalStatus")) => {
                Some("con-4: what has abated is inactive, resolved or in remission")
            }
            "Observation" if has_value(resource) && resource.contains_key("dataAbsentReason") => {
                Some("obs-6: a value or the reason why there is none, not both")
            }
            "Observation" if repeats_code(resource) => {
                Some("obs-7: a component has the code of the whole, which has a value")
            }
            _ => None,
        };
        if let Some(broken) = broken {
            self.fault("invariant", broken);
        }
    }

    fn contains_what_it_refers_to(&mut self, resource: &Object<'_>) {
        let items: &[Node<'_>] = resource.get("contained").and_then(Node::as_array).map_or(&[], Vec::as_slice);
        let ids: HashSet<&str> = items.iter().filter_map(|item| item["id"].as_str()).collect();
        let mut named = HashSet::new();
        resource.values().for_each(|value| local_references(value, &mut named));
        if ids.len() < items.len() {
            self.fault("invariant", "each contained resource has an id of its own");
        }
        if named.iter().any(|id| !id.is_empty() && !ids.contains(id)) {
            self.fault("invariant", "ref-1: a reference names a contained resource that is not there");
        }
        // One may refer to its container, which is enough too.
        let refers_back = |item: &Node<'_>| {
            let mut own = HashSet::new();
            local_references(item, &mut own);
            own.contains("")
        };
        if items.iter().any(|item| !item["id"].as_str().is_some_and(|id| named.contains(id)) && !refers_back(item)) {
            self.fault("invariant", "dom-3: a contained resource is not referred to");
        }
        if items.iter().any(|item| item.get("contained").is_some()) {
            self.fault("invariant", "dom-2: a contained resource contains another");
        }
        if items.iter().any(|item| item["meta"].get("versionId").or(item["meta"].get("lastUpdated")).is_some()) {
            self.fault("invariant", "dom-4: a contained resource has no version of its own");
        }
    }
}

fn local_references<'a>(value: &'a Node<'_>, found: &mut HashSet<&'a str>) {
    steps::take(1);
    match value {
        Node::Object(map) => {
            found.extend(map.get("reference").and_then(Node::as_str).and_then(|text| text.strip_prefix('#')));
            map.values().for_each(|value| local_references(value, found));
        }
        Node::Array(items) => items.iter().for_each(|item| local_references(item, found)),
        _ => {}
    }
}

fn is_abated(condition: &Object<'_>) -> bool {
    condition.keys().any(|name| name.starts_with("abatement"))
}

fn is_over(status: Option<&Node<'_>>) -> bool {
    status.is_none_or(|code| matches!(code.as_str(), Some("inactive" | "resolved" | "remission")))
}

fn has_value(observation: &Object<'_>) -> bool {
    observation.keys().any(|name| name.starts_with("value"))
}

fn repeats_code(observation: &Object<'_>) -> bool {
    let Some(code) = observation.get("code").filter(|_| has_value(observation)) else { return false };
    let own: HashSet<_> = codings(code).collect();
    let components = observation.get("component").and_then(Node::as_array).into_iter().flatten();
    components.into_iter().any(|part| codings(&part["code"]).any(|coding| own.contains(&coding)))
}

fn codings<'n>(concept: &'n Node<'_>) -> impl Iterator<Item = (Option<&'n str>, Option<&'n str>)> {
    let all = steps::each(concept["coding"].as_array().into_iter().flatten());
    all.map(|coding| (coding["system"].as_str(), coding["code"].as_str()))
}
