//! The trigger events of `events.toml`: what each becomes, what it needs, and the set of resources that it sends.

use rustc_hash::FxHashMap;

use super::compiler::Compiler;
use super::syntax;
use crate::mapping::plan::{Course, EventPlan, ResourcePlan};
use crate::mapping::source::diagnostic::did_you_mean;
use crate::mapping::source::file::{EventEntry, GroupsEntry};
use crate::mapping::source::place::RulePlace;
use crate::v2::group::Grouping;

impl Compiler<'_> {
    pub(super) fn events(&mut self, resources: &[ResourcePlan]) -> FxHashMap<Box<str>, EventPlan> {
        let mut plans = FxHashMap::default();
        for (trigger, (place, entry)) in &self.sources.events {
            if let Some(plan) = self.event(*place, entry, resources) {
                plans.insert(trigger.as_str().into(), plan);
            }
        }
        plans
    }

    fn event(&mut self, place: RulePlace, entry: &EventEntry, resources: &[ResourcePlan]) -> Option<EventPlan> {
        let refused = entry.refused.as_deref().map(Into::into);
        let course = match (&entry.fhir, &entry.set) {
            _ if entry.refused.is_some() => Course::default(),
            (Some(fhir), Some(set)) => self.course(place, fhir, set, entry.status.as_deref(), resources)?,
            _ => {
                self.fault(place, "an event says fhir = \"admin-notify\" and set = \"FULL\", or why it is `refused`");
                return None;
            }
        };
        let variant = match &entry.variant {
            Some(variant) => {
                let when = self.said(place, syntax::conditions(&variant.when))?;
                let fhir = variant.fhir.as_ref().or(entry.fhir.as_ref())?;
                let set = variant.set.as_ref().or(entry.set.as_ref())?;
                let status = variant.status.as_deref().or(entry.status.as_deref());
                Some((when, self.course(place, fhir, set, status, resources)?))
            }
            None => None,
        };
        let needs = entry.needs.clone().unwrap_or_else(|| vec!["PID".into()]);
        Some(EventPlan {
            name: entry.name.as_str().into(),
            course,
            variant,
            needs: needs.iter().map(|n| n.as_str().into()).collect(),
            grouping: match entry.groups {
                GroupsEntry::Single => Grouping::Single,
                GroupsEntry::Patients => Grouping::Patients,
            },
            refused,
            absorbed: entry.absorbed.as_deref().map(Into::into),
        })
    }

    fn course(
        &mut self,
        place: RulePlace,
        fhir: &str,
        set: &str,
        status: Option<&str>,
        resources: &[ResourcePlan],
    ) -> Option<Course> {
        let sources = self.sources;
        let Some(names) = sources.sets.get(set) else {
            let hint = did_you_mean(set, sources.sets.keys().map(String::as_str));
            self.fault(place, format!("no set '{set}' in [sets]{}", hint));
            return None;
        };
        let mut found = Vec::new();
        for name in names {
            match resources.iter().position(|r| *r.name == **name) {
                Some(index) => found.push(index),
                // A file that did not compile has been complained of already.
                None if sources.resources.contains_key(name) => {}
                None => self.fault(place, format!("set '{set}' names '{name}', and there is no resources/{name}.toml")),
            }
        }
        Some(Course { fhir: fhir.into(), status: status.map(Into::into), set: set.into(), resources: found })
    }
}
