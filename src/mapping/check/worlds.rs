//! Whether an element has a value in every case in which another rule of its object gives something.
//!
//! A case is a choice, for each thing that the rules ask for, of whether it has a value or is one of certain codes.
//! There are few such things in one object, so all cases are gone through.

use crate::mapping::plan::{Condition, Convert, Expr, Piece, Plan, Rule, Source, TableRef, Test};

/// More things than this are asked for by nobody; then nothing is said.
const MOST: usize = 10;

pub(super) struct Question<'q> {
    pub plan: &'q Plan,
    /// The rules of the element.
    pub givers: &'q [&'q Rule],
    /// A rule of the same object that brings something from the message.
    pub beside: &'q Rule,
    /// What has a value whenever the object is built.
    pub valued: &'q [String],
}

/// Something that may be so or not.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fact {
    Valued(String),
    /// One of some expressions is one of some codes.
    Is(Vec<String>, String),
}

/// A case: which of the facts are so.
struct World<'f> {
    facts: &'f [Fact],
    so: u32,
}

impl Question<'_> {
    /// Whether one of the rules gives the element in each case in which the other gives something.
    pub fn is_safe(&self) -> bool {
        let facts = self.facts();
        if facts.len() > MOST {
            return true;
        }
        let worlds = (0..1_u32 << facts.len()).map(|so| World { facts: &facts, so });
        let mut here = worlds.filter(|world| world.is_possible(self.valued) && self.gives(self.beside, world));
        here.all(|world| self.givers.iter().any(|rule| self.gives(rule, &world)))
    }

    fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for rule in self.givers.iter().copied().chain(std::iter::once(self.beside)) {
            for condition in &rule.when {
                match &condition.test {
                    Test::Valued | Test::Absent => facts.extend(condition.exprs.iter().map(valued)),
                    Test::Is(codes) | Test::IsNot(codes) => facts.push(is(condition, codes)),
                }
            }
            match &rule.source {
                Source::From(exprs) => facts.extend(exprs.iter().map(valued)),
                Source::Filled(pieces) => facts.extend(needed(pieces).map(valued)),
                Source::Constant(_) | Source::Reference(_) => {}
            }
        }
        let mut distinct: Vec<Fact> = Vec::new();
        for fact in facts {
            if !distinct.contains(&fact) {
                distinct.push(fact);
            }
        }
        distinct
    }

    fn gives(&self, rule: &Rule, world: &World<'_>) -> bool {
        rule.when.iter().all(|condition| world.meets(condition)) && self.has_value(rule, world)
    }

    fn has_value(&self, rule: &Rule, world: &World<'_>) -> bool {
        match &rule.source {
            Source::Constant(_) => super::turns::is_sure(self.plan, rule) || rule.table == Some(TableRef::Caller),
            // Whatever it refers to is in the Bundle with it.
            Source::Reference(_) => true,
            Source::From(exprs) => {
                let found = |expr: &Expr| world.has(&valued(expr)) && self.takes_any(rule, expr);
                super::turns::is_sure(self.plan, rule) || exprs.iter().any(found)
            }
            Source::Filled(pieces) => needed(pieces).all(|expr| world.has(&valued(expr))),
        }
    }

    /// Whether a rule gives something for every value, as far as its table goes. A fixed argument has its row.
    fn takes_any(&self, rule: &Rule, expr: &Expr) -> bool {
        match (rule.table, rule.convert) {
            (Some(TableRef::Table(id)), Convert::Simple(_) | Convert::Coding) => {
                let table = &self.plan.tables[id];
                matches!(expr, Expr::Variable(_)) || table.has_default() || table.passes()
            }
            _ => true,
        }
    }
}

impl World<'_> {
    fn has(&self, fact: &Fact) -> bool {
        self.facts.iter().position(|known| known == fact).is_some_and(|at| self.so & (1 << at) != 0)
    }

    fn meets(&self, condition: &Condition) -> bool {
        let any_valued = || condition.exprs.iter().any(|expr| self.has(&valued(expr)));
        match &condition.test {
            Test::Valued => any_valued(),
            Test::Absent => !any_valued(),
            Test::Is(codes) => self.has(&is(condition, codes)),
            Test::IsNot(codes) => !self.has(&is(condition, codes)),
        }
    }

    /// A thing whose part has a value has one; what is a code has a value; what must have a value has one.
    fn is_possible(&self, must: &[String]) -> bool {
        self.facts.iter().all(|fact| match fact {
            Fact::Valued(name) if self.has(fact) => true,
            Fact::Valued(name) => {
                let part =
                    |other: &Fact| matches!(other, Fact::Valued(inner) if is_within(inner, name)) && self.has(other);
                !must.iter().any(|known| is_within(known, name)) && !self.facts.iter().any(part)
            }
            Fact::Is(names, _) if self.has(fact) => {
                let known: Vec<&Fact> =
                    self.facts.iter().filter(|f| matches!(f, Fact::Valued(name) if names.contains(name))).collect();
                known.len() < names.len() || known.into_iter().any(|fact| self.has(fact))
            }
            Fact::Is(..) => true,
        })
    }
}

/// Whether one thing is the other or a part of it; everything is a part of what a template was called with.
fn is_within(inner: &str, outer: &str) -> bool {
    let rest = inner.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || outer == "." || rest.starts_with(['.', '-', '[']))
}

fn valued(expr: &Expr) -> Fact {
    Fact::Valued(expr.to_string())
}

fn is(condition: &Condition, codes: &[Box<str>]) -> Fact {
    Fact::Is(condition.exprs.iter().map(ToString::to_string).collect(), codes.join(","))
}

/// What a filled text cannot do without.
fn needed(pieces: &[Piece]) -> impl Iterator<Item = &Expr> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Read { expr, optional: false } => Some(expr),
        _ => None,
    })
}
