//! The URL's search parameters, checked.

use std::collections::HashSet;

use super::{Comparison, Filter, Prefix, Query, Sort, SortKey, date};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::store::Cursor;
use crate::mailbox::store::model::Identifier;

/// Resources on a page when the client names no number, and the most it can ask for.
pub const DEFAULT_COUNT: usize = 50;
pub const MAX_COUNT: usize = 1000;

/// Values that a search may have, over all its parameters; each parameter has one at least.
pub const MAX_VALUES: usize = 200;

/// Why a search is refused; the words are for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSearch {
    #[error("{kind} has no search parameter '{name}' here; {known}")]
    Unknown { kind: &'static str, name: String, known: String },
    #[error("the search parameter '{name}' has no usable value: {remedy}")]
    Value { name: String, remedy: &'static str },
    #[error("the parameter '{0}' is given more than once, and has one value: give it once")]
    Twice(String),
    #[error("the search has more than {MAX_VALUES} values, over all its parameters: ask in several")]
    TooMany,
}

/// What the client wants besides the resources that match.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub query: Query,
    pub count_only: bool,
    /// Whether the answer says how many there are altogether, though they are on several pages.
    pub total: bool,
    pub include_patient: bool,
    pub revinclude: Vec<ResourceType>,
}

/// The parameters that `kind` can be searched by, as the CapabilityStatement lists them: name and type.
#[must_use]
pub fn supported(kind: ResourceType) -> Vec<(&'static str, &'static str)> {
    let mut names = vec![("_id", "token"), ("_lastUpdated", "date"), ("identifier", "token")];
    if kind.patient_element().is_some() {
        names.push(("patient", "reference"));
    }
    if matches!(kind, ResourceType::Condition | ResourceType::Procedure | ResourceType::Observation) {
        names.push(("encounter", "reference"));
    }
    names.extend(match kind {
        ResourceType::Patient | ResourceType::Location => &[][..],
        ResourceType::Encounter | ResourceType::Procedure | ResourceType::Observation => {
            &[("status", "token"), ("date", "date")][..]
        }
        ResourceType::Condition => &[("clinical-status", "token"), ("onset-date", "date")][..],
        ResourceType::AllergyIntolerance => &[("clinical-status", "token"), ("date", "date")][..],
    });
    names
}

/// Checks the decoded parameters of a search for `kind`.
///
/// # Errors
/// [`BadSearch`] names the parameter and what it could be.
pub fn parse(kind: ResourceType, params: &[(String, String)]) -> Result<Search, BadSearch> {
    let query = Query { kind, filters: Vec::new(), count: DEFAULT_COUNT, offset: 0, after: None, sort: None };
    let mut search = Search { query, count_only: false, total: false, include_patient: false, revinclude: Vec::new() };
    let values: usize = params.iter().map(|(_, value)| value.matches(',').count() + 1).sum();
    if values > MAX_VALUES {
        return Err(BadSearch::TooMany);
    }
    let mut controls = HashSet::new();
    for (name, value) in params.iter().filter(|(_, value)| !value.is_empty()) {
        if control(&mut search, name, value)? {
            if !controls.insert(name.as_str()) && !REPEATED.contains(&name.as_str()) {
                return Err(BadSearch::Twice(name.clone()));
            }
        } else {
            search.query.filters.push(filter(kind, name, value)?);
        }
    }
    if search.query.sort.is_some_and(|sort| sort.by == SortKey::Date) && !search.query.filters.iter().any(is_narrow) {
        return Err(bad("_sort", "a sort by date goes with patient, encounter, identifier, _id or a date"));
    }
    Ok(search)
}

/// Whether a filter leaves few enough to be sorted by date, or walks them by date.
fn is_narrow(filter: &Filter) -> bool {
    match filter {
        Filter::Updated(_) | Filter::Status(_) => false,
        Filter::Date(range) => range.prefix != Prefix::Ne,
        _ => true,
    }
}

/// Parameters that shape the answer and may be given many times. So may all that filter: each of them must hold.
const REPEATED: [&str; 2] = ["_include", "_revinclude"];

/// Parameters that shape the answer; false when `name` is none of them.
fn control(search: &mut Search, name: &str, value: &str) -> Result<bool, BadSearch> {
    match name {
        "_count" => search.query.count = number(name, value)?.min(MAX_COUNT),
        "_offset" => search.query.offset = number(name, value)?,
        "_cursor" => search.query.after = Some(cursor(name, value)?),
        "_sort" => search.query.sort = Some(sort(search.query.kind, value)?),
        "_total" if matches!(value, "accurate" | "estimate") => search.total = true,
        "_total" if value == "none" => {}
        "_total" => return Err(bad(name, "none, estimate and accurate are supported")),
        "_summary" if value == "count" => search.count_only = true,
        "_summary" if value == "false" => {}
        "_summary" => return Err(bad(name, "count and false are supported")),
        "_format" | "_pretty" => {}
        "_include" if search.query.kind != ResourceType::Patient && patient_include(search.query.kind, value) => {
            search.include_patient = true;
        }
        "_revinclude" if search.query.kind == ResourceType::Encounter => {
            let kind = revinclude(name, value)?;
            if !search.revinclude.contains(&kind) {
                search.revinclude.push(kind);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// One key, descending with a minus before it.
fn sort(kind: ResourceType, value: &str) -> Result<Sort, BadSearch> {
    let descending = value.starts_with('-');
    let date = |key: &str| supported(kind).iter().any(|&(name, type_)| name == key && type_ == "date");
    let by = match value.strip_prefix('-').unwrap_or(value) {
        "_lastUpdated" => SortKey::Updated,
        key if date(key) => SortKey::Date,
        _ => {
            return Err(bad(
                "_sort",
                "one of _lastUpdated and the date of the type is supported, with - for descending",
            ));
        }
    };
    Ok(Sort { by, descending })
}

fn patient_include(kind: ResourceType, value: &str) -> bool {
    let element = value.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix(':'));
    matches!(element, Some("patient" | "subject" | "patient:Patient" | "subject:Patient"))
}

fn revinclude(name: &str, value: &str) -> Result<ResourceType, BadSearch> {
    let kind = value.strip_suffix(":encounter").and_then(ResourceType::from_name);
    kind.filter(|kind| matches!(kind, ResourceType::Condition | ResourceType::Procedure | ResourceType::Observation))
        .ok_or_else(|| bad(name, "Condition:encounter, Procedure:encounter and Observation:encounter are supported"))
}

fn filter(kind: ResourceType, name: &str, value: &str) -> Result<Filter, BadSearch> {
    let of_patient = kind.patient_element().is_some();
    let of_encounter = kind.is_clinical() && kind != ResourceType::AllergyIntolerance;
    match (name, kind) {
        ("_id", _) => Ok(Filter::Id(alternatives(value))),
        ("_lastUpdated", _) => Ok(Filter::Updated(comparison(name, value)?)),
        ("identifier", _) => Ok(Filter::Identifier(tokens(name, value)?)),
        ("patient" | "subject" | "subject:Patient", _) if of_patient => {
            Ok(Filter::Patient(references("Patient", value)))
        }
        (
            "patient.identifier" | "subject.identifier" | "patient:Patient.identifier" | "subject:Patient.identifier",
            _,
        ) if of_patient => Ok(Filter::PatientIdentifier(tokens(name, value)?)),
        ("encounter", _) if of_encounter => Ok(Filter::Encounter(references("Encounter", value))),
        ("encounter.identifier" | "encounter:Encounter.identifier", _) if of_encounter => {
            Ok(Filter::EncounterIdentifier(tokens(name, value)?))
        }
        ("status", ResourceType::Encounter | ResourceType::Procedure | ResourceType::Observation)
        | ("clinical-status", ResourceType::Condition | ResourceType::AllergyIntolerance) => {
            Ok(Filter::Status(codes(value)))
        }
        (
            "date",
            ResourceType::Encounter
            | ResourceType::Procedure
            | ResourceType::Observation
            | ResourceType::AllergyIntolerance,
        )
        | ("onset-date", ResourceType::Condition) => Ok(Filter::Date(comparison(name, value)?)),
        _ => Err(unknown(kind, name)),
    }
}

fn unknown(kind: ResourceType, name: &str) -> BadSearch {
    let known: Vec<&str> = supported(kind).into_iter().map(|(name, _)| name).collect();
    BadSearch::Unknown { kind: kind.name(), name: name.into(), known: format!("known are {}", known.join(", ")) }
}

fn bad(name: &str, remedy: &'static str) -> BadSearch {
    BadSearch::Value { name: name.into(), remedy }
}

fn number(name: &str, value: &str) -> Result<usize, BadSearch> {
    value.parse().map_err(|_| bad(name, "write a whole number, 0 or more"))
}

/// `key.pk`, as [`super::super::store::Cursor`] was written into a next link.
fn cursor(name: &str, value: &str) -> Result<Cursor, BadSearch> {
    let parsed =
        value.split_once('.').and_then(|(key, pk)| Some(Cursor { key: key.parse().ok()?, pk: pk.parse().ok()? }));
    parsed.ok_or_else(|| bad(name, "use the next link as it was given"))
}

/// The values between unescaped commas (FHIR R4 search 3.1.1.4.0.1), still escaped.
fn split(value: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in value.char_indices() {
        if c == separator && !escaped {
            parts.push(&value[start..at]);
            start = at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(&value[start..]);
    parts
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

fn alternatives(value: &str) -> Vec<String> {
    split(value, ',').into_iter().map(unescape).collect()
}

/// Codes; a system before `|` is not compared, since each element here allows one code system only.
fn codes(value: &str) -> Vec<String> {
    split(value, ',').into_iter().filter_map(|part| split(part, '|').last().map(|code| unescape(code))).collect()
}

fn references(target: &str, value: &str) -> Vec<String> {
    let id = |text: String| match text.rsplit_once('/') {
        // Only the end counts: a client may write our base or not.
        Some((before, id)) if before.rsplit('/').next() == Some(target) => id.to_owned(),
        Some(_) => String::new(),
        None => text,
    };
    alternatives(value).into_iter().map(id).collect()
}

fn tokens(name: &str, value: &str) -> Result<Vec<Identifier>, BadSearch> {
    split(value, ',').into_iter().map(|part| token(part).ok_or_else(|| bad(name, NEEDS_SYSTEM))).collect()
}

const NEEDS_SYSTEM: &str = "write system|value; a value without its system could be anyone's";

/// `system|value`, escaped as in a search. `None` when there is no bar or no value.
#[must_use]
pub fn token(text: &str) -> Option<Identifier> {
    let parts = split(text, '|');
    let (system, value) = match parts[..] {
        [system, value] => (unescape(system), unescape(value)),
        _ => return None,
    };
    (!value.is_empty()).then_some(Identifier { system, value })
}

/// A date with its prefix, as a search takes it.
///
/// # Errors
/// [`BadSearch`] when it is none.
pub fn comparison(name: &str, value: &str) -> Result<Comparison, BadSearch> {
    let prefixes = [
        ("eq", Prefix::Eq),
        ("ne", Prefix::Ne),
        ("gt", Prefix::Gt),
        ("lt", Prefix::Lt),
        ("ge", Prefix::Ge),
        ("le", Prefix::Le),
        ("sa", Prefix::Sa),
        ("eb", Prefix::Eb),
        ("ap", Prefix::Ap),
    ];
    let found = prefixes.into_iter().find_map(|(text, prefix)| Some((prefix, value.strip_prefix(text)?)));
    let (prefix, rest) = found.unwrap_or((Prefix::Eq, value));
    // An offset's plus sign that was not encoded arrives as a space.
    let (low, high) = date::range(&rest.replace(' ', "+"))
        .ok_or_else(|| bad(name, "write a date such as ge2024-05-01 or 2024-05-01T10:00:00Z"))?;
    Ok(Comparison { prefix, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: ResourceType, name: &str, value: &str) -> Result<Filter, BadSearch> {
        parse(kind, &[(name.into(), value.into())]).map(|search| search.query.filters[0].clone())
    }

    fn id(system: &str, value: &str) -> Identifier {
        Identifier { system: system.into(), value: value.into() }
    }

    #[test]
    fn identifiers_are_system_and_value_and_never_a_bare_value() {
        assert_eq!(one(ResourceType::Patient, "identifier", "urn:a|1"), Ok(Filter::Identifier(vec![id("urn:a", "1")])));
        assert_eq!(
            one(ResourceType::Patient, "identifier", r"urn:a|1\,5,|x\|y"),
            Ok(Filter::Identifier(vec![id("urn:a", "1,5"), id("", "x|y")]))
        );
        for bare in ["1", "urn:a|", "a|b|c"] {
            assert!(matches!(one(ResourceType::Patient, "identifier", bare), Err(BadSearch::Value { .. })), "{bare}");
        }
    }

    #[test]
    fn references_are_ids_with_or_without_our_base() {
        for text in ["7", "Patient/7", "http://h/fhir/Patient/7"] {
            assert_eq!(one(ResourceType::Encounter, "patient", text), Ok(Filter::Patient(vec!["7".into()])));
        }
        assert_eq!(one(ResourceType::Encounter, "patient", "Group/7"), Ok(Filter::Patient(vec![String::new()])));
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_those_that_are_known() {
        let fault = one(ResourceType::Patient, "birthdate", "1970").unwrap_err().to_string();
        assert!(fault.contains("'birthdate'") && fault.contains("identifier"), "{fault}");
        assert!(one(ResourceType::Patient, "status", "x").is_err());
        assert!(one(ResourceType::Patient, "_include", "Patient:link").is_err());
    }

    #[test]
    fn a_sort_is_by_one_known_key_and_by_date_only_among_few() {
        let sort = |kind, value: &str, filter: &str| {
            let filter = filter.split_once('=').unwrap_or_default();
            let given = [("_sort", value), filter].map(|(name, value)| (name.to_owned(), value.to_owned()));
            parse(kind, &given).map(|search| search.query.sort)
        };
        let by = |by, descending| Ok(Some(Sort { by, descending }));
        assert_eq!(sort(ResourceType::Patient, "-_lastUpdated", ""), by(SortKey::Updated, true));
        assert_eq!(sort(ResourceType::Encounter, "date", "patient=1"), by(SortKey::Date, false));
        assert_eq!(sort(ResourceType::Condition, "-onset-date", "onset-date=ge2024"), by(SortKey::Date, true));
        for (kind, value, filter) in [
            (ResourceType::Patient, "date", "_id=1"),
            (ResourceType::Encounter, "status", ""),
            (ResourceType::Encounter, "date,_lastUpdated", "patient=1"),
            (ResourceType::Encounter, "date", "status=finished"),
        ] {
            assert!(sort(kind, value, filter).is_err(), "{value}");
        }
    }

    #[test]
    fn every_supported_parameter_is_taken() {
        for kind in ResourceType::ALL {
            for (name, type_) in supported(kind) {
                let value = match type_ {
                    "date" => "ge2024-01-01",
                    "token" if name == "identifier" => "s|v",
                    _ => "x",
                };
                assert!(one(kind, name, value).is_ok(), "{} {name}", kind.name());
            }
        }
    }
}
