use hl7_parser::datetime::{Time, TimeStamp, TimeStampOffset, parse_time, parse_timestamp};

use super::*;

fn date_time(raw: &str, zone: Option<&str>) -> (String, Written) {
    let zone = zone.map(|name| TimeZone::get(name).unwrap());
    let mut out = String::new();
    let written = Stamp::parse(raw).unwrap().to_fhir_date_time(zone.as_ref(), &mut out);
    (out, written)
}

fn instant(raw: &str, zone: Option<&str>) -> (String, Written) {
    let zone = zone.map(|name| TimeZone::get(name).unwrap());
    let mut out = String::new();
    let written = Stamp::parse(raw).unwrap().to_instant(zone.as_ref(), &mut out);
    (out, written)
}

#[test]
fn precision_is_kept_as_it_was_sent() {
    let table = [
        ("2024", "2024", Precision::Year),
        ("202402", "2024-02", Precision::Month),
        ("20240229", "2024-02-29", Precision::Day),
        ("202402291405+0100", "2024-02-29T14:05:00+01:00", Precision::Minute),
        ("20240229140531+0100", "2024-02-29T14:05:31+01:00", Precision::Second),
        ("20240229140531.2+0100", "2024-02-29T14:05:31.2+01:00", Precision::Second),
        ("20240229140531.0120-0500", "2024-02-29T14:05:31.0120-05:00", Precision::Second),
        ("20240229140531.123456789+0000", "2024-02-29T14:05:31.123456789+00:00", Precision::Second),
        ("  19800101 ", "1980-01-01", Precision::Day),
        ("00010101", "0001-01-01", Precision::Day),
        ("99991231235959+1400", "9999-12-31T23:59:59+14:00", Precision::Second),
    ];
    for (raw, expected, precision) in table {
        assert_eq!(date_time(raw, None), (expected.to_owned(), Written::Whole), "{raw}");
        assert_eq!(Stamp::parse(raw).unwrap().precision(), precision, "{raw}");
    }
}

#[test]
fn a_time_without_an_offset_takes_the_senders_zone_or_is_dropped() {
    let oslo = Some("Europe/Oslo");
    assert_eq!(date_time("20240115120000", oslo), ("2024-01-15T12:00:00+01:00".to_owned(), Written::Whole));
    assert_eq!(date_time("20240715120000", oslo), ("2024-07-15T12:00:00+02:00".to_owned(), Written::Whole));
    // The value's own offset comes first.
    assert_eq!(date_time("20240715120000-0500", oslo).0, "2024-07-15T12:00:00-05:00");
    assert_eq!(date_time("20240715120000", None), ("2024-07-15".to_owned(), Written::Part(TimeLoss::NoZone)));
    // A date stays a date whatever the zone.
    assert_eq!(date_time("20240715", oslo), ("2024-07-15".to_owned(), Written::Whole));
}

#[test]
fn the_offset_of_one_value_serves_as_the_zone_of_others() {
    let zone = Stamp::parse("202407151200-0330").unwrap().zone();
    let mut out = String::new();
    assert_eq!(Stamp::parse("20240101080000").unwrap().to_fhir_date_time(zone.as_ref(), &mut out), Written::Whole);
    assert_eq!(out, "2024-01-01T08:00:00-03:30");
    assert!(Stamp::parse("20240715120000").unwrap().zone().is_none());
}

#[test]
fn zones_with_half_hours_and_no_summer_time_are_right() {
    let table = [
        ("20240715120000", "Asia/Kolkata", "2024-07-15T12:00:00+05:30"),
        ("20240715120000", "Asia/Kathmandu", "2024-07-15T12:00:00+05:45"),
        ("20240715120000", "America/St_Johns", "2024-07-15T12:00:00-02:30"),
        ("20240715120000", "Australia/Lord_Howe", "2024-07-15T12:00:00+10:30"),
        ("20240115120000", "Australia/Lord_Howe", "2024-01-15T12:00:00+11:00"),
        ("20240715120000", "Asia/Tokyo", "2024-07-15T12:00:00+09:00"),
        ("20240715120000", "UTC", "2024-07-15T12:00:00+00:00"),
    ];
    for (raw, zone, expected) in table {
        assert_eq!(date_time(raw, Some(zone)).0, expected, "{zone}");
    }
}

#[test]
fn the_hour_that_occurs_twice_is_the_first_one() {
    assert_eq!(date_time("20241027023000", Some("Europe/Oslo")).0, "2024-10-27T02:30:00+02:00");
    assert_eq!(date_time("20241027030000", Some("Europe/Oslo")).0, "2024-10-27T03:00:00+01:00");
}

#[test]
fn the_hour_that_never_occurs_keeps_its_digits_and_is_the_instant_an_hour_later() {
    assert_eq!(date_time("20240331023000", Some("Europe/Oslo")).0, "2024-03-31T02:30:00+01:00");
    let oslo = TimeZone::get("Europe/Oslo").unwrap();
    let skipped = Stamp::parse("20240331023000").unwrap().to_timestamp(Some(&oslo)).unwrap();
    let later = Stamp::parse("20240331033000").unwrap().to_timestamp(Some(&oslo)).unwrap();
    assert_eq!(skipped, later);
    assert_eq!(skipped.to_string(), "2024-03-31T01:30:00Z");
}

#[test]
fn local_mean_time_is_no_offset_that_fhir_can_say() {
    let (text, written) = date_time("18900101120000", Some("Europe/Paris"));
    assert_eq!((text.as_str(), written), ("1890-01-01", Written::Part(TimeLoss::LocalMeanTime)));
}

#[test]
fn an_hour_without_minutes_becomes_the_date() {
    let (text, written) = date_time("2024010112+0100", Some("Europe/Oslo"));
    assert_eq!((text.as_str(), written), ("2024-01-01", Written::Part(TimeLoss::HourOnly)));
    assert_eq!(Stamp::parse("2024010112").unwrap().precision(), Precision::Hour);
}

#[test]
fn negative_offsets_of_less_than_an_hour_keep_their_sign() {
    assert_eq!(date_time("20240101120000-0030", None).0, "2024-01-01T12:00:00-00:30");
    let utc = Stamp::parse("20240101120000-0030").unwrap().to_timestamp(None).unwrap();
    assert_eq!(utc.to_string(), "2024-01-01T12:30:00Z");
    assert_eq!(date_time("20240101120000-0000", None).0, "2024-01-01T12:00:00+00:00");
}

#[test]
fn an_instant_needs_a_time_and_an_offset() {
    assert_eq!(instant("20240101120000+0100", None), ("2024-01-01T12:00:00+01:00".to_owned(), Written::Whole));
    assert_eq!(instant("202401011200", Some("Asia/Tokyo")).0, "2024-01-01T12:00:00+09:00");
    for (raw, loss) in [
        ("20240101120000", TimeLoss::NoZone),
        ("2024010112+0100", TimeLoss::HourOnly),
        ("20240101", TimeLoss::NoTime),
        ("20240101+0100", TimeLoss::NoTime),
    ] {
        assert_eq!(instant(raw, None), (String::new(), Written::Nothing(loss)), "{raw}");
    }
}

#[test]
fn a_date_is_the_date_as_sent() {
    for (raw, expected) in
        [("1980", "1980"), ("198001", "1980-01"), ("19800101", "1980-01-01"), ("19800101233000-0500", "1980-01-01")]
    {
        let mut out = String::new();
        Stamp::parse(raw).unwrap().to_fhir_date(&mut out);
        assert_eq!(out, expected);
    }
}

#[test]
fn a_second_of_sixty_is_the_last_of_its_minute() {
    assert_eq!(date_time("20161231235960+0000", None).0, "2016-12-31T23:59:59+00:00");
    assert_eq!(Stamp::parse("20161231235961"), Err(TimeFault::Second(61)));
}

#[test]
fn what_never_was_is_an_error_that_says_why() {
    let table = [
        ("", TimeFault::Empty),
        ("   ", TimeFault::Empty),
        ("\"\"", TimeFault::NotDigits(1)),
        ("female", TimeFault::NotDigits(1)),
        ("2024-01-01", TimeFault::NotDigits(5)),
        ("01/02/2024", TimeFault::NotDigits(3)),
        (" 2024O101", TimeFault::NotDigits(6)),
        ("20240101Z", TimeFault::NotDigits(9)),
        ("20240101 1200", TimeFault::NotDigits(9)),
        ("2024010", TimeFault::DateLength(7)),
        ("20", TimeFault::DateLength(2)),
        ("201610015080000", TimeFault::FractionWithoutDot(15)),
        ("20240101120000123", TimeFault::FractionWithoutDot(17)),
        ("20240101120000123+0100", TimeFault::FractionWithoutDot(17)),
        ("20240101120000000000", TimeFault::DateLength(20)),
        ("00000000", TimeFault::Year),
        ("20241301", TimeFault::Month(13)),
        ("20240001", TimeFault::Month(0)),
        ("20230229", TimeFault::Day(29)),
        ("20240431", TimeFault::Day(31)),
        ("20240100", TimeFault::Day(0)),
        ("20240101240000", TimeFault::Hour(24)),
        ("20240101126000", TimeFault::Minute(60)),
        ("20240101120099", TimeFault::Second(99)),
        ("202401011200.5", TimeFault::Fraction),
        ("20240101.5", TimeFault::Fraction),
        ("20240101120000.", TimeFault::Fraction),
        ("20240101120000.1234567890", TimeFault::Fraction),
        ("20240101120000.12x", TimeFault::Fraction),
        ("20240101120000+1", TimeFault::Offset),
        ("20240101120000+1401", TimeFault::Offset),
        ("20240101120000+0160", TimeFault::Offset),
        ("20240101120000+01:00", TimeFault::Offset),
        ("20240101120000+0100 x", TimeFault::Offset),
    ];
    for (raw, fault) in table {
        assert_eq!(Stamp::parse(raw), Err(fault), "{raw}");
    }
    assert!(TimeFault::FractionWithoutDot(17).to_string().contains("need a dot"));
}

#[test]
fn a_time_of_day_has_no_offset_in_fhir() {
    let table = [
        ("1405", "14:05:00", Written::Whole),
        ("140531", "14:05:31", Written::Whole),
        ("140531.25", "14:05:31.25", Written::Whole),
        ("140531+0100", "14:05:31", Written::Part(TimeLoss::OffsetDropped)),
        ("14", "", Written::Nothing(TimeLoss::HourOnly)),
    ];
    for (raw, expected, written) in table {
        let mut out = String::new();
        assert_eq!((Clock::parse(raw).unwrap().to_fhir_time(&mut out), out.as_str()), (written, expected), "{raw}");
    }
    assert_eq!(Clock::parse("2400"), Err(TimeFault::Hour(24)));
    assert_eq!(Clock::parse("14053"), Err(TimeFault::TimeLength(5)));
}

/// Where hl7-parser is right: well-formed values with four digits of a fraction and no `-00MM` offset.
fn as_hl7_parser_reads_it(stamp: &TimeStamp) -> String {
    let TimeStamp { year, month, day, hour, minute, second, microsecond, offset } = stamp;
    let fraction = microsecond.map(|m| format!(".{:04}", m / 100)).unwrap_or_default();
    let sign = |o: &TimeStampOffset| if o.hours < 0 { '-' } else { '+' };
    let offset = offset.as_ref().map(|o| format!("{}{:02}{:02}", sign(o), o.hours.abs(), o.minutes));
    let part = |value: Option<u8>| value.map(|v| format!("{v:02}")).unwrap_or_default();
    let parts: String = [month, day, hour, minute, second].map(|p| part(*p)).concat();
    format!("{year:04}{parts}{fraction}{}", offset.unwrap_or_default())
}

fn as_we_read_it(stamp: &Stamp) -> String {
    let mut out = String::new();
    stamp.to_fhir_date(&mut out);
    out.retain(|c| c != '-');
    if let Some(clock) = &stamp.clock {
        number(&mut out, u32::from(clock.hour), 2);
        for part in [clock.minute, clock.second].into_iter().flatten() {
            number(&mut out, u32::from(part), 2);
        }
        if let (digits @ 1.., value) = clock.fraction {
            out.push('.');
            number(&mut out, value, usize::from(digits));
        }
    }
    if let Some(offset) = stamp.offset {
        write_offset(&mut out, offset);
        out.retain(|c| c != ':');
    }
    out
}

proptest::proptest! {
    #[test]
    fn any_text_in_gives_a_timestamp_or_an_error(raw in "[0-9+.\\-é Z]{0,24}") {
        if let Ok(stamp) = Stamp::parse(&raw) {
            let mut out = String::new();
            let written = stamp.to_fhir_date_time(None, &mut out);
            proptest::prop_assert!(out.len() <= 36 && out.len() >= 4);
            proptest::prop_assert_eq!(written == Written::Whole, out.contains('T') || stamp.clock.is_none());
        }
        if let Ok(clock) = Clock::parse(&raw) {
            let mut out = String::new();
            let written = clock.to_fhir_time(&mut out);
            proptest::prop_assert_eq!(matches!(written, Written::Nothing(_)), out.is_empty());
        }
    }

    #[test]
    fn well_formed_timestamps_are_read_as_hl7_parser_reads_them(
        year in 1..=9999_u16, month in 1..=12_u8, day in 1..=28_u8, hour in 0..24_u8, minute in 0..60_u8,
        second in 0..60_u8, fraction in 0..10_000_u32, offset in -13..=14_i8, length in 4..=19_usize,
    ) {
        let whole = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}.{fraction:04}");
        // 4, 6, 8, 10, 12, 14 digits, or all with the fraction.
        let cut = if length > 14 { whole.len() } else { length / 2 * 2 };
        let sign = if offset < 0 { '-' } else { '+' };
        let raw = if cut >= 12 {
            format!("{}{sign}{:02}00", &whole[..cut], offset.abs())
        } else {
            whole[..cut].to_owned()
        };
        let theirs = parse_timestamp(&raw, false).unwrap();
        proptest::prop_assert_eq!(as_we_read_it(&Stamp::parse(&raw).unwrap()), as_hl7_parser_reads_it(&theirs));
    }

    #[test]
    fn times_of_day_are_read_as_hl7_parser_reads_them(hour in 0..24_u8, minute in 0..60_u8, second in 0..60_u8) {
        let raw = format!("{hour:02}{minute:02}{second:02}");
        let Time { hour, minute, second, .. } = parse_time(&raw, false).unwrap();
        let ours = Clock::parse(&raw).unwrap();
        proptest::prop_assert_eq!((ours.hour, ours.minute, ours.second), (hour, minute, second));
    }
}
