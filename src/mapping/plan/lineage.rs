//! Where each field goes, by the rules alone: from a field of the message to an element of a resource, and the rule that
//! says so. For people who ask what a mapping uses, and for measuring it against HL7's guide; no message is needed.
//!
//! What a rule does with a value that it is given (a condition that does not hold, a code without a row) is not said
//! here; [`crate::mapping::explain()`] says it for a message.

use super::fields::FieldUse;
use super::rule::{Convert, Expr, Referent, Rule, RuleSource};
use super::usage::{FieldRead, TrailRule, Walk};
use super::{Plan, ResourcePlan};
use crate::v2::path::Path;

/// What a field is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Its value goes into the element.
    Value,
    /// A fixed value goes into the element because of it.
    Fixed,
    /// It finds the resource, or makes its id.
    Identity,
    /// A condition asks for it.
    Condition,
}

/// One way from a field to an element.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// What is read: a part of a field, or a whole segment (field 0) behind a fixed value.
    pub path: Path,
    pub purpose: Purpose,
    /// The FHIR type of the resource.
    pub resource: String,
    /// The element, from the resource down to where the value stands: `participant[].individual(Practitioner).name[].family`.
    /// What is contained or referred to has its type in parentheses. Empty for what a resource file asks for at its head.
    pub element: String,
    /// Everything below the element comes of it: a coding of a table.
    pub whole: bool,
    /// The type of the other resource that the element refers to.
    pub refers: Option<String>,
    /// The place that the rule reads which first names the field: `PID-3`, where `path` may be `PID-3.4.1`.
    pub named: Path,
    /// The element that this rule fills, and by which template.
    pub target: String,
    pub template: Option<String>,
    /// Where this rule stands: `resources/patient.toml:25`.
    pub rule: String,
}

/// All routes of a plan, by field.
#[must_use]
pub fn routes(plan: &Plan) -> Vec<Route> {
    let mut all = Vec::new();
    for resource in &plan.resources {
        let mut note = |read: FieldRead<'_, '_>| all.push(route(plan, resource, &read));
        Walk::new(plan, &mut note).resource(resource);
    }
    all.sort();
    all.dedup();
    all
}

fn route(plan: &Plan, resource: &ResourcePlan, read: &FieldRead<'_, '_>) -> Route {
    let same = |path: &&Path| path.segment() == read.path.segment() && path.field == read.path.field;
    let of_field = |link: &TrailRule<'_>| link.from.iter().find(same).copied().filter(|path| path.field > 0);
    let named = read.trail.iter().enumerate().find_map(|(at, link)| of_field(link).map(|path| (at, path)));
    let (at, path) = named.unwrap_or((read.trail.len().saturating_sub(1), read.path));
    // An argument is read far from the rule that gives it, and that is the one of the resource file.
    let outer = if named.is_some() && !read.trail.get(at).is_some_and(is_argument) { at } else { 0 };
    let to = &read.trail[..read.trail.len().min(at + 1)];
    let last = read.trail.last().map(|link| link.rule);
    Route {
        path: read.path,
        purpose: match read.used_for {
            FieldUse::Value => Purpose::Value,
            FieldUse::Set => Purpose::Fixed,
            FieldUse::Identity => Purpose::Identity,
            FieldUse::Test => Purpose::Condition,
        },
        resource: resource.resource_type.to_string(),
        element: element(plan, read.trail),
        whole: last.is_some_and(|rule| rule.convert == Convert::Coding),
        refers: last.and_then(|rule| referred(plan, rule)),
        named: path,
        target: element(plan, to),
        template: read.trail.get(at).and_then(|link| template(plan, link.rule)),
        rule: plan.place(read.trail.get(outer).map_or(resource.place, |link| link.rule.place)),
    }
}

fn is_argument(link: &TrailRule<'_>) -> bool {
    matches!(&link.rule.source, RuleSource::From(exprs) if exprs.iter().any(|expr| matches!(expr, Expr::Variable(_))))
}

fn element(plan: &Plan, trail: &[TrailRule<'_>]) -> String {
    let step = |link: &TrailRule<'_>| {
        let rule = link.rule;
        match rule.contain.as_deref().map(str::to_owned).or(referred(plan, rule)).or(extension(plan, rule)) {
            Some(inner) => format!("{}({inner})", rule.to),
            None => rule.to.to_string(),
        }
    };
    trail.iter().map(step).collect::<Vec<_>>().join(".")
}

fn referred(plan: &Plan, rule: &Rule) -> Option<String> {
    let RuleSource::Reference(referent) = &rule.source else { return None };
    Some(match referent {
        Referent::Type(kind) => kind.to_string(),
        Referent::Name(name) => {
            let file = plan.resources.iter().find(|resource| resource.name == *name);
            file.map_or_else(|| name.to_string(), |file| file.resource_type.to_string())
        }
    })
}

/// The URL of an extension that a template makes.
fn extension(plan: &Plan, rule: &Rule) -> Option<String> {
    let Convert::Template(id) = rule.convert else { return None };
    let template = plan.templates.get(id).filter(|template| &*template.fills == "Extension")?;
    let is_url = |rule: &&Rule| rule.to.steps.len() == 1 && &*rule.to.steps[0].name == "url";
    match &template.rules.iter().find(is_url)?.source {
        RuleSource::Constant(url) => Some(url.to_string()),
        _ => None,
    }
}

fn template(plan: &Plan, rule: &Rule) -> Option<String> {
    match rule.convert {
        Convert::Template(id) => Some(plan.templates[id].name.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Identifiers, MappingConfig};

    fn of(path: &str, purpose: Purpose) -> Vec<String> {
        let plan = Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap();
        let path: Path = path.parse().unwrap();
        let here = routes(&plan).into_iter().filter(|route| route.path == path && route.purpose == purpose);
        here.map(|route| format!("{}.{} by {}", route.resource, route.element, route.target)).collect()
    }

    #[test]
    fn a_route_leads_through_templates_and_what_is_contained() {
        let to = of("PV1-7.2.1", Purpose::Value);
        let family = "Encounter.participant[].individual(Practitioner).name[].family by participant[]";
        assert!(to.iter().any(|route| route == family), "{to:?}");
    }

    #[test]
    fn a_fixed_value_belongs_to_the_field_its_template_was_called_with_or_its_condition_asks_for() {
        let to = of("PV1-7", Purpose::Fixed);
        assert!(to.iter().any(|route| route.starts_with("Encounter.participant[].type[0].coding[] ")), "{to:?}");
        let status = of("PV1-45", Purpose::Fixed);
        assert!(status.contains(&"Encounter.status by status".to_owned()), "{status:?}");
    }

    #[test]
    fn an_argument_is_named_by_the_rule_that_gives_it() {
        let to = of("PID-12", Purpose::Value);
        assert!(to.iter().any(|route| route == "Patient.address[].district by address[].district"), "{to:?}");
    }
}
