//! FHIR dates as ranges of microseconds: `2024-05` is the whole month.
//!
//! A time without an offset, and a date, are taken as UTC: the mailbox serves senders of several zones and cannot know
//! which one was meant.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::mailbox::json::{Node, Object};

/// What "no end yet" and "no start known" sort as.
pub const FOREVER: i64 = i64::MAX;
pub const SINCE_EVER: i64 = i64::MIN;

/// The first and last microsecond of a date, dateTime or instant. `None` when it is none.
#[must_use]
pub fn range(text: &str) -> Option<(i64, i64)> {
    match text.find('T') {
        Some(at) => time_range(text, at),
        None => date_range(text),
    }
}

fn date_range(text: &str) -> Option<(i64, i64)> {
    let digits = |part: &str, width: usize| {
        (part.len() == width && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i16>().ok()).flatten()
    };
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map(|part| digits(part, 2).ok_or(())).transpose().ok()?;
    let day = parts.next().map(|part| digits(part, 2).ok_or(())).transpose().ok()?;
    if parts.next().is_some() {
        return None;
    }
    let of = |value: Option<i16>| i8::try_from(value.unwrap_or(1)).ok();
    let first = Date::new(year, of(month)?, of(day)?).ok()?;
    let span = match (month, day) {
        (None, _) => 1.year(),
        (_, None) => 1.month(),
        _ => 1.day(),
    };
    let start = |date: Date| Some(date.in_tz("UTC").ok()?.timestamp().as_microsecond());
    Some((start(first)?, start(first.checked_add(span).ok()?)? - 1))
}

fn time_range(text: &str, at: usize) -> Option<(i64, i64)> {
    let clock = &text[at + 1..];
    let zone = clock.find(['Z', '+', '-']);
    let time = &clock[..zone.unwrap_or(clock.len())];
    let width = match (time.len(), time.find('.')) {
        (5, _) => 60_000_000,
        (8, _) => 1_000_000,
        (length, Some(8)) => 10_i64.checked_pow(u32::try_from(15_usize.saturating_sub(length)).ok()?)?,
        _ => return None,
    };
    let seconds = if time.len() == 5 { ":00" } else { "" };
    let zone = zone.map_or("Z", |start| &clock[start..]);
    let whole = format!("{}T{time}{seconds}{zone}", &text[..at]);
    let first = whole.parse::<Timestamp>().ok()?.as_microsecond();
    Some((first, first + width - 1))
}

/// The range that a Period spans; an open end is open.
#[must_use]
pub fn period(period: &Object<'_>) -> Option<(i64, i64)> {
    let edge = |name: &str| period.get(name).and_then(Node::as_str).and_then(range);
    match (edge("start"), edge("end")) {
        (None, None) => None,
        (start, end) => Some((start.map_or(SINCE_EVER, |r| r.0), end.map_or(FOREVER, |r| r.1))),
    }
}

/// Whether a Period ends before it starts (per-1); an end that is a mere day lasts until midnight.
#[must_use]
pub fn is_reversed(period: &Object<'_>) -> bool {
    let edge = |name: &str| period.get(name).and_then(Node::as_str).and_then(range);
    edge("start").zip(edge("end")).is_some_and(|(start, end)| start.0 > end.1)
}

/// The instant by which events are ordered. A dateTime of less precision counts as its first microsecond.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::from_microsecond(range(text)?.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn a_date_spans_as_much_as_it_leaves_open() {
        for (text, first, after) in [
            ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29T10:15", "2024-02-29T10:15:00Z", "2024-02-29T10:16:00Z"),
            ("2024-02-29T10:15:30+01:00", "2024-02-29T09:15:30Z", "2024-02-29T09:15:31Z"),
            ("2024-02-29T10:15:30.5-05:00", "2024-02-29T15:15:30.5Z", "2024-02-29T15:15:30.6Z"),
        ] {
            assert_eq!(range(text), Some((micros(first), micros(after) - 1)), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_has_no_range() {
        for text in [
            "",
            "24",
            "2024-13",
            "2023-02-29",
            "2024-2-9",
            "2024-02-29T",
            "2024-02-29T25:00:00Z",
            "today",
            "2024-02-29-01",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn an_open_period_has_no_end() {
        let open = serde_json::json!({"start": "2024-01-01"});
        assert_eq!(period(Node::from(&open).as_object().unwrap()), Some((micros("2024-01-01T00:00:00Z"), FOREVER)));
        assert_eq!(period(&Object::default()), None);
    }
}
