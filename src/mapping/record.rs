//! What is noted while rules are walked: nothing but counts for the daemon, everything for `explain`.
//!
//! The walk is the same call either way, so an explanation can never differ from what was delivered.

use std::fmt;

use super::plan::{Rule, TableId};
use super::value::{Reader, Value};
use crate::fhir::{Node, Object};

/// Hears of everything a walk does. Positions in the message are byte offsets into its text.
pub(super) trait Recorder {
    /// The entry of this number is being built.
    fn resource(&mut self, _entry: usize) {}
    /// A value is about to be converted for this rule's target.
    fn enter(&mut self, _rule: &Rule, _object: &Object<'_>) {}
    /// The value last entered was put in its place, or came to nothing.
    fn leave(&mut self, _given: bool) {}
    /// A value of the message was taken.
    fn read(&mut self, _reader: &Reader<'_, '_>, _value: &Value<'_, '_>) {}
    /// A value goes into its place.
    fn put(&mut self, _rule: &Rule, _node: &Node<'_>, _object: &Object<'_>) {}
    /// An element goes out as "erase yours".
    fn erased(&mut self, _rule: &Rule) {}
    /// Something about the message as a whole, or a place in it.
    fn note(&mut self, place: &str, what: &str);
    /// A code found in its table.
    fn translated(&mut self, _reader: &Reader<'_, '_>, _value: &Value<'_, '_>) {}
    /// A code without a row in its table.
    fn missed(&mut self, reader: &Reader<'_, '_>, rule: &Rule, value: &Value<'_, '_>, table: TableId);
    /// A value that is not what the target needs.
    fn unconvertible(&mut self, reader: &Reader<'_, '_>, rule: &Rule, value: &Value<'_, '_>, why: &'static str);
    /// A value that went out with less than it was sent with.
    fn noted(&mut self, reader: &Reader<'_, '_>, rule: &Rule, value: &Value<'_, '_>, note: &'static str);
}

/// Something a person should know of a message that was mapped. Holds no patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The v2 place, `PID-7`, where there is one.
    pub place: String,
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.place, self.what) }
    }
}

/// The daemon's: warnings only.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    list: Vec<Warning>,
    /// Codes without a row, by where they stand: another table may have one.
    missed: Vec<(usize, Warning)>,
    found: Vec<usize>,
}

impl Warnings {
    /// All of them. A code that one table lacks and another has (an address's type and its use stand in one field) is
    /// no miss.
    pub fn finish(mut self) -> Vec<Warning> {
        for (at, warning) in std::mem::take(&mut self.missed) {
            if !self.found.contains(&at) {
                self.add(warning.place, warning.what);
            }
        }
        self.list
    }

    pub fn add(&mut self, place: String, what: impl Into<String>) {
        let warning = Warning { place, what: what.into() };
        if !self.list.contains(&warning) {
            self.list.push(warning);
        }
    }
}

impl Recorder for Warnings {
    fn note(&mut self, place: &str, what: &str) {
        self.add(place.to_owned(), what);
    }

    fn missed(&mut self, reader: &Reader<'_, '_>, _rule: &Rule, value: &Value<'_, '_>, table: TableId) {
        let table = &reader.plan.tables[table].name;
        let warning = Warning { place: place_of(reader, value), what: format!("the code has no row in table {table}") };
        self.missed.push((offset_of(reader, value), warning));
    }

    fn translated(&mut self, reader: &Reader<'_, '_>, value: &Value<'_, '_>) {
        self.found.push(offset_of(reader, value));
    }

    fn unconvertible(&mut self, reader: &Reader<'_, '_>, rule: &Rule, value: &Value<'_, '_>, why: &'static str) {
        self.add(place_of(reader, value), format!("{why} (rule {})", reader.plan.place(rule.place)));
    }

    fn noted(&mut self, reader: &Reader<'_, '_>, _rule: &Rule, value: &Value<'_, '_>, note: &'static str) {
        self.add(place_of(reader, value), note);
    }
}

/// Where a value's text starts in the message.
fn offset_of(reader: &Reader<'_, '_>, value: &Value<'_, '_>) -> usize {
    match value {
        Value::Part(part) => reader.message.offset(part.leaf()).unwrap_or_default(),
        _ => 0,
    }
}

/// Where a value stands in the message, as a path a person reads: `PID-3[2].4`.
pub(super) fn place_of(reader: &Reader<'_, '_>, value: &Value<'_, '_>) -> String {
    match value {
        Value::Part(part) => {
            let place = reader.message.offset(part.raw()).and_then(|offset| reader.message.locate(offset));
            place.map_or_else(String::new, |place| place.to_string())
        }
        Value::Segment(segment) => reader.message.name(*segment).to_owned(),
        Value::Text(_) | Value::Fixed(_) => String::new(),
    }
}
