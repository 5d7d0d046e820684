//! Files to plan: every name is looked up once, here, and what does not fit is said with file and line.
//!
//! In come the files as a person wrote them, brought together ([`Sources`]); out goes a [`Plan`], or everything that is wrong
//! with them. It promises that a plan holds no name that leads nowhere and no target that R4 does not have, so that the walk has
//! nothing to check; it refuses a file that it cannot take whole, because half a mapping loses fields in silence.
//!
//! - `compiler`: what has been made so far, and how a fault is said
//! - [`syntax`]: the texts in a file, each by itself: expressions, conditions, targets, patterns
//! - `target`: a rule's target against the elements of R4
//! - `rules`: a rule, and the templates that it uses
//! - `resources`, `events`: the files of `resources/`, and what each event sends of them
//!
//! A template is compiled once for each FHIR type it is used for, so that its targets are checked against the type that
//! they really fill: `XCN` as a Practitioner and `XCN` as a Reference are two.

mod compiler;
mod events;
mod resources;
mod rules;
pub mod syntax;
mod target;

use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::plan::Plan;
use super::plan::rule::TableId;
use super::source::config::{Identifiers, MappingConfig};
use super::source::diagnostic::Diagnostics;
use super::source::load::Sources;
use super::source::settings;
use super::source::table::Table;
use compiler::Compiler;

/// The table of coding system names (HL7 table 0396).
const CODE_SYSTEMS: &str = "coding-systems";

impl Plan {
    /// Compiles the mapping files that `config` names.
    ///
    /// # Errors
    /// Everything that is wrong with them, each with file and line.
    pub fn load(config: &MappingConfig, identifiers: &Identifiers) -> Result<Self, Diagnostics> {
        Self::compile(Sources::read(config), config, identifiers)
    }

    pub(super) fn compile(
        sources: Sources,
        config: &MappingConfig,
        identifiers: &Identifiers,
    ) -> Result<Self, Diagnostics> {
        // Names in a file that was not read would all be unknown.
        if sources.unread {
            return Err(sources.diagnostics);
        }
        let mut compiler = Compiler::new(&sources);
        let settings = settings::check(config, &mut compiler.diagnostics);
        let resources = compiler.resources();
        let events = compiler.events(&resources);
        let Compiler { diagnostics, templates, tables, table_ids, .. } = compiler;
        let (Some(settings), true) = (settings, diagnostics.0.is_empty()) else { return Err(diagnostics) };
        Ok(Self {
            hash: hash(&sources, config, identifiers),
            events,
            resources,
            templates,
            of_v2_system: by_v2_system(&tables),
            tables,
            identifiers: identifiers.clone(),
            settings,
            code_systems: table_ids.get(CODE_SYSTEMS).copied(),
            files: sources.files,
            field_usage: OnceLock::new(),
        })
    }
}

fn by_v2_system(tables: &[Table]) -> FxHashMap<Box<str>, SmallVec<[TableId; 2]>> {
    let mut of: FxHashMap<Box<str>, SmallVec<[TableId; 2]>> = FxHashMap::default();
    for (id, table) in tables.iter().enumerate() {
        if let Some(system) = &table.v2_system {
            of.entry(system.clone()).or_default().push(id);
        }
    }
    of
}

/// What the plan was made from, in sixteen hexadecimal digits.
fn hash(sources: &Sources, config: &MappingConfig, identifiers: &Identifiers) -> String {
    let mut digest = Sha256::new();
    for text in &sources.texts {
        digest.update(text.as_bytes());
        digest.update([0]);
    }
    // The budget decides whether there is a Bundle, not what is in it: it makes no other plan.
    let config = MappingConfig { budget: None, ..config.clone() };
    // As a site sets them; how they are held here, and what the types are called, makes no other plan.
    let settings = serde_json::to_string(&(&config, identifiers));
    let settings = settings.unwrap_or_else(|_| format!("{config:?}{identifiers:?}")); // a path that is not UTF-8
    digest.update(settings.as_bytes());
    digest.update(env!("CARGO_PKG_VERSION").as_bytes());
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
