//! What a resource is found by, taken out of it when it is stored.

use super::date;
use crate::mailbox::json::{Node, Object};
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::steps;
use crate::mailbox::store::model::{Facts, Identifier};

/// The identifiers of a resource, sorted, each once.
///
/// An identifier without a system gets the empty one, which a search names as `|value`; it never identifies anyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    pub current: Vec<Identifier>,
    /// Marked `use: old`, and not current as well.
    pub old: Vec<Identifier>,
}

impl Numbers {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.current.is_empty() && self.old.is_empty()
    }

    #[must_use]
    pub fn has(&self, identifier: &Identifier) -> bool {
        self.is_current(identifier) || self.is_old(identifier)
    }

    #[must_use]
    pub fn is_current(&self, identifier: &Identifier) -> bool {
        self.current.binary_search(identifier).is_ok()
    }

    #[must_use]
    pub fn is_old(&self, identifier: &Identifier) -> bool {
        self.old.binary_search(identifier).is_ok()
    }
}

/// Takes the identifiers out of a resource.
#[must_use]
pub fn numbers(resource: &Object<'_>) -> Numbers {
    let items: &[Node<'_>] = match resource.get("identifier") {
        Some(Node::Array(items)) => items,
        _ => &[],
    };
    let pick = |old: bool| {
        let mut found: Vec<_> =
            steps::each(items.iter()).filter(|item| (item["use"] == "old") == old).filter_map(identifier).collect();
        found.sort();
        found.dedup();
        found
    };
    let (mut numbers, old) = (Numbers { current: pick(false), old: Vec::new() }, pick(true));
    numbers.old = old.into_iter().filter(|id| !numbers.is_current(id)).collect();
    numbers
}

/// An Identifier element as system and value; `None` without a value.
#[must_use]
pub fn identifier(item: &Node<'_>) -> Option<Identifier> {
    let value = item["value"].as_str().filter(|value| !value.is_empty())?;
    Some(Identifier { system: item["system"].as_str().unwrap_or_default().into(), value: value.into() })
}

/// The Identifier element of an identifier.
#[must_use]
pub fn element(identifier: &Identifier) -> Node<'_> {
    let members = [("system", identifier.system.as_str()), ("value", identifier.value.as_str())];
    Node::Object(members.into_iter().map(|(name, text)| (name, text.into())).collect())
}

/// Status and date of a resource, for the parameters that [`super::params`] names.
#[must_use]
pub fn facts(kind: ResourceType, resource: &Object<'_>) -> Facts {
    Facts { status: status(kind, resource), date: date(kind, resource) }
}

fn status(kind: ResourceType, resource: &Object<'_>) -> Option<String> {
    let code = match kind {
        ResourceType::Patient | ResourceType::Location => return None,
        ResourceType::Encounter | ResourceType::Procedure | ResourceType::Observation => resource.get("status")?,
        ResourceType::Condition | ResourceType::AllergyIntolerance => {
            &resource.get("clinicalStatus")?["coding"][0]["code"]
        }
    };
    code.as_str().map(str::to_owned)
}

fn date(kind: ResourceType, resource: &Object<'_>) -> Option<(i64, i64)> {
    match kind {
        ResourceType::Patient | ResourceType::Location => None,
        ResourceType::Encounter => span(resource, &["period"]),
        ResourceType::Condition => span(resource, &["onsetDateTime", "onsetPeriod"]),
        ResourceType::Procedure => span(resource, &["performedDateTime", "performedPeriod"]),
        ResourceType::Observation => span(resource, &["effectiveDateTime", "effectiveInstant", "effectivePeriod"]),
        ResourceType::AllergyIntolerance => span(resource, &["recordedDate"]),
    }
}

fn span(resource: &Object<'_>, elements: &[&str]) -> Option<(i64, i64)> {
    match elements.iter().find_map(|name| resource.get(name))? {
        Node::String(text) => date::range(text),
        Node::Object(period) => date::period(period),
        _ => None,
    }
}
