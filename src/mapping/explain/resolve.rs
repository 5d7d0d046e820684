//! From a trace and the finished Bundle to an explanation: where every value stands in the end.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::losses::Reasons;
use super::marked::Marked;
use super::origin::{Leaf, leaves, origin, origins, segments, stray};
use super::records::{Erasure, HitchKind, Identity, Put};
use super::report::{Assignment, AssignmentKind, Erased, Event, Explanation, Missed, Null, Resolved};
use super::spans::{TextSpan, global_spans, span_of};
use super::trace::Trace;
use crate::fhir::Node;
use crate::mapping::plan::{Course, Plan};
use crate::mapping::run::entries::Entries;
use crate::mapping::run::reader::MessageReader;
use crate::mapping::run::recorder::Stage;
use crate::mapping::source::place::RulePlace;
use crate::v2::header::NULL;
use crate::work;

/// Brings trace and Bundle together.
pub fn resolve(
    trace: &Trace,
    reader: &MessageReader<'_, '_>,
    course: &Course,
    entries: &Entries<'_>,
    bundle: &Node<'_>,
) -> Resolved {
    let marked = Marked::find(bundle);
    let resolver = Resolver { trace, reader, course, entries, marked: &marked };
    Resolved(Box::new(resolver.explanation()))
}

struct Resolver<'t, 'm, 'b, 'a> {
    trace: &'t Trace,
    reader: &'t MessageReader<'t, 'm>,
    course: &'t Course,
    entries: &'t Entries<'t>,
    marked: &'t Marked<'b, 'a>,
}

impl Resolver<'_, '_, '_, '_> {
    fn explanation(&self) -> Explanation {
        let message = self.reader.message;
        let mut mapped: Vec<TextSpan> = Vec::new();
        let mut lost: Vec<&Put> = Vec::new();
        let mut assignments = Vec::new();
        for put in self.trace.puts.iter().filter(|put| put.stage == Stage::Build) {
            if work::is_spent() {
                return Explanation::default();
            }
            match self.marked.locate(self.trace, put) {
                Some(pointer) => {
                    if !put.reference {
                        mapped.extend(put.sources.iter().copied());
                    }
                    assignments.push(self.assignment(put, pointer));
                }
                None => lost.push(put),
            }
        }
        self.identities(&mut assignments, &mut mapped);
        self.envelope(&mut assignments, &mut mapped);
        assignments.sort_by_cached_key(|assignment: &Assignment| order(assignment));
        assignments.dedup();
        let reasons = Reasons::new(self.trace, self.reader, self.course, self.entries, &mapped, &lost);
        let leaves = leaves(message);
        let missed = self.missed(&assignments);
        Explanation {
            event: self.event(),
            plan: self.reader.plan.hash.clone(),
            text: message.text().to_owned(),
            segments: segments(message, |segment| segment > 0 && reasons.ignores(segment)),
            unmapped: reasons.unmapped(&leaves),
            missed,
            nulls: self.nulls(&leaves),
            erased: self.erased(self.trace.erasures.iter().filter(|erasure| erasure.null.is_none())),
            strays: message
                .strays()
                .filter_map(|line| span_of(message, line))
                .map(|span| stray(message, span))
                .collect(),
            assignments,
            ..Explanation::default()
        }
    }

    fn event(&self) -> Event {
        let plan = self.reader.plan;
        let code = &self.reader.globals.event;
        Event {
            name: plan.event(code).map(|event| event.name.to_string()).unwrap_or_default(),
            code: (*code).to_owned(),
            fhir: self.course.fhir.to_string(),
            set: self.course.set.to_string(),
            files: self.course.resources.iter().map(|&n| plan.resources[n].name.to_string()).collect(),
            status: self.course.status.as_deref().map(str::to_owned),
        }
    }

    fn assignment(&self, put: &Put, pointer: String) -> Assignment {
        let (rule, via) = rules(self.reader.plan, &put.rules);
        let kind = match (put.reference, put.sources.is_empty()) {
            (true, _) => AssignmentKind::Reference,
            (false, true) => AssignmentKind::Fixed,
            (false, false) => AssignmentKind::Field,
        };
        Assignment {
            from: origins(self.reader.message, &put.sources),
            to: self.marked.element(pointer),
            rule,
            via,
            kind,
        }
    }

    /// What each entry is found by, or its id is made of.
    fn identities(&self, assignments: &mut Vec<Assignment>, mapped: &mut Vec<TextSpan>) {
        let plan = self.reader.plan;
        let urls = self.marked.at("/entry").map(Node::as_list).unwrap_or_default();
        let url = |node: &'_ Node<'_>| node.as_object().and_then(|o| o.text("fullUrl")).map(str::to_owned);
        let urls = urls.iter().enumerate().rev().filter_map(|(at, node)| Some((url(node)?, at)));
        let urls: HashMap<String, usize> = urls.collect();
        let identities = self.trace.identities.iter().rev().map(|identity| (identity.entry, identity));
        let identities: FxHashMap<usize, &Identity> = identities.collect();
        for (number, entry) in self.entries.list.iter().enumerate() {
            work::steps(1);
            let Some(&at) = urls.get(entry.full_url) else { continue };
            let resource = &plan.resources[entry.resource];
            let identity = identities.get(&number).map(|identity| (*identity).clone()).unwrap_or_default();
            let (mut rule, via) = rules(plan, &identity.rules);
            if rule.is_empty() {
                rule = plan.place(resource.place);
            }
            let header = &*resource.resource_type == "MessageHeader";
            let sources =
                if header { global_spans(self.reader.message, "messageId") } else { identity.sources.clone() };
            if entry.identity.is_some() {
                mapped.extend(sources.iter().copied());
            }
            let from = origins(self.reader.message, &sources);
            for name in ["fullUrl", "link/0/url", "resource/id"] {
                let pointer = format!("/entry/{at}/{name}");
                if self.marked.at(&pointer).is_some() {
                    let to = self.marked.element(pointer);
                    let (from, rule, via) = (from.clone(), rule.clone(), via.clone());
                    assignments.push(Assignment { from, to, rule, via, kind: AssignmentKind::Identity });
                }
            }
        }
    }

    fn envelope(&self, assignments: &mut Vec<Assignment>, mapped: &mut Vec<TextSpan>) {
        let message = self.reader.message;
        let own = [
            ("/id", "messageId"),
            ("/identifier/system", "visitSystem"),
            ("/identifier/value", "controlId"),
            ("/timestamp", "timestamp"),
        ];
        for (pointer, global) in own {
            if self.marked.at(pointer).is_some() {
                let sources = global_spans(message, global);
                let from = origins(message, &sources);
                mapped.extend(sources);
                let to = self.marked.element(pointer.to_owned());
                assignments.push(Assignment {
                    from,
                    to,
                    rule: String::new(),
                    via: Vec::new(),
                    kind: AssignmentKind::Envelope,
                });
            }
        }
    }

    /// The codes that no table has.
    fn missed(&self, assignments: &[Assignment]) -> Vec<Missed> {
        let mut seen = BTreeSet::new();
        let mut list = Vec::new();
        let translated: FxHashSet<usize> = self.trace.translated.iter().copied().collect();
        let mut by_start: FxHashMap<usize, Vec<&Assignment>> = FxHashMap::default();
        for assignment in assignments.iter().filter(|assignment| assignment.kind == AssignmentKind::Field) {
            for origin in &assignment.from {
                let here = by_start.entry(origin.start).or_default();
                if here.last().is_none_or(|last| !std::ptr::eq(*last, assignment)) {
                    here.push(assignment);
                }
            }
        }
        for hitch in &self.trace.hitches {
            work::steps(1);
            let HitchKind::Missed(table) = hitch.what else { continue };
            let span = hitch.sources.first().copied();
            let is_translated = span.is_some_and(|span| translated.contains(&span.start));
            if is_translated || !seen.insert((span, table)) {
                continue;
            }
            let from = span.map(|span| origin(self.reader.message, span));
            let became = span.and_then(|span| by_start.get(&span.start)).into_iter().flatten();
            list.push(Missed {
                from,
                table: self.reader.plan.tables[table].name.to_string(),
                rule: self.reader.plan.place(hitch.rule),
                became: became.map(|a| format!("{}.{} = {}", a.to.resource, a.to.path, a.to.value)).collect(),
            });
        }
        list.sort_by_key(|missed| missed.from.as_ref().map(|from| from.start));
        list
    }

    fn nulls(&self, leaves: &[Leaf]) -> Vec<Null> {
        let message = self.reader.message;
        let erasures = self.erasures();
        let nulls = leaves.iter().filter(|leaf| &message.text()[leaf.span.start..leaf.span.end] == NULL);
        nulls.map(|leaf| self.null(leaf, erasures.get(&Some(leaf.span)).map_or(&[], Vec::as_slice))).collect()
    }

    /// What became of the elements of each null.
    fn erasures(&self) -> FxHashMap<Option<TextSpan>, Vec<&Erasure>> {
        let mut by_null: FxHashMap<_, Vec<_>> = FxHashMap::default();
        for erasure in &self.trace.erasures {
            by_null.entry(erasure.null).or_default().push(erasure);
        }
        by_null
    }

    fn null(&self, leaf: &Leaf, erasures: &[&Erasure]) -> Null {
        let message = self.reader.message;
        let erased = self.erased(erasures.iter().copied());
        let kept = erasures.iter().find(|erasure| erasure.mark.is_none());
        let text = match kept {
            _ if !erased.is_empty() => String::new(),
            Some(kept) => {
                format!("the element keeps its value: another rule gives one ({})", self.reader.plan.place(kept.rule))
            }
            None if leaf.in_part => {
                "a null inside a field erases nothing by itself: the element is sent without it".into()
            }
            None => "no rule of this event erases an element for it".into(),
        };
        Null { from: origin(message, leaf.span), erased, text }
    }

    /// What goes out as "erase yours".
    fn erased<'e>(&self, erasures: impl Iterator<Item = &'e Erasure>) -> Vec<Erased> {
        let found = erasures.filter_map(|erasure| {
            let (_, pointer) = self.marked.object(self.trace, erasure.mark?)?;
            Some(Erased { to: self.marked.element(pointer.clone()), rule: self.reader.plan.place(erasure.rule) })
        });
        found.collect()
    }
}

/// By where the first of its values stands in the message, a whole before its parts; what has no place there stands
/// behind, in the order of the Bundle.
fn order(assignment: &Assignment) -> (usize, Reverse<usize>, Vec<Result<usize, String>>) {
    let first = assignment.from.first();
    let tokens = assignment.to.pointer.split('/').map(|token| token.parse().map_err(|_| token.to_owned()));
    (first.map_or(usize::MAX, |origin| origin.start), Reverse(first.map_or(0, |origin| origin.end)), tokens.collect())
}

/// The rule itself, and those that led to it.
fn rules(plan: &Plan, places: &[RulePlace]) -> (String, Vec<String>) {
    let mut named: Vec<String> = places.iter().map(|place| plan.place(*place)).collect();
    let rule = named.pop().unwrap_or_default();
    (rule, named)
}
