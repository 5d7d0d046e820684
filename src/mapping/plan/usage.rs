//! Which fields the rules of a plan can read: found from the rules alone, without a message.
//!
//! A template reads parts of what it was called with, so its rules are followed once for each call, by [`Walk`].
//! `explain` asks [`FieldUsage`] why a field was not mapped, `check` asks it for paths that lead nowhere, and [`super::lineage`]
//! follows the same walk to where the values go.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::fields::{FieldReading, FieldUsage, FieldUse};
use super::primitive::Primitive;
use super::rule::{Argument, Condition, Convert, Expr, Piece, Rule, RuleSource};
use super::{Plan, ResourcePlan};
use crate::v2::path::Path;

impl Plan {
    pub(in crate::mapping) fn field_usage(&self) -> &FieldUsage {
        self.field_usage.get_or_init(|| FieldUsage::of(self))
    }
}

impl FieldUsage {
    pub fn of(plan: &Plan) -> Self {
        let mut all = BTreeSet::new();
        for (index, resource) in plan.resources.iter().enumerate() {
            let mut note = |read: FieldRead<'_, '_>| {
                if read.used_for != FieldUse::Set {
                    all.insert(read.reading(index, resource));
                }
            };
            Walk::new(plan, &mut note).resource(resource);
        }
        Self { readings: all.into_iter().collect() }
    }
}

pub type Paths = SmallVec<[Path; 2]>;
type Args<'p> = Vec<(&'p str, Paths)>;

/// What a template was called with.
#[derive(Default)]
struct CallScope<'p> {
    here: Paths,
    args: Args<'p>,
    /// The fields on which a fixed value depends here: what the template was called with, or the one around it, and what
    /// the conditions on the way ask for.
    behind: Paths,
}

/// One rule on the way from a resource file to a reading, and what it is given from.
#[derive(Debug)]
pub struct TrailRule<'p> {
    pub rule: &'p Rule,
    pub from: Paths,
}

/// What the walk comes upon.
pub struct FieldRead<'w, 'p> {
    pub path: Path,
    pub whole: bool,
    pub used_for: FieldUse,
    /// The rules that lead to it: that of the resource file, then those of the templates. Empty for what a file asks
    /// for at its head.
    pub trail: &'w [TrailRule<'p>],
}

impl FieldRead<'_, '_> {
    fn reading(&self, index: usize, resource: &ResourcePlan) -> FieldReading {
        let mut path = self.path;
        if !self.whole {
            (path.component, path.subcomponent) = (path.component.max(1), path.subcomponent.max(1));
        }
        let place = |link: Option<&TrailRule<'_>>| link.map_or(resource.place, |link| link.rule.place);
        let (place, outer) = (place(self.trail.last()), place(self.trail.first()));
        FieldReading { path, whole: self.whole, resource: index, used_for: self.used_for, place, outer }
    }
}

/// Follows the rules of a resource file through their templates.
pub struct Walk<'p, 'w> {
    plan: &'p Plan,
    trail: Vec<TrailRule<'p>>,
    note: &'w mut dyn FnMut(FieldRead<'_, 'p>),
}

impl<'p, 'w> Walk<'p, 'w> {
    pub fn new(plan: &'p Plan, note: &'w mut dyn FnMut(FieldRead<'_, 'p>)) -> Self {
        Self { plan, trail: Vec::new(), note }
    }

    pub fn resource(&mut self, resource: &'p ResourcePlan) {
        let nothing = CallScope { behind: resource.each.parse().into_iter().collect(), ..CallScope::default() };
        self.tests(&resource.when, &nothing);
        for expr in &resource.key {
            self.read(&resolve(expr, &nothing), false, FieldUse::Identity);
        }
        for rule in &resource.condition {
            self.rule(rule, &nothing, FieldUse::Identity);
        }
        for rule in &resource.rules {
            self.rule(rule, &nothing, FieldUse::Value);
        }
    }

    fn rule(&mut self, rule: &'p Rule, scope: &CallScope<'p>, used_for: FieldUse) {
        let from = sources(&rule.source, scope);
        let fixed = from.is_empty();
        self.trail.push(TrailRule { rule, from });
        self.tests(&rule.when, scope);
        let args: Args<'p> =
            rule.with.iter().map(|(name, argument)| (&**name, argument_paths(argument, scope))).collect();
        let asked = rule.when.iter().flat_map(|condition| &condition.exprs).flat_map(|expr| resolve(expr, scope));
        let behind: Paths = scope.behind.iter().copied().chain(asked).collect();
        if fixed {
            self.read(&behind, false, FieldUse::Set);
        }
        let inner = |here: Paths| {
            let behind = if here.is_empty() { behind.clone() } else { here.iter().chain(&behind).copied().collect() };
            CallScope { here, args: args.clone(), behind }
        };
        match &rule.source {
            RuleSource::From(exprs) => {
                for expr in exprs {
                    self.take(rule, &inner(resolve(expr, scope)), used_for);
                }
            }
            RuleSource::Filled(pieces) => {
                let paths = piece_paths(pieces, scope);
                self.read(&paths, false, used_for);
                if let Convert::Template(_) = rule.convert {
                    self.take(rule, &inner(paths), used_for);
                }
            }
            RuleSource::Constant(_) => self.take(rule, &inner(Paths::new()), used_for),
            RuleSource::Reference(_) => {}
        }
        self.trail.pop();
    }

    fn tests(&mut self, conditions: &'p [Condition], scope: &CallScope<'p>) {
        for expr in conditions.iter().flat_map(|condition| &condition.exprs) {
            self.read(&resolve(expr, scope), false, FieldUse::Test);
        }
    }

    /// Reads paths as the rule's `as` does.
    fn take(&mut self, rule: &'p Rule, inner: &CallScope<'p>, used_for: FieldUse) {
        let parts = |numbers: &[u16]| {
            let below = |path: &Path| numbers.iter().map(|n| below(*path, &[*n])).collect::<Paths>();
            inner.here.iter().flat_map(below).collect::<Paths>()
        };
        match rule.convert {
            Convert::Template(id) => {
                let plan = self.plan;
                plan.templates[id].rules.iter().for_each(|rule| self.rule(rule, inner, used_for));
            }
            Convert::Simple(Primitive::Text) => self.read(&inner.here, true, used_for),
            Convert::System | Convert::VisitSystem => self.read(&parts(&[1, 2, 3]), false, used_for),
            Convert::TypeCode => self.read(&parts(&[4, 5]), false, used_for),
            _ => {
                for (_, paths) in &inner.args {
                    self.read(paths, false, used_for);
                }
                self.read(&inner.here, false, used_for);
            }
        }
    }

    fn read(&mut self, paths: &[Path], whole: bool, used_for: FieldUse) {
        for path in paths {
            (self.note)(FieldRead { path: *path, whole, used_for, trail: &self.trail });
        }
    }
}

/// What a rule is given from, as far as it comes from fields.
fn sources(source: &RuleSource, scope: &CallScope<'_>) -> Paths {
    match source {
        RuleSource::From(exprs) => exprs.iter().flat_map(|expr| resolve(expr, scope)).collect(),
        RuleSource::Filled(pieces) => piece_paths(pieces, scope),
        RuleSource::Constant(_) | RuleSource::Reference(_) => Paths::new(),
    }
}

/// The fields that something readable stands for.
fn resolve(expr: &Expr, CallScope { here, args, .. }: &CallScope<'_>) -> Paths {
    match expr {
        Expr::Path(path) => SmallVec::from_elem(*path, 1),
        Expr::Relative(parts) => here.iter().map(|path| below(*path, parts)).collect(),
        Expr::Variable(name) => {
            args.iter().find(|(n, _)| **n == **name).map_or_else(Paths::new, |(_, paths)| paths.clone())
        }
    }
}

fn argument_paths(argument: &Argument, scope: &CallScope<'_>) -> Paths {
    match argument {
        Argument::Constant(_) => Paths::new(),
        Argument::Filled(pieces) => piece_paths(pieces, scope),
        Argument::Variable(expr) => resolve(expr, scope),
    }
}

fn piece_paths(pieces: &[Piece], scope: &CallScope<'_>) -> Paths {
    let exprs = pieces.iter().filter_map(|piece| match piece {
        Piece::Read { expr, .. } => Some(expr),
        Piece::Fixed(_) => None,
    });
    exprs.flat_map(|expr| resolve(expr, scope)).collect()
}

/// A part of a path; the first part of a leaf is the leaf.
fn below(path: Path, parts: &[u16]) -> Path {
    let mut path = path;
    for &part in parts.iter().filter(|&&part| part > 0) {
        if path.field == 0 {
            path.field = part;
        } else if path.component == 0 {
            path.component = part;
        } else if path.subcomponent == 0 {
            path.subcomponent = part;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Identifiers, MappingConfig};

    fn shipped() -> Plan {
        Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap()
    }

    fn covered(plan: &Plan, path: &str) -> Vec<FieldUse> {
        let leaf: Path = path.parse().unwrap();
        let mut uses: Vec<_> = plan.field_usage().of_leaf(&leaf).map(|reading| reading.used_for).collect();
        uses.sort_unstable();
        uses.dedup();
        uses
    }

    #[test]
    fn a_template_reads_parts_of_what_it_is_called_with() {
        let plan = shipped();
        assert_eq!(covered(&plan, "PID-5.2"), [FieldUse::Value]);
        assert_eq!(covered(&plan, "PID-3.4.2"), [FieldUse::Value, FieldUse::Identity]);
        assert_eq!(covered(&plan, "NK1-2.1.1"), [FieldUse::Value, FieldUse::Test]);
        assert_eq!(covered(&plan, "PID-13.9999"), []);
        assert_eq!(covered(&plan, "ZZZ-1"), []);
    }

    #[test]
    fn an_argument_is_read_where_the_template_reads_it() {
        assert_eq!(covered(&shipped(), "DG1-4"), [FieldUse::Value]);
        assert_eq!(covered(&shipped(), "OBX-6.3"), [FieldUse::Value, FieldUse::Test]);
    }
}
