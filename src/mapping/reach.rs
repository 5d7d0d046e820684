//! Which fields the rules of a plan can read: found from the rules alone, without a message.
//!
//! A template reads parts of what it was called with, so its rules are followed once for each call. `explain` asks this
//! why a field was not mapped; `check` asks it for paths that lead nowhere.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::plan::{Argument, Convert, Expr, Piece, Place, Plan, ResourcePlan, Rule, Source};
use super::simple::Simple;
use crate::v2::path::Path;

/// What a rule reads a field for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Its value goes into the resource.
    Value,
    /// It finds the resource, or makes its id.
    Identity,
    /// A `when` asks for it.
    Test,
}

/// A part of a field that a rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reading {
    /// Down to the first leaf of what is read; as far as the path goes where `whole`.
    pub path: Path,
    /// Everything below the path is read, not only its first leaf.
    pub whole: bool,
    /// Index into the plan's resources.
    pub resource: usize,
    pub use_: Use,
    /// The rule, and the rule of the resource file that called its template.
    pub place: Place,
    pub outer: Place,
}

impl Reading {
    /// Whether it takes in the leaf at `leaf`, whatever the repetition.
    pub fn covers(&self, leaf: &Path) -> bool {
        let same = self.path.segment() == leaf.segment() && (self.path.field == leaf.field || self.path.is_segment());
        let at = |own: u16, other: u16| own == other.max(1) || (self.whole && own == 0);
        same && at(self.path.component, leaf.component) && at(self.path.subcomponent, leaf.subcomponent)
    }
}

/// All readings of a plan, by path.
#[derive(Debug, Default)]
pub struct Reach {
    readings: Vec<Reading>,
}

impl Reach {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut all = BTreeSet::new();
        for (index, resource) in plan.resources.iter().enumerate() {
            Walk { plan, resource: index, outer: Place::default(), all: &mut all }.resource(resource);
        }
        Self { readings: all.into_iter().collect() }
    }

    pub(super) fn all(&self) -> &[Reading] {
        &self.readings
    }

    /// What is read of a segment.
    pub(super) fn of_segment(&self, name: &str) -> &[Reading] {
        let from = self.readings.partition_point(|reading| reading.path.segment() < name);
        let to = self.readings.partition_point(|reading| reading.path.segment() <= name);
        &self.readings[from..to]
    }

    /// What takes in a leaf.
    pub(super) fn of_leaf<'s>(&'s self, leaf: &'s Path) -> impl Iterator<Item = &'s Reading> {
        self.of_segment(leaf.segment()).iter().filter(|reading| reading.covers(leaf))
    }
}

type Paths = SmallVec<[Path; 2]>;
type Args<'p> = Vec<(&'p str, Paths)>;

struct Walk<'p, 'w> {
    plan: &'p Plan,
    resource: usize,
    outer: Place,
    all: &'w mut BTreeSet<Reading>,
}

impl<'p> Walk<'p, '_> {
    fn resource(&mut self, resource: &'p ResourcePlan) {
        let nothing = (Paths::new(), Args::new());
        for condition in &resource.when {
            self.readings(&condition.exprs, &nothing, resource.place, Use::Test);
        }
        self.readings(&resource.key, &nothing, resource.place, Use::Identity);
        for rule in &resource.condition {
            self.outer = rule.place;
            self.rule(rule, &nothing, Use::Identity);
        }
        for rule in &resource.rules {
            self.outer = rule.place;
            self.rule(rule, &nothing, Use::Value);
        }
    }

    fn readings(&mut self, exprs: &'p [Expr], scope: &(Paths, Args<'p>), place: Place, use_: Use) {
        self.outer = place;
        for expr in exprs {
            self.leafs(&resolve(expr, scope), place, use_);
        }
    }

    fn rule(&mut self, rule: &'p Rule, scope: &(Paths, Args<'p>), use_: Use) {
        for condition in &rule.when {
            for expr in &condition.exprs {
                self.leafs(&resolve(expr, scope), rule.place, Use::Test);
            }
        }
        let args: Args<'p> =
            rule.with.iter().map(|(name, argument)| (&**name, argument_paths(argument, scope))).collect();
        match &rule.source {
            Source::From(exprs) => {
                for expr in exprs {
                    self.take(rule, resolve(expr, scope), args.clone(), use_);
                }
            }
            Source::Filled(pieces) => {
                let paths = piece_paths(pieces, scope);
                self.leafs(&paths, rule.place, use_);
                if let Convert::Template(_) = rule.convert {
                    self.take(rule, paths, args, use_);
                }
            }
            Source::Constant(_) => self.take(rule, Paths::new(), args, use_),
            Source::Reference(_) => {}
        }
    }

    /// Reads paths as the rule's `as` does.
    fn take(&mut self, rule: &'p Rule, paths: Paths, args: Args<'p>, use_: Use) {
        let parts = |numbers: &[u16]| {
            let below = |path: &Path| numbers.iter().map(|n| below(*path, &[*n])).collect::<Paths>();
            paths.iter().flat_map(below).collect::<Paths>()
        };
        match rule.convert {
            Convert::Template(id) => {
                let plan = self.plan;
                let inner = (paths, args);
                plan.templates[id].rules.iter().for_each(|rule| self.rule(rule, &inner, use_));
            }
            Convert::Simple(Simple::Text) => self.whole(&paths, rule.place, use_),
            Convert::System | Convert::VisitSystem => self.leafs(&parts(&[1, 2, 3]), rule.place, use_),
            Convert::TypeCode => self.leafs(&parts(&[4, 5]), rule.place, use_),
            _ => {
                for (_, paths) in &args {
                    self.leafs(paths, rule.place, use_);
                }
                self.leafs(&paths, rule.place, use_);
            }
        }
    }

    fn leafs(&mut self, paths: &[Path], place: Place, use_: Use) {
        for path in paths {
            let mut path = *path;
            (path.component, path.subcomponent) = (path.component.max(1), path.subcomponent.max(1));
            self.note(path, false, place, use_);
        }
    }

    fn whole(&mut self, paths: &[Path], place: Place, use_: Use) {
        paths.iter().for_each(|path| self.note(*path, true, place, use_));
    }

    fn note(&mut self, path: Path, whole: bool, place: Place, use_: Use) {
        self.all.insert(Reading { path, whole, resource: self.resource, use_, place, outer: self.outer });
    }
}

/// The fields that something readable stands for.
fn resolve(expr: &Expr, (here, args): &(Paths, Args<'_>)) -> Paths {
    match expr {
        Expr::Path(path) => SmallVec::from_elem(*path, 1),
        Expr::Relative(parts) => here.iter().map(|path| below(*path, parts)).collect(),
        Expr::Variable(name) => {
            args.iter().find(|(n, _)| **n == **name).map_or_else(Paths::new, |(_, paths)| paths.clone())
        }
    }
}

fn argument_paths(argument: &Argument, scope: &(Paths, Args<'_>)) -> Paths {
    match argument {
        Argument::Constant(_) => Paths::new(),
        Argument::Filled(pieces) => piece_paths(pieces, scope),
        Argument::Variable(expr) => resolve(expr, scope),
    }
}

fn piece_paths(pieces: &[Piece], scope: &(Paths, Args<'_>)) -> Paths {
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
    use crate::mapping::{Config, Identifiers};

    fn shipped() -> Plan {
        Plan::load(&Config::default(), &Identifiers::default()).unwrap()
    }

    fn covered(plan: &Plan, path: &str) -> Vec<Use> {
        let leaf: Path = path.parse().unwrap();
        let mut uses: Vec<_> = plan.reach().of_leaf(&leaf).map(|reading| reading.use_).collect();
        uses.sort_unstable();
        uses.dedup();
        uses
    }

    #[test]
    fn a_template_reads_parts_of_what_it_is_called_with() {
        let plan = shipped();
        assert_eq!(covered(&plan, "PID-5.2"), [Use::Value]);
        assert_eq!(covered(&plan, "PID-3.4.2"), [Use::Value, Use::Identity]);
        assert_eq!(covered(&plan, "NK1-2.1.1"), [Use::Value, Use::Test]);
        assert_eq!(covered(&plan, "PID-13.9999"), []);
        assert_eq!(covered(&plan, "ZZZ-1"), []);
    }

    #[test]
    fn an_argument_is_read_where_the_template_reads_it() {
        assert_eq!(covered(&shipped(), "DG1-4"), [Use::Value]);
        assert_eq!(covered(&shipped(), "OBX-6.3"), [Use::Value, Use::Test]);
    }
}
