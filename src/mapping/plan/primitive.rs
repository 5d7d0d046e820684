//! Simple FHIR types from v2 text: what a value must look like, and why it is not taken when it does not.
//!
//! Nothing is invented and nothing is silently bent: what cannot be said in the FHIR type does not go out, with a reason.

use jiff::tz::TimeZone;

use crate::fhir::{Arena, Node};
use crate::v2::time::{Clock, Stamp, TimeLoss, Written};

/// The simple types of FHIR R4 (datatypes 2.24.0.1), and `text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Primitive {
    String,
    Markdown,
    Code,
    Uri,
    Id,
    Boolean,
    Integer,
    PositiveInt,
    UnsignedInt,
    Decimal,
    Date,
    DateTime,
    Instant,
    Time,
    Base64Binary,
    /// A dateTime that has a time of day.
    Moment,
    /// Text as the XHTML of a narrative.
    Xhtml,
    /// Lines of FT and TX.
    Text,
}

/// A value in its FHIR form, and what was lost on the way there.
#[derive(Debug)]
pub struct Converted<'a> {
    pub node: Node<'a>,
    pub note: Option<&'static str>,
}

impl Primitive {
    /// By its FHIR name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "markdown" => Self::Markdown,
            "code" => Self::Code,
            "uri" | "url" | "canonical" | "oid" | "uuid" => Self::Uri,
            "id" => Self::Id,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "positiveInt" => Self::PositiveInt,
            "unsignedInt" => Self::UnsignedInt,
            "decimal" => Self::Decimal,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "instant" => Self::Instant,
            "time" => Self::Time,
            "base64Binary" => Self::Base64Binary,
            "moment" => Self::Moment,
            "xhtml" => Self::Xhtml,
            "text" => Self::Text,
            _ => return None,
        })
    }
}

/// Why a text has no value of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is another kind of thing, and nothing is wrong: the next rule has its turn.
    NextRule,
    /// It should have been one.
    Fault(&'static str),
}

impl From<&'static str> for Unfit {
    fn from(why: &'static str) -> Self {
        Self::Fault(why)
    }
}

/// Converts a text without escapes and without blanks around it.
///
/// # Errors
/// Why it is not a value of that type.
pub fn convert<'a>(
    simple: Primitive,
    text: &'a str,
    zone: Option<&TimeZone>,
    arena: &'a Arena,
) -> Result<Converted<'a>, Unfit> {
    let node = match simple {
        Primitive::String | Primitive::Markdown | Primitive::Text => Node::Text(text),
        Primitive::Code => Node::Text(code(text, arena)),
        Primitive::Uri => uri(text)?,
        Primitive::Id => id(text)?,
        Primitive::Boolean => Node::Bool(boolean(text)?),
        Primitive::Integer => Node::Number(integer(text, i64::from(i32::MIN), arena)?),
        Primitive::PositiveInt => Node::Number(integer(text, 1, arena)?),
        Primitive::UnsignedInt => Node::Number(integer(text, 0, arena)?),
        Primitive::Decimal => Node::Number(decimal(text, arena)?),
        Primitive::Base64Binary => base64(text, arena)?,
        Primitive::Xhtml => xhtml(text, arena),
        Primitive::Date | Primitive::DateTime | Primitive::Instant | Primitive::Moment => {
            return stamp(simple, text, zone, arena);
        }
        Primitive::Time => return Ok(time(text, arena)?),
    };
    Ok(Converted { node, note: None })
}

/// A code has no blanks at its ends and single ones within (FHIR R4 datatypes, code).
fn code<'a>(text: &'a str, arena: &'a Arena) -> &'a str {
    let bytes = text.as_bytes();
    let single =
        !bytes.windows(2).any(|pair| pair == b"  ") && !bytes.iter().any(|b| matches!(b, b'\n' | b'\t' | b'\r'));
    if single { text } else { arena.alloc_str(&text.split_whitespace().collect::<Vec<_>>().join(" ")) }
}

/// An absolute URI: something before a colon that can be a scheme (RFC 3986, 3.1), and no blanks.
fn uri(text: &str) -> Result<Node<'_>, Unfit> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let absolute = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if absolute && !text.contains(char::is_whitespace) { Ok(Node::Text(text)) } else { Err(Unfit::NextRule) }
}

/// A narrative's text (FHIR R4 narrative 2.4.0.2).
fn xhtml<'a>(text: &str, arena: &'a Arena) -> Node<'a> {
    let mut div = String::from("<div xmlns=\"http://www.w3.org/1999/xhtml\">");
    for c in text.chars() {
        match c {
            '<' => div.push_str("&lt;"),
            '>' => div.push_str("&gt;"),
            '&' => div.push_str("&amp;"),
            '"' => div.push_str("&quot;"),
            '\n' => div.push_str("<br/>"),
            other => div.push(other),
        }
    }
    div.push_str("</div>");
    Node::Text(arena.alloc_str(&div))
}

fn id(text: &str) -> Result<Node<'_>, &'static str> {
    let fits = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if fits { Ok(Node::Text(text)) } else { Err("not a FHIR id") }
}

/// HL7 table 0136, and the words that senders put in its place.
fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_uppercase().as_str() {
        "Y" | "YES" | "TRUE" | "1" | "T" => Ok(true),
        "N" | "NO" | "FALSE" | "0" | "F" => Ok(false),
        _ => Err("not a yes or no (table 0136)"),
    }
}

fn integer<'a>(text: &str, least: i64, arena: &'a Arena) -> Result<&'a str, &'static str> {
    let number: i64 = text.strip_prefix('+').unwrap_or(text).parse().map_err(|_| "not a whole number")?;
    let fits = (least..=i64::from(i32::MAX)).contains(&number);
    if fits { Ok(arena.alloc_str(&number.to_string())) } else { Err("a number out of range") }
}

/// NM as JSON digits; leading zeros and a plus go, trailing zeros are precision and stay.
fn decimal<'a>(text: &str, arena: &'a Arena) -> Result<&'a str, &'static str> {
    const WHY: &str = "not a number";
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || digits.len() > 40 || !all_digits(whole) || !all_digits(fraction) {
        return Err(WHY);
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(arena.alloc_str(&[sign, whole, point, fraction].concat()))
}

fn base64<'a>(text: &'a str, arena: &'a Arena) -> Result<Node<'a>, &'static str> {
    let body = match text.contains(char::is_whitespace) {
        true => arena.alloc_str(&text.split_whitespace().collect::<String>()),
        false => text,
    };
    let padded = body.trim_end_matches('=');
    let fits = body.len().is_multiple_of(4)
        && body.len() - padded.len() <= 2
        && padded.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    if fits { Ok(Node::Text(body)) } else { Err("not base64") }
}

fn stamp<'a>(simple: Primitive, text: &str, zone: Option<&TimeZone>, arena: &'a Arena) -> Result<Converted<'a>, Unfit> {
    let stamp = Stamp::parse(text).map_err(|_| Unfit::Fault("not an HL7 date or time, or one that never was"))?;
    let mut out = String::with_capacity(29);
    let written = match simple {
        Primitive::Date => {
            stamp.to_fhir_date(&mut out);
            Written::Whole
        }
        Primitive::DateTime => stamp.to_fhir_date_time(zone, &mut out),
        Primitive::Moment => match stamp.to_fhir_date_time(zone, &mut out) {
            Written::Whole if out.contains('T') => Written::Whole,
            _ => return Err(Unfit::NextRule),
        },
        _ => stamp.to_instant(zone, &mut out),
    };
    Ok(finish(written, &out, arena)?)
}

/// A dateTime moved on by minutes, in its own offset; nothing where it has no time or the minutes are no whole number.
pub fn later<'a>(node: &Node<'_>, minutes: &str, arena: &'a Arena) -> Option<Node<'a>> {
    let Node::Text(text) = node else { return None };
    let minutes: i64 = minutes.parse().ok().filter(|m| (0..=5_256_000).contains(m))?;
    let start: jiff::Timestamp = text.parse().ok()?;
    let end = start.checked_add(jiff::SignedDuration::from_mins(minutes)).ok()?;
    let offset = text.get(text.len().checked_sub(6)?..)?;
    let digits = |part: &str| part.parse::<i32>().ok();
    let seconds = (digits(offset.get(1..3)?)? * 60 + digits(offset.get(4..6)?)?) * 60;
    let seconds = if offset.starts_with('-') { -seconds } else { seconds };
    let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?);
    Some(Node::Text(arena.alloc_str(&end.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())))
}

fn time<'a>(text: &str, arena: &'a Arena) -> Result<Converted<'a>, &'static str> {
    let clock = Clock::parse(text).map_err(|_| "not an HL7 time")?;
    let mut out = String::with_capacity(13);
    finish(clock.to_fhir_time(&mut out), &out, arena)
}

fn finish<'a>(written: Written, out: &str, arena: &'a Arena) -> Result<Converted<'a>, &'static str> {
    let node = Node::Text(arena.alloc_str(out));
    match written {
        Written::Whole => Ok(Converted { node, note: None }),
        Written::Part(loss) => Ok(Converted { node, note: Some(loss_text(loss)) }),
        Written::Nothing(loss) => Err(loss_text(loss)),
    }
}

fn loss_text(loss: TimeLoss) -> &'static str {
    match loss {
        TimeLoss::NoZone => "only the date went out: the time has no offset and no time zone is set (`zone`)",
        TimeLoss::HourOnly => "only the date went out: FHIR has no hour without minutes",
        TimeLoss::LocalMeanTime => "only the date went out: the zone's offset then was not in whole minutes",
        TimeLoss::OffsetDropped => "the offset did not go out: a FHIR time has none",
        TimeLoss::NoTime => "a date without a time is no instant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(simple: Primitive, text: &str) -> Result<String, Unfit> {
        convert(simple, text, None, &Arena::new()).map(|c| c.node.to_json())
    }

    #[test]
    fn values_of_each_type_come_out_in_fhirs_form() {
        let cases = [
            (Primitive::Decimal, "007.50", "7.50"),
            (Primitive::Decimal, "+.5", "0.5"),
            (Primitive::Decimal, "-0", "-0"),
            (Primitive::PositiveInt, "03", "3"),
            (Primitive::Boolean, "y", "true"),
            (Primitive::Boolean, "N", "false"),
            (Primitive::Date, "20240229", "\"2024-02-29\""),
            (Primitive::DateTime, "202402291230+0100", "\"2024-02-29T12:30:00+01:00\""),
            (Primitive::DateTime, "2024", "\"2024\""),
            (Primitive::Time, "1230", "\"12:30:00\""),
            (Primitive::Code, "a  b", "\"a b\""),
            (Primitive::Base64Binary, "QUJD\n", "\"QUJD\""),
        ];
        for (simple, text, expected) in cases {
            assert_eq!(json(simple, text).as_deref(), Ok(expected), "{simple:?} {text}");
        }
    }

    #[test]
    fn what_is_not_of_the_type_is_refused() {
        let cases = [
            (Primitive::Decimal, "1e5"),
            (Primitive::Decimal, "."),
            (Primitive::Decimal, "1,5"),
            (Primitive::PositiveInt, "0"),
            (Primitive::Boolean, "maybe"),
            (Primitive::Date, "female"),
            (Primitive::Date, "20240230"),
            (Primitive::Instant, "20240101"),
            (Primitive::Base64Binary, "QUJ"),
            (Primitive::Uri, "a b"),
        ];
        for (simple, text) in cases {
            assert!(json(simple, text).is_err(), "{simple:?} {text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_goes_out_as_its_date_with_a_note() {
        let arena = Arena::new();
        let converted = convert(Primitive::DateTime, "20240101120000", None, &arena).unwrap();
        assert_eq!(converted.node.to_json(), "\"2024-01-01\"");
        assert!(converted.note.unwrap().contains("zone"));
    }
}
