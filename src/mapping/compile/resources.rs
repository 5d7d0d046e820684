//! The files of `resources/`: one plan each, with its condition and its rules.

use super::compiler::{Compiler, no_resource};
use super::syntax;
use crate::fhir::r4;
use crate::mapping::plan::ResourcePlan;
use crate::mapping::plan::prefilter::Prefilter;
use crate::mapping::plan::rule::Rule;
use crate::mapping::source::diagnostic::did_you_mean;
use crate::mapping::source::file::RuleEntry;
use crate::mapping::source::load::ResourceSource;
use crate::mapping::source::place::RulePlace;

impl Compiler<'_> {
    pub(super) fn resources(&mut self) -> Vec<ResourcePlan> {
        self.sources.resources.iter().filter_map(|(name, entry)| self.resource(name, entry)).collect()
    }

    fn resource(&mut self, name: &str, entry: &ResourceSource) -> Option<ResourcePlan> {
        let place = entry.place;
        if entry.resource.is_empty() || entry.each.is_empty() {
            let known = self.sources.resources.iter().filter(|(_, entry)| !entry.resource.is_empty());
            let hint = did_you_mean(name, known.map(|(name, _)| name.as_str()));
            self.fault(place, format!("there is no resources/{name}.toml to lie over{hint} (a file of your own says resource = \"Patient\" and each = \"PID\")"));
            return None;
        }
        if !r4::is_resource(&entry.resource) {
            self.fault(place, no_resource(&entry.resource));
            return None;
        }
        let key = entry.key.iter().filter_map(|text| self.said(place, syntax::expr(text))).collect();
        let when = entry.when.as_deref().and_then(|text| self.said(place, syntax::conditions(text)));
        let condition: Vec<_> = entry.condition.iter().filter_map(|(at, rule)| self.condition(*at, rule)).collect();
        let rules = self.rules(&entry.rules, &entry.resource);
        Some(ResourcePlan {
            name: name.into(),
            place,
            resource_type: entry.resource.as_str().into(),
            each: entry.each.as_str().into(),
            key,
            when: when.unwrap_or_default(),
            twins: condition.iter().map(|rule| self.twin(rule, &rules)).collect(),
            condition,
            prefilters: Prefilter::all(&rules),
            rules,
        })
    }

    /// The rule that makes the same identifiers as one of the condition. Which patient it is, is known only later.
    fn twin(&self, rule: &Rule, rules: &[Rule]) -> Option<usize> {
        let twin = rules.iter().position(|other| rule.is_twin(other))?;
        (!rule.reads_variable("patient", &self.templates)).then_some(twin)
    }

    /// A rule of `condition`: it has no target of its own, it gives Identifiers.
    fn condition(&mut self, place: RulePlace, entry: &RuleEntry) -> Option<Rule> {
        if !entry.to.is_empty() {
            self.fault(place, "a rule of a condition has no `to`: it gives the identifier to search by");
        }
        let rule = RuleEntry { to: "identifier[]".into(), ..entry.clone() };
        self.rule(place, &rule, "Patient")
    }
}
