//! A [`Query`] as SQL.
//!
//! One filter drives: its index is named, so that no statistics and no luck decide what a search costs; the others only
//! sift (the unary `+` keeps their indexes out). Pages continue behind a key, so they cost the same wherever they are
//! and do not shift when something is written between two of them.

use rusqlite::types::Value;

use super::column::Id;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::{Comparison, Filter, Prefix, Query, Sort, SortKey};
use crate::mailbox::store::model::Identifier;

/// By what the pages of a search are ordered, before the resource's number.
struct Order {
    key: &'static str,
    descending: bool,
}

impl Order {
    fn of(query: &Query) -> Self {
        let (driver, _) = Driver::of(query);
        let Some(Sort { by, descending }) = query.sort else { return Self { key: driver.key(), descending: false } };
        let key = match (by, driver, descending) {
            (SortKey::Updated, ..) => "r.updated",
            (SortKey::Date, Driver::DateFrom, _) => "r.date_from",
            (SortKey::Date, _, false) => "coalesce(r.date_from, 9223372036854775807)",
            (SortKey::Date, _, true) => "coalesce(r.date_from, -9223372036854775808)",
        };
        Self { key, descending }
    }
}

/// A statement and its values.
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// What the search walks along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Id,
    Identifier,
    Encounter,
    Patient,
    Updated,
    DateFrom,
    DateTo,
    Status,
    Kind,
}

impl Driver {
    /// The most selective one; the order is by how few resources each usually leaves.
    fn of(query: &Query) -> (Self, Option<usize>) {
        let candidates = query.filters.iter().enumerate().map(|(at, filter)| (Self::for_filter(filter), Some(at)));
        let best = candidates.min_by_key(|(driver, _)| *driver as u8).unwrap_or((Self::Kind, None));
        match query.sort {
            Some(sort) if !best.0.is_narrow() => Self::sorted(sort.by, query),
            _ => best,
        }
    }

    /// Whether what it leaves can be sorted.
    fn is_narrow(self) -> bool {
        matches!(self, Self::Id | Self::Identifier | Self::Encounter | Self::Patient)
    }

    /// The index that has the order already, and the filter that narrows it.
    fn sorted(by: SortKey, query: &Query) -> (Self, Option<usize>) {
        let at = |driver: Self| query.filters.iter().position(|filter| Self::for_filter(filter) == driver);
        match by {
            SortKey::Updated => (Self::Updated, at(Self::Updated)),
            SortKey::Date => (Self::DateFrom, at(Self::DateFrom)),
        }
    }

    fn for_filter(filter: &Filter) -> Self {
        match filter {
            Filter::Id(_) => Self::Id,
            Filter::Identifier(_) => Self::Identifier,
            Filter::Encounter(_) | Filter::EncounterIdentifier(_) => Self::Encounter,
            Filter::Patient(_) | Filter::PatientIdentifier(_) => Self::Patient,
            Filter::Updated(Comparison { prefix: Prefix::Ne, .. }) => Self::Kind,
            Filter::Updated(_) => Self::Updated,
            Filter::Date(comparison) => match comparison.prefix {
                Prefix::Eq | Prefix::Lt | Prefix::Le | Prefix::Sa => Self::DateFrom,
                Prefix::Gt | Prefix::Ge | Prefix::Eb | Prefix::Ap => Self::DateTo,
                Prefix::Ne => Self::Kind,
            },
            Filter::Status(_) => Self::Status,
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Id => "INDEXED BY resource_id",
            Self::Identifier => "NOT INDEXED",
            Self::Encounter => "INDEXED BY resource_encounter",
            Self::Patient => "INDEXED BY resource_patient",
            Self::DateFrom => "INDEXED BY resource_date",
            Self::DateTo => "INDEXED BY resource_until",
            Self::Status => "INDEXED BY resource_status",
            Self::Updated => "INDEXED BY resource_updated",
            Self::Kind => "INDEXED BY resource_kind",
        }
    }

    /// The column by which pages are ordered, before the resource's number.
    fn key(self) -> &'static str {
        match self {
            Self::Updated => "r.updated",
            Self::DateFrom => "r.date_from",
            Self::DateTo => "r.date_to",
            _ => "r.pk",
        }
    }
}

impl Select {
    /// The resources of one page and one more, which shows that there is a next page.
    pub(super) fn page(query: &Query) -> Self {
        let Order { key, descending } = Order::of(query);
        let (behind, direction) = if descending { ("<", "DESC") } else { (">", "ASC") };
        let mut select = Self::start(
            query,
            &format!("r.kind, r.id, v.version, v.updated, v.removed, v.tail, v.previous, r.pk, {key}"),
            "CROSS JOIN version v ON v.seq = r.current",
        );
        if let Some(after) = query.after {
            let (n, m) = (select.bind(after.key), select.bind(after.pk));
            select.sql += &format!(" AND ({key}, r.pk) {behind} ({n}, {m})");
        }
        let (limit, offset) = (select.bind(query.count as i64 + 1), select.bind(query.offset as i64));
        select.sql += &format!(" ORDER BY {key} {direction}, r.pk {direction} LIMIT {limit} OFFSET {offset}");
        select
    }

    pub(super) fn count(query: &Query) -> Self {
        Self::start(query, "count(*)", "")
    }

    fn start(query: &Query, columns: &str, join: &str) -> Self {
        let (driver, driving) = Driver::of(query);
        let mut select =
            Self { sql: format!("SELECT {columns} FROM resource r {} {join}", driver.index()), values: Vec::new() };
        let kind = select.bind(query.kind as i64);
        select.sql += &format!(" WHERE r.kind = {kind} AND r.removed = 0");
        if driver == Driver::DateFrom {
            select.sql += " AND r.date_from IS NOT NULL";
        }
        for (at, filter) in query.filters.iter().enumerate() {
            let term = select.term(query.kind, filter, if driving == Some(at) { "" } else { "+" });
            select.sql += " AND ";
            select.sql += &term;
        }
        select
    }

    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn list<T: Into<Value>>(&mut self, values: impl IntoIterator<Item = T>) -> String {
        let names: Vec<String> = values.into_iter().map(|value| self.bind(value)).collect();
        names.join(", ")
    }

    fn term(&mut self, kind: ResourceType, filter: &Filter, sift: &str) -> String {
        match filter {
            Filter::Id(ids) => format!("{sift}r.id IN ({})", self.list(ids.iter().map(|id| Id(id)))),
            Filter::Identifier(any) => format!("{sift}r.pk IN ({})", self.carriers(kind, any)),
            Filter::Encounter(ids) => {
                let ids = self.list(ids.iter().map(|id| Id(id)));
                let kind = ResourceType::Encounter as i64;
                format!("{sift}r.encounter IN (SELECT pk FROM resource WHERE id IN ({ids}) AND kind = {kind})")
            }
            Filter::EncounterIdentifier(any) => {
                format!("{sift}r.encounter IN ({})", self.carriers(ResourceType::Encounter, any))
            }
            Filter::Patient(ids) => {
                let ids = self.list(ids.iter().map(|id| Id(id)));
                let kind = ResourceType::Patient as i64;
                let given = format!("SELECT pk FROM resource WHERE id IN ({ids}) AND kind = {kind}");
                format!("{sift}r.patient IN ({})", whole_person(&given))
            }
            Filter::PatientIdentifier(any) => {
                let given = self.carriers(ResourceType::Patient, any);
                format!("{sift}r.patient IN ({})", whole_person(&given))
            }
            Filter::Status(codes) => format!("{sift}r.status IN ({})", self.list(codes.iter().cloned())),
            Filter::Date(range) => self.span(range, &format!("{sift}r.date_from"), &format!("{sift}r.date_to")),
            Filter::Updated(range) => {
                let column = format!("{sift}r.updated");
                self.span(range, &column, &column)
            }
        }
    }

    /// The numbers of those who carry any of the identifiers now.
    fn carriers(&mut self, kind: ResourceType, any: &[Identifier]) -> String {
        let kind = kind as i64;
        let one = |select: &mut Self, id: &Identifier| {
            let (value, system) = (select.bind(id.value.clone()), select.bind(id.system.clone()));
            carriers(kind, &value, &system)
        };
        let parts: Vec<String> = any.iter().map(|id| one(self, id)).collect();
        parts.join(" UNION ")
    }

    /// FHIR R4 search 3.1.1.5.3: the parameter's range against the resource's.
    fn span(&mut self, range: &Comparison, from: &str, to: &str) -> String {
        let (low, high) = (self.bind(range.low), self.bind(range.high));
        match range.prefix {
            Prefix::Eq => format!("{from} >= {low} AND {from} <= {high} AND {to} <= {high}"),
            Prefix::Ne => format!("({from} < {low} OR {to} > {high})"),
            Prefix::Gt => format!("{to} > {high} AND {low} IS NOT NULL"),
            Prefix::Lt => format!("{from} < {low} AND {high} IS NOT NULL"),
            Prefix::Ge => format!("{to} >= {low} AND {high} IS NOT NULL"),
            Prefix::Le => format!("{from} <= {high} AND {low} IS NOT NULL"),
            Prefix::Sa => format!("{from} > {high} AND {low} IS NOT NULL"),
            Prefix::Eb => format!("{to} < {low} AND {high} IS NOT NULL"),
            Prefix::Ap => format!("{to} >= {low} AND {from} <= {high}"),
        }
    }
}

/// The numbers of those who carry an identifier now. A Patient is found by an old one too, as long as it is nobody's new
/// one; a visit is not.
pub(super) fn carriers(kind: i64, value: &str, system: &str) -> String {
    let rows = |name: &str, columns: &str| {
        format!(
            "SELECT {columns} FROM identifier {name} WHERE {name}.kind = {kind} AND {name}.value = {value} AND {name}.system = (SELECT pk FROM uri WHERE uri = {system})"
        )
    };
    let now = format!("{} AND i.until IS NULL", rows("i", "i.resource"));
    if kind != ResourceType::Patient as i64 {
        return now;
    }
    let taken = format!("{} AND t.until IS NULL", rows("t", "1"));
    format!("{now} UNION {} AND o.listed = 1 AND NOT EXISTS ({taken})", rows("o", "o.resource"))
}

/// All Patients that are the same person as those `given`.
pub(super) fn whole_person(given: &str) -> String {
    format!(
        "SELECT pk FROM resource WHERE pk IN ({given}) UNION \
         SELECT pk FROM resource INDEXED BY resource_person \
         WHERE person IN (SELECT person FROM resource WHERE pk IN ({given}) AND person IS NOT NULL)"
    )
}
