//! What all compiling shares: the files, what has been made of them so far, and the faults found on the way.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::fhir::r4;
use crate::mapping::plan::Template;
use crate::mapping::plan::rule::{TableId, TemplateId};
use crate::mapping::source::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use crate::mapping::source::load::Sources;
use crate::mapping::source::place::RulePlace;
use crate::mapping::source::table::Table;

pub(super) struct Compiler<'s> {
    pub sources: &'s Sources,
    pub diagnostics: Diagnostics,
    pub tables: Vec<Table>,
    pub table_ids: BTreeMap<&'s str, TableId>,
    pub templates: Vec<Template>,
    /// Templates by name and the FHIR type they fill.
    pub template_ids: FxHashMap<(String, String), TemplateId>,
    /// Those being compiled, to see a template that uses itself.
    pub open: Vec<String>,
    pub resource_types: BTreeSet<&'s str>,
}

impl<'s> Compiler<'s> {
    pub fn new(sources: &'s Sources) -> Self {
        let tables = sources.tables.iter().map(|(name, (_, entry))| Table::new(name, entry)).collect();
        let table_ids = sources.tables.keys().enumerate().map(|(id, name)| (name.as_str(), id)).collect();
        Self {
            sources,
            diagnostics: sources.diagnostics.clone(),
            tables,
            table_ids,
            templates: Vec::new(),
            template_ids: FxHashMap::default(),
            open: Vec::new(),
            resource_types: sources.resources.values().map(|r| r.resource.as_str()).collect(),
        }
    }

    pub fn fault(&mut self, place: RulePlace, message: impl Into<String>) {
        let file = &self.sources.files[usize::from(place.file)];
        self.diagnostics.add(Diagnostic::new(file, place.line, message));
    }

    /// Says what is wrong and goes on.
    pub fn said<T>(&mut self, place: RulePlace, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.fault(place, message)).ok()
    }
}

pub(super) fn no_resource(name: &str) -> String {
    let hint = did_you_mean(name, r4::resources());
    format!("'{name}' is no FHIR R4 resource that Stoker knows{}", hint)
}
