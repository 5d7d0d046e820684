//! What a message's resource changes in the stored one.
//!
//! An absent element leaves what is stored. A list is replaced whole. An element that holds nothing but a
//! data-absent-reason (HL7 v2's `""`) erases what is stored, and is itself not stored. Datatypes are replaced whole, since
//! half of one code and half of another make a third; only `period` and the backbone elements are merged inside.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::mailbox::kind::Kind;
use crate::mailbox::search::date;

const DATA_ABSENT_REASON: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

type Object = Map<String, Value>;

/// The stored resource after `incoming`; pass an empty one to create.
#[must_use]
pub fn merge(kind: Kind, mut stored: Object, mut incoming: Object) -> Object {
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

fn apply(kind: Kind, stored: &mut Object, incoming: Object) {
    for (name, value) in incoming {
        let base = name.strip_prefix('_').unwrap_or(&name).to_owned();
        if erases(&value) {
            if !required(kind, &base) {
                remove(stored, &base);
            } else if !stored.contains_key(&base) {
                stored.insert(name, value);
            }
            continue;
        }
        match value {
            Value::Array(items) if name == "extension" => extend(stored, items),
            Value::Object(inner) if merged_inside(&name) => {
                let mut own = match stored.remove(&name) {
                    Some(Value::Object(own)) => own,
                    _ => Object::new(),
                };
                let said = inner.clone();
                apply(kind, &mut own, inner);
                if date::is_reversed(&own) {
                    // What the message says now outweighs what was said before.
                    own.retain(|name, _| said.contains_key(name));
                }
                if !own.is_empty() {
                    stored.insert(name, Value::Object(own));
                }
            }
            value => {
                if !name.starts_with('_') {
                    remove(stored, &base);
                }
                if let Some(value) = without_erasing(value) {
                    stored.insert(name, value);
                }
            }
        }
    }
}

/// Extensions are elements of their own: those with a URL that the message names are replaced, the others stay. One
/// whose value erases is removed.
fn extend(stored: &mut Object, incoming: Vec<Value>) {
    let mut kept = match stored.remove("extension") {
        Some(Value::Array(kept)) => kept,
        _ => Vec::new(),
    };
    kept.retain(|old| !incoming.iter().any(|new| new["url"] == old["url"]));
    kept.extend(incoming.into_iter().filter(|new| !erases_extension(new)));
    if !kept.is_empty() {
        stored.insert("extension".into(), Value::Array(kept));
    }
}

fn erases_extension(extension: &Value) -> bool {
    let Some(map) = extension.as_object().filter(|map| map.contains_key("url")) else { return false };
    let mut rest = map.iter().filter(|(name, _)| *name != "url" && *name != "id");
    matches!((rest.next(), rest.next()), (Some((_, value)), None) if erases(value))
}

/// The elements that are merged element by element.
fn merged_inside(name: &str) -> bool {
    matches!(name, "period" | "hospitalization" | "position")
}

fn required(kind: Kind, name: &str) -> bool {
    kind == Kind::Encounter && matches!(name, "status" | "class")
}

/// Removes an element in all its forms: a choice has one value, whatever its type.
fn remove(stored: &mut Object, name: &str) {
    const CHOICES: [&str; 2] = ["deceased", "multipleBirth"];
    let choice = CHOICES.into_iter().find(|choice| name.starts_with(choice));
    stored.retain(|key, _| {
        let key = key.strip_prefix('_').unwrap_or(key);
        key != name && !choice.is_some_and(|choice| key.starts_with(choice))
    });
}

/// Whether a value is a data-absent-reason and nothing else that says something; a list of one such element counts.
pub fn erases(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.len() == 1 && erases(&items[0]),
        Value::Object(map) => {
            let Some(Value::Array(list)) = map.get("extension").filter(|_| map.len() == 1) else { return false };
            let reason = |extension: &Value| extension["url"] == DATA_ABSENT_REASON;
            list.iter().any(reason) && list.iter().all(|extension| reason(extension) || erases_extension(extension))
        }
        _ => false,
    }
}

/// What is left of a value that replaces another when the erasing parts within it are taken out; `None` for nothing.
fn without_erasing(value: Value) -> Option<Value> {
    match value {
        value if erases(&value) => None,
        Value::Object(map) => {
            let left: Object =
                map.into_iter().filter_map(|(name, value)| Some((name, without_erasing(value)?))).collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        // A null pads one list of a primitive against the other: such lists stay as they are.
        Value::Array(items) if items.iter().any(Value::is_null) => Some(Value::Array(items)),
        Value::Array(items) => {
            let items = items.into_iter().filter(|item| !erases_extension(item));
            let left: Vec<Value> = items.filter_map(without_erasing).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        scalar => Some(scalar),
    }
}

/// Gives contained resources that stay another id where the message uses theirs for something else.
fn rename_clashes(own: &Option<Value>, kept: &Option<Value>, stored: &mut Object) {
    let (Some(Value::Array(own)), Some(Value::Array(kept))) = (own, kept) else { return };
    for old in kept {
        let clash = own.iter().any(|new| new["id"] == old["id"] && new != old);
        if let Some(id) = old["id"].as_str().filter(|_| clash) {
            let (from, to) = (format!("#{id}"), format!("#{id}{KEPT}"));
            rename(stored, &from, &to);
        }
    }
}

const KEPT: &str = "-was";

fn rename(object: &mut Object, from: &str, to: &str) {
    for (name, value) in object.iter_mut() {
        rename_in(name, value, from, to);
    }
}

fn rename_in(name: &str, value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if name == "reference" && text == from => *text = to.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| rename_in(name, item, from, to)),
        Value::Object(map) => rename(map, from, to),
        _ => {}
    }
}

/// Puts back the contained resources that something in `resource` refers to, and only those (dom-3).
fn contain(resource: &mut Object, own: Option<Value>, kept: Option<Value>) {
    let list = |contained: Option<Value>| match contained {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let mut pool = list(own);
    for mut old in list(kept) {
        let clash = pool.iter().any(|new| new["id"] == old["id"]);
        if clash && pool.contains(&old) {
            continue;
        }
        if clash {
            old["id"] = json!(format!("{}{KEPT}", old["id"].as_str().unwrap_or_default()));
        }
        pool.push(old);
    }
    let mut wanted = HashSet::new();
    resource.values().for_each(|value| references(value, &mut wanted));
    loop {
        let before = wanted.len();
        for item in pool.iter().filter(|item| is_wanted(item, &wanted)).collect::<Vec<_>>() {
            references(item, &mut wanted);
        }
        if wanted.len() == before {
            break;
        }
    }
    pool.retain(|item| is_wanted(item, &wanted));
    if !pool.is_empty() {
        resource.insert("contained".into(), Value::Array(pool));
    }
}

fn is_wanted(item: &Value, wanted: &HashSet<String>) -> bool {
    item["id"].as_str().is_some_and(|id| wanted.contains(id))
}

/// The ids of contained resources that `value` refers to.
fn references(value: &Value, found: &mut HashSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(id) = map.get("reference").and_then(Value::as_str).and_then(|text| text.strip_prefix('#')) {
                found.insert(id.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    fn merged(kind: Kind, stored: Value, incoming: Value) -> Value {
        Value::Object(merge(kind, object(stored), object(incoming)))
    }

    fn erased() -> Value {
        json!({"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "unknown"}]})
    }

    #[test]
    fn an_absent_element_stays_and_an_erasing_one_goes() {
        let stored = json!({"birthDate": "1970-01-01", "gender": "male", "address": [{"city": "Oslo"}], "maritalStatus": {"text": "M"}});
        let after = merged(
            Kind::Patient,
            stored,
            json!({"_birthDate": erased(), "address": [erased()], "maritalStatus": erased()}),
        );
        assert_eq!(after, json!({"gender": "male"}));
    }

    #[test]
    fn erasing_what_is_not_there_stores_nothing() {
        assert_eq!(merged(Kind::Patient, json!({}), json!({"_birthDate": erased(), "telecom": [erased()]})), json!({}));
    }

    #[test]
    fn a_cancelled_discharge_loses_its_end_and_keeps_its_start() {
        let stored = json!({"status": "finished", "period": {"start": "2024-01-01", "end": "2024-01-05"},
            "hospitalization": {"admitSource": {"text": "E"}, "dischargeDisposition": {"text": "H"}}});
        let incoming = json!({"status": "in-progress", "period": {"_end": erased()}, "hospitalization": {"dischargeDisposition": erased()}});
        let after = merged(Kind::Encounter, stored, incoming);
        assert_eq!(
            after,
            json!({"status": "in-progress", "period": {"start": "2024-01-01"}, "hospitalization": {"admitSource": {"text": "E"}}})
        );
    }

    #[test]
    fn a_period_does_not_end_before_it_starts() {
        let after = merged(
            Kind::Encounter,
            json!({"period": {"start": "2024-05-02"}}),
            json!({"period": {"end": "2024-05-01"}}),
        );
        assert_eq!(after, json!({"period": {"end": "2024-05-01"}}));
        let same_day = json!({"period": {"end": "2024-05-02"}});
        let after = merged(Kind::Encounter, json!({"period": {"start": "2024-05-02T10:00:00Z"}}), same_day);
        assert_eq!(after, json!({"period": {"start": "2024-05-02T10:00:00Z", "end": "2024-05-02"}}));
    }

    #[test]
    fn a_datatype_is_replaced_whole() {
        let after = merged(
            Kind::Encounter,
            json!({"class": {"code": "IMP", "display": "inpatient"}}),
            json!({"class": {"code": "AMB"}}),
        );
        assert_eq!(after, json!({"class": {"code": "AMB"}}));
    }

    #[test]
    fn erasing_parts_of_what_replaces_are_not_stored() {
        let both = json!([erased()["extension"][0], {"url": "t", "_valueDateTime": erased()}]);
        let gone =
            merged(Kind::Patient, json!({"birthDate": "1970-01-01"}), json!({"_birthDate": {"extension": both}}));
        assert_eq!(gone, json!({}));
        let time =
            json!({"birthDate": "1971-01-01", "_birthDate": {"extension": [{"url": "t", "_valueDateTime": erased()}]}});
        assert_eq!(merged(Kind::Patient, json!({}), time), json!({"birthDate": "1971-01-01"}));
        let name =
            json!({"name": [{"family": "Roe", "_given": [erased()], "period": {"start": "2020", "_end": erased()}}]});
        let after = merged(Kind::Patient, json!({}), name);
        assert_eq!(after, json!({"name": [{"family": "Roe", "period": {"start": "2020"}}]}));
    }

    #[test]
    fn extensions_are_replaced_by_url_and_erased_one_by_one() {
        let stored = json!({"extension": [{"url": "a", "valueString": "1"}, {"url": "b", "valueString": "2"}]});
        let incoming = json!({"extension": [{"url": "c", "valueString": "3"}, {"url": "b", "_valueString": erased()}]});
        let after = merged(Kind::Encounter, stored, incoming);
        assert_eq!(after, json!({"extension": [{"url": "a", "valueString": "1"}, {"url": "c", "valueString": "3"}]}));
    }

    #[test]
    fn a_choice_keeps_one_value() {
        let after = merged(Kind::Patient, json!({"deceasedBoolean": true}), json!({"deceasedDateTime": "2024-01-01"}));
        assert_eq!(after, json!({"deceasedDateTime": "2024-01-01"}));
        assert_eq!(merged(Kind::Patient, after, json!({"_deceasedDateTime": erased()})), json!({}));
    }

    #[test]
    fn status_and_class_of_a_visit_cannot_be_erased() {
        let after = merged(Kind::Encounter, json!({"status": "finished"}), json!({"_status": erased()}));
        assert_eq!(after, json!({"status": "finished"}));
    }

    #[test]
    fn contained_resources_follow_what_refers_to_them() {
        let stored = json!({"contained": [{"id": "p1", "a": 1}, {"id": "l1", "partOf": {"reference": "#l2"}}, {"id": "l2"}],
            "participant": [{"individual": {"reference": "#p1"}}], "location": [{"location": {"reference": "#l1"}}]});
        let incoming =
            json!({"contained": [{"id": "p1", "a": 2}], "participant": [{"individual": {"reference": "#p1"}}]});
        let after = merged(Kind::Encounter, stored, incoming);
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
        let after = merged(Kind::Encounter, stored, incoming);
        assert_eq!(after["location"], json!([{"location": {"reference": "#x-was"}}]));
        assert_eq!(after["contained"], json!([{"id": "x", "a": 2}, {"id": "x-was", "a": 1}]));
    }
}
