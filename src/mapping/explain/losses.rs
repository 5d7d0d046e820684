//! Why a field that has a value did not go out: from what its value ran into, else from what the rules could have read.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::origin::{Leaf, origin};
use super::records::{HitchKind, Put};
use super::report::{Unmapped, Why};
use super::spans::{TextSpan, span_of};
use super::trace::Trace;
use crate::mapping::plan::fields::{FieldReading, FieldUse};
use crate::mapping::plan::rule::{Expr, RuleSource};
use crate::mapping::plan::{Course, Plan};
use crate::mapping::run::entries::Entries;
use crate::mapping::run::reader::{MessageReader, is_protocol};
use crate::mapping::source::place::RulePlace;
use crate::v2::header::NULL;
use crate::v2::path::Path;
use crate::v2::standard;
use crate::work;

/// What is known of a message's walk, to say why something is missing.
pub struct Reasons<'t, 'a> {
    trace: &'t Trace,
    reader: &'t MessageReader<'t, 'a>,
    course: &'t Course,
    /// The plan's resources of which one went out.
    sent: FxHashSet<usize>,
    mapped: Vec<TextSpan>,
    lost: Vec<(TextSpan, &'t Put)>,
    hitches: Vec<(TextSpan, usize)>,
    readings: RefCell<FxHashMap<Path, Rc<[FieldReading]>>>,
}

/// A reason, and the rules it speaks of.
type Reason = (Why, String, Vec<RulePlace>);

impl<'t, 'a> Reasons<'t, 'a> {
    pub fn new(
        trace: &'t Trace,
        reader: &'t MessageReader<'t, 'a>,
        course: &'t Course,
        entries: &Entries<'_>,
        mapped: &[TextSpan],
        lost: &[&'t Put],
    ) -> Self {
        let mut lost: Vec<_> = lost.iter().flat_map(|put| put.sources.iter().map(|span| (*span, *put))).collect();
        lost.sort_by_key(|(span, _)| *span);
        let hitches = trace.hitches.iter().enumerate();
        let mut hitches: Vec<_> = hitches.flat_map(|(n, hitch)| hitch.sources.iter().map(move |s| (*s, n))).collect();
        hitches.sort_unstable();
        let sent = entries.list.iter().filter(|entry| entry.present).map(|entry| entry.resource).collect();
        let readings = RefCell::default();
        Self { trace, reader, course, sent, mapped: merged(mapped), lost, hitches, readings }
    }

    fn plan(&self) -> &'a Plan {
        self.reader.plan
    }

    /// Whether nothing of a segment went anywhere.
    pub fn ignores(&self, segment: usize) -> bool {
        let Some(line) = span_of(self.reader.message, self.reader.message.segment_text(segment)) else { return false };
        let behind = self.mapped.partition_point(|span| span.start < line.start);
        self.mapped.get(behind).is_none_or(|span| span.start >= line.end)
    }

    fn in_set(&self, reading: &FieldReading) -> bool {
        self.course.resources.contains(&reading.resource)
    }

    /// The leaves with a value that went nowhere.
    pub fn unmapped(&self, leaves: &[Leaf]) -> Vec<Unmapped> {
        let message = self.reader.message;
        let valued = leaves.iter().take_while(|_| !work::is_spent()).filter(|leaf| {
            &message.text()[leaf.span.start..leaf.span.end] != NULL && find(&self.mapped, leaf.span).is_none()
        });
        let told = valued.map(|leaf| {
            let (why, text, rules) = self.why(leaf);
            let rules = rules.into_iter().map(|place| self.plan().place(place)).collect();
            Unmapped { from: origin(message, leaf.span), why, text, rules }
        });
        told.collect()
    }

    fn why(&self, leaf: &Leaf) -> Reason {
        work::steps(1);
        let name = self.reader.message.name(leaf.segment);
        let run_into = || self.hitch(leaf).or_else(|| self.lost(leaf));
        if is_protocol(name, leaf.field) {
            return (Why::Protocol, "read by Stoker itself".into(), Vec::new());
        }
        if let Some(reason) = run_into() {
            return reason;
        }
        if standard::is_set_id(name, leaf.field) {
            return (Why::SetId, "numbers the segments".into(), Vec::new());
        }
        self.unread(leaf, name)
    }

    fn hitch(&self, leaf: &Leaf) -> Option<Reason> {
        let from = self.hitches.partition_point(|(span, _)| span.start <= leaf.span.start);
        let near = self.hitches[..from].iter().rev().take(16).inspect(|_| work::steps(1));
        let here = near.filter(|(span, _)| span.end >= leaf.span.end).map(|(_, n)| &self.trace.hitches[*n]);
        // What says more comes first.
        let mut here: SmallVec<[_; 4]> = here.collect();
        here.sort_by_key(|hitch| hitch.what == HitchKind::Nothing);
        here.into_iter().find_map(|hitch| {
            let (why, text) = match hitch.what {
                HitchKind::Unconvertible(why) => (Why::Unconvertible, why.to_owned()),
                HitchKind::Missed(table) => {
                    (Why::NoRow, format!("the code has no row in table {}", self.plan().tables[table].name))
                }
                HitchKind::Surplus => (Why::Taken, "the element takes one value, and an earlier one went out".into()),
                HitchKind::Nothing => (Why::Nothing, "the rule makes nothing of it".into()),
                HitchKind::Noted(_) => return None,
            };
            Some((why, text, vec![hitch.rule]))
        })
    }

    fn lost(&self, leaf: &Leaf) -> Option<Reason> {
        let from = self.lost.partition_point(|(span, _)| span.start <= leaf.span.start);
        let near = self.lost[..from].iter().rev().take(16).inspect(|_| work::steps(1));
        let (_, put) = near.into_iter().find(|(span, put)| span.end >= leaf.span.end && !put.reference)?;
        let removed = self.trace.removed.get(&(put.spot.mark, put.spot.name.clone()));
        let text = match removed {
            Some(why) => (*why).to_owned(),
            None if self.trace.merged.contains_key(&put.spot.mark) => {
                format!("the same person or place stands there already, with another {}", put.spot.name)
            }
            None => format!("it became {}, and what that belongs to did not go out", put.spot.name),
        };
        Some((Why::Lost, text, put.rules.last().copied().into_iter().collect()))
    }

    /// No rule took it: what the rules could have read.
    fn unread(&self, leaf: &Leaf, name: &str) -> Reason {
        let plan = self.plan();
        let all = plan.field_usage().of_segment(name);
        let of_leaf = self.readings_of(leaf);
        let here: Vec<&FieldReading> = of_leaf.iter().filter(|reading| self.in_set(reading)).collect();
        if let Some(reason) = self.passed_by(&here, leaf) {
            return reason;
        }
        if let Some(reading) = of_leaf.iter().find(|reading| reading.used_for != FieldUse::Test) {
            return self.not_in_set(reading);
        }
        if let Some(reading) = all.first()
            && !all.iter().any(|reading| self.in_set(reading))
        {
            return self.not_in_set(reading);
        }
        let text = if all.is_empty() {
            format!("no rule reads {name}")
        } else if all.iter().any(|reading| usize::from(reading.path.field) == leaf.field) {
            "no rule reads this part of the field".into()
        } else {
            "no rule reads the field".into()
        };
        (Why::Unread, text, Vec::new())
    }

    fn not_in_set(&self, reading: &FieldReading) -> Reason {
        let resource = &self.plan().resources[reading.resource];
        let text =
            format!("{} sends the set {}, which has no {}", self.reader.globals.event, self.course.set, resource.name);
        (Why::NotInSet, text, vec![reading.outer])
    }

    /// Rules of the event's set read it and had no turn.
    fn passed_by(&self, here: &[&FieldReading], leaf: &Leaf) -> Option<Reason> {
        let plan = self.plan();
        let values: Vec<&FieldReading> =
            here.iter().filter(|reading| reading.used_for == FieldUse::Value).copied().collect();
        if values.is_empty() {
            let tests: Vec<RulePlace> = here.iter().map(|reading| reading.place).collect();
            let first = tests.first()?;
            return Some((Why::TestedOnly, "asked for by a condition only".into(), vec![*first]));
        }
        if let Some(reading) = values.iter().find(|reading| !self.sent.contains(&reading.resource))
            && values.iter().all(|reading| !self.sent.contains(&reading.resource))
        {
            let resource = &plan.resources[reading.resource];
            return Some((Why::NoResource, format!("no {} went out", resource.resource_type), vec![reading.outer]));
        }
        let taking: Vec<RulePlace> = self.taken(leaf.segment).inspect(|_| work::steps(1)).collect();
        let name = self.reader.message.name(leaf.segment);
        let own = |reading: &&FieldReading| *plan.resources[reading.resource].each == *name;
        if !taking.is_empty() && !values.iter().any(|r| taking.contains(&r.outer) || own(r)) {
            let text = "the rule that takes the segment does not read this".into();
            return Some((Why::Unread, text, taking.into_iter().take(1).collect()));
        }
        Some(self.turned_down(&values).unwrap_or_else(|| {
            let text = if name == "PID" && self.reader.message.occurrence(leaf.segment) > 1 {
                "the event is about one patient, the first".into()
            } else {
                self.out_of_sight(values[0], leaf)
            };
            (Why::Condition, text, vec![values[0].outer])
        }))
    }

    /// A rule reads it, had its turn and did not come to it.
    fn out_of_sight(&self, reading: &FieldReading, leaf: &Leaf) -> String {
        let name = self.reader.message.name(leaf.segment);
        let rule = self.plan().rule_at(reading.outer);
        let exprs = match rule.map(|rule| &rule.source) {
            Some(RuleSource::From(exprs)) => exprs.as_slice(),
            _ => &[],
        };
        let own = |path: &Path| path.segment() == name && (path.is_segment() || usize::from(path.field) == leaf.field);
        match exprs {
            [Expr::Path(path)] if path.is_segment() && own(path) => {
                format!("no rule looks for a {name} where this one stands")
            }
            [first, ..] if !exprs.iter().any(|expr| matches!(expr, Expr::Path(path) if own(path))) => {
                format!("read only beside {first}")
            }
            _ => "a rule reads it, but not here".into(),
        }
    }

    /// The rules that took a segment as a whole.
    fn taken(&self, segment: usize) -> impl Iterator<Item = RulePlace> + '_ {
        self.trace.taken.get(&segment).into_iter().flatten().copied()
    }

    /// Why the rules that read it gave nothing: the nearest miss first.
    fn turned_down(&self, values: &[&FieldReading]) -> Option<Reason> {
        let mut unmet: Vec<(String, RulePlace)> = Vec::new();
        for (outer, place) in values.iter().flat_map(|r| [(r.outer, r.place), (r.outer, r.outer)]) {
            let turns = self.trace.turns.get(&(outer, place)).copied().unwrap_or_default();
            work::steps(1);
            let Some(rule) = self.plan().rule_at(place) else { continue };
            if turns.set > 0 {
                return Some((Why::Taken, format!("{} has a value already", rule.to), vec![place]));
            }
            if turns.unmet > 0 && !unmet.iter().any(|(_, known)| *known == place) {
                unmet.push((rule.conditions(), place));
            }
        }
        if let Some((_, first)) = unmet.first() {
            let mut conditions: Vec<&str> = unmet.iter().take(3).map(|(text, _)| text.as_str()).collect();
            conditions.dedup();
            let more = if unmet.len() > 3 { " ..." } else { "" };
            let text = format!("only {}{more}", conditions.join(", or "));
            return Some((Why::Condition, text, vec![*first]));
        }
        // Of several paths the first that has a value is taken.
        let first_of = |reading: &&&FieldReading| {
            let rule = self.plan().rule_at(reading.place);
            rule.is_some_and(|rule| matches!(&rule.source, RuleSource::From(exprs) if exprs.len() > 1))
        };
        let place = values.iter().find(first_of)?.place;
        let text = "the rule takes the first of several fields that has a value".into();
        Some((Why::Taken, text, vec![place]))
    }

    fn readings_of(&self, leaf: &Leaf) -> Rc<[FieldReading]> {
        let Some(mut path) = self.reader.message.locate(leaf.span.start) else { return Rc::new([]) };
        path.repetition = 0;
        let find = || self.plan().field_usage().of_leaf(&path).copied().collect();
        self.readings.borrow_mut().entry(path).or_insert_with(find).clone()
    }
}

/// Spans in order, none inside another.
fn merged(spans: &[TextSpan]) -> Vec<TextSpan> {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut merged: Vec<TextSpan> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start < last.end || span == *last => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// The span that holds another.
fn find(spans: &[TextSpan], inner: TextSpan) -> Option<TextSpan> {
    let at = spans.partition_point(|span| span.start <= inner.start).checked_sub(1)?;
    spans.get(at).copied().filter(|span| span.end >= inner.end)
}
