//! A closer look at mapping files than starting needs: what compiles and still cannot be meant.
//!
//! [`Plan::load`] refuses what it cannot compile; this finds in what compiles the elements that FHIR requires and that
//! may be missing, rules that never have their turn, names that nothing gives, and paths that lead nowhere. Faults make
//! a mapping wrong; warnings are of things that do no harm.

mod paths;
mod required;
mod turns;
mod unused;
mod variables;
mod worlds;

use super::plan::rule::{Convert, Rule, RuleSource};
use super::plan::{Plan, primitive};
use super::source::config::{Identifiers, MappingConfig};
use super::source::diagnostic::{Diagnostic, Diagnostics};
use super::source::load::Sources;
use super::source::place::RulePlace;

/// What a check came to.
#[derive(Debug, Default)]
pub struct Checked {
    /// `None` where the files do not compile.
    pub plan: Option<Plan>,
    pub faults: Diagnostics,
    pub warnings: Diagnostics,
}

/// Reads, compiles and looks closely.
#[must_use]
pub fn check(config: &MappingConfig, identifiers: &Identifiers) -> Checked {
    match Plan::load(config, identifiers) {
        Ok(plan) => {
            let mut look = Checker { plan: &plan, faults: Diagnostics::default(), warnings: Diagnostics::default() };
            look.at(&Sources::read(config));
            let Checker { mut faults, mut warnings, .. } = look;
            faults.0.sort();
            warnings.0.sort();
            Checked { faults, warnings, plan: Some(plan) }
        }
        Err(faults) => Checked { faults, ..Checked::default() },
    }
}

/// What is looked at, and what was found.
struct Checker<'p> {
    plan: &'p Plan,
    faults: Diagnostics,
    warnings: Diagnostics,
}

impl Checker<'_> {
    fn at(&mut self, sources: &Sources) {
        self.drops(sources);
        self.constants();
        self.required();
        self.turns(sources);
        self.variables(sources);
        self.unused(sources);
        self.paths(sources);
    }

    fn fault(&mut self, place: RulePlace, message: impl Into<String>) {
        self.faults.add(diagnostic(self.plan, place, message));
    }

    fn warn(&mut self, place: RulePlace, message: impl Into<String>) {
        self.warnings.add(diagnostic(self.plan, place, message));
    }

    /// What an overlay takes away must be there: else it has been renamed, and goes out again.
    fn drops(&mut self, sources: &Sources) {
        for (place, target, hint) in &sources.drops {
            self.fault(*place, format!("nothing to drop: no rule before this file has the target '{target}'{hint}"));
        }
    }

    /// Fixed values must be of their element's type.
    fn constants(&mut self) {
        let plan = self.plan;
        for rule in all_rules(plan) {
            let (RuleSource::Constant(text), Convert::Simple(kind), None) = (&rule.source, rule.convert, rule.table)
            else {
                continue;
            };
            if primitive::convert(kind, text, None, &crate::fhir::Arena::new()).is_err() {
                self.fault(rule.place, format!("'{text}' can be no value of {}, which is a {kind:?}", rule.to));
            }
        }
    }
}

fn diagnostic(plan: &Plan, place: RulePlace, message: impl Into<String>) -> Diagnostic {
    let file = plan.files.get(usize::from(place.file)).map_or("?", |name| name);
    Diagnostic::new(file, place.line, message)
}

/// Every rule of the plan; a template's once for each FHIR type it fills.
fn all_rules(plan: &Plan) -> impl Iterator<Item = &Rule> {
    let of_resources = plan.resources.iter().flat_map(|resource| resource.condition.iter().chain(&resource.rules));
    of_resources.chain(plan.templates.iter().flat_map(|template| &template.rules))
}
