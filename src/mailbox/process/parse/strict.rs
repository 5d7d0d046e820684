//! JSON as FHIR has it: UTF-8, no property twice in one object, and nested no deeper than allowed.

use crate::mailbox::json::{self, JsonFault, Limits, Node};
use crate::mailbox::outcome::Issue;

/// Parses a body.
///
/// # Errors
/// An [`Issue`] that says what is wrong with it as JSON.
pub fn parse(text: &str, limits: Limits) -> Result<Node<'_>, Issue> {
    json::parse(text, limits).map_err(|fault| match fault {
        JsonFault::TooDeep => {
            let text = format!("the JSON nests deeper than {}, which is all that the mailbox takes", limits.depth);
            Issue::error("too-costly", text)
        }
        JsonFault::TooMany => {
            let text = format!(
                "the JSON holds more than {} values: send it in several messages, or have mailbox.value_limit raised",
                limits.values
            );
            Issue::error("too-costly", text)
        }
        JsonFault::Twice => Issue::error("structure", "a property stands twice in one object"),
        JsonFault::NotJson { line, column } => {
            Issue::error("structure", format!("the body is not JSON: line {line}, column {column}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, depth: usize) -> Result<Node<'_>, Issue> {
        super::parse(text, Limits { depth, values: 200_000 })
    }

    #[test]
    fn what_holds_too_many_values_is_refused_while_it_is_read() {
        let limits = Limits { depth: 9, values: 4 };
        assert!(super::parse("[1,2,3]", limits).is_ok());
        let fault = super::parse("[1,2,3,{}", limits).unwrap_err();
        assert!(fault.code == "too-costly" && fault.text.contains("value_limit"), "{fault:?}");
    }

    use crate::mailbox::canonical;

    #[test]
    fn a_property_that_stands_twice_is_refused() {
        assert!(parse(r#"{"a": 1, "b": {"a": ":"}, "c": ["\":{", {}]}"#, 9).is_ok());
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "x": "\\", "a": 2}}]"#, r#"{"a": 1, "\u0061": 1}"#] {
            assert!(parse(text, 9).unwrap_err().text.contains("twice"), "{text}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_refused_before_it_is_parsed() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(parse(&deep, 64).unwrap_err().code, "too-costly");
        assert!(parse("[[[[]]]]", 4).is_ok());
        assert!(parse("[[[[]]]]", 3).is_err());
        assert!(parse(r#"{"a":{"a":{}}}"#, 3).is_ok());
        assert!(parse(r#"{"a":{"a":{}}}"#, 2).is_err());
        assert!(parse(r#"{"a":1}"#, 1).is_ok());
    }

    #[test]
    fn what_is_not_json_is_told_by_its_place_and_without_its_content() {
        let fault = parse("{\"name\": Doe}", 9).unwrap_err();
        assert!(fault.text.contains("line 1, column 10") && !fault.text.contains("Doe"), "{}", fault.text);
    }

    #[test]
    fn the_precision_of_a_decimal_is_kept() {
        let mut out = String::new();
        canonical::write(&mut out, &parse("[1.50, 100000000000000000.01]", 9).unwrap());
        assert_eq!(out, "[1.50,100000000000000000.01]");
    }
}
