//! JSON as FHIR has it: UTF-8, no property twice in one object, and nested no deeper than allowed.
//!
//! A property that stands twice means one thing to the mailbox and another to whoever retrieves the message, so it is
//! refused. serde_json keeps the last and says nothing; but then the object has fewer members than the text has colons.

use serde_json::Value;

use crate::mailbox::outcome::Issue;

/// Parses a body.
///
/// # Errors
/// An [`Issue`] that says what is wrong with it as JSON.
pub fn parse(text: &str, depth_limit: usize) -> Result<Value, Issue> {
    let shape = Shape::of(text.as_bytes());
    if shape.depth > depth_limit {
        let text = format!("the JSON nests {} deep; the mailbox takes {depth_limit}", shape.depth);
        return Err(Issue::error("too-costly", text));
    }
    let value = serde_json::from_str(text).map_err(|fault| {
        Issue::error("structure", format!("the body is not JSON: line {}, column {}", fault.line(), fault.column()))
    })?;
    if members(&value) != shape.members {
        return Err(Issue::error("structure", "a property stands twice in one object"));
    }
    Ok(value)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    depth: usize,
    /// Colons outside of strings.
    members: usize,
}

impl Shape {
    fn of(text: &[u8]) -> Self {
        let (mut shape, mut depth) = (Self::default(), 0_usize);
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => skip_string(&mut bytes),
                b':' => shape.members += 1,
                b'{' | b'[' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        shape
    }
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_stands_twice_is_refused() {
        assert!(parse(r#"{"a": 1, "b": {"a": ":"}, "c": ["\":{", {}]}"#, 9).is_ok());
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "x": "\\", "a": 2}}]"#] {
            assert!(parse(text, 9).unwrap_err().text.contains("twice"), "{text}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_refused_before_it_is_parsed() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(parse(&deep, 64).unwrap_err().code, "too-costly");
        assert!(parse("[[[[]]]]", 4).is_ok());
        assert!(parse("[[[[]]]]", 3).is_err());
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place_and_without_its_content() {
        let fault = parse("{\"name\": Doe}", 9).unwrap_err();
        assert!(fault.text.contains("line 1, column 10") && !fault.text.contains("Doe"), "{}", fault.text);
    }

    #[test]
    fn the_precision_of_a_decimal_is_kept() {
        assert_eq!(parse("[1.50, 100000000000000000.01]", 9).unwrap().to_string(), "[1.50,100000000000000000.01]");
    }
}
