//! Searching: what a client may ask of each type, and where the stored resource has the answer.
//!
//! [`params`] turns the URL's parameters into a [`Query`], [`index`] takes the searched values out of a resource when it
//! is stored, [`date`] reads FHIR dates as ranges. A parameter that is not known is refused: leaving it out would give a
//! client more than it asked for, and it would not notice.

pub mod date;
pub mod index;
pub mod params;

use super::resource_type::ResourceType;
use super::store::Cursor;
use super::store::model::Identifier;

/// What is searched, checked. All filters must hold; the values within one are alternatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub kind: ResourceType,
    pub filters: Vec<Filter>,
    pub count: usize,
    pub offset: usize,
    pub after: Option<Cursor>,
    /// `None`: whichever order costs least, and pages do not overlap.
    pub sort: Option<Sort>,
}

/// What a client wants the answer ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    pub by: SortKey,
    pub descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    Updated,
    /// When it began; what has no date comes last.
    Date,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    Id(Vec<String>),
    Identifier(Vec<Identifier>),
    /// Ids of Patients: the whole person's resources are found.
    Patient(Vec<String>),
    PatientIdentifier(Vec<Identifier>),
    Encounter(Vec<String>),
    EncounterIdentifier(Vec<Identifier>),
    Status(Vec<String>),
    Date(Comparison),
    Updated(Comparison),
}

/// A date parameter: prefix and the range that the value spans, microseconds since 1970, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    pub prefix: Prefix,
    pub low: i64,
    pub high: i64,
}

/// FHIR R4 search 3.1.1.5.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    Sa,
    Eb,
    Ap,
}
