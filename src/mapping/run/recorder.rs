//! What is noted while rules are walked: nothing but counts for the daemon, everything for `explain`.
//!
//! The walk is the same call either way, so an explanation can never differ from what was delivered.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::entries::Entries;
use super::reader::{MessageReader, SourceValue};
use crate::fhir::known::FEW;
use crate::fhir::{Node, Object};
use crate::mapping::plan::Course;
use crate::mapping::plan::rule::{Expr, Rule, TableId};
use crate::work;

/// Hears of everything a walk does. What has a body here costs the daemon nothing.
///
/// The steps of one rule come in this order: `enter`; `read`, `piece` and `filled` for what it takes; for a template
/// its `argument`s and the steps of its rules; what the value ran into; `placed`; `leave`.
pub trait Recorder {
    /// It does not want to hear of rules that had nothing to read.
    const BRIEF: bool = false;

    /// The entry of this number is being looked for (its condition and key are read), or built.
    fn entry(&mut self, _stage: Stage, _entry: usize) {}
    fn enter(&mut self, _rule: &Rule) {}
    /// The value was put in its place, or came to nothing.
    fn leave(&mut self, _given: bool) {}
    /// The rule takes this value.
    fn read(&mut self, _reader: &MessageReader<'_, '_>, _rule: &Rule, _expr: &Expr, _value: &SourceValue<'_, '_>) {}
    /// A value filled into a text.
    fn piece(&mut self, _reader: &MessageReader<'_, '_>, _expr: &Expr, _value: &SourceValue<'_, '_>) {}
    /// The pieces since the last such call are what the rule takes.
    fn filled(&mut self) {}
    /// The pieces since the last such call are an argument of the rule's template.
    fn argument(&mut self, _name: &str) {}
    /// The rule takes the system of identifiers that were sent without an authority.
    fn sender(&mut self, _reader: &MessageReader<'_, '_>) {}
    /// A value is about to stand in `parent` under this name.
    fn placed(&mut self, _parent: &mut Object<'_>, _name: &str, _node: &mut Node<'_>) {}
    /// `dropped` says nothing that `kept` does not say, or what it adds is taken over by the caller.
    fn same(&mut self, _kept: &mut Object<'_>, _dropped: &Object<'_>) {}
    /// `dropped` and `kept` are one from now on; of what they hold is told by itself.
    fn one(&mut self, _kept: &mut Object<'_>, _dropped: &Object<'_>) {}
    /// A member has another text now: what it refers to has moved.
    fn rewritten(&mut self, _object: &Object<'_>, _name: &str) {}
    /// A member is taken off again.
    fn removed(&mut self, _object: &Object<'_>, _name: &str, _why: &'static str) {}
    /// A rule had no turn.
    fn passed(&mut self, _rule: &Rule, _why: Passed) {}
    /// A value behind the one that a rule for a single element took.
    fn surplus(&mut self, _reader: &MessageReader<'_, '_>, _rule: &Rule, _value: &SourceValue<'_, '_>) {}
    /// An element goes out as "erase yours", because of the explicit null at `null`, or because a rule says so. The
    /// answer is the mark of the object that says it.
    fn erased(&mut self, _reader: &MessageReader<'_, '_>, _rule: &Rule, _null: Option<&str>) -> u32 {
        0
    }
    /// An explicit null erased nothing: the element has a value.
    fn kept(&mut self, _reader: &MessageReader<'_, '_>, _rule: &Rule, _null: &str) {}
    /// Of these Identifiers this one finds the entry.
    fn identified(&mut self, _candidates: &[Object<'_>], _system: &str, _value: &str) {}
    /// The Bundle as it goes out.
    fn finish(
        &mut self,
        _reader: &MessageReader<'_, '_>,
        _course: &Course,
        _entries: &Entries<'_>,
        _bundle: &Node<'_>,
    ) {
    }
    /// Something about the message as a whole, or a place in it.
    fn note(&mut self, place: &str, what: &str);
    /// A code found in its table.
    fn translated(&mut self, _reader: &MessageReader<'_, '_>, _value: &SourceValue<'_, '_>) {}
    /// A code without a row in its table.
    fn missed(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, value: &SourceValue<'_, '_>, table: TableId);
    /// A value that is not what the target needs.
    fn unconvertible(
        &mut self,
        reader: &MessageReader<'_, '_>,
        rule: &Rule,
        value: &SourceValue<'_, '_>,
        why: &'static str,
    );
    /// A value that went out with less than it was sent with.
    fn noted(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, value: &SourceValue<'_, '_>, note: &'static str);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Identify,
    Build,
}

/// Why a rule had no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// An earlier rule gave the element.
    Set,
    /// Its `when` does not hold.
    When,
}

/// Something a person should know of a message that was mapped. Holds no patient data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
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
pub struct Warnings {
    list: Vec<Warning>,
    /// Those of the list, once there are many.
    many: HashSet<Warning>,
    /// Codes without a row: another table may have one.
    missed: Vec<Miss>,
    /// Codes that a table has, by where they stand.
    found: Vec<usize>,
}

/// A code without a row in a table. Its place is named at the end, when it is known to be told of.
#[derive(Debug)]
struct Miss {
    /// Where the code stands, and the value it was read from.
    code: usize,
    value: Option<usize>,
    table: TableId,
}

impl Warnings {
    pub fn into_list(self) -> Vec<Warning> {
        self.list
    }

    pub fn add(&mut self, place: String, what: impl Into<String>) {
        let warning = Warning { place, what: what.into() };
        if self.is_new(&warning) {
            self.list.push(warning);
        }
    }

    /// Whether it has not been told yet.
    fn is_new(&mut self, warning: &Warning) -> bool {
        if self.list.len() <= FEW {
            work::steps(self.list.len() + 1);
            return !self.list.contains(warning);
        }
        work::text(warning.place.len() + warning.what.len());
        if self.many.is_empty() {
            self.many.extend(self.list.iter().cloned());
        }
        self.many.insert(warning.clone())
    }
}

impl Recorder for Warnings {
    const BRIEF: bool = true;

    fn note(&mut self, place: &str, what: &str) {
        self.add(place.to_owned(), what);
    }

    fn missed(&mut self, reader: &MessageReader<'_, '_>, _rule: &Rule, value: &SourceValue<'_, '_>, table: TableId) {
        let place = match value {
            SourceValue::Part(part) => reader.message.offset(part.raw()),
            _ => None,
        };
        self.missed.push(Miss { code: offset_of(reader, value), value: place, table });
    }

    fn translated(&mut self, reader: &MessageReader<'_, '_>, value: &SourceValue<'_, '_>) {
        self.found.push(offset_of(reader, value));
    }

    /// A code that one table lacks and another has (an address's type and its use stand in one field) is no miss.
    fn finish(&mut self, reader: &MessageReader<'_, '_>, _course: &Course, _entries: &Entries<'_>, _bundle: &Node<'_>) {
        self.found.sort_unstable();
        for miss in std::mem::take(&mut self.missed) {
            work::steps(1);
            if self.found.binary_search(&miss.code).is_err() {
                let place = miss.value.and_then(|offset| reader.message.locate(offset));
                let table = &reader.plan.tables[miss.table].name;
                let place = place.map_or_else(String::new, |place| place.to_string());
                self.add(place, format!("the code has no row in table {table}"));
            }
        }
    }

    fn unconvertible(
        &mut self,
        reader: &MessageReader<'_, '_>,
        rule: &Rule,
        value: &SourceValue<'_, '_>,
        why: &'static str,
    ) {
        self.add(place_of(reader, value), format!("{why} (rule {})", reader.plan.place(rule.place)));
    }

    fn noted(&mut self, reader: &MessageReader<'_, '_>, _rule: &Rule, value: &SourceValue<'_, '_>, note: &'static str) {
        self.add(place_of(reader, value), note);
    }
}

/// Where a value's text starts in the message.
fn offset_of(reader: &MessageReader<'_, '_>, value: &SourceValue<'_, '_>) -> usize {
    match value {
        SourceValue::Part(part) => reader.message.offset(part.leaf()).unwrap_or_default(),
        _ => 0,
    }
}

/// Where a value stands in the message, as a path a person reads: `PID-3[2].4`.
pub fn place_of(reader: &MessageReader<'_, '_>, value: &SourceValue<'_, '_>) -> String {
    match value {
        SourceValue::Part(part) => {
            let place = reader.message.offset(part.raw()).and_then(|offset| reader.message.locate(offset));
            place.map_or_else(String::new, |place| place.to_string())
        }
        SourceValue::Segment(segment) => reader.message.name(*segment).to_owned(),
        SourceValue::Text(_) | SourceValue::Fixed(_) => String::new(),
    }
}
