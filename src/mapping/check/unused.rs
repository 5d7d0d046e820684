//! Tables, templates and resource files that nothing uses: harmless, and a sign of a name that changed elsewhere. The
//! shipped files hold some for sites to use, and are not told of.

use std::collections::BTreeSet;

use super::{Checker, all_rules};
use crate::mapping::plan::rule::{Referent, RuleSource, TableRef};
use crate::mapping::source::load::Sources;
use crate::mapping::source::place::RulePlace;

impl Checker<'_> {
    pub(super) fn unused(&mut self, sources: &Sources) {
        let plan = self.plan;
        let mut tables: BTreeSet<&str> = plan.code_systems.iter().map(|&id| &*plan.tables[id].name).collect();
        let mut named: BTreeSet<&str> = sources.sets.values().flatten().map(String::as_str).collect();
        for rule in all_rules(plan) {
            if let Some(TableRef::Table(id)) = rule.table {
                tables.insert(&plan.tables[id].name);
            }
            if let RuleSource::Reference(Referent::Name(name)) = &rule.source {
                named.insert(name);
            }
        }
        for (name, (place, _)) in sources.tables.iter().filter(|(name, _)| !tables.contains(name.as_str())) {
            self.unless_shipped(sources, *place, format!("no rule uses table '{name}'"));
        }
        let templates: BTreeSet<&str> = plan.templates.iter().map(|template| &*template.name).collect();
        for (name, template) in sources.templates.iter().filter(|(name, _)| !templates.contains(name.as_str())) {
            self.unless_shipped(sources, template.place, format!("no rule uses template '{name}'"));
        }
        for (name, resource) in sources.resources.iter().filter(|(name, _)| !named.contains(name.as_str())) {
            let place = RulePlace { line: 1, ..resource.place };
            self.unless_shipped(sources, place, format!("no set of events.toml has '{name}': the file is never used"));
        }
    }

    fn unless_shipped(&mut self, sources: &Sources, place: RulePlace, message: String) {
        if !sources.is_shipped(place) {
            self.warn(place, message);
        }
    }
}
