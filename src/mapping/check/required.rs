//! Elements that FHIR R4 requires and that may be missing.
//!
//! An object goes out when something in it came from the message; so a required element is safe when its rule gives a
//! value in every case, or in every case in which any other rule of the object does. What cannot be told from the rules
//! alone (whether a date converts) is taken to go well.

use std::collections::BTreeMap;

use super::turns::is_sure;
use super::worlds::{Certainty, PresenceQuestion};
use super::{Checker, all_rules};
use crate::fhir::r4::{self, Element};
use crate::mapping::plan::rule::{Argument, Convert, Expr, Piece, Rule, RuleSource, Test};
use crate::mapping::plan::{Plan, ResourcePlan};
use crate::mapping::source::place::RulePlace;

/// One object that rules fill: a resource, what a template makes, or what several targets name in common.
struct Filled<'r> {
    kind: String,
    rules: Vec<&'r Rule>,
    /// How many steps of the targets lead to it.
    depth: usize,
    place: RulePlace,
    /// What has a value whenever the object is built.
    valued: Vec<String>,
}

impl Checker<'_> {
    pub(super) fn required(&mut self) {
        let plan = self.plan;
        for resource in &plan.resources {
            self.object(&Filled {
                kind: resource.resource_type.to_string(),
                rules: resource.rules.iter().collect(),
                depth: 0,
                place: resource.place,
                valued: guaranteed(resource),
            });
        }
        for template in &plan.templates {
            let place = template.rules.first().map_or_else(RulePlace::default, |rule| rule.place);
            self.object(&Filled {
                kind: template.fills.to_string(),
                rules: template.rules.iter().collect(),
                depth: 0,
                place,
                valued: std::iter::once(".".to_owned()).chain(always_given(plan, &template.name)).collect(),
            });
        }
    }

    fn object(&mut self, object: &Filled<'_>) {
        for (name, forms) in required_of(&object.kind) {
            self.element(object, &name, &forms);
        }
        let mut inner: BTreeMap<String, Vec<&Rule>> = BTreeMap::new();
        for rule in object.rules.iter().filter(|rule| rule.to.steps.len() > object.depth + 1) {
            let step = &rule.to.steps[object.depth];
            inner.entry(format!("{} {:?}", step.name, step.at)).or_default().push(rule);
        }
        for rules in inner.into_values() {
            let step = &rules[0].to.steps[object.depth];
            let Some(element) = r4::element(&object.kind, step.name.trim_start_matches('_')) else { continue };
            // A template that makes the whole of it is checked by itself.
            let whole =
                |rule: &&Rule| rule.to.steps.len() == object.depth + 1 && rule.to.steps[object.depth].name == step.name;
            if object.rules.iter().any(whole) {
                continue;
            }
            let kind = r4::members_of(&element).to_owned();
            let (depth, place, valued) = (object.depth + 1, rules[0].place, object.valued.clone());
            self.object(&Filled { kind, rules, depth, place, valued });
        }
    }

    fn element(&mut self, object: &Filled<'_>, name: &str, forms: &[String]) {
        let gives = |rule: &&&Rule| {
            rule.to.steps.get(object.depth).is_some_and(|step| forms.iter().any(|form| *form == *step.name))
        };
        let givers: Vec<&Rule> = object.rules.iter().filter(gives).copied().collect();
        let plan = self.plan;
        if givers.iter().any(|rule| rule.when.is_empty() && is_sure(plan, rule)) {
            return;
        }
        let others = || object.rules.iter().filter(|rule| !gives(rule) && brings_data(rule)).copied();
        let answer = |beside| PresenceQuestion { plan, givers: &givers, beside, valued: &object.valued }.answer();
        let answers: Vec<(&Rule, Certainty)> = others().map(|beside| (beside, answer(beside))).collect();
        let first = |wanted: Certainty| answers.iter().find(|(_, answer)| *answer == wanted).map(|(rule, _)| *rule);
        let place = givers.last().map_or(object.place, |rule| rule.place);
        let path = format!("{}.{name}", object.kind);
        let Some(other) = first(Certainty::Missing) else {
            if first(Certainty::Unknown).is_some() {
                self.warn(place, format!("FHIR R4 requires {path}, and too many conditions decide it to tell whether it is always there; add a last rule without `when` and with a fixed `value`"));
            }
            return;
        };
        let message = match givers.is_empty() {
            true => format!("FHIR R4 requires {path}, and no rule gives it; add one with a value that always fits"),
            false => format!(
                "FHIR R4 requires {path}, and it may be missing beside {} (line {}); add a last rule without `when` and with a fixed `value`",
                other.to, other.place.line
            ),
        };
        self.fault(place, message);
    }
}

/// The required elements of a type: name, and the forms that give it.
fn required_of(kind: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for element in r4::required(kind) {
        let name = element.path.rsplit('.').next().unwrap_or_default();
        // The URL of an extension is written with its target.
        if kind == "Extension" || name == "resourceType" {
            continue;
        }
        let base = choice_base(&element, name);
        found.entry(base.to_owned()).or_default().push(name.to_owned());
    }
    found
}

fn choice_base<'n>(element: &Element, name: &'n str) -> &'n str {
    let end = if element.choice { name.len().checked_sub(element.kind.len()) } else { None };
    end.and_then(|end| name.get(..end)).unwrap_or(name)
}

/// What has a value whenever a resource is built: the segment it is for, and what its `when` asks for.
fn guaranteed(resource: &ResourcePlan) -> Vec<String> {
    let mut valued = vec![resource.each.to_string()];
    for condition in &resource.when {
        if let ([expr], Test::Valued | Test::Is(_)) = (&condition.exprs[..], &condition.test) {
            valued.push(expr.to_string());
        }
    }
    valued
}

/// Whether a rule brings something from the message, so that its object goes out.
fn brings_data(rule: &Rule) -> bool {
    match &rule.source {
        RuleSource::Constant(_) => false,
        RuleSource::Reference(_) => true,
        RuleSource::From(exprs) => exprs.iter().any(|expr| !matches!(expr, Expr::Variable(_))),
        RuleSource::Filled(pieces) => {
            pieces.iter().any(|piece| matches!(piece, Piece::Read { expr, .. } if !matches!(expr, Expr::Variable(_))))
        }
    }
}

/// The arguments that every rule which calls a template gives it as fixed values.
fn always_given(plan: &Plan, template: &str) -> Vec<String> {
    let calls = all_rules(plan)
        .filter(|rule| matches!(rule.convert, Convert::Template(id) if *plan.templates[id].name == *template));
    let fixed = |rule: &Rule| -> Vec<String> {
        let constants = rule.with.iter().filter(|(_, argument)| matches!(argument, Argument::Constant(_)));
        constants.map(|(name, _)| format!("${name}")).collect()
    };
    calls
        .map(fixed)
        .reduce(|all, more| all.into_iter().filter(|name| more.contains(name)).collect())
        .unwrap_or_default()
}
