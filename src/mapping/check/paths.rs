//! Paths that lead nowhere: segments that no message of the events has, events that there are not or that never reach
//! the rule, states that an Encounter cannot have.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::fhir::r4;
use crate::mapping::plan::Plan;
use crate::mapping::plan::rule::{Condition, Expr, Rule, Test};
use crate::mapping::source::diagnostic::nearest;
use crate::mapping::source::load::Sources;
use crate::v2::standard;

/// Segments that senders put into ADT messages where the standard's structures have none: allergies in their newer
/// form, notes, participation (from v2.7 in the place of ROL).
const IN_THE_WILD: &[&str] = &["IAM", "NTE", "PRT"];

/// How many fields versions after 2.8 may have added to a segment.
const NEWER: usize = 10;

impl Checker<'_> {
    pub(super) fn paths(&mut self, sources: &Sources) {
        let events = events_of_resources(self.plan);
        self.segments(&events);
        self.tested_events(&events);
        self.states(sources);
    }

    fn segments(&mut self, events: &[BTreeSet<&str>]) {
        let plan = self.plan;
        for (resource, used_by) in plan.resources.iter().zip(events) {
            let known: BTreeSet<&str> = used_by
                .iter()
                .filter_map(|event| standard::segments_of(event))
                .flatten()
                .chain(IN_THE_WILD.iter().copied())
                .collect();
            let number = plan.resources.iter().position(|other| std::ptr::eq(other, resource));
            let mut told: BTreeMap<&str, _> = BTreeMap::new();
            for reading in plan.field_usage().all().iter().filter(|reading| Some(reading.resource) == number) {
                let segment = reading.path.segment();
                if !segment.starts_with('Z') && !known.contains(segment) {
                    told.entry(segment).or_insert((reading.place, segment));
                }
            }
            self.fields(number);
            for (place, segment) in told.into_values() {
                let message = nowhere(segment, used_by, &known);
                self.warn(place, message);
            }
            if !resource.each.starts_with('Z') && !known.contains(&*resource.each) {
                let message = nowhere(&resource.each, used_by, &known);
                self.warn(resource.place, message);
            }
        }
    }

    /// Fields far beyond those that the standard's segment has: a slip of the finger.
    fn fields(&mut self, resource: Option<usize>) {
        let plan = self.plan;
        for reading in plan.field_usage().all().iter().filter(|reading| Some(reading.resource) == resource) {
            let (segment, field) = (reading.path.segment(), usize::from(reading.path.field));
            let count = standard::fields(segment).count();
            if field > count + NEWER && count > 0 {
                self.warn(reading.outer, format!("{segment}-{field}: the standard's {segment} has {count} fields"));
            }
        }
    }

    /// `$event = A99`: an event that there is not, or that does not use the resource.
    fn tested_events(&mut self, events: &[BTreeSet<&str>]) {
        let plan = self.plan;
        for (resource, used_by) in plan.resources.iter().zip(events) {
            for rule in resource.condition.iter().chain(&resource.rules) {
                self.tested_event(rule, used_by, &resource.name);
            }
        }
        let all: BTreeSet<&str> = plan.events.keys().map(|code| &**code).collect();
        for rule in plan.templates.iter().flat_map(|template| &template.rules) {
            self.known_events(rule, &all);
        }
    }

    fn tested_event(&mut self, rule: &Rule, used_by: &BTreeSet<&str>, resource: &str) {
        let all: BTreeSet<&str> = self.plan.events.keys().map(|code| &**code).collect();
        self.known_events(rule, &all);
        for condition in rule.when.iter().filter(|condition| asks_event(condition)) {
            if let Test::Is(codes) = &condition.test
                && !codes.iter().any(|code| used_by.contains(&**code))
                && codes.iter().all(|code| all.contains(&**code))
            {
                let text = format!("this rule never applies: none of the events it names makes a {resource}");
                self.fault(rule.place, text);
            }
        }
    }

    fn known_events(&mut self, rule: &Rule, all: &BTreeSet<&str>) {
        for condition in rule.when.iter().filter(|condition| asks_event(condition)) {
            let (Test::Is(codes) | Test::IsNot(codes)) = &condition.test else { continue };
            for code in codes.iter().filter(|code| !all.contains(&***code)) {
                let hint = nearest(code, all.iter().copied()).map(|near| format!("; did you mean {near}?"));
                self.fault(rule.place, format!("events.toml has no event '{code}'{}", hint.unwrap_or_default()));
            }
        }
    }

    /// The status of an event must be one that an Encounter can have.
    fn states(&mut self, sources: &Sources) {
        let Some(allowed) = r4::element("Encounter", "status").and_then(|status| status.codes) else { return };
        for (place, event) in sources.events.values() {
            let variant = event.variant.as_ref().and_then(|variant| variant.status.as_ref());
            for status in event.status.iter().chain(variant).chain(&event.absorbed) {
                if !allowed.split('|').any(|code| code == status) {
                    let hint = nearest(status, allowed.split('|')).map(|near| format!("; did you mean '{near}'?"));
                    let message = format!("an Encounter has no status '{status}'{}", hint.unwrap_or_default());
                    self.fault(*place, message);
                }
            }
            for segment in event.needs.iter().flatten() {
                if !segment.starts_with('Z') && !standard::knows(segment) {
                    self.warn(*place, format!("no ADT message has a segment {segment}: no message would be taken"));
                }
            }
        }
    }
}

/// The events that use each resource.
fn events_of_resources(plan: &Plan) -> Vec<BTreeSet<&str>> {
    let mut events = vec![BTreeSet::new(); plan.resources.len()];
    for (code, event) in &plan.events {
        for resource in event.resources() {
            events[resource].insert(&**code);
        }
    }
    events
}

fn asks_event(condition: &Condition) -> bool {
    matches!(&condition.exprs[..], [Expr::Variable(name)] if &**name == "event")
}

fn nowhere(segment: &str, used_by: &BTreeSet<&str>, known: &BTreeSet<&str>) -> String {
    if !standard::knows(segment) {
        let hint = nearest(segment, known.iter().copied()).map(|near| format!("; did you mean {near}?"));
        return format!("the standard's ADT messages have no segment {segment}{}", hint.unwrap_or_default());
    }
    let events: Vec<_> = used_by.iter().copied().take(6).collect();
    let more = if used_by.len() > events.len() { " ..." } else { "" };
    format!("no message of the events that use this file ({}{more}) has a segment {segment}", events.join(", "))
}
