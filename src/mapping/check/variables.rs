//! Variables that nothing gives, and arguments that nothing reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, all_rules};
use crate::mapping::plan::rule::{Argument, Convert, Expr, Piece, Rule, RuleSource};
use crate::mapping::plan::variables::GLOBALS;
use crate::mapping::source::diagnostic::nearest;
use crate::mapping::source::load::Sources;

/// The arguments that simple types take.
const OF_SIMPLE: &[&str] = &["minutes", "code"];

impl Checker<'_> {
    pub(super) fn variables(&mut self, sources: &Sources) {
        let plan = self.plan;
        let given = given(plan);
        let none = BTreeSet::new();
        for resource in &plan.resources {
            for rule in resource.condition.iter().chain(&resource.rules) {
                self.reads(sources, rule, &none, None);
            }
        }
        let mut read: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for template in &plan.templates {
            let args = given.get(&*template.name).unwrap_or(&none);
            for rule in &template.rules {
                self.reads(sources, rule, args, Some(&template.name));
                read.entry(&template.name).or_default().extend(variables(rule));
            }
        }
        for rule in all_rules(plan) {
            let (known, what): (BTreeSet<&str>, _) = match rule.convert {
                Convert::Template(id) => {
                    let name = &*plan.templates[id].name;
                    (read.get(name).cloned().unwrap_or_default(), format!("template '{name}'"))
                }
                _ => (OF_SIMPLE.iter().copied().collect(), "this conversion".into()),
            };
            for (name, _) in rule.with.iter().filter(|(name, _)| !known.contains(&**name)) {
                let remedy = hint(name, known.iter().copied());
                self.fault(rule.place, format!("{what} reads no ${name}{remedy}"));
            }
        }
    }

    /// What a rule reads must be given by someone. A template may offer an argument that nobody uses yet.
    fn reads(&mut self, sources: &Sources, rule: &Rule, args: &BTreeSet<&str>, template: Option<&str>) {
        for name in variables(rule) {
            if args.contains(name) || GLOBALS.contains(&name) || (name == "table" && template.is_some()) {
                continue;
            }
            let known = args.iter().copied().chain(GLOBALS.iter().copied());
            let remedy = hint(name, known);
            match template {
                Some(template) if !remedy.is_empty() => {
                    let message = format!("no rule that calls template '{template}' gives ${name}{remedy}");
                    self.fault(rule.place, message);
                }
                Some(template) if !sources.is_shipped(rule.place) => {
                    self.warn(rule.place, format!("no rule that calls template '{template}' gives ${name}"));
                }
                Some(_) => {}
                None => self.fault(rule.place, format!("there is no ${name}{remedy}")),
            }
        }
    }
}

fn hint<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean ${near}?")).unwrap_or_default()
}

/// The arguments that any rule gives a template, by the template's name.
fn given(plan: &crate::mapping::plan::Plan) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut given: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in all_rules(plan) {
        if let Convert::Template(id) = rule.convert {
            let names = rule.with.iter().map(|(name, _)| &**name);
            given.entry(&plan.templates[id].name).or_default().extend(names);
        }
    }
    given
}

/// The variables a rule reads.
fn variables(rule: &Rule) -> BTreeSet<&str> {
    let mut exprs: Vec<&Expr> = rule.when.iter().flat_map(|condition| &condition.exprs).collect();
    match &rule.source {
        RuleSource::From(from) => exprs.extend(from),
        RuleSource::Filled(pieces) => exprs.extend(read_by(pieces)),
        RuleSource::Constant(_) | RuleSource::Reference(_) => {}
    }
    for (_, argument) in &rule.with {
        match argument {
            Argument::Filled(pieces) => exprs.extend(read_by(pieces)),
            Argument::Variable(expr) => exprs.push(expr),
            Argument::Constant(_) => {}
        }
    }
    let names = exprs.into_iter().filter_map(|expr| match expr {
        Expr::Variable(name) => Some(&**name),
        _ => None,
    });
    names.collect()
}

fn read_by(pieces: &[Piece]) -> impl Iterator<Item = &Expr> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Read { expr, .. } => Some(expr),
        Piece::Fixed(_) => None,
    })
}
