//! Counts, sizes and times: none may be zero, unless zero has a meaning of its own there, and none beyond what can be meant.
//!
//! The keys are found by walking the configuration itself, so that one that is added later is checked too.

use std::time::Duration;

use toml::Value;

use super::findings::Collector;
use crate::config::file::Config;
use crate::units;

/// Keys where zero means something, though their default is not zero; config.toml says what.
const ZERO_MEANS: &[&str] = &[
    "http.max_connections_per_peer",
    "listener.max_connections_per_peer",
    "mailbox.max_connections_per_peer",
    "journal.duplicate_window",
    "journal.min_free",
    "journal.check_for",
    "journal.keep_bodies",
];

/// The least and the most of a key, and why.
const RANGES: &[(&str, u64, u64, &str)] = &[
    ("http.max_connections", 1, 65_536, "from 1 to 65536"),
    ("mailbox.max_connections", 1, 65_536, "from 1 to 65536"),
    ("journal.readers", 1, 64, "from 1 to 64"),
    ("mailbox.readers", 1, 64, "from 1 to 64"),
    ("mailbox.depth_limit", 1, 127, "from 1 to 127, which is as deep as JSON is read; FHIR stays under 20"),
    ("mailbox.body_limit", 1 << 10, 1 << 30, "from 1KiB to 1GiB"),
    ("mailbox.queue", 1, 1_000_000, "from 1 to 1000000"),
    ("journal.waiting", 1, 1_000_000, "from 1 to 1000000"),
    ("journal.batch_messages", 1, 1_000_000, "from 1 to 1000000"),
    ("journal.log_size", 64 << 10, 1 << 40, "from 64KiB to 1TiB"),
    ("mllp.frame_memory", 1 << 20, 1 << 40, "from 1MiB to 1TiB"),
    ("destination.parallel", 1, 4_096, "from 1 to 4096"),
    ("destination.max_answer", 1 << 10, 1 << 30, "from 1KiB to 1GiB"),
    ("queue.window", 1, 100_000_000, "from 1 to 100000000"),
];

/// What any other may be at most: a clock can still count with it, and a queue can have so many places.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);
const MOST: u64 = 1_000_000_000;

enum Quantity {
    Count(u64),
    Time(Duration),
    Size(u64),
    Negative,
}

impl Quantity {
    /// Of a value under a key whose default is `default`.
    fn of(value: &Value, default: &Value) -> Option<Self> {
        match (value, default) {
            (Value::Integer(count), Value::Integer(_)) => {
                Some(u64::try_from(*count).map_or(Self::Negative, Self::Count))
            }
            (Value::String(text), Value::String(default)) if units::duration::parse(default).is_ok() => {
                units::duration::parse(text).ok().map(Self::Time)
            }
            (Value::String(text), Value::String(default)) if units::size::parse::<u64>(default).is_ok() => {
                units::size::parse(text).ok().map(Self::Size)
            }
            _ => None,
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Self::Count(0) | Self::Size(0) | Self::Time(Duration::ZERO))
    }
}

pub fn check(found: &mut Collector<'_>) {
    let (Ok(typed), Ok(default)) = (Value::try_from(found.config), Value::try_from(Config::default())) else { return };
    walk(&typed, &default, "", &mut |key, value, default| {
        if found.is_at_fault(key) {
            return;
        }
        if let Some(range) = wrong(key, value, default) {
            found.fault(key, format_args!("{value} is out of range: {range}"));
        }
    });
    let retry = &found.config.destination.retry;
    if retry.base > retry.max {
        found.fault("destination.retry.base", "is longer than destination.retry.max; waits grow from one to the other");
    }
}

/// What it may be instead.
fn wrong(key: &str, value: &Value, default: &Value) -> Option<&'static str> {
    let quantity = Quantity::of(value, default)?;
    let bare: Vec<&str> = key.split('.').filter(|step| step.parse::<usize>().is_err()).collect();
    let bare = bare.join(".");
    if let Some((_, least, most, range)) = RANGES.iter().find(|(key, ..)| *key == bare) {
        let (Quantity::Count(n) | Quantity::Size(n)) = quantity else { return Some(range) };
        return (!(least..=most).contains(&&n)).then_some(range);
    }
    let means = ZERO_MEANS.contains(&bare.as_str()) || Quantity::of(default, default).is_some_and(|own| own.is_zero());
    match quantity {
        Quantity::Negative => Some("it cannot be negative"),
        quantity if quantity.is_zero() && !means => Some("more than 0"),
        Quantity::Time(time) if time > LONGEST => Some("at most \"36500d\""),
        Quantity::Count(count) if count > MOST => Some("at most 1000000000"),
        _ => None,
    }
}

/// Each leaf with its key; the first of a list in `default` stands for all of it.
fn walk(value: &Value, default: &Value, key: &str, take: &mut dyn FnMut(&str, &Value, &Value)) {
    let below = |step: &dyn std::fmt::Display| if key.is_empty() { step.to_string() } else { format!("{key}.{step}") };
    match (value, default) {
        (Value::Table(entries), Value::Table(defaults)) => {
            let known = entries.iter().filter_map(|(name, value)| Some((name, value, defaults.get(name)?)));
            known.for_each(|(name, value, default)| walk(value, default, &below(name), take));
        }
        (Value::Array(items), Value::Array(defaults)) => {
            let Some(default) = defaults.first() else { return };
            items.iter().enumerate().for_each(|(n, item)| walk(item, default, &below(&n), take));
        }
        _ => take(key, value, default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration in which a key has a value, as TOML.
    fn with(key: &str, value: &Value) -> Config {
        let mut root = Value::try_from(Config::default()).unwrap();
        let mut place = &mut root;
        for step in key.split('.') {
            place = match step.parse::<usize>() {
                Ok(n) => &mut place[n],
                Err(_) => &mut place[step],
            };
        }
        *place = value.clone();
        root.try_into().unwrap()
    }

    fn faults(key: &str, value: &Value) -> Vec<String> {
        let config = with(key, value);
        let mut found = Collector::new(&config);
        check(&mut found);
        found.done().faults.iter().map(ToString::to_string).collect()
    }

    /// What zero is for a key with this default.
    fn zero(default: &Value) -> Option<Value> {
        match Quantity::of(default, default)? {
            Quantity::Count(_) | Quantity::Negative => Some(Value::Integer(0)),
            Quantity::Time(_) => Some("0s".into()),
            Quantity::Size(_) => Some("0B".into()),
        }
    }

    #[test]
    fn zero_is_refused_for_every_quantity_but_those_where_config_toml_says_what_it_means() {
        let shown = include_str!("../../../config.toml");
        let default = Value::try_from(Config::default()).unwrap();
        let mut keys = Vec::new();
        walk(&default, &default, "", &mut |key, _, default| {
            keys.extend(zero(default).map(|zero| (key.to_owned(), zero)))
        });
        assert!(keys.len() > 25, "{keys:?}");
        for (key, zero) in keys {
            let name = key.rsplit('.').next().unwrap();
            let mut lines = shown.lines().filter(|line| line.split([' ', '=']).next() == Some(name));
            let told = lines.any(|line| line.contains("; 0: ") || line.contains("\"0s\": ") || line.contains("0B\": "));
            assert_eq!(faults(&key, &zero).is_empty(), told, "{key}: config.toml says what zero means: {told}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_out_of_range() {
        for (key, value) in [
            ("mailbox.depth_limit", Value::Integer(10_000)),
            ("destination.timeout", "99999d".into()),
            ("http.max_connections", Value::Integer(i64::MAX)),
            ("mailbox.reliable_cache_size", Value::Integer(i64::MAX)),
            ("journal.readers", Value::Integer(5_000)),
            ("destination.retry.base", "10m".into()),
        ] {
            let told = faults(key, &value);
            assert!(told.len() == 1 && told[0].starts_with(key), "{key}: {told:?}");
        }
    }
}
