//! Whether an element has a value in every case in which another rule of its object gives something.
//!
//! A case is a choice, for each thing that the rules ask for, of whether it has a value or is one of certain codes. A case
//! in which the element is missing is searched for by choosing one thing after the other; what is decided by the first
//! few is not gone into. Rules that ask for so much that the search would not end are said to be beyond telling.

use crate::mapping::plan::Plan;
use crate::mapping::plan::rule::{Condition, Convert, Expr, Piece, Rule, RuleSource, TableRef, Test};

/// How many partly chosen cases are looked at.
const MOST: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The element is there in every case.
    Safe,
    /// There is a case without it.
    Missing,
    /// The rules ask for too much to tell.
    Unknown,
}

pub(super) struct PresenceQuestion<'q> {
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

/// A case as far as it is chosen: for each fact whether it is so, or nothing yet.
struct World<'f> {
    facts: &'f [Fact],
    so: Vec<Option<bool>>,
}

impl PresenceQuestion<'_> {
    /// Whether one of the rules gives the element in each case in which the other gives something.
    pub fn answer(&self) -> Certainty {
        let facts = self.facts();
        let mut world = World { so: vec![None; facts.len()], facts: &facts };
        let mut left = MOST;
        match self.missing(&mut world, 0, &mut left) {
            true => Certainty::Missing,
            false if left == 0 => Certainty::Unknown,
            false => Certainty::Safe,
        }
    }

    /// Whether there is a case without the element among those in which the facts before `at` are chosen.
    fn missing(&self, world: &mut World<'_>, at: usize, left: &mut usize) -> bool {
        *left = left.saturating_sub(1);
        let settled = *left == 0
            || !world.is_possible(self.valued)
            || self.gives(self.beside, world) == Some(false)
            || self.givers.iter().any(|rule| self.gives(rule, world) == Some(true));
        if settled || at == world.so.len() {
            return !settled;
        }
        // What is absent is where elements are missing.
        let found = [false, true].into_iter().any(|so| {
            world.so[at] = Some(so);
            self.missing(world, at + 1, left)
        });
        world.so[at] = None;
        found
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
                RuleSource::From(exprs) => facts.extend(exprs.iter().map(valued)),
                RuleSource::Filled(pieces) => facts.extend(needed(pieces).map(valued)),
                RuleSource::Constant(_) | RuleSource::Reference(_) => {}
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

    fn gives(&self, rule: &Rule, world: &World<'_>) -> Option<bool> {
        all(rule.when.iter().map(|condition| world.meets(condition)).chain([self.has_value(rule, world)]))
    }

    fn has_value(&self, rule: &Rule, world: &World<'_>) -> Option<bool> {
        match &rule.source {
            RuleSource::Constant(_) => {
                Some(super::turns::is_sure(self.plan, rule) || rule.table == Some(TableRef::Caller))
            }
            // Whatever it refers to is in the Bundle with it.
            RuleSource::Reference(_) => Some(true),
            RuleSource::From(_) if super::turns::is_sure(self.plan, rule) => Some(true),
            RuleSource::From(exprs) => {
                let taken = exprs.iter().filter(|expr| self.takes_any(rule, expr));
                any(taken.map(|expr| world.has(&valued(expr))))
            }
            RuleSource::Filled(pieces) => all(needed(pieces).map(|expr| world.has(&valued(expr)))),
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
    fn has(&self, fact: &Fact) -> Option<bool> {
        match self.facts.iter().position(|known| known == fact) {
            Some(at) => self.so[at],
            None => Some(false),
        }
    }

    fn meets(&self, condition: &Condition) -> Option<bool> {
        let any_valued = || any(condition.exprs.iter().map(|expr| self.has(&valued(expr))));
        match &condition.test {
            Test::Valued => any_valued(),
            Test::Absent => any_valued().map(|so| !so),
            Test::Is(codes) => self.has(&is(condition, codes)),
            Test::IsNot(codes) => self.has(&is(condition, codes)).map(|so| !so),
        }
    }

    /// A thing whose part has a value has one; what is a code has a value; what must have a value has one.
    fn is_possible(&self, must: &[String]) -> bool {
        let known = |of: &dyn Fn(&str) -> bool, so: bool| {
            let is_of = |fact: &Fact| matches!(fact, Fact::Valued(name) if of(name));
            self.facts.iter().zip(&self.so).filter(|(fact, is)| is_of(fact) && **is == Some(so)).count()
        };
        self.facts.iter().zip(&self.so).all(|(fact, so)| match (fact, so) {
            (Fact::Valued(name), Some(false)) => {
                let part = |inner: &str| is_within(inner, name);
                !must.iter().any(|known| part(known)) && known(&part, true) == 0
            }
            // One of them has the code: not all of them are absent.
            (Fact::Is(names, _), Some(true)) => {
                known(&|name: &str| names.iter().any(|one| one == name), false) < names.len()
            }
            _ => true,
        })
    }
}

/// Whether all are so, as far as that is known.
fn all(mut facts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    facts
        .try_fold(Some(true), |so, fact| match fact {
            Some(false) => Err(()),
            Some(true) => Ok(so),
            None => Ok(None),
        })
        .unwrap_or(Some(false))
}

/// Whether one of them is so, as far as that is known.
fn any(facts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(facts.map(|fact| fact.map(|so| !so))).map(|none| !none)
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
