//! Times as a person types and reads them: in this machine's zone.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::units;

/// `2h` (so long ago), `2026-11-20`, `2026-11-20T08:00` (of this machine's zone), or a time with its offset.
///
/// # Errors
/// When it is none of these.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    within(text, Timestamp::now(), &TimeZone::system())
}

fn within(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(ago) = units::duration::parse(text) {
        let ago = SignedDuration::try_from(ago).map_err(|_| format!("'{text}' is too long ago"))?;
        return now.checked_sub(ago).map_err(|_| format!("'{text}' is too long ago"));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let civil = text.parse::<DateTime>().or_else(|_| text.parse::<Date>().map(|date| date.at(0, 0, 0, 0)));
    let zoned = civil.ok().and_then(|civil| civil.to_zoned(zone.clone()).ok());
    zoned
        .map(|zoned| zoned.timestamp())
        .ok_or_else(|| format!("'{text}' is no time: write 90m, 2h, 3d, 2026-11-20 or 2026-11-20T08:00"))
}

/// `2026-11-20 08:00:17`
#[must_use]
pub fn show(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `40 s`, `12 min`, `3 h`, `9 d`
#[must_use]
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// `3 h ago`
#[must_use]
pub fn ago(time: Timestamp) -> String {
    format!("{} ago", span(Timestamp::now().duration_since(time).as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_span_ago_or_a_date_of_this_zone_or_one_with_its_own_offset() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Oslo").unwrap();
        for (text, expected) in [
            ("2h", "2026-11-20T08:00:00Z"),
            ("3d", "2026-11-17T10:00:00Z"),
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-07-01T08:00", "2026-07-01T06:00:00Z"),
            ("2026-07-01 08:00:30", "2026-07-01T06:00:30Z"),
            ("2026-07-01T08:00:00-04:00", "2026-07-01T12:00:00Z"),
        ] {
            assert_eq!(within(text, now, &zone), Ok(expected.parse().unwrap()), "{text}");
        }
        let fault = within("yesterday", now, &zone).unwrap_err();
        assert!(fault.contains("'yesterday'") && fault.contains("2h"), "{fault}");
    }

    #[test]
    fn a_span_is_told_in_the_unit_that_says_most() {
        assert_eq!([5, 600, 10_000, 400_000].map(span), ["5 s", "10 min", "2 h", "4 d"]);
    }
}
