//! Rules and the templates that they use: what each takes, what it makes of it, and whether that fits its target.
//!
//! A template's rules are compiled where a rule first asks for the template, so the two stand together.

use smallvec::SmallVec;

use super::compiler::{Compiler, no_resource};
use super::{syntax, target};
use crate::fhir::r4::{self, Element};
use crate::mapping::plan::Template;
use crate::mapping::plan::prefilter::Prefilter;
use crate::mapping::plan::primitive::Primitive;
use crate::mapping::plan::rule::{Argument, Convert, Expr, Referent, Rule, RuleSource, TableRef, TemplateId};
use crate::mapping::source::diagnostic::did_you_mean;
use crate::mapping::source::file::RuleEntry;
use crate::mapping::source::load::TemplateSource;
use crate::mapping::source::place::RulePlace;

impl Compiler<'_> {
    pub(super) fn rules(&mut self, rules: &[(RulePlace, RuleEntry)], parent: &str) -> Vec<Rule> {
        rules.iter().filter_map(|(place, rule)| self.rule(*place, rule, parent)).collect()
    }

    pub(super) fn rule(&mut self, place: RulePlace, entry: &RuleEntry, parent: &str) -> Option<Rule> {
        let (to, element) = target::compile(self, place, &entry.to, parent)?;
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
        self.templates.push(Template {
            name: name.into(),
            fills: fills.into(),
            prefilters: Prefilter::all(&rules),
            rules,
        });
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

fn argument(text: &str) -> Result<Argument, String> {
    if let Some(name) = text.strip_prefix('$') {
        return Ok(Argument::Variable(Expr::Variable(name.into())));
    }
    Ok(match syntax::pieces(text)? {
        Some(pieces) => Argument::Filled(pieces),
        None => Argument::Constant(text.into()),
    })
}
