//! From the message's own URLs to the mailbox's: `urn:uuid:...` and `.../Patient?identifier=...` become `Patient/<id>`.

use serde_json::Value;

use super::message::Message;
use super::targets::Targets;
use crate::mailbox::outcome::Issue;

/// Rewrites every reference within `value` that names an entry of the message.
pub fn rewrite(value: &mut Value, targets: &Targets) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::String(text) if name == "reference" => {
                        if let Some(target) = targets.get(text) {
                            *text = format!("{}/{}", target.kind.name(), target.id);
                        }
                    }
                    value => rewrite(value, targets),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, targets)),
        _ => {}
    }
}

/// A reference that can only mean an entry of this Bundle must mean one.
pub fn check(message: &Message) -> Result<(), Issue> {
    for entry in &message.entries {
        for (name, value) in &entry.resource {
            dangling(message, value).map_or(Ok(()), |_| {
                let text = "a reference names no entry of this message";
                Err(Issue::error("not-found", text).at(entry.place(name)))
            })?;
        }
    }
    Ok(())
}

fn dangling<'a>(message: &Message, value: &'a Value) -> Option<&'a str> {
    match value {
        Value::Object(map) => {
            let own = map.get("reference").and_then(Value::as_str).filter(|text| is_internal(text));
            let own = own.filter(|text| message.entries.iter().all(|entry| entry.full_url != *text));
            own.or_else(|| map.values().find_map(|value| dangling(message, value)))
        }
        Value::Array(items) => items.iter().find_map(|item| dangling(message, item)),
        _ => None,
    }
}

fn is_internal(reference: &str) -> bool {
    reference.starts_with("urn:") || reference.contains('?')
}
