//! What a message's resource changes in the stored one.
//!
//! An absent element leaves what is stored. A list is replaced whole. An element that holds nothing but a
//! data-absent-reason (HL7 v2's `""`) erases what is stored, and is itself not stored. Datatypes are replaced whole, since
//! half of one code and half of another make a third; only `period` and the backbone elements are merged inside.

use std::collections::{HashMap, HashSet};

use memchr::memmem;

use crate::mailbox::json::{Node, Object};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::date;
use crate::mailbox::steps;

const DATA_ABSENT_REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

/// The stored resource after `incoming`; pass an empty one to create.
#[must_use]
pub fn merge<'a>(kind: ResourceType, mut stored: Object<'a>, mut incoming: Object<'a>) -> Object<'a> {
    let kept_contained = stored.remove("contained");
    let own_contained = incoming.remove("contained");
    rename_clashes(&own_contained, &kept_contained, &mut stored);
    if !incoming.contains_key("text") {
        // A narrative that describes what no longer holds is worse than none.
        stored.remove("text");
    }
    apply(kind, &mut stored, incoming);
    contain(&mut stored, own_contained, kept_contained);
    stored
}

fn apply<'a>(kind: ResourceType, stored: &mut Object<'a>, incoming: Object<'a>) {
    // First, as `_name` comes before `name`, and both may be new.
    for (name, _) in incoming.iter().filter(|(name, value)| replaces(name, value)) {
        remove(stored, name);
    }
    for (name, value) in incoming {
        let base = name.strip_prefix('_').unwrap_or(&name);
        if erases(&value) {
            if !required(kind, base) {
                remove(stored, base);
            } else if !stored.contains_key(base) {
                stored.insert(name, value);
            }
            continue;
        }
        match value {
            Node::Array(items) if name == "extension" => extend(stored, items),
            Node::Object(inner) if merged_inside(&name) => {
                let mut own = match stored.remove(&name) {
                    Some(Node::Object(own)) => own,
                    _ => Object::default(),
                };
                let said: Vec<String> = inner.keys().map(str::to_owned).collect();
                apply(kind, &mut own, inner);
                if date::is_reversed(&own) {
                    // What the message says now outweighs what was said before.
                    own.retain(|name, _| said.iter().any(|said| said == name));
                }
                if !own.is_empty() {
                    stored.insert(name, Node::Object(own));
                }
            }
            value => {
                if let Some(value) = without_erasing(value) {
                    stored.insert(name, value);
                }
            }
        }
    }
}

/// Extensions are elements of their own: those with a URL that the message names are replaced, the others stay. One
/// whose value erases is removed.
fn extend<'a>(stored: &mut Object<'a>, incoming: Vec<Node<'a>>) {
    let mut kept = match stored.remove("extension") {
        Some(Node::Array(kept)) => kept,
        _ => Vec::new(),
    };
    let named: HashSet<String> = incoming.iter().filter_map(|new| new["url"].as_str().map(str::to_owned)).collect();
    kept.retain(|old| !old["url"].as_str().is_some_and(|url| named.contains(url)));
    kept.extend(incoming.into_iter().filter(|new| !erases_extension(new)));
    if !kept.is_empty() {
        stored.insert("extension", Node::Array(kept));
    }
}

fn erases_extension(extension: &Node<'_>) -> bool {
    let Some(map) = extension.as_object().filter(|map| map.contains_key("url")) else { return false };
    let mut rest = map.iter().filter(|(name, _)| !matches!(*name, "url" | "id"));
    matches!((rest.next(), rest.next()), (Some((_, value)), None) if erases(value))
}

/// Whether a member takes the place of the whole element, with everything that is stored beside it under `_name`.
fn replaces(name: &str, value: &Node<'_>) -> bool {
    !name.starts_with('_') && name != "extension" && !merged_inside(name) && !erases(value)
}

/// The elements that are merged element by element.
fn merged_inside(name: &str) -> bool {
    matches!(name, "period" | "hospitalization" | "position")
}

fn required(kind: ResourceType, name: &str) -> bool {
    kind == ResourceType::Encounter && matches!(name, "status" | "class")
}

/// Removes an element in all its forms: a choice has one value, whatever its type.
fn remove(stored: &mut Object<'_>, name: &str) {
    const CHOICES: [&str; 2] = ["deceased", "multipleBirth"];
    let choice = CHOICES.into_iter().find(|choice| name.starts_with(choice));
    stored.retain(|key, _| {
        let key = key.strip_prefix('_').unwrap_or(key);
        key != name && !choice.is_some_and(|choice| key.starts_with(choice))
    });
}

/// Whether a value is a data-absent-reason and nothing else that says something; a list of one such element counts.
pub fn erases(value: &Node<'_>) -> bool {
    match value {
        Node::Array(items) => items.len() == 1 && erases(&items[0]),
        Node::Object(map) => {
            let Some(Node::Array(list)) = map.get("extension").filter(|_| map.len() == 1) else { return false };
            let reason = |extension: &Node<'_>| extension["url"] == DATA_ABSENT_REASON;
            list.iter().any(reason) && list.iter().all(|extension| reason(extension) || erases_extension(extension))
        }
        _ => false,
    }
}

/// What is left of a value that replaces another when the erasing parts within it are taken out; `None` for nothing.
fn without_erasing(value: Node<'_>) -> Option<Node<'_>> {
    match value {
        value if erases(&value) => None,
        Node::Object(map) => {
            let left: Object<'_> =
                map.into_iter().filter_map(|(name, value)| Some((name, without_erasing(value)?))).collect();
            (!left.is_empty()).then_some(Node::Object(left))
        }
        // A null pads one list of a primitive against the other: such lists stay as they are.
        Node::Array(items) if items.iter().any(Node::is_null) => Some(Node::Array(items)),
        Node::Array(items) => {
            let items = items.into_iter().filter(|item| !erases_extension(item));
            let left: Vec<Node<'_>> = items.filter_map(without_erasing).collect();
            (!left.is_empty()).then_some(Node::Array(left))
        }
        scalar => Some(scalar),
    }
}

/// Gives contained resources that stay another id where the message uses theirs for something else.
fn rename_clashes(own: &Option<Node<'_>>, kept: &Option<Node<'_>>, stored: &mut Object<'_>) {
    let (Some(Node::Array(own)), Some(Node::Array(kept))) = (own, kept) else { return };
    let own: HashMap<&str, &Node<'_>> = own.iter().filter_map(|new| Some((new["id"].as_str()?, new))).collect();
    let clashes = kept.iter().filter_map(|old| Some((old["id"].as_str()?, old)));
    let clashes = clashes.filter(|(id, old)| own.get(id).is_some_and(|new| new != old));
    let renamed: HashMap<String, String> = clashes.map(|(id, _)| (format!("#{id}"), format!("#{id}{KEPT}"))).collect();
    if !renamed.is_empty() {
        rename(stored, &renamed);
    }
}

const KEPT: &str = "-was";

fn rename(object: &mut Object<'_>, renamed: &HashMap<String, String>) {
    for (name, value) in object.iter_mut() {
        rename_in(name, value, renamed);
    }
}

fn rename_in(name: &str, value: &mut Node<'_>, renamed: &HashMap<String, String>) {
    steps::take(1);
    match value {
        Node::String(text) if name == "reference" => {
            if let Some(to) = renamed.get(&**text) {
                *text = to.clone().into();
            }
        }
        Node::Array(items) => items.iter_mut().for_each(|item| rename_in(name, item, renamed)),
        Node::Object(map) => rename(map, renamed),
        _ => {}
    }
}

/// Puts back the contained resources that something in `resource` refers to, and only those (dom-3).
fn contain<'a>(resource: &mut Object<'a>, own: Option<Node<'a>>, kept: Option<Node<'a>>) {
    let list = |contained: Option<Node<'a>>| match contained {
        Some(Node::Array(items)) => items,
        _ => Vec::new(),
    };
    let id = |item: &Node<'_>| item["id"].as_str().map(str::to_owned);
    let mut pool = list(own);
    let mut places: HashMap<Option<String>, usize> = pool.iter().enumerate().map(|(at, item)| (id(item), at)).collect();
    for mut old in list(kept) {
        let own = id(&old);
        if let Some(&clash) = places.get(&own) {
            if pool[clash] == old {
                continue;
            }
            old.set("id", format!("{}{KEPT}", own.unwrap_or_default()));
        }
        places.insert(id(&old), pool.len());
        pool.push(old);
    }
    let wanted = wanted(resource, &pool);
    let wanted: Vec<bool> = pool.iter().map(|item| is_wanted(item, &wanted)).collect();
    let mut wanted = wanted.into_iter();
    pool.retain(|_| wanted.next().unwrap_or_default());
    if !pool.is_empty() {
        resource.insert("contained", Node::Array(pool));
    }
}

/// The ids that `resource` refers to, and those that the ones in `pool` that it refers to refer to in turn.
fn wanted<'n>(resource: &'n Object<'_>, pool: &'n [Node<'_>]) -> HashSet<&'n str> {
    let places: HashMap<&str, &Node<'_>> = pool.iter().filter_map(|item| Some((item["id"].as_str()?, item))).collect();
    let mut wanted = HashSet::new();
    resource.values().for_each(|value| references(value, &mut wanted));
    let mut next: Vec<&str> = wanted.iter().copied().collect();
    while let Some(item) = next.pop().map(|id| places.get(id)) {
        let mut found = HashSet::new();
        item.into_iter().for_each(|item| references(item, &mut found));
        next.extend(found.into_iter().filter(|id| wanted.insert(id)));
    }
    wanted
}

fn is_wanted(item: &Node<'_>, wanted: &HashSet<&str>) -> bool {
    item["id"].as_str().is_some_and(|id| wanted.contains(id))
}

/// The ids of contained resources that `value` refers to.
fn references<'n>(value: &'n Node<'_>, found: &mut HashSet<&'n str>) {
    steps::take(1);
    match value {
        Node::Object(map) => {
            if let Some(id) = map.get("reference").and_then(Node::as_str).and_then(|text| text.strip_prefix('#')) {
                found.insert(id);
            }
            map.values().for_each(|value| references(value, found));
        }
        Node::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Whether [`merge`] leaves the resource, whose canonical text is `text`, as it is where nothing is stored yet. May say no
/// where that is so.
#[must_use]
pub fn is_plain(kind: ResourceType, resource: &Object<'_>, text: &str) -> bool {
    let is_found_by_number = matches!(kind, ResourceType::Patient | ResourceType::Encounter | ResourceType::Location);
    let lacks_number = is_found_by_number && !resource.contains_key("identifier");
    let has = |mark: &str| memmem::find(text.as_bytes(), mark.as_bytes()).is_some();
    let may_change = ["\"_", "{}", "[]", DATA_ABSENT_REASON].into_iter().any(has);
    !lacks_number && !resource.contains_key("link") && !may_change && contains_only_wanted(resource)
}

fn contains_only_wanted(resource: &Object<'_>) -> bool {
    let Some(Node::Array(items)) = resource.get("contained") else { return true };
    let mut wanted = HashSet::new();
    let others = resource.iter().filter(|(name, _)| *name != "contained");
    others.for_each(|(_, value)| references(value, &mut wanted));
    // Twice, for one that only another contained resource refers to, as a bed does to its ward.
    for item in items.iter().chain(items) {
        if is_wanted(item, &wanted) {
            references(item, &mut wanted);
        }
    }
    items.iter().all(|item| is_wanted(item, &wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mailbox::canonical;

    fn object(value: &Value) -> Object<'_> {
        Node::from(value).as_object().unwrap().clone()
    }

    fn merged(kind: ResourceType, stored: Value, incoming: Value) -> Value {
        let mut out = String::new();
        canonical::write(&mut out, &Node::Object(merge(kind, object(&stored), object(&incoming))));
        serde_json::from_str(&out).unwrap()
    }

    fn is_plain_text(value: &Value) -> bool {
        let (resource, mut text) = (object(value), String::new());
        canonical::write(&mut text, &Node::from(value));
        is_plain(ResourceType::Patient, &resource, &text)
    }

    #[test]
    fn a_plain_resource_is_stored_as_it_came() {
        let identifier = json!([{"system": "s", "value": "1"}]);
        let bed = json!({"id": "bed", "partOf": {"reference": "#ward"}});
        let contained = json!([{"id": "ward"}, bed]);
        let located = json!([{"location": {"reference": "#bed"}}]);
        let plain = json!({"identifier": identifier, "contained": contained, "location": located,
            "period": {"start": "2024-01-02", "end": "2024-01-01"}, "extension": [{"url": "a", "valueCode": "b"}]});
        assert!(is_plain_text(&plain));
        assert_eq!(merged(ResourceType::Encounter, json!({}), plain.clone()), plain);
        for other in [
            json!({"status": "finished"}),
            json!({"identifier": identifier, "_birthDate": {"extension": [{"url": "t", "valueCode": "x"}]}}),
            json!({"identifier": identifier, "address": [erased()]}),
            json!({"identifier": identifier, "text": {}}),
            json!({"identifier": identifier, "name": [{"given": []}]}),
            json!({"identifier": identifier, "link": [{"type": "seealso"}]}),
            json!({"identifier": identifier, "contained": contained}),
        ] {
            assert!(!is_plain_text(&other), "{other}");
        }
    }

    fn erased() -> Value {
        json!({"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "unknown"}]})
    }

    #[test]
    fn an_absent_element_stays_and_an_erasing_one_goes() {
        let stored = json!({"birthDate": "1970-01-01", "gender": "male", "address": [{"city": "Oslo"}], "maritalStatus": {"text": "M"}});
        let after = merged(
            ResourceType::Patient,
            stored,
            json!({"_birthDate": erased(), "address": [erased()], "maritalStatus": erased()}),
        );
        assert_eq!(after, json!({"gender": "male"}));
    }

    #[test]
    fn what_is_said_of_a_primitive_comes_and_goes_with_it() {
        let told = |date: &str, time: &str| json!({"birthDate": date, "_birthDate": {"extension": [{"url": "urn:birthTime", "valueDateTime": time}]}});
        let both = merged(
            ResourceType::Patient,
            told("1970-01-01", "1970-01-01T01:00:00Z"),
            told("1971-01-01", "1971-01-01T02:00:00Z"),
        );
        assert_eq!(both, told("1971-01-01", "1971-01-01T02:00:00Z"));
        let date = json!({"birthDate": "1972-01-01"});
        assert_eq!(merged(ResourceType::Patient, both, date.clone()), date);
    }

    #[test]
    fn erasing_what_is_not_there_stores_nothing() {
        assert_eq!(
            merged(ResourceType::Patient, json!({}), json!({"_birthDate": erased(), "telecom": [erased()]})),
            json!({})
        );
    }

    #[test]
    fn a_cancelled_discharge_loses_its_end_and_keeps_its_start() {
        let stored = json!({"status": "finished", "period": {"start": "2024-01-01", "end": "2024-01-05"},
            "hospitalization": {"admitSource": {"text": "E"}, "dischargeDisposition": {"text": "H"}}});
        let incoming = json!({"status": "in-progress", "period": {"_end": erased()}, "hospitalization": {"dischargeDisposition": erased()}});
        let after = merged(ResourceType::Encounter, stored, incoming);
        assert_eq!(
            after,
            json!({"status": "in-progress", "period": {"start": "2024-01-01"}, "hospitalization": {"admitSource": {"text": "E"}}})
        );
    }

    #[test]
    fn a_period_does_not_end_before_it_starts() {
        let after = merged(
            ResourceType::Encounter,
            json!({"period": {"start": "2024-05-02"}}),
            json!({"period": {"end": "2024-05-01"}}),
        );
        assert_eq!(after, json!({"period": {"end": "2024-05-01"}}));
        let same_day = json!({"period": {"end": "2024-05-02"}});
        let after = merged(ResourceType::Encounter, json!({"period": {"start": "2024-05-02T10:00:00Z"}}), same_day);
        assert_eq!(after, json!({"period": {"start": "2024-05-02T10:00:00Z", "end": "2024-05-02"}}));
    }

    #[test]
    fn a_datatype_is_replaced_whole() {
        let after = merged(
            ResourceType::Encounter,
            json!({"class": {"code": "IMP", "display": "inpatient"}}),
            json!({"class": {"code": "AMB"}}),
        );
        assert_eq!(after, json!({"class": {"code": "AMB"}}));
    }

    #[test]
    fn erasing_parts_of_what_replaces_are_not_stored() {
        let both = json!([erased()["extension"][0], {"url": "t", "_valueDateTime": erased()}]);
        let gone = merged(
            ResourceType::Patient,
            json!({"birthDate": "1970-01-01"}),
            json!({"_birthDate": {"extension": both}}),
        );
        assert_eq!(gone, json!({}));
        let time =
            json!({"birthDate": "1971-01-01", "_birthDate": {"extension": [{"url": "t", "_valueDateTime": erased()}]}});
        assert_eq!(merged(ResourceType::Patient, json!({}), time), json!({"birthDate": "1971-01-01"}));
        let name =
            json!({"name": [{"family": "Roe", "_given": [erased()], "period": {"start": "2020", "_end": erased()}}]});
        let after = merged(ResourceType::Patient, json!({}), name);
        assert_eq!(after, json!({"name": [{"family": "Roe", "period": {"start": "2020"}}]}));
    }

    #[test]
    fn extensions_are_replaced_by_url_and_erased_one_by_one() {
        let stored = json!({"extension": [{"url": "a", "valueString": "1"}, {"url": "b", "valueString": "2"}]});
        let incoming = json!({"extension": [{"url": "c", "valueString": "3"}, {"url": "b", "_valueString": erased()}]});
        let after = merged(ResourceType::Encounter, stored, incoming);
        assert_eq!(after, json!({"extension": [{"url": "a", "valueString": "1"}, {"url": "c", "valueString": "3"}]}));
    }

    #[test]
    fn a_choice_keeps_one_value() {
        let after =
            merged(ResourceType::Patient, json!({"deceasedBoolean": true}), json!({"deceasedDateTime": "2024-01-01"}));
        assert_eq!(after, json!({"deceasedDateTime": "2024-01-01"}));
        assert_eq!(merged(ResourceType::Patient, after, json!({"_deceasedDateTime": erased()})), json!({}));
    }

    #[test]
    fn status_and_class_of_a_visit_cannot_be_erased() {
        let after = merged(ResourceType::Encounter, json!({"status": "finished"}), json!({"_status": erased()}));
        assert_eq!(after, json!({"status": "finished"}));
    }

    #[test]
    fn contained_resources_follow_what_refers_to_them() {
        let stored = json!({"contained": [{"id": "p1", "a": 1}, {"id": "l1", "partOf": {"reference": "#l2"}}, {"id": "l2"}],
            "participant": [{"individual": {"reference": "#p1"}}], "location": [{"location": {"reference": "#l1"}}]});
        let incoming =
            json!({"contained": [{"id": "p1", "a": 2}], "participant": [{"individual": {"reference": "#p1"}}]});
        let after = merged(ResourceType::Encounter, stored, incoming);
        assert_eq!(
            after["contained"],
            json!([{"id": "p1", "a": 2}, {"id": "l1", "partOf": {"reference": "#l2"}}, {"id": "l2"}])
        );
    }

    #[test]
    fn contained_ids_that_clash_are_told_apart() {
        let stored = json!({"contained": [{"id": "x", "a": 1}], "location": [{"location": {"reference": "#x"}}]});
        let incoming =
            json!({"contained": [{"id": "x", "a": 2}], "participant": [{"individual": {"reference": "#x"}}]});
        let after = merged(ResourceType::Encounter, stored, incoming);
        assert_eq!(after["location"], json!([{"location": {"reference": "#x-was"}}]));
        assert_eq!(after["contained"], json!([{"id": "x", "a": 2}, {"id": "x-was", "a": 1}]));
    }
}
