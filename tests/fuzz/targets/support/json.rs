//! Changes JSON as JSON: members and items are removed, doubled, moved, renamed, and get other values.

use serde_json::{Value, json};

/// The parts of an input, which holds several texts.
pub fn split<'i>(input: &'i [u8], between: &[u8]) -> Vec<&'i [u8]> {
    let mut parts = Vec::new();
    let mut rest = input;
    while let Some(at) = rest.windows(between.len()).position(|window| window == between) {
        parts.push(&rest[..at]);
        rest = &rest[at + between.len()..];
    }
    parts.push(rest);
    parts.retain(|part| !part.is_empty());
    parts
}

/// Changes one of the texts; gives the new length. `None`: leave it to the bytes, one time in eight and where it is no JSON.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32, between: &[u8]) -> Option<usize> {
    let mut dice = Dice(u64::from(seed) << 1 | 1);
    if dice.below(8) == 0 {
        return None;
    }
    let mut texts: Vec<Value> =
        split(&data[..size], between).into_iter().map(serde_json::from_slice).collect::<Result<_, _>>().ok()?;
    if texts.is_empty() {
        return None;
    }
    for _ in 0..=dice.below(3) {
        let of = dice.below(texts.len());
        match dice.below(16) {
            0 if texts.len() < 4 => texts.push(texts[of].clone()),
            1 if texts.len() > 1 => drop(texts.remove(of)),
            _ => {
                let other = texts[dice.below(texts.len())].clone();
                change(&mut texts[of], &other, &mut dice);
            }
        }
    }
    let texts: Vec<String> = texts.iter().map(Value::to_string).collect();
    let text = texts.join(std::str::from_utf8(between).ok()?);
    data.get_mut(..text.len().min(max_size))?.copy_from_slice(text.get(..text.len().min(max_size))?.as_bytes());
    (text.len() <= max_size).then_some(text.len())
}

fn change(text: &mut Value, other: &Value, dice: &mut Dice) {
    let at = dice.below(count(text));
    let other = find(other, dice.below(count(other))).clone();
    let node = find_mut(text, at);
    match (dice.below(8), &mut *node) {
        (0, Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(dice.below(members.len())).cloned().unwrap();
            members.remove(&name);
        }
        (1, Value::Object(members)) => drop(members.insert(dice.of(&NAMES).to_string(), other)),
        (2, Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(dice.below(members.len())).cloned().unwrap();
            let value = members.remove(&name).unwrap();
            members.insert(dice.of(&NAMES).to_string(), value);
        }
        (0, Value::Array(items)) if !items.is_empty() => drop(items.remove(dice.below(items.len()))),
        (1 | 2, Value::Array(items)) if !items.is_empty() => {
            let item = items[dice.below(items.len())].clone();
            items.insert(dice.below(items.len()), item);
        }
        (3, Value::Array(items)) if items.len() > 1 => {
            let (one, other) = (dice.below(items.len()), dice.below(items.len()));
            items.swap(one, other);
        }
        (0..=3, Value::String(text)) => *text = dice.of(&TEXTS).to_string(),
        (4, Value::String(text)) => text.push_str(dice.of(&TEXTS)),
        (5, _) => *node = dice.value(),
        (6, _) => *node = json!([node.clone()]),
        _ => *node = other,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

/// The node with this number, counted from the root on.
fn find(value: &Value, mut at: usize) -> &Value {
    if at == 0 {
        return value;
    }
    at -= 1;
    for child in children(value) {
        let nodes = count(child);
        if at < nodes {
            return find(child, at);
        }
        at -= nodes;
    }
    value
}

fn find_mut(value: &mut Value, mut at: usize) -> &mut Value {
    if at == 0 {
        return value;
    }
    at -= 1;
    let sizes: Vec<usize> = children(value).into_iter().map(count).collect();
    let mut place = 0;
    while at >= sizes[place] {
        at -= sizes[place];
        place += 1;
    }
    let child = match value {
        Value::Array(items) => items.get_mut(place),
        Value::Object(members) => members.values_mut().nth(place),
        _ => None,
    };
    find_mut(child.expect("it was counted"), at)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % limit.max(1)
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn value(&mut self) -> Value {
        match self.below(8) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!([]),
            3 => json!({}),
            4 => json!(-1),
            5 => serde_json::from_str("1e400").unwrap_or_default(),
            _ => json!(self.of(&TEXTS)),
        }
    }
}

const NAMES: [&str; 28] = [
    "resourceType",
    "id",
    "identifier",
    "fullUrl",
    "resource",
    "reference",
    "subject",
    "patient",
    "encounter",
    "link",
    "other",
    "type",
    "status",
    "system",
    "value",
    "active",
    "meta",
    "tag",
    "contained",
    "extension",
    "_status",
    "focus",
    "destination",
    "endpoint",
    "response",
    "period",
    "timestamp",
    "request",
];

const TEXTS: [&str; 40] = [
    "",
    " ",
    "Patient",
    "Encounter",
    "Condition",
    "Observation",
    "Procedure",
    "AllergyIntolerance",
    "Location",
    "MessageHeader",
    "Bundle",
    "admin-notify",
    "clinical-notify",
    "patient-link",
    "patient-unlink",
    "message",
    "A01",
    "A40",
    "A37",
    "A47",
    "A23",
    "A17",
    "replaces",
    "replaced-by",
    "seealso",
    "finished",
    "cancelled",
    "in-progress",
    "entered-in-error",
    "2024-04-02T10:15:09+02:00",
    "0001",
    "9999-12-31",
    "urn:uuid:22361356-bf3e-5f96-bf2b-111907bf7bfb",
    "http://e/fhir/Patient?identifier=urn:a%7C1",
    "Patient/1",
    "#x",
    "?identifier=%",
    "urn:a",
    "\u{0}",
    "\u{10FFFF}",
];
