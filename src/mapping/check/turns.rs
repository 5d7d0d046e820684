//! Rules that never have their turn: the first value wins, and an earlier rule always gives one; or the same rule twice.
//!
//! Only within one file: that an overlay's rule keeps a shipped one from its turn is what overlays are for.

use super::Checker;
use crate::mapping::plan::Plan;
use crate::mapping::plan::rule::{Convert, Expr, Rule, RuleSource, TableRef, TargetStep};
use crate::mapping::source::file::RuleEntry;
use crate::mapping::source::load::Sources;
use crate::mapping::source::place::RulePlace;
use crate::mapping::source::table::Lookup;

/// What is known of every message.
const ALWAYS: &[&str] = &["event", "fhirEvent", "fhirEventSystem", "messageId", "base"];

impl Checker<'_> {
    pub(super) fn turns(&mut self, sources: &Sources) {
        let plan = self.plan;
        for resource in &plan.resources {
            self.beaten(&resource.rules);
        }
        for template in &plan.templates {
            self.beaten(&template.rules);
        }
        for resource in sources.resources.values() {
            self.repeated(&resource.condition);
            self.repeated(&resource.rules);
        }
        for template in sources.templates.values() {
            self.repeated(&template.rules);
        }
    }

    fn beaten(&mut self, rules: &[Rule]) {
        for (n, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.to.append) {
            let wins = |earlier: &&Rule| {
                earlier.place.file == rule.place.file
                    && same_element(&earlier.to.steps, &rule.to.steps)
                    && holds_whenever(earlier, rule)
                    && is_sure(self.plan, earlier)
            };
            if let Some(earlier) = rules[..n].iter().find(wins) {
                let line = earlier.place.line;
                let message = format!(
                    "this rule never has its turn: the one in line {line} always gives {} first; put it behind this one, or give it a `when`",
                    earlier.to
                );
                self.fault(rule.place, message);
            }
        }
    }

    fn repeated(&mut self, rules: &[(RulePlace, RuleEntry)]) {
        for (n, (place, rule)) in rules.iter().enumerate() {
            let same = rules[..n].iter().find(|(other, earlier)| other.file == place.file && earlier == rule);
            if let Some((other, _)) = same {
                self.fault(*place, format!("the same rule stands in line {} already; take one away", other.line));
            }
        }
    }
}

/// Whether a value of one target keeps a rule for the other from its turn: the same element, or another form of the
/// same choice.
fn same_element(one: &[TargetStep], other: &[TargetStep]) -> bool {
    let same = |(a, b): (&TargetStep, &TargetStep)| a.name == b.name && a.at == b.at;
    match (one.split_last(), other.split_last()) {
        (Some((a, before)), Some((b, way))) => {
            before.len() == way.len()
                && before.iter().zip(way).all(same)
                && (same((a, b)) || (a.choice.is_some() && a.choice == b.choice))
        }
        _ => false,
    }
}

/// Whether the conditions of one rule are among those of the other.
fn holds_whenever(one: &Rule, other: &Rule) -> bool {
    let conditions = |rule: &Rule| rule.when.iter().map(ToString::to_string).collect::<Vec<_>>();
    let others = conditions(other);
    conditions(one).iter().all(|condition| others.contains(condition))
}

/// Whether a rule gives a value whenever its conditions hold.
pub(super) fn is_sure(plan: &Plan, rule: &Rule) -> bool {
    let table = match rule.table {
        Some(TableRef::Table(id)) => Some(&plan.tables[id]),
        Some(TableRef::Caller) => return false,
        None => None,
    };
    match &rule.source {
        RuleSource::Constant(text) => match (rule.convert, table) {
            (Convert::Erase | Convert::Simple(_), None) | (Convert::Template(_), _) => true,
            (_, Some(table)) => matches!(table.find(text), Lookup::Row(_) | Lookup::Default(_)),
            _ => false,
        },
        RuleSource::From(exprs) => {
            let known = |expr: &Expr| matches!(expr, Expr::Variable(name) if ALWAYS.contains(&&**name));
            matches!(rule.convert, Convert::Simple(_)) && table.is_none() && exprs.iter().any(known)
        }
        RuleSource::Filled(_) | RuleSource::Reference(_) => false,
    }
}
