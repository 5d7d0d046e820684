//! The recorder of `explain`: every value that a rule took, with the place in the message and the place in the tree.
//!
//! While a tree is built nobody knows where a value will stand in the end: objects without content are dropped, equal
//! items and the same contained person are merged. So an object that receives a value gets a mark, and [`resolve`] looks
//! for the marks when the Bundle is whole. What it does not find again did not go out.
//!
//! [`resolve`]: super::resolve

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::records::{Erasure, Hitch, HitchKind, Identity, Put, Spot, Turns};
use super::report::Resolved;
use super::spans::{TextSpans, field_spans, global_spans, part_spans, span_of};
use crate::fhir::known::{KnownItems, Sameness};
use crate::fhir::{List, Node, Object};
use crate::mapping::plan::Course;
use crate::mapping::plan::primitive::Primitive;
use crate::mapping::plan::rule::{Convert, Expr, Rule, TableId};
use crate::mapping::run::entries::Entries;
use crate::mapping::run::reader::{MessageReader, SourceValue};
use crate::mapping::run::recorder::{Passed, Recorder, Stage, Warnings};
use crate::mapping::source::place::RulePlace;
use crate::work;

/// A rule at work.
#[derive(Debug, Default)]
struct Frame {
    place: RulePlace,
    sources: TextSpans,
    args: Vec<(Box<str>, TextSpans)>,
    /// It calls a template: what its object holds comes from the template's rules.
    template: bool,
    contains: bool,
}

/// Makes the explanation, while message, entries and Bundle are still at hand.
pub type Resolve = fn(&Trace, &MessageReader<'_, '_>, &Course, &Entries<'_>, &Node<'_>) -> Resolved;

#[derive(Debug)]
pub struct Trace {
    stage: Stage,
    entry: usize,
    frames: Vec<Frame>,
    pieces: TextSpans,
    marks: u32,
    pub puts: Vec<Put>,
    /// Where in `puts` those of each mark are.
    of_mark: FxHashMap<u32, SmallVec<[usize; 2]>>,
    pub hitches: Vec<Hitch>,
    pub erasures: Vec<Erasure>,
    /// What was taken off again, and why.
    pub removed: FxHashMap<(u32, Box<str>), &'static str>,
    /// Marks of what was merged away, and of what it is part of now.
    pub merged: FxHashMap<u32, u32>,
    /// By the rule of a resource file and the rule itself: a template's rule has its turns in each call.
    pub turns: FxHashMap<(RulePlace, RulePlace), Turns>,
    /// The segments that rules took as a whole, and by which.
    pub taken: FxHashMap<usize, Vec<RulePlace>>,
    /// The sources of each entry's condition or key, and the rules that read them.
    pub identities: Vec<Identity>,
    /// The first of them that was read from somewhere.
    patient: Option<usize>,
    pub translated: Vec<usize>,
    pub warnings: Warnings,
    /// What is made of all this when the Bundle is there, and what was.
    resolve: Resolve,
    pub resolved: Option<Resolved>,
}

impl Trace {
    pub fn new(resolve: Resolve) -> Self {
        Self {
            resolve,
            stage: Stage::Identify,
            entry: 0,
            frames: Vec::new(),
            pieces: TextSpans::new(),
            marks: 0,
            puts: Vec::new(),
            of_mark: FxHashMap::default(),
            hitches: Vec::new(),
            erasures: Vec::new(),
            removed: FxHashMap::default(),
            merged: FxHashMap::default(),
            turns: FxHashMap::default(),
            taken: FxHashMap::default(),
            identities: Vec::new(),
            patient: None,
            translated: Vec::new(),
            warnings: Warnings::default(),
            resolved: None,
        }
    }

    fn mark(&mut self, object: &mut Object<'_>) -> u32 {
        if object.mark == 0 {
            self.marks += 1;
            object.mark = self.marks;
        }
        object.mark
    }

    fn put(&mut self, mark: u32, name: &str, node: &Node<'_>, reference: bool) {
        let put = Put {
            stage: self.stage,
            entry: self.entry,
            rules: self.frames.iter().map(|frame| frame.place).collect(),
            sources: self.frames.last().map(|frame| frame.sources.clone()).unwrap_or_default(),
            spot: Spot { mark, name: name.into() },
            value: node.to_json(),
            reference,
        };
        work::text(put.value.len());
        work::steps(put.rules.len() + put.sources.len());
        self.of_mark.entry(mark).or_default().push(self.puts.len());
        self.puts.push(put);
    }

    fn identity(&mut self, identity: Identity) {
        if !identity.sources.is_empty() {
            self.patient.get_or_insert(self.identities.len());
        }
        self.identities.push(identity);
    }

    /// Where what a rule takes by an expression stands.
    fn sources(
        &self,
        reader: &MessageReader<'_, '_>,
        convert: Convert,
        expr: &Expr,
        value: &SourceValue<'_, '_>,
    ) -> TextSpans {
        match (value, expr) {
            (SourceValue::Part(part), _) => part_spans(reader.message, convert, *part),
            (SourceValue::Segment(segment), _) => {
                span_of(reader.message, reader.message.segment_text(*segment)).into_iter().collect()
            }
            (_, Expr::Variable(name)) => self.variable(reader, name),
            // A template that was called with a text reads where that came from.
            _ => self.caller().map(|frame| frame.sources.clone()).unwrap_or_default(),
        }
    }

    /// The rule whose template the rule at work belongs to.
    fn caller(&self) -> Option<&Frame> {
        self.frames.len().checked_sub(2).map(|at| &self.frames[at])
    }

    fn variable(&self, reader: &MessageReader<'_, '_>, name: &str) -> TextSpans {
        let argument = self.caller().and_then(|frame| frame.args.iter().find(|(n, _)| **n == *name));
        match argument {
            Some((_, sources)) => sources.clone(),
            None if name == "patient" => self.patient(reader),
            None => global_spans(reader.message, name),
        }
    }

    /// The patient's identifier comes from where his entry's condition was read.
    fn patient(&self, reader: &MessageReader<'_, '_>) -> TextSpans {
        let patient = self.patient.map(|at| &self.identities[at]);
        patient.map_or_else(|| field_spans(reader.message, "PID", 3), |identity| identity.sources.clone())
    }

    fn hitch(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, value: &SourceValue<'_, '_>, what: HitchKind) {
        let own = self.frames.last().map(|frame| frame.sources.clone()).filter(|sources| !sources.is_empty());
        let sources = match value {
            SourceValue::Part(part) => part_spans(reader.message, Convert::Simple(Primitive::String), *part),
            _ => own.unwrap_or_default(),
        };
        work::steps(1);
        self.hitches.push(Hitch { sources, rule: rule.place, what });
    }

    /// Walks two objects side by side, of which the second is dropped.
    fn alias(&mut self, kept: &mut Object<'_>, dropped: &Object<'_>) {
        self.merge_marks(kept, dropped);
        for (name, node) in kept.members_mut() {
            work::steps(1);
            match (node, dropped.get(name)) {
                (Node::Object(kept), Some(Node::Object(dropped))) => self.alias(kept, dropped),
                (Node::List(kept), Some(Node::List(dropped))) => self.alias_items(kept, dropped),
                _ => {}
            }
        }
    }

    /// Items that are the same stand at the same place mostly.
    fn alias_items<'n>(&mut self, kept: &mut List<'n>, dropped: &[Node<'_>]) {
        let mut known = KnownItems::default();
        for (at, item) in dropped.iter().enumerate() {
            let beside = kept.get(at).is_some_and(|known| equal(known, item)).then_some(at);
            let Some(at) = beside.or_else(|| known.find(kept, item, Sameness::Content)) else { continue };
            if let (Node::Object(kept), Node::Object(dropped)) = (&mut kept[at], item) {
                self.alias(kept, dropped);
            }
        }
    }

    fn merge_marks(&mut self, kept: &mut Object<'_>, dropped: &Object<'_>) {
        if dropped.mark != 0 {
            let mark = self.mark(kept);
            self.merged.insert(dropped.mark, mark);
        }
    }
}

impl Recorder for Trace {
    fn entry(&mut self, stage: Stage, entry: usize) {
        (self.stage, self.entry) = (stage, entry);
        self.pieces.clear();
    }

    fn enter(&mut self, rule: &Rule) {
        work::steps(1);
        let template = matches!(rule.convert, Convert::Template(_));
        self.frames.push(Frame { place: rule.place, template, contains: rule.contain.is_some(), ..Frame::default() });
    }

    fn leave(&mut self, given: bool) {
        let Some(frame) = self.frames.pop() else { return };
        if !given && !frame.template && !frame.sources.is_empty() {
            self.hitches.push(Hitch { sources: frame.sources, rule: frame.place, what: HitchKind::Nothing });
        }
    }

    fn read(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, expr: &Expr, value: &SourceValue<'_, '_>) {
        let sources = self.sources(reader, rule.convert, expr, value);
        if let SourceValue::Segment(segment) = value
            && let Some(frame) = self.frames.first()
        {
            self.taken.entry(*segment).or_default().push(frame.place);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.sources.extend(sources);
        }
    }

    fn piece(&mut self, reader: &MessageReader<'_, '_>, expr: &Expr, value: &SourceValue<'_, '_>) {
        let sources = self.sources(reader, Convert::Simple(Primitive::String), expr, value);
        self.pieces.extend(sources);
    }

    fn filled(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        match self.frames.last_mut() {
            Some(frame) => frame.sources.extend(pieces),
            None => {
                self.identity(Identity { entry: self.entry, rules: SmallVec::new(), sources: pieces });
            }
        }
    }

    fn argument(&mut self, name: &str) {
        let pieces = std::mem::take(&mut self.pieces);
        if let Some(frame) = self.frames.last_mut() {
            frame.args.push((name.into(), pieces));
        }
    }

    fn sender(&mut self, reader: &MessageReader<'_, '_>) {
        let sources = global_spans(reader.message, "facility");
        if let Some(frame) = self.frames.last_mut() {
            frame.sources.extend(sources);
        }
    }

    fn placed(&mut self, parent: &mut Object<'_>, name: &str, node: &mut Node<'_>) {
        let Some(frame) = self.frames.last() else { return };
        let of_template = frame.template && !frame.contains;
        match node {
            Node::Object(_) | Node::List(_) if of_template => {}
            Node::Object(object) => {
                let mark = self.mark(object);
                for (name, node) in object.members() {
                    self.put(mark, name, node, name == "reference");
                }
            }
            leaf => {
                let mark = self.mark(parent);
                self.put(mark, name, leaf, false);
            }
        }
    }

    fn same(&mut self, kept: &mut Object<'_>, dropped: &Object<'_>) {
        self.alias(kept, dropped);
    }

    fn one(&mut self, kept: &mut Object<'_>, dropped: &Object<'_>) {
        self.merge_marks(kept, dropped);
    }

    fn rewritten(&mut self, object: &Object<'_>, name: &str) {
        let Some(node) = object.get(name).filter(|_| object.mark != 0) else { return };
        let value = node.to_json();
        for &at in self.of_mark.get(&object.mark).into_iter().flatten() {
            work::steps(1);
            if *self.puts[at].spot.name == *name {
                self.puts[at].value.clone_from(&value);
            }
        }
    }

    fn removed(&mut self, object: &Object<'_>, name: &str, why: &'static str) {
        if object.mark != 0 {
            self.removed.entry((object.mark, name.into())).or_insert(why);
        }
    }

    fn passed(&mut self, rule: &Rule, why: Passed) {
        let outer = self.frames.first().map_or(rule.place, |frame| frame.place);
        let turns = self.turns.entry((outer, rule.place)).or_default();
        match why {
            Passed::Set => turns.set += 1,
            Passed::When => turns.unmet += 1,
        }
    }

    fn surplus(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, value: &SourceValue<'_, '_>) {
        if let SourceValue::Part(part) = value {
            let sources = span_of(reader.message, part.raw()).into_iter().collect();
            self.hitches.push(Hitch { sources, rule: rule.place, what: HitchKind::Surplus });
        }
    }

    fn erased(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, null: Option<&str>) -> u32 {
        self.marks += 1;
        let null = null.and_then(|null| span_of(reader.message, null));
        self.erasures.push(Erasure { null, rule: rule.place, mark: Some(self.marks) });
        self.marks
    }

    fn kept(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, null: &str) {
        self.erasures.push(Erasure { null: span_of(reader.message, null), rule: rule.place, mark: None });
    }

    fn identified(&mut self, candidates: &[Object<'_>], system: &str, value: &str) {
        let is_it = |o: &&Object<'_>| o.text("system") == Some(system) && o.text("value") == Some(value);
        let Some(mark) = candidates.iter().find(is_it).map(|object| object.mark) else { return };
        let mut identity = Identity { entry: self.entry, ..Identity::default() };
        let of_entry = |put: &&Put| put.stage == Stage::Identify && put.entry == self.entry;
        for name in ["value", "system"] {
            let mut puts = self.puts.iter().rev().take_while(of_entry);
            if let Some(put) = puts.find(|put| put.spot.mark == mark && *put.spot.name == *name) {
                identity.sources.extend(put.sources.iter().copied());
                identity.rules.clone_from(&put.rules);
            }
        }
        self.identity(identity);
    }

    fn finish(&mut self, reader: &MessageReader<'_, '_>, course: &Course, entries: &Entries<'_>, bundle: &Node<'_>) {
        self.resolved = Some((self.resolve)(self, reader, course, entries, bundle));
    }

    fn note(&mut self, place: &str, what: &str) {
        self.warnings.note(place, what);
    }

    fn translated(&mut self, reader: &MessageReader<'_, '_>, value: &SourceValue<'_, '_>) {
        if let SourceValue::Part(part) = value {
            self.translated.extend(reader.message.offset(part.leaf()));
        }
    }

    fn missed(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, value: &SourceValue<'_, '_>, table: TableId) {
        self.hitch(reader, rule, value, HitchKind::Missed(table));
    }

    fn unconvertible(
        &mut self,
        reader: &MessageReader<'_, '_>,
        rule: &Rule,
        value: &SourceValue<'_, '_>,
        why: &'static str,
    ) {
        self.hitch(reader, rule, value, HitchKind::Unconvertible(why));
        self.warnings.unconvertible(reader, rule, value, why);
    }

    fn noted(&mut self, reader: &MessageReader<'_, '_>, rule: &Rule, value: &SourceValue<'_, '_>, note: &'static str) {
        self.hitch(reader, rule, value, HitchKind::Noted(note));
        self.warnings.noted(reader, rule, value, note);
    }
}

fn equal<'n>(one: &Node<'n>, other: &Node<'n>) -> bool {
    one == other
}
