//! HL7 timestamps (DTM, TS, DT, TM; HL7 v2.5.1 ch. 2.A.21, 2.A.22, 2.A.75, 2.A.77) and what FHIR can say of them.
//!
//! `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`. The precision that was sent is kept and nothing is invented:
//!
//! - A FHIR dateTime with a time needs an offset. It is the value's own, else that of the zone given (the sender's,
//!   from configuration), else the time is dropped and the date stays, and the caller is told.
//! - FHIR has no hour without minutes: `2024010112` becomes the date. Seconds may be filled with zeros (FHIR R4,
//!   datatypes: dateTime), so `202401011230` is 12:30:00.
//! - A local time that occurs twice, when clocks go back, is the first of the two. One that never occurs, when they
//!   go forward, keeps its digits and the offset from before the change, which is the same instant an hour later.
//! - A second of 60 becomes 59: FHIR's grammar lets a leap second through, the date types of most receivers do not.
//!
//! Refused: dates that do not exist, hour 24, offsets beyond 14 hours, anything behind the value, and milliseconds
//! without a dot. Blanks around the value are ignored; fractions longer than HL7's four digits are kept up to nine.

use jiff::civil;
use jiff::tz::{Offset, TimeZone};

/// How much of a timestamp was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// Why a value is no timestamp. Holds nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeFault {
    #[error("empty, where a date was expected")]
    Empty,
    #[error("not an HL7 date: character {0} is not a digit")]
    NotDigits(usize),
    #[error("not an HL7 date: {0} digits, where YYYY[MM[DD[HH[MM[SS]]]]] has 4, 6, 8, 10, 12 or 14")]
    DateLength(usize),
    #[error(
        "not an HL7 date: {0} digits; milliseconds need a dot, YYYYMMDDHHMMSS.mmm, or the sender's format corrected"
    )]
    FractionWithoutDot(usize),
    #[error("not an HL7 time: {0} digits, where HH[MM[SS]] has 2, 4 or 6")]
    TimeLength(usize),
    #[error("a fraction must have one to nine digits and stand behind the seconds")]
    Fraction,
    #[error("an offset must be + or - and four digits, at most 14 hours")]
    Offset,
    #[error("there is no year 0")]
    Year,
    #[error("there is no month {0}")]
    Month(u8),
    #[error("that month has no day {0}")]
    Day(u8),
    #[error("there is no hour {0}; midnight is 00 of the next day")]
    Hour(u8),
    #[error("there is no minute {0}")]
    Minute(u8),
    #[error("there is no second {0}")]
    Second(u8),
}

/// What a FHIR date type could hold of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// All of it.
    Whole,
    /// A part: the date of a dateTime, the clock time of a time with an offset.
    Part(TimeLoss),
    /// Nothing was written.
    Nothing(TimeLoss),
}

/// What FHIR's date type could not say. How that is told, and what went out instead, is for who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLoss {
    /// The value has no offset and the sender no time zone.
    NoZone,
    /// FHIR has no hour without minutes.
    HourOnly,
    /// The zone's offset at that time is not in whole minutes.
    LocalMeanTime,
    /// A FHIR time has no offset.
    OffsetDropped,
    /// A date without a time is no instant.
    NoTime,
}

/// A clock time, as precise as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    hour: u8,
    minute: Option<u8>,
    second: Option<u8>,
    /// Digits of the fraction, and their value.
    fraction: (u8, u32),
    /// The value's own offset in minutes.
    offset: Option<i16>,
}

/// A timestamp, as precise as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    year: i16,
    month: Option<u8>,
    day: Option<u8>,
    clock: Option<Clock>,
    /// The value's own offset in minutes. A date may have one too (`20240101+0100`), which FHIR cannot say.
    offset: Option<i16>,
}

impl Stamp {
    /// Reads a DTM, TS.1 or DT.
    ///
    /// # Errors
    /// [`TimeFault`] where it is none, or none that ever was.
    pub fn parse(raw: &str) -> Result<Self, TimeFault> {
        let Parts { digits, fraction, offset } = Parts::split(raw)?;
        let (date, clock) = match digits.len() {
            4 | 6 | 8 => (digits, None),
            10 | 12 | 14 => (&digits[..8], Some(&digits[8..])),
            n @ 15..=18 => return Err(TimeFault::FractionWithoutDot(n)),
            n => return Err(TimeFault::DateLength(n)),
        };
        let year = i16::from(pair(date, 0)) * 100 + i16::from(pair(date, 2));
        let month = (date.len() >= 6).then(|| pair(date, 4));
        let day = (date.len() == 8).then(|| pair(date, 6));
        if year == 0 {
            return Err(TimeFault::Year);
        }
        let first = civil::Date::new(year, i8_of(month.unwrap_or(1)), 1);
        let days = first.map_err(|_| TimeFault::Month(month.unwrap_or_default()))?.days_in_month();
        if let Some(day) = day
            && !(1..=days).contains(&i8_of(day))
        {
            return Err(TimeFault::Day(day));
        }
        let clock = match clock {
            Some(digits) => Some(Clock::read(digits, fraction, offset)?),
            None if fraction.is_some() => return Err(TimeFault::Fraction),
            None => None,
        };
        Ok(Self { year, month, day, clock, offset })
    }

    #[must_use]
    pub fn precision(&self) -> Precision {
        match (self.month, self.day, &self.clock) {
            (_, _, Some(Clock { second: Some(_), .. })) => Precision::Second,
            (_, _, Some(Clock { minute: Some(_), .. })) => Precision::Minute,
            (_, _, Some(_)) => Precision::Hour,
            (_, Some(_), None) => Precision::Day,
            (Some(_), None, None) => Precision::Month,
            (None, None, None) => Precision::Year,
        }
    }

    /// The value's own offset. That of MSH-7 is the default for the whole message (HL7 v2.5.1 ch. 2.15.9.7).
    #[must_use]
    pub fn zone(&self) -> Option<TimeZone> {
        Offset::from_seconds(i32::from(self.offset?) * 60).ok().map(TimeZone::fixed)
    }

    /// Writes a FHIR date: the date as sent, to the day, month or year. A time of day is none of its business.
    pub fn to_fhir_date(&self, out: &mut String) {
        number(out, u32::from(self.year.unsigned_abs()), 4);
        for part in [self.month, self.day].into_iter().flatten() {
            out.push('-');
            number(out, u32::from(part), 2);
        }
    }

    /// Writes a FHIR dateTime; with a [`TimeLoss`] the date alone.
    pub fn to_fhir_date_time(&self, zone: Option<&TimeZone>, out: &mut String) -> Written {
        match self.offset_at(zone) {
            Ok(offset) => self.write_with(offset, out),
            Err(TimeLoss::NoTime) => {
                self.to_fhir_date(out);
                Written::Whole
            }
            Err(loss) => {
                self.to_fhir_date(out);
                Written::Part(loss)
            }
        }
    }

    /// Writes a FHIR instant, or nothing: it must be known to the second, a missing second being zero.
    pub fn to_instant(&self, zone: Option<&TimeZone>, out: &mut String) -> Written {
        match self.offset_at(zone) {
            Ok(offset) => self.write_with(offset, out),
            Err(loss) => Written::Nothing(loss),
        }
    }

    fn write_with(&self, offset: i16, out: &mut String) -> Written {
        self.to_fhir_date(out);
        if let Some(clock) = &self.clock {
            out.push('T');
            clock.write(out);
            write_offset(out, offset);
        }
        Written::Whole
    }

    /// The moment itself, where [`to_instant`](Self::to_instant) could write it.
    #[must_use]
    pub fn to_timestamp(&self, zone: Option<&TimeZone>) -> Option<jiff::Timestamp> {
        let seconds = i32::from(self.offset_at(zone).ok()?) * 60;
        Offset::from_seconds(seconds).ok()?.to_timestamp(self.civil()?).ok()
    }

    /// The offset in minutes that belongs to this time of day.
    fn offset_at(&self, zone: Option<&TimeZone>) -> Result<i16, TimeLoss> {
        match &self.clock {
            None => return Err(TimeLoss::NoTime),
            Some(Clock { minute: None, .. }) => return Err(TimeLoss::HourOnly),
            Some(_) => {}
        }
        if let Some(own) = self.offset {
            return Ok(own);
        }
        let zone = zone.ok_or(TimeLoss::NoZone)?;
        let local = self.civil().ok_or(TimeLoss::NoTime)?;
        let seconds = match zone.to_ambiguous_timestamp(local).offset() {
            jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset,
            jiff::tz::AmbiguousOffset::Gap { before, .. } | jiff::tz::AmbiguousOffset::Fold { before, .. } => before,
        }
        .seconds();
        // Before there were zones towns had their own time: Paris was 9 minutes and 21 seconds ahead.
        let whole = seconds % 60 == 0 && seconds.abs() <= 14 * 3600;
        if whole {
            i16::try_from(seconds / 60).map_err(|_| TimeLoss::LocalMeanTime)
        } else {
            Err(TimeLoss::LocalMeanTime)
        }
    }

    fn civil(&self) -> Option<civil::DateTime> {
        let clock = self.clock.as_ref()?;
        let date = civil::Date::new(self.year, i8_of(self.month?), i8_of(self.day?)).ok()?;
        let (digits, value) = clock.fraction;
        let nanoseconds = i32::try_from(value * 10_u32.pow(u32::from(9 - digits))).ok()?;
        let (minute, second) = (clock.minute.unwrap_or_default(), clock.second.unwrap_or_default());
        let time = civil::Time::new(i8_of(clock.hour), i8_of(minute), i8_of(second), nanoseconds).ok()?;
        Some(date.to_datetime(time))
    }
}

impl Clock {
    /// Reads a TM: `HH[MM[SS[.S[S[S[S]]]]]][+/-ZZZZ]`.
    ///
    /// # Errors
    /// [`TimeFault`] where it is none.
    pub fn parse(raw: &str) -> Result<Self, TimeFault> {
        let Parts { digits, fraction, offset } = Parts::split(raw)?;
        match digits.len() {
            2 | 4 | 6 => Self::read(digits, fraction, offset),
            n => Err(TimeFault::TimeLength(n)),
        }
    }

    /// Writes a FHIR time, which has no offset.
    pub fn to_fhir_time(&self, out: &mut String) -> Written {
        if self.minute.is_none() {
            return Written::Nothing(TimeLoss::HourOnly);
        }
        self.write(out);
        if self.offset.is_some() { Written::Part(TimeLoss::OffsetDropped) } else { Written::Whole }
    }

    fn read(digits: &[u8], fraction: Option<&[u8]>, offset: Option<i16>) -> Result<Self, TimeFault> {
        let hour = pair(digits, 0);
        let minute = (digits.len() >= 4).then(|| pair(digits, 2));
        let second = (digits.len() == 6).then(|| pair(digits, 4));
        match (hour, minute, second) {
            (24.., _, _) => return Err(TimeFault::Hour(hour)),
            (_, Some(minute @ 60..), _) => return Err(TimeFault::Minute(minute)),
            (_, _, Some(second @ 61..)) => return Err(TimeFault::Second(second)),
            _ => {}
        }
        let fraction = match fraction {
            Some(_) if second.is_none() => return Err(TimeFault::Fraction),
            Some(digits) => {
                let value = digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
                (u8::try_from(digits.len()).map_err(|_| TimeFault::Fraction)?, value)
            }
            None => (0, 0),
        };
        Ok(Self { hour, minute, second: second.map(|s| s.min(59)), fraction, offset })
    }

    fn write(&self, out: &mut String) {
        number(out, u32::from(self.hour), 2);
        for part in [self.minute, self.second] {
            out.push(':');
            number(out, u32::from(part.unwrap_or_default()), 2);
        }
        if let (digits @ 1.., value) = self.fraction {
            out.push('.');
            number(out, value, usize::from(digits));
        }
    }
}

/// A value cut into its digits, its fraction and its offset.
struct Parts<'a> {
    digits: &'a [u8],
    fraction: Option<&'a [u8]>,
    offset: Option<i16>,
}

impl<'a> Parts<'a> {
    fn split(raw: &'a str) -> Result<Self, TimeFault> {
        let value = raw.trim_ascii().as_bytes();
        let blanks = raw.len() - raw.trim_ascii_start().len();
        if value.is_empty() {
            return Err(TimeFault::Empty);
        }
        let signed = value.iter().position(|b| matches!(b, b'+' | b'-'));
        let (local, offset) = match signed {
            Some(at) => {
                // An ISO date's hyphen is no offset gone wrong.
                let fault = if at < 8 { TimeFault::NotDigits(blanks + at + 1) } else { TimeFault::Offset };
                (&value[..at], Some(offset(&value[at..]).ok_or(fault)?))
            }
            None => (value, None),
        };
        let (digits, fraction) = match local.iter().position(|&b| b == b'.') {
            Some(at) => (&local[..at], Some(&local[at + 1..])),
            None => (local, None),
        };
        if let Some(at) = digits.iter().position(|b| !b.is_ascii_digit()) {
            return Err(TimeFault::NotDigits(blanks + at + 1));
        }
        if fraction.is_some_and(|f| !(1..=9).contains(&f.len()) || !f.iter().all(u8::is_ascii_digit)) {
            return Err(TimeFault::Fraction);
        }
        Ok(Self { digits, fraction, offset })
    }
}

/// `+0100` in minutes; `-0030` is minus thirty.
fn offset(text: &[u8]) -> Option<i16> {
    if text.len() != 5 || !text[1..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (hours, minutes) = (i16::from(pair(text, 1)), i16::from(pair(text, 3)));
    let total = hours * 60 + minutes;
    let valid = minutes <= 59 && total <= 14 * 60;
    valid.then_some(if text[0] == b'-' { -total } else { total })
}

/// Two digits, which the caller has seen to be digits.
fn pair(digits: &[u8], at: usize) -> u8 {
    let digit = |at: usize| digits.get(at).map_or(0, |b| b.wrapping_sub(b'0'));
    digit(at).wrapping_mul(10).wrapping_add(digit(at + 1))
}

fn i8_of(value: u8) -> i8 {
    i8::try_from(value).unwrap_or(i8::MAX)
}

fn number(out: &mut String, value: u32, digits: usize) {
    for place in (0..digits).rev() {
        let digit = value / 10_u32.pow(u32::try_from(place).unwrap_or_default()) % 10;
        out.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

fn write_offset(out: &mut String, minutes: i16) {
    out.push(if minutes < 0 { '-' } else { '+' });
    let minutes = u32::from(minutes.unsigned_abs());
    number(out, minutes / 60, 2);
    out.push(':');
    number(out, minutes % 60, 2);
}

#[cfg(test)]
mod tests;
