//! Walks the plan's rules over one message and builds the FHIR tree. Pure: no clock, no IO, nothing remembered.

use smallvec::SmallVec;

use super::bundle::Entries;
use super::contain::Contained;
use super::guard::{Guard, Known};
use super::place;
use super::plan::{Convert, Expr, Plan, ResourcePlan, Rule, Source, TableId, TableRef};
use super::record::{Passed, Recorder};
use super::simple::{self, Simple, Unfit};
use super::table::Found;
use super::value::{Here, Reader, Scope, Value};
use super::variables::Arg;
use crate::fhir::{Arena, Node, Object};

/// One resource being built: the walk over its rules.
pub(super) struct Builder<'r, 'a, R> {
    pub reader: &'r Reader<'r, 'a>,
    pub entries: &'r Entries<'a>,
    pub recorder: &'r mut R,
    contained: Contained<'a>,
    /// Rules whose field was the explicit null: they erase, unless another rule gives a value.
    nulls: Vec<(&'a Rule, &'a str)>,
    depth: usize,
    /// Some period has an end.
    ends: bool,
}

/// What a value became, and whether it came from the message.
struct Made<'a> {
    node: Node<'a>,
    data: bool,
    stated: bool,
}

impl<'a> Made<'a> {
    fn data(node: Node<'a>) -> Self {
        Self { node, data: true, stated: false }
    }
}

/// What a rule of a resource makes, made before the resource is built.
pub(super) struct Ready<'a> {
    rule: usize,
    identifiers: Vec<Object<'a>>,
}

pub(super) type Scoped<'s, 'r, 'a> = &'s Scope<'s, 'r, 'a>;

impl<'r, 'a, R: Recorder> Builder<'r, 'a, R> {
    pub fn new(reader: &'r Reader<'r, 'a>, entries: &'r Entries<'a>, recorder: &'r mut R) -> Self {
        Self { reader, entries, recorder, contained: Contained::default(), nulls: Vec::new(), depth: 0, ends: false }
    }

    fn plan(&self) -> &'a Plan {
        self.reader.plan
    }

    fn arena(&self) -> &'a Arena {
        self.reader.arena
    }

    /// Builds a resource; `None` when the message gives nothing for it.
    pub fn resource(
        mut self,
        plan: &'a ResourcePlan,
        scope: Scoped<'_, 'r, 'a>,
        ready: Option<Ready<'a>>,
    ) -> Option<Object<'a>> {
        let mut object = Object::resource(&plan.resource_type, self.arena());
        match ready {
            Some(Ready { rule, identifiers }) => {
                self.rules(&plan.rules[..rule], &plan.guards[..rule], scope, &mut object);
                for identifier in identifiers {
                    let data = identifier.data;
                    let made = Made { node: Node::Object(identifier), data, stated: false };
                    self.put(&plan.rules[rule], made, &mut object);
                }
                self.rules(&plan.rules[rule + 1..], &plan.guards[rule + 1..], scope, &mut object);
            }
            None => self.rules(&plan.rules, &plan.guards, scope, &mut object),
        }
        for (rule, null) in std::mem::take(&mut self.nulls) {
            if place::is_set(&object, &rule.to.steps) {
                self.recorder.kept(self.reader, rule, null);
            } else {
                let mark = self.recorder.erased(self.reader, rule, Some(null));
                place::erase(&mut object, &rule.to, "unknown", mark);
            }
        }
        object.prune();
        if !object.data {
            return None;
        }
        if self.ends && place::drop_impossible_ends(&mut object, self.recorder) > 0 {
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
    pub fn ready(self, twin: Option<usize>, identifiers: Vec<Object<'a>>) -> Option<Ready<'a>> {
        let alone = !self.ends && self.nulls.is_empty() && self.contained.is_empty();
        twin.filter(|_| R::BRIEF && alone).map(|rule| Ready { rule, identifiers })
    }

    fn rules(&mut self, rules: &'a [Rule], guards: &[Guard], scope: Scoped<'_, 'r, 'a>, object: &mut Object<'a>) {
        for (rule, guard) in rules.iter().zip(guards) {
            if !R::BRIEF || guard.lets_through(&self.reader.present, &scope.known) {
                self.rule(rule, scope, object);
            }
        }
    }

    fn rule(&mut self, rule: &'a Rule, scope: Scoped<'_, 'r, 'a>, object: &mut Object<'a>) {
        if !rule.to.append && place::is_set(object, &rule.to.steps) {
            self.recorder.passed(rule, Passed::Set);
            return;
        }
        if !rule.when.iter().all(|condition| self.holds(condition, scope)) {
            self.recorder.passed(rule, Passed::When);
            return;
        }
        match &rule.source {
            Source::From(exprs) => self.from(rule, exprs, scope, object),
            Source::Constant(text) => self.constant(rule, text, scope, object),
            Source::Filled(pieces) => {
                self.recorder.enter(rule);
                let given = self.fill(pieces, scope, rule.to.uri).is_some_and(|text| {
                    self.recorder.filled();
                    self.give(rule, Value::Text(text), scope, object)
                });
                self.recorder.leave(given);
            }
            Source::Reference(referent) => {
                for url in self.entries.find(self.reader, referent, scope, rule.to.append) {
                    let mut reference = Object::new(self.arena());
                    reference.push("reference", Node::Text(url));
                    reference.data = true;
                    self.recorder.enter(rule);
                    let given = self.put(rule, Made::data(Node::Object(reference)), object);
                    self.recorder.leave(given);
                }
            }
        }
    }

    fn from(&mut self, rule: &'a Rule, exprs: &'a [Expr], scope: Scoped<'_, 'r, 'a>, object: &mut Object<'a>) {
        for expr in exprs {
            if let (Some(single), false) =
                (self.reader.single(expr, scope), rule.convert == Convert::Simple(Simple::Text))
            {
                if single.is_some_and(|value| self.take(rule, expr, value, scope, object)) {
                    return;
                }
                continue;
            }
            let read = self.reader.read(expr, scope);
            if let (Some(null), 0) = (read.null, self.depth) {
                self.nulls.push((rule, null));
            }
            if rule.convert == Convert::Simple(Simple::Text) && !read.values.is_empty() {
                self.text(rule, expr, &read.values, object);
                return;
            }
            let mut given = false;
            let mut values = read.values.into_iter();
            for value in values.by_ref() {
                given |= self.take(rule, expr, value, scope, object);
                if given && !rule.to.append {
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
            let given = self.put(rule, Made { node: system, data: false, stated: false }, object);
            self.recorder.leave(given);
        }
    }

    /// Takes one value that was read; whether it came to something.
    fn take(
        &mut self,
        rule: &'a Rule,
        expr: &Expr,
        value: Value<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
    ) -> bool {
        self.recorder.enter(rule);
        self.recorder.read(self.reader, rule, expr, &value);
        let given = self.give(rule, value, scope, object);
        self.recorder.leave(given);
        given
    }

    /// FT and TX: the repetitions of a text are its lines.
    fn text(&mut self, rule: &'a Rule, expr: &Expr, values: &[Value<'r, 'a>], object: &mut Object<'a>) {
        let lines: Vec<_> = values.iter().map(|value| self.reader.formatted(value)).collect();
        let text = if let [line] = lines.as_slice() { line } else { &*self.arena().alloc_str(&lines.join("\n")) };
        if text.trim().is_empty() {
            return;
        }
        self.recorder.enter(rule);
        for value in values {
            self.recorder.read(self.reader, rule, expr, value);
        }
        let given = self.put(rule, Made::data(Node::Text(text)), object);
        self.recorder.leave(given);
    }

    /// Converts one value and puts it in its place; whether there was anything to put.
    fn give(
        &mut self,
        rule: &'a Rule,
        value: Value<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
        object: &mut Object<'a>,
    ) -> bool {
        self.make(rule, value, scope).is_some_and(|made| self.put(rule, made, object))
    }

    fn constant(&mut self, rule: &'a Rule, text: &'a str, scope: Scoped<'_, 'r, 'a>, object: &mut Object<'a>) {
        if rule.convert == Convert::Erase {
            let mark = self.recorder.erased(self.reader, rule, None);
            place::erase(object, &rule.to, text, mark);
            return;
        }
        self.recorder.enter(rule);
        let given = self.make(rule, Value::Fixed(text), scope).is_some_and(|made| {
            let stated = matches!(made.node, Node::Object(_)) || place::states_code(&rule.to);
            self.put(rule, Made { node: made.node, data: false, stated }, object)
        });
        self.recorder.leave(given);
    }

    fn put(&mut self, rule: &'a Rule, made: Made<'a>, object: &mut Object<'a>) -> bool {
        self.ends |= rule.to.steps.last().is_some_and(|step| &*step.name == "end");
        let origin = place::Origin { data: made.data, stated: made.stated };
        place::put(object, &rule.to.steps, made.node, origin, self.recorder)
    }

    /// The FHIR value of a v2 value, by the rule's `as`, `table` and `contain`.
    fn make(&mut self, rule: &'a Rule, value: Value<'r, 'a>, scope: Scoped<'_, 'r, 'a>) -> Option<Made<'a>> {
        let data = !matches!(value, Value::Fixed(_));
        let table = self.table(rule, scope);
        let node = match rule.convert {
            Convert::Template(id) => return self.template(rule, id, value, table, scope),
            Convert::Simple(simple) => match table {
                Some(table) => self.translate(rule, simple, &value, table, scope)?,
                None => self.simple(rule, simple, &value, scope)?,
            },
            Convert::Coding => {
                let node = self.coding(rule, &value, table?)?;
                return Some(Made { node, data, stated: true });
            }
            Convert::System => Node::Text(self.reader.system(&value)?),
            Convert::TypeCode => {
                let code = Value::Text(self.reader.type_code(&value)?);
                match table {
                    Some(table) => self.translate(rule, Simple::Code, &code, table, scope)?,
                    None => self.simple(rule, Simple::Code, &code, scope)?,
                }
            }
            Convert::V2System => Node::Text(self.reader.v2_system(&value, table)?),
            Convert::VisitSystem => Node::Text(self.reader.visit_system(&value)?),
            Convert::CodeSystem => {
                let code = self.named_argument(rule, "code", scope);
                Node::Text(self.reader.code_system(&value, code)?)
            }
            Convert::Erase | Convert::Reference => return None,
        };
        Some(Made { node, data, stated: false })
    }

    fn table(&self, rule: &Rule, scope: Scoped<'_, 'r, 'a>) -> Option<TableId> {
        match rule.table {
            Some(TableRef::Table(id)) => Some(id),
            Some(TableRef::Caller) => scope.table,
            None if rule.convert == Convert::V2System => scope.table,
            None => None,
        }
    }

    fn simple(
        &mut self,
        rule: &'a Rule,
        simple: Simple,
        value: &Value<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<Node<'a>> {
        let text = self.reader.text(value)?;
        match simple::convert(simple, text, self.reader.zone(), self.arena()) {
            Err(Unfit::NextRule) => None,
            Ok(converted) => {
                if let Some(note) = converted.note {
                    self.recorder.noted(self.reader, rule, value, note);
                }
                match self.named_argument(rule, "minutes", scope) {
                    Some(minutes) => simple::later(&converted.node, minutes, self.arena()),
                    None => Some(converted.node),
                }
            }
            Err(Unfit::Fault(why)) => {
                self.recorder.unconvertible(self.reader, rule, value, why);
                None
            }
        }
    }

    fn translate(
        &mut self,
        rule: &'a Rule,
        simple: Simple,
        value: &Value<'r, 'a>,
        table: TableId,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<Node<'a>> {
        let code = self.reader.text(value)?;
        match self.plan().tables[table].find(code) {
            Found::Row(row) => {
                self.recorder.translated(self.reader, value);
                simple_of_row(simple, &row.code)
            }
            Found::Default(row) => {
                self.recorder.missed(self.reader, rule, value, table);
                simple_of_row(simple, &row.code)
            }
            Found::Pass => self.simple(rule, simple, value, scope),
            Found::None => None,
            Found::Nothing => {
                self.recorder.missed(self.reader, rule, value, table);
                None
            }
        }
    }

    fn coding(&mut self, rule: &'a Rule, value: &Value<'r, 'a>, table: TableId) -> Option<Node<'a>> {
        let code = self.reader.text(value)?;
        let table_plan = &self.plan().tables[table];
        let row = match table_plan.find(code) {
            Found::Row(row) => {
                self.recorder.translated(self.reader, value);
                row
            }
            Found::Default(row) => {
                self.recorder.missed(self.reader, rule, value, table);
                row
            }
            Found::None => return None,
            Found::Pass | Found::Nothing => {
                self.recorder.missed(self.reader, rule, value, table);
                return None;
            }
        };
        let mut coding = Object::new(self.arena());
        coding.data = true;
        if let Some(system) = row.system.as_deref() {
            coding.push("system", Node::Text(system));
        }
        coding.push("code", Node::Text(&row.code));
        if let Some(display) = row.display.as_deref() {
            coding.push("display", Node::Text(display));
        }
        Some(Node::Object(coding))
    }

    fn template(
        &mut self,
        rule: &'a Rule,
        id: usize,
        value: Value<'r, 'a>,
        table: Option<TableId>,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<Made<'a>> {
        let mut args: SmallVec<[(&'a str, Arg<'a>); 3]> = SmallVec::new();
        for (name, argument) in &rule.with {
            if let Some(value) = self.argument(argument, scope) {
                args.push((name, value));
            }
            self.recorder.argument(name);
        }
        let fixed = matches!(value, Value::Fixed(_));
        let (group, focus) = match value {
            Value::Segment(segment) => (self.reader.groups.of(segment), Some(segment)),
            _ => (scope.group, scope.focus),
        };
        let known =
            self.reader.present.called(self.reader.message, &value, &args, table.is_some(), passed_on(rule, scope));
        let inner = Scope { group, focus, here: Here::Thing(value), args: &args, table, known };
        let template = &self.plan().templates[id];
        let mut object = match rule.contain.as_deref() {
            Some(resource_type) => Object::resource(resource_type, self.arena()),
            None => Object::new(self.arena()),
        };
        self.depth += 1;
        self.rules(&template.rules, &template.guards, &inner, &mut object);
        self.depth -= 1;
        object.prune();
        let deliberate = fixed && !object.is_empty();
        if !object.data && !deliberate {
            return None;
        }
        let data = object.data;
        let node = match rule.contain {
            Some(_) => {
                object.data = true;
                self.contained.refer(object, self.recorder)
            }
            None => {
                object.stated |= fixed;
                Node::Object(object)
            }
        };
        Some(Made { node, data, stated: fixed })
    }
}

/// What is known of the thing that a rule hands on whole to its template.
fn passed_on(rule: &Rule, scope: Scoped<'_, '_, '_>) -> Option<Known> {
    let whole = |expr: &Expr| matches!(expr, Expr::Relative(parts) if parts.is_empty());
    matches!(&rule.source, Source::From(exprs) if exprs.iter().all(whole)).then_some(scope.known)
}

fn simple_of_row<'a>(simple: Simple, code: &'a str) -> Option<Node<'a>> {
    match simple {
        Simple::Boolean => Some(Node::Bool(code == "true")),
        _ if code.is_empty() => None,
        _ => Some(Node::Text(code)),
    }
}
