//! What became of each field, counted.

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, bounded};
use serde::Serialize;

use crate::mapping::explain::Why;
use crate::mapping::{Context, Explanation, Plan, explain};
use crate::v2::standard;

/// A code longer than this may be free text, and free text may name a patient.
pub const CODE: usize = 20;

/// Different codes kept for a table; what comes after is counted without its name.
pub const CODES: usize = 1_000;

/// Different fields kept: senders can make up segments without end.
pub const FIELDS: usize = 20_000;

/// The sums.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub messages: u64,
    pub failed: u64,
    /// Bytes that are no message, and messages that are too long.
    pub unreadable: u64,
    pub events: BTreeMap<String, u64>,
    /// Why messages failed, and how many.
    pub failures: BTreeMap<String, u64>,
    pub fields: BTreeMap<FieldPlace, Field>,
    /// By table and field, then code; the code `""` stands for those that are not named.
    pub missed: BTreeMap<String, BTreeMap<FieldPlace, BTreeMap<String, u64>>>,
    pub warnings: BTreeMap<String, u64>,
}

/// A field of a segment, as `PID-3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct FieldPlace {
    pub segment: String,
    pub field: usize,
}

impl From<FieldPlace> for String {
    fn from(place: FieldPlace) -> Self {
        format!("{}-{}", place.segment, place.field)
    }
}

/// How often a field had a value, and what became of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Field {
    /// Segments in which it has a value.
    pub valued: u64,
    /// All of it went out.
    pub mapped: u64,
    /// Some parts went out and some did not.
    pub partly: u64,
    /// Nothing went out, and something was left behind.
    pub dropped: u64,
    /// Nothing went out and nothing is missing: set ids, what Stoker reads itself, what conditions ask for.
    pub used: u64,
    /// It was the explicit null.
    pub null: u64,
    /// Why parts were left behind, and how often.
    pub why: BTreeMap<String, u64>,
}

/// What was seen of one field of one segment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    mapped: bool,
    lost: bool,
    null: bool,
}

impl Report {
    /// Explains the messages that `give` hands on, on all processors, and sums up.
    pub fn of(plan: &Plan, give: impl FnOnce(&mut dyn FnMut(Vec<u8>)) -> anyhow::Result<u64>) -> anyhow::Result<Self> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, receiver) = bounded::<Vec<u8>>(64);
        let (unreadable, parts) = std::thread::scope(|scope| {
            let started: Vec<_> = (0..workers).map(|_| scope.spawn(|| Self::work(plan, &receiver))).collect();
            let unreadable = give(&mut |raw| {
                // The workers end after the last message, so one is there to take it.
                sender.send(raw).unwrap_or_default();
            });
            drop(sender);
            let parts: Vec<_> = started.into_iter().filter_map(|worker| worker.join().ok()).collect();
            (unreadable, parts)
        });
        anyhow::ensure!(parts.len() == workers, "a message could not be explained; please report it");
        let mut report = Self { unreadable: unreadable?, ..Self::default() };
        parts.into_iter().for_each(|part| report.join(part));
        Ok(report)
    }

    fn work(plan: &Plan, messages: &Receiver<Vec<u8>>) -> Self {
        let mut report = Self::default();
        for raw in messages {
            report.add(&explain(plan, &raw, &Context::default()));
        }
        report
    }

    /// Adds one message.
    pub fn add(&mut self, explanation: &Explanation) {
        self.messages += 1;
        if !explanation.event.code.is_empty() {
            *self.events.entry(explanation.event.code.clone()).or_default() += 1;
        }
        if let Some(fault) = &explanation.fault {
            self.failed += 1;
            *self.failures.entry(fault.clone()).or_default() += 1;
            return;
        }
        self.fields(explanation);
        self.codes(explanation);
        for warning in &explanation.warnings {
            *self.warnings.entry(format!("{}: {}", without_repetition(&warning.place), warning.what)).or_default() += 1;
        }
    }

    fn fields(&mut self, explanation: &Explanation) {
        let mut seen: BTreeMap<(usize, usize), Seen> = BTreeMap::new();
        let at = |start: usize, path: &str| {
            let line = explanation.segments.partition_point(|line| line.start <= start).saturating_sub(1);
            field_number(path).map(|field| (line, field))
        };
        for from in explanation.assignments.iter().flat_map(|a| &a.from) {
            if let Some(place) = at(from.start, &from.path) {
                seen.entry(place).or_default().mapped = true;
            }
        }
        for null in &explanation.nulls {
            if let Some(place) = at(null.from.start, &null.from.path) {
                seen.entry(place).or_default().null = true;
            }
        }
        for unmapped in &explanation.unmapped {
            let Some(place) = at(unmapped.from.start, &unmapped.from.path) else { continue };
            seen.entry(place).or_default().lost |= unmapped.why.is_loss();
            let name = &explanation.segments[place.0].name;
            if unmapped.why.is_loss()
                && let Some(field) = self.field(name, place.1)
            {
                *field.why.entry(reason(unmapped.why, &unmapped.text)).or_default() += 1;
            }
        }
        for ((line, number), seen) in seen {
            if let Some(field) = self.field(&explanation.segments[line].name, number) {
                field.count(seen);
            }
        }
    }

    fn field(&mut self, segment: &str, field: usize) -> Option<&mut Field> {
        let full = self.fields.len() >= FIELDS;
        let place = FieldPlace { segment: segment.to_owned(), field };
        if full && !self.fields.contains_key(&place) {
            return None;
        }
        Some(self.fields.entry(place).or_default())
    }

    fn codes(&mut self, explanation: &Explanation) {
        for missed in &explanation.missed {
            let Some(from) = &missed.from else { continue };
            let Some(field) = field_number(&from.path) else { continue };
            let place = FieldPlace { segment: from.path[..3].to_owned(), field };
            let codes = self.missed.entry(missed.table.clone()).or_default().entry(place).or_default();
            let code = from.raw.trim();
            let named = code.chars().count() <= CODE && (codes.len() < CODES || codes.contains_key(code));
            *codes.entry(if named { code.to_owned() } else { String::new() }).or_default() += 1;
        }
    }

    fn join(&mut self, other: Self) {
        self.messages += other.messages;
        self.failed += other.failed;
        sum(&mut self.events, other.events);
        sum(&mut self.failures, other.failures);
        sum(&mut self.warnings, other.warnings);
        for (place, field) in other.fields {
            self.fields.entry(place).or_default().join(field);
        }
        for (table, fields) in other.missed {
            let of_table = self.missed.entry(table).or_default();
            for (place, codes) in fields {
                sum(of_table.entry(place).or_default(), codes);
            }
        }
    }
}

impl Field {
    fn count(&mut self, seen: Seen) {
        if seen.null && !seen.mapped && !seen.lost {
            self.null += 1;
            return;
        }
        self.valued += 1;
        match (seen.mapped, seen.lost) {
            (true, false) => self.mapped += 1,
            (true, true) => self.partly += 1,
            (false, true) => self.dropped += 1,
            (false, false) => self.used += 1,
        }
    }

    fn join(&mut self, other: Self) {
        self.valued += other.valued;
        self.mapped += other.mapped;
        self.partly += other.partly;
        self.dropped += other.dropped;
        self.used += other.used;
        self.null += other.null;
        sum(&mut self.why, other.why);
    }
}

pub fn sum<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(key).or_default() += count;
    }
}

/// The reason without what differs from event to event.
pub fn reason(why: Why, text: &str) -> String {
    match why {
        Why::NotInSet => "the event's set has no resource for it".into(),
        _ => text.to_owned(),
    }
}

/// The field of a path: `DG1[2]-3[1].4` as 3.
pub fn field_number(path: &str) -> Option<usize> {
    let (_, rest) = path.split_once('-')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// `PID-13[3].2` as `PID-13.2`: all repetitions together.
pub fn without_repetition(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside = (inside || c == '[') && c != ']';
        if !inside && c != ']' {
            out.push(c);
        }
    }
    out
}

/// What the standard calls a field.
pub fn name_of(place: &FieldPlace) -> &'static str {
    standard::field_name(&place.segment, place.field).unwrap_or_default()
}
