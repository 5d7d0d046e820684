//! Durations and sizes as a person writes them: `"20s"`, `"16MiB"`.
//!
//! Use with `#[serde(with = "units::duration")]` on a [`Duration`](std::time::Duration) and
//! `#[serde(with = "units::size")]` on a `usize` or `u64` count of bytes. A bare number is refused: nobody remembers whether
//! it meant seconds or milliseconds.

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {what}: write a number and a unit, as in {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// A number followed by one of `units`, which hold what one of them is worth.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, worth) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*worth)
}

/// The largest unit that divides `value`.
fn print(value: u64, units: &[(&str, u64)]) -> String {
    let mut best = ("", 1);
    for &(name, worth) in units {
        if value.is_multiple_of(worth) && worth >= best.1 && (value > 0 || worth == 1) {
            best = (name, worth);
        }
    }
    format!("{}{}", value / best.1, best.0)
}

pub mod duration {
    //! `"250ms"`, `"20s"`, `"10m"`, `"4h"`, `"60d"`.

    use std::borrow::Cow;
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::UnitError;

    const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

    /// # Errors
    /// When `text` is not a whole number with one of the units ms, s, m, h, d.
    pub fn parse(text: &str) -> Result<Duration, UnitError> {
        let fault =
            || UnitError { text: text.into(), what: "duration", example: "\"250ms\", \"20s\", \"10m\", \"4h\"" };
        super::parse(text, UNITS).map(Duration::from_millis).ok_or_else(fault)
    }

    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        to.serialize_str(&super::print(millis, UNITS))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        parse(&Cow::<str>::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

pub mod size {
    //! `"512B"`, `"64KiB"`, `"16MiB"`, `"2GiB"`; `KB`, `MB` and `GB` are powers of 1000.

    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::UnitError;

    const UNITS: &[(&str, u64)] = &[
        ("B", 1),
        ("KB", 1_000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
    ];

    /// # Errors
    /// When `text` is not a whole number with one of the units, or more than the target can count.
    pub fn parse<T: TryFrom<u64>>(text: &str) -> Result<T, UnitError> {
        let fault = || UnitError { text: text.into(), what: "size", example: "\"512B\", \"64KiB\", \"16MiB\"" };
        super::parse(text, UNITS).and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(fault)
    }

    pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::print((*value).try_into().unwrap_or(u64::MAX), UNITS))
    }

    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        parse(&Cow::<str>::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sample {
        #[serde(with = "duration")]
        wait: Duration,
        #[serde(with = "size")]
        room: usize,
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["wait = \"250ms\"\nroom = \"16MiB\"\n", "wait = \"10m\"\nroom = \"1500B\"\n"] {
            let sample: Sample = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&sample).unwrap(), text);
        }
        assert_eq!(duration::parse("0s").unwrap(), Duration::ZERO);
        assert_eq!(size::parse::<u64>("64 KiB").unwrap(), 65_536);
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_an_example() {
        let fault = toml::from_str::<Sample>("wait = \"20\"\nroom = \"1B\"\n").unwrap_err().to_string();
        assert!(fault.contains("'20' is not a duration") && fault.contains("\"20s\""), "{fault}");
        assert!(size::parse::<usize>("16 megabytes").is_err());
        assert!(size::parse::<u32>("5GiB").is_err());
        assert!(duration::parse("99999999999999999d").is_err());
        assert!(duration::parse("-5s").is_err());
    }

    #[test]
    fn nothing_is_printed_with_the_smallest_unit() {
        assert_eq!(print(0, &[("B", 1), ("KiB", 1024)]), "0B");
    }
}
