//! Walks the plan's rules over one message and builds the FHIR tree. Pure: no clock, no IO, nothing remembered.

use super::assign;
use super::contain::Contained;
use super::entries::Entries;
use super::reader::{MessageReader, Scope, SourceValue};
use super::recorder::{Passed, Recorder};
use crate::fhir::known::KnownItems;
use crate::fhir::{Arena, Node, Object};
use crate::mapping::plan::prefilter::Prefilter;
use crate::mapping::plan::primitive::Primitive;
use crate::mapping::plan::rule::{Convert, Expr, Rule, RuleSource};
use crate::mapping::plan::{Plan, ResourcePlan};
use crate::work;

/// One resource being built: the walk over its rules.
pub struct Builder<'r, 'a, R> {
    pub reader: &'r MessageReader<'r, 'a>,
    pub entries: &'r Entries<'a>,
    pub recorder: &'r mut R,
    pub contained: Contained<'a>,
    /// Rules whose field was the explicit null: they erase, unless another rule gives a value.
    nulls: Vec<(&'a Rule, &'a str)>,
    /// In how many templates within each other the walk is.
    pub depth: usize,
    /// Some period has an end.
    ends: bool,
}

/// What a value became, and whether it came from the message.
pub struct BuiltValue<'a> {
    pub node: Node<'a>,
    pub data: bool,
    pub stated: bool,
}

impl<'a> BuiltValue<'a> {
    fn data(node: Node<'a>) -> Self {
        Self { node, data: true, stated: false }
    }
}

/// What a rule of a resource makes, made before the resource is built.
pub struct PreparedIdentifiers<'a> {
    rule: usize,
    identifiers: Vec<Object<'a>>,
}

pub type Scoped<'s, 'r, 'a> = &'s Scope<'s, 'r, 'a>;

impl<'r, 'a, R: Recorder> Builder<'r, 'a, R> {
    pub fn new(reader: &'r MessageReader<'r, 'a>, entries: &'r Entries<'a>, recorder: &'r mut R) -> Self {
        Self { reader, entries, recorder, contained: Contained::default(), nulls: Vec::new(), depth: 0, ends: false }
    }

    pub fn plan(&self) -> &'a Plan {
        self.reader.plan
    }

    pub fn arena(&self) -> &'a Arena {
        self.reader.arena
    }

    /// Builds a resource; `None` when the message gives nothing for it.
    pub fn resource(
        mut self,
        plan: &'a ResourcePlan,
        scope: Scoped<'_, 'r, 'a>,
        ready: Option<PreparedIdentifiers<'a>>,
    ) -> Option<Object<'a>> {
        let mut object = Object::resource(&plan.resource_type, self.arena());
        match ready {
            Some(PreparedIdentifiers { rule, identifiers }) => {
                self.rules(&plan.rules[..rule], &plan.prefilters[..rule], scope, &mut object);
                let mut known = KnownItems::default();
                for identifier in identifiers {
                    let data = identifier.data;
                    let made = BuiltValue { node: Node::Object(identifier), data, stated: false };
                    self.put(&plan.rules[rule], made, &mut object, &mut known);
                }
                self.rules(&plan.rules[rule + 1..], &plan.prefilters[rule + 1..], scope, &mut object);
            }
            None => self.rules(&plan.rules, &plan.prefilters, scope, &mut object),
        }
        for (rule, null) in std::mem::take(&mut self.nulls) {
            if assign::is_set(&object, &rule.to.steps) {
                self.recorder.kept(self.reader, rule, null);
            } else {
                let mark = self.recorder.erased(self.reader, rule, Some(null));
                assign::erase(&mut object, &rule.to, "unknown", mark);
            }
        }
        object.prune();
        if !object.data {
            return None;
        }
        if self.ends && assign::drop_impossible_ends(&mut object, self.recorder) > 0 {
            self.recorder.note("", "a period ends before it starts: its end did not go out");
        }
        self.contained.attach(&mut object);
        Some(object)
    }

    /// Builds an Identifier by one of a resource's `condition` rules: every candidate it gives.
    pub fn candidates(&mut self, rule: &'a Rule, scope: Scoped<'_, 'r, 'a>) -> Vec<Object<'a>> {
        let mut holder = Object::new(self.arena());
        self.rule(rule, scope, &mut holder);
        match holder.remove("identifier") {
            Some(Node::List(list)) => {
                list.into_iter().filter_map(|n| if let Node::Object(o) = n { Some(o) } else { None }).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Candidates that need not be made again for the resource itself: its rule of this number makes the same, and
    /// making them left nothing behind but them. Whoever hears of every step wants to hear of the second making too.
    pub fn ready(self, twin: Option<usize>, identifiers: Vec<Object<'a>>) -> Option<PreparedIdentifiers<'a>> {
        let alone = !self.ends && self.nulls.is_empty() && self.contained.is_empty();
        twin.filter(|_| R::BRIEF && alone).map(|rule| PreparedIdentifiers { rule, identifiers })
    }

    pub fn rules(
        &mut self,
        rules: &'a [Rule],
        prefilters: &[Prefilter],
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
    ) {
        work::steps(rules.len());
        for (rule, guard) in rules.iter().zip(prefilters) {
            if work::is_spent() {
                return;
            }
            if !R::BRIEF || guard.lets_through(&self.reader.present, &scope.known) {
                self.rule(rule, scope, object);
            }
        }
    }

    fn rule(&mut self, rule: &'a Rule, scope: Scoped<'_, 'r, 'a>, object: &mut Object<'a>) {
        let mut known = KnownItems::default();
        let known = &mut known;
        if !rule.to.append && assign::is_set(object, &rule.to.steps) {
            self.recorder.passed(rule, Passed::Set);
            return;
        }
        if !rule.when.iter().all(|condition| self.holds(condition, scope)) {
            self.recorder.passed(rule, Passed::When);
            return;
        }
        match &rule.source {
            RuleSource::From(exprs) => self.from(rule, exprs, scope, object, known),
            RuleSource::Constant(text) => self.constant(rule, text, scope, object, known),
            RuleSource::Filled(pieces) => {
                self.recorder.enter(rule);
                let given = self.fill(pieces, scope, rule.to.uri).is_some_and(|text| {
                    self.recorder.filled();
                    self.give(rule, SourceValue::Text(text), scope, object, known)
                });
                self.recorder.leave(given);
            }
            RuleSource::Reference(referent) => {
                for url in self.entries.find(self.reader, referent, scope, rule.to.append) {
                    let mut reference = Object::new(self.arena());
                    reference.push("reference", Node::Text(url));
                    reference.data = true;
                    self.recorder.enter(rule);
                    let given = self.put(rule, BuiltValue::data(Node::Object(reference)), object, known);
                    self.recorder.leave(given);
                }
            }
        }
    }

    fn from(
        &mut self,
        rule: &'a Rule,
        exprs: &'a [Expr],
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
        known: &mut KnownItems,
    ) {
        for expr in exprs {
            if let (Some(single), false) =
                (self.reader.single(expr, scope), rule.convert == Convert::Simple(Primitive::Text))
            {
                if single.is_some_and(|value| self.take(rule, expr, value, scope, object, known)) {
                    return;
                }
                continue;
            }
            let read = self.reader.read(expr, scope);
            if let (Some(null), 0) = (read.null, self.depth) {
                self.nulls.push((rule, null));
            }
            if rule.convert == Convert::Simple(Primitive::Text) && !read.values.is_empty() {
                self.text(rule, expr, &read.values, object, known);
                return;
            }
            let mut given = false;
            let mut values = read.values.into_iter();
            for value in values.by_ref() {
                given |= self.take(rule, expr, value, scope, object, known);
                if (given && !rule.to.append) || work::is_spent() {
                    break;
                }
            }
            if given {
                values.for_each(|value| self.recorder.surplus(self.reader, rule, &value));
                return;
            }
        }
        if rule.convert == Convert::System {
            self.recorder.enter(rule);
            self.recorder.sender(self.reader);
            let system = Node::Text(self.reader.default_system());
            let given = self.put(rule, BuiltValue { node: system, data: false, stated: false }, object, known);
            self.recorder.leave(given);
        }
    }

    /// Takes one value that was read; whether it came to something.
    fn take(
        &mut self,
        rule: &'a Rule,
        expr: &Expr,
        value: SourceValue<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
        known: &mut KnownItems,
    ) -> bool {
        work::steps(1);
        self.recorder.enter(rule);
        self.recorder.read(self.reader, rule, expr, &value);
        let given = self.give(rule, value, scope, object, known);
        self.recorder.leave(given);
        given
    }

    /// FT and TX: the repetitions of a text are its lines.
    fn text(
        &mut self,
        rule: &'a Rule,
        expr: &Expr,
        values: &[SourceValue<'r, 'a>],
        object: &mut Object<'a>,
        known: &mut KnownItems,
    ) {
        let lines: Vec<_> = values.iter().map(|value| self.reader.formatted(value)).collect();
        let text = if let [line] = lines.as_slice() { line } else { &*self.arena().alloc_str(&lines.join("\n")) };
        if text.trim().is_empty() {
            return;
        }
        self.recorder.enter(rule);
        for value in values {
            self.recorder.read(self.reader, rule, expr, value);
        }
        let given = self.put(rule, BuiltValue::data(Node::Text(text)), object, known);
        self.recorder.leave(given);
    }

    /// Converts one value and puts it in its place; whether there was anything to put.
    fn give(
        &mut self,
        rule: &'a Rule,
        value: SourceValue<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
        known: &mut KnownItems,
    ) -> bool {
        self.make(rule, value, scope).is_some_and(|made| self.put(rule, made, object, known))
    }

    fn constant(
        &mut self,
        rule: &'a Rule,
        text: &'a str,
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
        known: &mut KnownItems,
    ) {
        if rule.convert == Convert::Erase {
            let mark = self.recorder.erased(self.reader, rule, None);
            assign::erase(object, &rule.to, text, mark);
            return;
        }
        self.recorder.enter(rule);
        let given = self.make(rule, SourceValue::Fixed(text), scope).is_some_and(|made| {
            let stated = matches!(made.node, Node::Object(_)) || assign::states_code(&rule.to);
            self.put(rule, BuiltValue { node: made.node, data: false, stated }, object, known)
        });
        self.recorder.leave(given);
    }

    fn put(&mut self, rule: &'a Rule, made: BuiltValue<'a>, object: &mut Object<'a>, known: &mut KnownItems) -> bool {
        self.ends |= rule.to.steps.last().is_some_and(|step| &*step.name == "end");
        let origin = assign::ValueOrigin { data: made.data, stated: made.stated };
        assign::put(object, &rule.to.steps, made.node, origin, known, self.recorder)
    }
}
