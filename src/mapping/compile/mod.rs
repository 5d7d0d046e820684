//! Files to plan: every name is looked up once, here, and what does not fit is said with file and line.
//!
//! A template is compiled once for each FHIR type it is used for, so that its targets are checked against the type that
//! they really fill: `XCN` as a Practitioner and `XCN` as a Reference are two.

pub mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::plan::prefilter::Prefilter;
use super::plan::primitive::Primitive;
use super::plan::rule::{
    Argument, At, Convert, Expr, Referent, Rule, RuleSource, TableId, TableRef, Target, TargetStep, TemplateId,
};
use super::plan::{Course, EventPlan, Plan, ResourcePlan, Template};
use super::source::config::{Identifiers, MappingConfig};
use super::source::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use super::source::file::{EventEntry, GroupsEntry, RuleEntry};
use super::source::load::{Resource, Sources, TemplateSource};
use super::source::place::RulePlace;
use super::source::settings;
use super::source::table::Table;
use crate::fhir::r4::{self, Element};
use crate::v2::group::Grouping;

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
            reach: OnceLock::new(),
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
    digest.update(format!("{config:?}{identifiers:?}{}", env!("CARGO_PKG_VERSION")).as_bytes());
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

struct Compiler<'s> {
    sources: &'s Sources,
    diagnostics: Diagnostics,
    tables: Vec<Table>,
    table_ids: BTreeMap<&'s str, TableId>,
    templates: Vec<Template>,
    /// Templates by name and the FHIR type they fill.
    template_ids: FxHashMap<(String, String), TemplateId>,
    /// Those being compiled, to see a template that uses itself.
    open: Vec<String>,
    resource_types: BTreeSet<&'s str>,
}

impl<'s> Compiler<'s> {
    fn new(sources: &'s Sources) -> Self {
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

    fn fault(&mut self, place: RulePlace, message: impl Into<String>) {
        let file = &self.sources.files[usize::from(place.file)];
        self.diagnostics.add(Diagnostic::new(file, place.line, message));
    }

    /// Says what is wrong and goes on.
    fn said<T>(&mut self, place: RulePlace, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.fault(place, message)).ok()
    }

    fn resources(&mut self) -> Vec<ResourcePlan> {
        self.sources.resources.iter().filter_map(|(name, entry)| self.resource(name, entry)).collect()
    }

    fn resource(&mut self, name: &str, entry: &Resource) -> Option<ResourcePlan> {
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
            guards: Prefilter::all(&rules),
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

    fn rules(&mut self, rules: &[(RulePlace, RuleEntry)], parent: &str) -> Vec<Rule> {
        rules.iter().filter_map(|(place, rule)| self.rule(*place, rule, parent)).collect()
    }

    fn rule(&mut self, place: RulePlace, entry: &RuleEntry, parent: &str) -> Option<Rule> {
        let (to, element) = self.target(place, &entry.to, parent)?;
        let source = self.source(place, entry)?;
        let table = self.table(place, entry.table.as_deref());
        let convert = self.convert(place, entry, &source, &element)?;
        self.check_codes(place, entry, &element, table);
        let when = match entry.when.as_deref() {
            Some(text) => self.said(place, syntax::conditions(text))?,
            None => Vec::new(),
        };
        let with = entry.with.iter().filter_map(|(name, text)| {
            let argument = self.said(place, argument(text))?;
            Some((name.as_str().into(), argument))
        });
        let with = with.collect();
        Some(Rule { place, to, source, convert, table, when, with, contain: entry.contain.as_deref().map(Into::into) })
    }

    /// Checks a target against R4, step by step.
    fn target(&mut self, place: RulePlace, text: &str, parent: &str) -> Option<(Target, Element)> {
        let raw = self.said(place, syntax::target(text))?;
        let count = raw.len();
        let mut steps = SmallVec::new();
        let mut parent = parent.to_owned();
        let mut last = None;
        for (i, step) in raw.into_iter().enumerate() {
            let Some(element) = r4::element(&parent, &step.name) else {
                let hint = did_you_mean(&step.name, r4::names(&parent));
                self.fault(place, format!("FHIR R4 has no element '{parent}.{}'{}", step.name, hint));
                return None;
            };
            let is_last = i + 1 == count;
            if let Some(message) = list_fault(&step, &element, is_last) {
                self.fault(place, message);
                return None;
            }
            parent = r4::members_of(&element).to_owned();
            let on_primitive = element.primitive() && !is_last;
            if on_primitive && matches!(step.at, At::Index(1..)) {
                self.fault(place, "an extension of a primitive in a list can only stand at [0]");
            }
            let name = if on_primitive { format!("_{}", step.name) } else { step.name.clone() };
            let choice = element.choice.then(|| choice_base(&step.name, element.kind).into());
            steps.push(TargetStep { name: name.into(), at: step.at, choice });
            last = Some(element);
        }
        let element = last?;
        let append = steps.last().is_some_and(|step: &TargetStep| step.at == At::Append);
        let uri = matches!(element.kind, "uri" | "url" | "canonical");
        let name = steps.last().map_or("", |step: &TargetStep| &step.name);
        let absence = if element.primitive() { format!("_{name}") } else { name.to_owned() }.into();
        Some((Target { steps, absence, append, uri }, element))
    }

    fn source(&mut self, place: RulePlace, entry: &RuleEntry) -> Option<RuleSource> {
        match (&entry.from, &entry.value, &entry.reference) {
            (Some(from), None, None) => {
                let exprs: Option<SmallVec<[Expr; 1]>> =
                    from.as_slice().iter().map(|text| self.said(place, syntax::expr(text))).collect();
                exprs.map(RuleSource::From)
            }
            (None, Some(value), None) if value.starts_with('$') => {
                self.said(place, syntax::expr(value)).map(|expr| RuleSource::From(SmallVec::from_elem(expr, 1)))
            }
            (None, Some(value), None) => match self.said(place, syntax::pieces(value))? {
                Some(pieces) => Some(RuleSource::Filled(pieces)),
                None => Some(RuleSource::Constant(value.as_str().into())),
            },
            (None, None, Some(name)) => self.referent(place, name).map(RuleSource::Reference),
            _ => {
                self.fault(place, "a rule has exactly one of `from`, `value` and `ref`");
                None
            }
        }
    }

    /// A `ref` names a resource type (capital letter) or a file of `resources/`.
    fn referent(&mut self, place: RulePlace, name: &str) -> Option<Referent> {
        if self.resource_types.contains(name) {
            return Some(Referent::Type(name.into()));
        }
        if self.sources.resources.contains_key(name) {
            return Some(Referent::Name(name.into()));
        }
        let known = self.resource_types.iter().copied().chain(self.sources.resources.keys().map(String::as_str));
        let hint = did_you_mean(name, known);
        self.fault(place, format!("no resource '{name}' to refer to{hint}"));
        None
    }

    fn table(&mut self, place: RulePlace, name: Option<&str>) -> Option<TableRef> {
        match name? {
            "$table" => Some(TableRef::Caller),
            name => match self.table_ids.get(name) {
                Some(&id) => Some(TableRef::Table(id)),
                None => {
                    let hint = did_you_mean(name, self.table_ids.keys().copied());
                    self.fault(place, format!("no table '{name}'{hint}"));
                    None
                }
            },
        }
    }

    fn convert(
        &mut self,
        place: RulePlace,
        entry: &RuleEntry,
        source: &RuleSource,
        element: &Element,
    ) -> Option<Convert> {
        if matches!(source, RuleSource::Reference(_)) {
            if element.kind != "Reference" {
                self.fault(place, format!("'{}' is a {}, which takes no `ref`", entry.to, element.kind));
            }
            return Some(Convert::Reference);
        }
        let Some(name) = entry.convert.as_deref() else { return self.natural(place, entry, element) };
        let ours = match name {
            "system" => Some(Convert::System),
            "type-code" => Some(Convert::TypeCode),
            "v2-system" => Some(Convert::V2System),
            "visit-system" => Some(Convert::VisitSystem),
            "code-system" => Some(Convert::CodeSystem),
            "erase" => return Some(Convert::Erase),
            "Coding" if entry.table.is_some() => return self.coding(place, entry, element),
            _ => Primitive::named(name).map(Convert::Simple),
        };
        match ours {
            Some(convert) if element.primitive() => Some(convert),
            Some(_) => {
                self.fault(
                    place,
                    format!("'{}' is a {}; `as = \"{name}\"` gives a simple value", entry.to, element.kind),
                );
                None
            }
            None => self.template(place, entry, name, element).map(Convert::Template),
        }
    }

    /// Without an `as`: what the element itself asks for.
    fn natural(&mut self, place: RulePlace, entry: &RuleEntry, element: &Element) -> Option<Convert> {
        match Primitive::named(element.kind) {
            Some(simple) => Some(Convert::Simple(simple)),
            None if element.kind == "Coding" && entry.table.is_some() => Some(Convert::Coding),
            None if element.primitive() => Some(Convert::Simple(Primitive::String)),
            None => {
                self.fault(
                    place,
                    format!(
                        "'{}' is a {}: say with `as` which template makes one{}",
                        entry.to,
                        element.kind,
                        usual(element.kind)
                    ),
                );
                None
            }
        }
    }

    fn coding(&mut self, place: RulePlace, entry: &RuleEntry, element: &Element) -> Option<Convert> {
        if element.kind != "Coding" {
            self.fault(place, format!("'{}' is a {}, not a Coding", entry.to, element.kind));
            return None;
        }
        Some(Convert::Coding)
    }

    fn template(&mut self, place: RulePlace, entry: &RuleEntry, name: &str, element: &Element) -> Option<TemplateId> {
        let sources = self.sources;
        let Some(TemplateSource { rules, .. }) = sources.templates.get(name) else {
            let hint = did_you_mean(name, sources.templates.keys().map(String::as_str));
            self.fault(place, format!("no template '{name}' in datatypes.toml, and no simple type of that name{hint}"));
            return None;
        };
        let fills = match entry.contain.as_deref() {
            Some(_) if element.kind != "Reference" => {
                self.fault(
                    place,
                    format!("'{}' is a {}; only a Reference can point at what is contained", entry.to, element.kind),
                );
                return None;
            }
            Some(resource_type) if !r4::is_resource(resource_type) => {
                self.fault(place, no_resource(resource_type));
                return None;
            }
            Some(resource_type) => resource_type,
            None if element.primitive() => {
                self.fault(place, format!("'{}' is a {}, which a template cannot make", entry.to, element.kind));
                return None;
            }
            None => r4::members_of(element),
        };
        let key = (name.to_owned(), fills.to_owned());
        if let Some(&id) = self.template_ids.get(&key) {
            return Some(id);
        }
        if self.open.iter().any(|open| open == name) {
            self.fault(place, format!("template '{name}' uses itself"));
            return None;
        }
        self.open.push(name.to_owned());
        let rules = self.rules(rules, fills);
        self.open.pop();
        self.templates.push(Template { name: name.into(), fills: fills.into(), guards: Prefilter::all(&rules), rules });
        let id = self.templates.len() - 1;
        self.template_ids.insert(key, id);
        Some(id)
    }

    /// A required binding takes only its own codes.
    fn check_codes(&mut self, place: RulePlace, entry: &RuleEntry, element: &Element, table: Option<TableRef>) {
        let Some(allowed) = element.allowed() else { return };
        let allowed: Vec<_> = allowed.collect();
        let given: Vec<String> = match (table, &entry.value) {
            (Some(TableRef::Table(id)), _) => self.tables[id].targets().map(str::to_owned).collect(),
            (None, Some(value))
                if entry.table.is_none()
                    && !value.contains(['{', '$'])
                    && entry.convert.as_deref() != Some("erase") =>
            {
                vec![value.clone()]
            }
            _ => return,
        };
        if let Some(TableRef::Table(id)) = table
            && self.tables[id].passes()
        {
            self.fault(
                place,
                format!(
                    "'{}' takes only its own codes, and table '{}' lets any through",
                    entry.to, self.tables[id].name
                ),
            );
        }
        for code in given {
            if !allowed.contains(&code.as_str()) {
                self.fault(place, format!("'{}' takes {}, and not '{code}'", entry.to, allowed.join(", ")));
            }
        }
    }

    fn events(&mut self, resources: &[ResourcePlan]) -> FxHashMap<Box<str>, EventPlan> {
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

fn no_resource(name: &str) -> String {
    let hint = did_you_mean(name, r4::resources());
    format!("'{name}' is no FHIR R4 resource that Stoker knows{}", hint)
}

/// The template that most often makes a datatype, to name in a remedy.
fn usual(kind: &str) -> &'static str {
    match kind {
        "CodeableConcept" => ", as CWE",
        "Identifier" => ", as CX",
        "HumanName" => ", as XPN",
        "Address" => ", as XAD",
        "ContactPoint" => ", as XTN",
        "Period" => ", as DR",
        "Coding" => ", as Coding-1, or give a `table`",
        "Reference" => ", and with `contain` of which resource; or use `ref`",
        _ => "",
    }
}

/// What is wrong with the brackets of a step.
fn list_fault(step: &syntax::RawStep, element: &Element, last: bool) -> Option<String> {
    let name = element.path;
    match (&step.at, element.list) {
        (At::Single, true) if element.kind == "Extension" && !last => {
            Some("an extension is named by its URL: extension(http://...).valueString".to_owned())
        }
        (At::Single, true) => {
            Some(format!("'{name}' is a list: write {0}[] for every repetition, or {0}[0]", step.name))
        }
        (At::Index(_) | At::Append, false) => Some(format!("'{name}' is not a list: write {}", step.name)),
        (At::Append, true) if !last => {
            Some(format!("[] stands at the end of a target; within it write {}[0]", step.name))
        }
        (At::Extension(_), _) if element.kind != "Extension" => {
            Some(format!("only extension takes a URL, '{name}' does not"))
        }
        _ => None,
    }
}

/// What all forms of a choice begin with: `value` of `valueQuantity`.
fn choice_base<'n>(name: &'n str, kind: &str) -> &'n str {
    name.len().checked_sub(kind.len()).and_then(|end| name.get(..end)).unwrap_or(name)
}

fn argument(text: &str) -> Result<Argument, String> {
    if let Some(name) = text.strip_prefix('$') {
        return Ok(Argument::Variable(Expr::Variable(name.into())));
    }
    Ok(match syntax::pieces(text)? {
        Some(pieces) => Argument::Filled(pieces),
        None => Argument::Constant(text.into()),
    })
}
