//! The FHIR value of a v2 value: by a simple type, a table, or a template with rules of its own.

use smallvec::SmallVec;

use super::build::{Builder, BuiltValue, Scoped};
use super::reader::{Here, Scope, SourceValue};
use super::recorder::Recorder;
use crate::fhir::{Node, Object};
use crate::mapping::plan::prefilter::CallPresence;
use crate::mapping::plan::primitive::{self, Primitive, Unfit};
use crate::mapping::plan::rule::{Convert, Expr, Rule, RuleSource, TableId, TableRef};
use crate::mapping::plan::variables::VariableValue;
use crate::mapping::source::table::Lookup;

impl<'r, 'a, R: Recorder> Builder<'r, 'a, R> {
    /// The FHIR value of a v2 value, by the rule's `as`, `table` and `contain`.
    pub fn make(
        &mut self,
        rule: &'a Rule,
        value: SourceValue<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<BuiltValue<'a>> {
        let data = !matches!(value, SourceValue::Fixed(_));
        let table = self.table(rule, scope);
        let node = match rule.convert {
            Convert::Template(id) => return self.template(rule, id, value, table, scope),
            Convert::Simple(simple) => match table {
                Some(table) => self.translate(rule, simple, &value, table, scope)?,
                None => self.simple(rule, simple, &value, scope)?,
            },
            Convert::Coding => {
                let node = self.coding(rule, &value, table?)?;
                return Some(BuiltValue { node, data, stated: true });
            }
            Convert::System => Node::Text(self.reader.system(&value)?),
            Convert::TypeCode => {
                let code = SourceValue::Text(self.reader.type_code(&value)?);
                match table {
                    Some(table) => self.translate(rule, Primitive::Code, &code, table, scope)?,
                    None => self.simple(rule, Primitive::Code, &code, scope)?,
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
        Some(BuiltValue { node, data, stated: false })
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
        simple: Primitive,
        value: &SourceValue<'r, 'a>,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<Node<'a>> {
        let text = self.reader.text(value)?;
        match primitive::convert(simple, text, self.reader.zone(), self.arena()) {
            Err(Unfit::NextRule) => None,
            Ok(converted) => {
                if let Some(note) = converted.note {
                    self.recorder.noted(self.reader, rule, value, note);
                }
                match self.named_argument(rule, "minutes", scope) {
                    Some(minutes) => primitive::later(&converted.node, minutes, self.arena()),
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
        simple: Primitive,
        value: &SourceValue<'r, 'a>,
        table: TableId,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<Node<'a>> {
        let code = self.reader.text(value)?;
        match self.plan().tables[table].find(code) {
            Lookup::Row(row) => {
                self.recorder.translated(self.reader, value);
                simple_of_row(simple, &row.code)
            }
            Lookup::Default(row) => {
                self.recorder.missed(self.reader, rule, value, table);
                simple_of_row(simple, &row.code)
            }
            Lookup::Pass => self.simple(rule, simple, value, scope),
            Lookup::None => None,
            Lookup::Nothing => {
                self.recorder.missed(self.reader, rule, value, table);
                None
            }
        }
    }

    fn coding(&mut self, rule: &'a Rule, value: &SourceValue<'r, 'a>, table: TableId) -> Option<Node<'a>> {
        let code = self.reader.text(value)?;
        let table_plan = &self.plan().tables[table];
        let row = match table_plan.find(code) {
            Lookup::Row(row) => {
                self.recorder.translated(self.reader, value);
                row
            }
            Lookup::Default(row) => {
                self.recorder.missed(self.reader, rule, value, table);
                row
            }
            Lookup::None => return None,
            Lookup::Pass | Lookup::Nothing => {
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
        value: SourceValue<'r, 'a>,
        table: Option<TableId>,
        scope: Scoped<'_, 'r, 'a>,
    ) -> Option<BuiltValue<'a>> {
        let mut args: SmallVec<[(&'a str, VariableValue<'a>); 3]> = SmallVec::new();
        for (name, argument) in &rule.with {
            if let Some(value) = self.argument(argument, scope) {
                args.push((name, value));
            }
            self.recorder.argument(name);
        }
        let fixed = matches!(value, SourceValue::Fixed(_));
        let (group, focus) = match value {
            SourceValue::Segment(segment) => (self.reader.groups.of(segment), Some(segment)),
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
        self.rules(&template.rules, &template.prefilters, &inner, &mut object);
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
        Some(BuiltValue { node, data, stated: fixed })
    }
}

/// What is known of the thing that a rule hands on whole to its template.
fn passed_on(rule: &Rule, scope: Scoped<'_, '_, '_>) -> Option<CallPresence> {
    let whole = |expr: &Expr| matches!(expr, Expr::Relative(parts) if parts.is_empty());
    matches!(&rule.source, RuleSource::From(exprs) if exprs.iter().all(whole)).then_some(scope.known)
}

fn simple_of_row<'a>(simple: Primitive, code: &'a str) -> Option<Node<'a>> {
    match simple {
        Primitive::Boolean => Some(Node::Bool(code == "true")),
        _ if code.is_empty() => None,
        _ => Some(Node::Text(code)),
    }
}
