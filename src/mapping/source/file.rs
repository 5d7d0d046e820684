//! The mapping files as a person writes them: TOML, read with the place of every rule kept.
//!
//! Nothing here is checked beyond the keys' names and shapes; `mapping::compile` makes a plan of it or says what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

/// One trigger event.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventEntry {
    pub name: String,
    /// `admin-notify`, `clinical-notify` ...; absent for an event that is refused.
    pub fhir: Option<String>,
    pub set: Option<String>,
    /// The Encounter.status that the trigger itself decides: `$status`.
    pub status: Option<String>,
    /// Segments without which the message is refused.
    pub needs: Option<Vec<String>>,
    #[serde(default)]
    pub groups: GroupsEntry,
    /// Other values where a condition holds.
    pub variant: Option<VariantEntry>,
    /// Why the event is refused, where it is.
    pub refused: Option<String>,
    /// The status of the visit that an A42 merges away: `$absorbed`.
    pub absorbed: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantEntry {
    pub when: String,
    pub fhir: Option<String>,
    pub set: Option<String>,
    pub status: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupsEntry {
    #[default]
    Single,
    Patients,
}

/// A file of `resources/`; one of an overlay leaves out what it does not change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceOverlay {
    pub resource: Option<String>,
    pub each: Option<String>,
    pub key: Option<Vec<String>>,
    #[serde(default)]
    pub condition: Vec<Spanned<RuleEntry>>,
    /// Only for the segments for which this holds; written like a rule's `when`.
    pub when: Option<String>,
    #[serde(default)]
    pub rules: Vec<Spanned<RuleEntry>>,
    /// Targets of the shipped file that go away.
    #[serde(default)]
    pub drop: Vec<Spanned<String>>,
}

/// One template of `datatypes.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateEntry {
    #[serde(default)]
    pub rules: Vec<Spanned<RuleEntry>>,
    #[serde(default)]
    pub drop: Vec<Spanned<String>>,
}

/// One rule: the nine keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    #[serde(default)]
    pub to: String,
    pub from: Option<OneOrMany>,
    pub value: Option<String>,
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    #[serde(rename = "as")]
    pub convert: Option<String>,
    pub table: Option<String>,
    pub when: Option<String>,
    #[serde(default)]
    pub with: BTreeMap<String, String>,
    pub contain: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// One table of `tables.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEntry {
    /// The HL7 table of the source codes, `0004`.
    pub v2: Option<String>,
    /// The code system of the codes given.
    pub system: Option<String>,
    pub default: Option<String>,
    #[serde(default)]
    pub pass: bool,
    pub note: Option<String>,
    #[serde(default)]
    pub codes: BTreeMap<String, RowEntry>,
    /// Codes for which FHIR has none; they are no misses.
    #[serde(default)]
    pub none: Vec<String>,
    /// What senders write in place of a code, and the code they mean.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
    /// Codes that an overlay added: the site's, and none of the HL7 table.
    #[serde(skip)]
    pub local: BTreeSet<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum RowEntry {
    Code(String),
    Full(FullRow),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullRow {
    pub code: String,
    pub display: Option<String>,
    pub system: Option<String>,
}

impl RowEntry {
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Code(code) => code,
            Self::Full(row) => &row.code,
        }
    }
}
