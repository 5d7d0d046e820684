//! The formats of R4's primitive types (datatypes 2.24.0.1).

use crate::fhir::ids::is_id;
use crate::mailbox::json::Node;
use crate::mailbox::search::date;

/// What a value of the type looks like, when this is none.
pub fn fault(kind: &str, value: &Node<'_>) -> Option<&'static str> {
    match kind {
        "boolean" => (value.as_bool().is_none()).then_some("true or false, without quotes"),
        "integer" => (!in_range(value, i64::from(i32::MIN))).then_some("a whole number, without quotes"),
        "unsignedInt" => (!in_range(value, 0)).then_some("a whole number of 0 or more, without quotes"),
        "positiveInt" => (!in_range(value, 1)).then_some("a whole number of 1 or more, without quotes"),
        "decimal" => (!matches!(value, Node::Number(_))).then_some("a number, without quotes"),
        _ => match value.as_str() {
            None => Some("a text"),
            Some("") => Some("a text that is not empty"),
            Some(text) => text_fault(kind, text),
        },
    }
}

fn in_range(value: &Node<'_>, low: i64) -> bool {
    let Node::Number(text) = value else { return false };
    text.parse().is_ok_and(|number: i64| (low..=i64::from(i32::MAX)).contains(&number))
}

fn text_fault(kind: &str, text: &str) -> Option<&'static str> {
    match kind {
        "id" => (!is_id(text)).then_some("1 to 64 letters, digits, - and ."),
        "code" => (!is_code(text)).then_some("a code without blanks at its ends or doubled"),
        "uri" | "url" | "canonical" | "oid" | "uuid" => has_blank(text).then_some("a URI without blanks"),
        "date" => (text.contains('T') || date::range(text).is_none()).then_some("a date such as 2024-05-01"),
        "dateTime" => (!is_date_time(text)).then_some("a date, or a time with seconds and offset"),
        "instant" => (!text.contains('T') || !is_date_time(text)).then_some("a time with seconds and offset"),
        "time" => (!is_time(text)).then_some("a time such as 10:15:00"),
        "base64Binary" => (!text.bytes().all(is_base64)).then_some("base64"),
        _ => text.trim().is_empty().then_some("a text that is not blank"),
    }
}

/// Most texts are ASCII, of which it is told without decoding.
fn has_blank(text: &str) -> bool {
    text.bytes().any(|byte| !byte.is_ascii_graphic()) && text.contains(char::is_whitespace)
}

fn is_code(text: &str) -> bool {
    if !has_blank(text) {
        return true;
    }
    text.split(' ').all(|word| !word.is_empty() && !word.contains(char::is_whitespace))
}

fn is_date_time(text: &str) -> bool {
    let Some((day, clock)) = text.split_once('T') else { return date::range(text).is_some() };
    let zone = clock.find(['Z', '+', '-']);
    let seconds = zone.map(|zone| &clock[..zone]).is_some_and(is_time);
    day.len() == 10 && seconds && date::range(text).is_some()
}

/// `hh:mm:ss` with or without a fraction.
fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = whole.split(':').collect();
    let limits = ["24", "60", "61"];
    let in_range = |(part, limit): (&&str, &str)| part.len() == 2 && digits(part) && **part < *limit;
    parts.len() == 3 && parts.iter().zip(limits).all(in_range) && fraction.is_none_or(digits)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=') || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn good_values_pass() {
        for (kind, value) in [
            ("boolean", json!(true)),
            ("integer", json!(-3)),
            ("positiveInt", json!(1)),
            ("decimal", json!(1.5)),
            ("string", json!("x y")),
            ("code", json!("in-progress")),
            ("code", json!("two words")),
            ("id", json!("a-b.1")),
            ("date", json!("2024")),
            ("date", json!("2024-02-29")),
            ("dateTime", json!("2024-05")),
            ("dateTime", json!("2024-05-01T10:00:00.123+02:00")),
            ("instant", json!("2024-05-01T10:00:00Z")),
            ("time", json!("23:59:59.5")),
            ("uri", json!("urn:oid:1.2")),
            ("base64Binary", json!("QQ==")),
        ] {
            assert_eq!(fault(kind, &Node::from(&value)), None, "{kind} {value}");
        }
    }

    #[test]
    fn bad_values_are_told_what_they_should_be() {
        for (kind, value) in [
            ("boolean", json!("true")),
            ("integer", json!(1.5)),
            ("positiveInt", json!(0)),
            ("unsignedInt", json!(-1)),
            ("decimal", json!("1.5")),
            ("string", json!("")),
            ("string", json!("  ")),
            ("string", json!(5)),
            ("code", json!(" x")),
            ("id", json!("a b")),
            ("date", json!("2024-02-30")),
            ("date", json!("20240230")),
            ("dateTime", json!("2024-05-01T10:00:00")),
            ("dateTime", json!("2024-05-01T10:00Z")),
            ("dateTime", json!("2024-05T10:00:00Z")),
            ("instant", json!("2024-05-01")),
            ("time", json!("24:00:00")),
            ("uri", json!("a b")),
            ("base64Binary", json!("*")),
        ] {
            assert!(fault(kind, &Node::from(&value)).is_some(), "{kind} {value}");
        }
    }
}
