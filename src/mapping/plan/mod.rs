//! What `compile` makes of mapping files and [`run`](super::run) walks for each message.
//!
//! In come rules whose names have all been looked up; out goes what the walk, the check and an explanation ask of them, without
//! a message. It promises that nothing in it is parsed again and nothing in it changes: one plan serves all threads. It refuses
//! nothing, for what is in it has been checked.
//!
//! - `rule`: a rule and its parts; this file has what holds rules: resources, templates, events, the plan
//! - [`primitive`], [`identifier`], `variables`: what a rule can make of a text, of an assigning authority, of a `$name`
//! - `prefilter`: what a rule cannot do without, as bits, so that most rules need not be tried
//! - `usage` finds which fields the rules read and `fields` holds it; [`lineage`] follows each to where it goes

pub(super) mod rule;
pub mod primitive;
pub mod identifier;
pub(super) mod variables;
pub(super) mod prefilter;
pub(super) mod fields;
pub(super) mod usage;
pub mod lineage;

use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::source::config::Identifiers;
use super::source::settings::Settings;
use super::source::table::Table;
pub use crate::mapping::source::place::RulePlace;
use crate::v2::group::Grouping;
use fields::FieldUsage;
use prefilter::Prefilter;
pub use rule::{
    Argument, At, Condition, Convert, Expr, Piece, Referent, Rule, RuleSource, TableId, TableRef, Target, TargetStep,
    TemplateId, Test,
};

/// Everything that turns messages into Bundles: the mapping files and the site's settings, checked.
#[derive(Debug)]
pub struct Plan {
    /// A digest of all the files and settings it was made from; every journal entry names the plan that mapped it.
    pub hash: String,
    pub(super) events: FxHashMap<Box<str>, EventPlan>,
    pub(super) resources: Vec<ResourcePlan>,
    pub(super) templates: Vec<Template>,
    pub(super) tables: Vec<Table>,
    pub(super) identifiers: Identifiers,
    pub(super) settings: Settings,
    /// The table of coding system names.
    pub(super) code_systems: Option<TableId>,
    /// The tables of each HL7 table, by its code system.
    pub(super) of_v2_system: FxHashMap<Box<str>, SmallVec<[TableId; 2]>>,
    /// The names of the files, as [`RulePlace`] numbers them.
    pub(super) files: Vec<Box<str>>,
    /// Which fields its rules read; found when somebody asks.
    pub(super) field_usage: OnceLock<FieldUsage>,
}

/// One trigger event.
#[derive(Debug)]
pub struct EventPlan {
    pub name: Box<str>,
    pub(super) course: Course,
    /// The course where a condition holds (A28 without a visit).
    pub(super) variant: Option<(Vec<Condition>, Course)>,
    pub needs: Vec<Box<str>>,
    pub grouping: Grouping,
    /// Why it is refused, where it is.
    pub refused: Option<Box<str>>,
    pub(super) absorbed: Option<Box<str>>,
}

/// What an event becomes.
#[derive(Debug, Clone, Default)]
pub struct Course {
    pub fhir: Box<str>,
    pub status: Option<Box<str>>,
    /// The name of the event's set.
    pub set: Box<str>,
    /// What is in it, as indices into the resources of the [`Plan`].
    pub resources: Vec<usize>,
}

#[derive(Debug)]
pub struct ResourcePlan {
    /// The file's name without its ending.
    pub name: Box<str>,
    pub place: RulePlace,
    pub resource_type: Box<str>,
    pub each: Box<str>,
    pub key: Vec<Expr>,
    pub when: Vec<Condition>,
    pub condition: Vec<Rule>,
    pub rules: Vec<Rule>,
    /// What each of the rules cannot do without.
    pub prefilters: Vec<Prefilter>,
    /// For each rule of the condition, the one of `rules` that makes the same identifiers.
    pub twins: Vec<Option<usize>>,
}

#[derive(Debug, Default)]
pub struct Template {
    pub name: Box<str>,
    /// The FHIR type whose elements its rules name.
    pub fills: Box<str>,
    pub rules: Vec<Rule>,
    /// What each of them cannot do without.
    pub prefilters: Vec<Prefilter>,
}

impl Plan {
    /// The plan of a trigger event, `A01`; `None` for one that Stoker does not map.
    #[must_use]
    pub fn event(&self, trigger: &str) -> Option<&EventPlan> {
        self.events.get(trigger)
    }

    /// The rule that stands at a place.
    pub(super) fn rule_at(&self, place: RulePlace) -> Option<&Rule> {
        let of_resources = self.resources.iter().flat_map(|resource| resource.condition.iter().chain(&resource.rules));
        let of_templates = self.templates.iter().flat_map(|template| &template.rules);
        of_resources.chain(of_templates).find(|rule| rule.place == place)
    }

    /// The plan of a trigger event, and its name for as long as the plan lives.
    pub(super) fn event_named(&self, trigger: &str) -> Option<(&str, &EventPlan)> {
        self.events.get_key_value(trigger).map(|(name, plan)| (&**name, plan))
    }

    /// How many steps of work mapping one message may take.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.settings.budget
    }

    /// How many events, resources and rules it has.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        let resources: usize = self.resources.iter().map(|r| r.rules.len() + r.condition.len()).sum();
        let templates: usize = self.templates.iter().map(|t| t.rules.len()).sum();
        (self.events.len(), self.resources.len(), resources + templates)
    }

    /// A rule's place as a person reads it: `resources/patient.toml:10`.
    #[must_use]
    pub fn place(&self, place: RulePlace) -> String {
        let file = self.files.get(usize::from(place.file)).map_or("?", |name| name);
        format!("{file}:{}", place.line)
    }
}

impl EventPlan {
    /// The resources of all its courses, as indices into the resources of the [`Plan`].
    pub(super) fn resources(&self) -> impl Iterator<Item = usize> {
        self.courses().flat_map(|course| course.resources.iter().copied())
    }

    fn courses(&self) -> impl Iterator<Item = &Course> {
        std::iter::once(&self.course).chain(self.variant.as_ref().map(|(_, course)| course))
    }
}

impl Rule {
    /// Whether it makes the same as another in the same place.
    pub(super) fn is_twin(&self, other: &Self) -> bool {
        let names = |rule: &Self| -> Vec<Box<str>> { rule.to.steps.iter().map(|step| step.name.clone()).collect() };
        let this = (&self.source, self.convert, self.table, &self.when, &self.with, &self.contain);
        this == (&other.source, other.convert, other.table, &other.when, &other.with, &other.contain)
            && names(self) == names(other)
            && self.to.append == other.to.append
    }

    /// Whether it reads a variable, itself or in its templates.
    pub(super) fn reads_variable(&self, name: &str, templates: &[Template]) -> bool {
        let is_it = |expr: &Expr| matches!(expr, Expr::Variable(variable) if **variable == *name);
        let in_pieces =
            |pieces: &[Piece]| pieces.iter().any(|piece| matches!(piece, Piece::Read { expr, .. } if is_it(expr)));
        let in_source = match &self.source {
            RuleSource::From(exprs) => exprs.iter().any(is_it),
            RuleSource::Filled(pieces) => in_pieces(pieces),
            RuleSource::Constant(_) | RuleSource::Reference(_) => false,
        };
        let in_arguments = self.with.iter().any(|(_, argument)| match argument {
            Argument::Filled(pieces) => in_pieces(pieces),
            Argument::Variable(expr) => is_it(expr),
            Argument::Constant(_) => false,
        });
        let in_template = match self.convert {
            Convert::Template(id) => templates[id].rules.iter().any(|rule| rule.reads_variable(name, templates)),
            _ => false,
        };
        in_source || in_arguments || in_template || self.when.iter().any(|c| c.exprs.iter().any(is_it))
    }

    /// Its `when` as it was written.
    #[must_use]
    pub fn conditions(&self) -> String {
        let written: Vec<_> = self.when.iter().map(ToString::to_string).collect();
        format!("when {}", written.join(" and "))
    }
}
