//! The mapping measured against HL7's v2-to-FHIR guide: for each of its rows whether a rule brings the field to the
//! element that the row names.
//!
//! What the rows say (field and element) stands in `mappings/guide/rows.toml`, with the reason beside those that our
//! mapping deliberately does not follow. A row without a reason must be reached by a rule: that a rule reads the field is
//! not enough.

use serde::Deserialize;

use super::markdown::{code, row};
use crate::mapping::plan::lineage::{Purpose, Route};
use crate::v2::path::Path;
use crate::v2::standard;

const ROWS: &str = include_str!("../../../mappings/guide/rows.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guide {
    map: Vec<Map>,
    /// Maps of resources that Stoker does not make.
    #[serde(default)]
    elsewhere: Vec<NotOurs>,
}

/// One of the guide's segment maps.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    guide: String,
    rows: Vec<GuideRow>,
    /// Fields for which the guide wishes for an extension and names none.
    #[serde(default)]
    wishes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotOurs {
    guide: String,
    why: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuideRow {
    field: String,
    to: String,
    /// Another element than the guide's, where a rule brings it; with the reason.
    at: Option<String>,
    /// Another field that brings it, with the reason.
    from: Option<String>,
    /// Stoker itself writes the element, no rule does; how.
    by: Option<String>,
    /// Left out; with the reason.
    out: Option<String>,
    /// The reason for `at` and `from`; by itself what is special about the value.
    why: Option<String>,
}

/// What became of a row.
enum Verdict<'r> {
    Mapped(&'r Route),
    Otherwise(&'r Route, &'r str),
    Written(&'r str),
    Left(&'r str),
    Missing,
    /// The data says one thing and the mapping another.
    Stale(&'r str),
}

pub(super) fn write(routes: &[Route], wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    let guide: Guide = toml::from_str(ROWS)?;
    let maps: Vec<_> = guide.map.iter().filter(|map| wanted(map.segment())).collect();
    let mut tables = String::new();
    let mut sum = Sum::default();
    for map in &maps {
        table(&mut tables, map, routes, &mut sum);
    }
    let mut out = head(&sum);
    out.push_str(&tables);
    out.push_str("## Maps of resources that Stoker does not make\n\n");
    for map in guide.elsewhere.iter().filter(|map| wanted(map.guide.split('[').next().unwrap_or_default())) {
        out.push_str(&format!("- {}: {}\n", map.guide, map.why));
    }
    out.push('\n');
    Ok(out)
}

#[derive(Debug, Default)]
struct Sum {
    rows: usize,
    mapped: usize,
    otherwise: usize,
    written: usize,
    left: usize,
    missing: usize,
}

fn head(sum: &Sum) -> String {
    let reached = sum.mapped + sum.otherwise + sum.written;
    let missing = match sum.missing {
        0 => String::new(),
        n => format!(" **{n} are missing**, or what the list of rows says of them is no longer so."),
    };
    format!(
        "# Measured against HL7's guide\n\n\
         Of {} rows of the guide's segment maps that name an element of a resource which Stoker makes (the extended set\n\
         taken in), {reached} reach it: {} by a rule, {} by a rule in another way than the guide's, for the reason given,\n\
         {} written by Stoker itself. {} are left out, with the reason.{missing}\n\n\
         A row is a field and an element; rows that differ only in their condition, or that give an extension its URL, are\n\
         one. The rule is the one that reads the field; what its template does stands in `datatypes.toml`.\n\n",
        sum.rows, sum.mapped, sum.otherwise, sum.written, sum.left
    )
}

fn table(out: &mut String, map: &Map, routes: &[Route], sum: &mut Sum) {
    out.push_str(&format!("## {}\n\n", map.guide));
    out.push_str(&row(&["field", "is called", "the guide's element", "with Stoker", "rule"]));
    out.push_str("|---|---|---|---|---|\n");
    for line in &map.rows {
        sum.rows += 1;
        let (text, rule) = match verdict(map, line, routes) {
            Verdict::Mapped(route) => {
                sum.mapped += 1;
                (brought(route), route.rule.clone())
            }
            Verdict::Otherwise(route, why) => {
                sum.otherwise += 1;
                (format!("{}: {why}", brought(route)), route.rule.clone())
            }
            Verdict::Written(how) => {
                sum.written += 1;
                (how.to_owned(), "Stoker itself".to_owned())
            }
            Verdict::Left(why) => {
                sum.left += 1;
                (format!("left out: {why}"), String::new())
            }
            Verdict::Missing => {
                sum.missing += 1;
                ("**missing**".to_owned(), String::new())
            }
            Verdict::Stale(what) => {
                sum.missing += 1;
                (format!("**{what}**"), String::new())
            }
        };
        out.push_str(&row(&[&line.field, &name(&line.field), &code(&line.to), &text, &rule]));
    }
    out.push('\n');
    if !map.wishes.is_empty() {
        let fields = map.wishes.join(", ");
        out.push_str(&format!("The guide wishes for an extension and names none: {fields}. They have no row.\n\n"));
    }
}

/// Where a route brings the field, and by which template.
fn brought(route: &Route) -> String {
    let to = code(&format!("{}.{}", route.resource, route.target));
    match (&route.purpose, &route.template) {
        (Purpose::Fixed, _) => code(&format!("{}.{}", route.resource, route.element)),
        (_, Some(template)) => format!("{to} by {template}"),
        (_, None) => to,
    }
}

fn name(field: &str) -> String {
    let path: Option<Path> = field.parse().ok();
    let name = path.and_then(|path| standard::field_name(path.segment(), usize::from(path.field)));
    name.unwrap_or_default().to_owned()
}

fn verdict<'r>(map: &'r Map, line: &'r GuideRow, routes: &'r [Route]) -> Verdict<'r> {
    let Ok(field) = line.from.as_ref().unwrap_or(&line.field).parse::<Path>() else {
        return Verdict::Stale("the field is no path");
    };
    let to = line.at.as_ref().unwrap_or(&line.to);
    let (resource, element) = split(to).unwrap_or((map.resource(), to));
    let route = reaching(routes, &field, resource, element);
    let deviates = line.at.is_some() || line.from.is_some();
    match (&line.by, &line.out, route, line.why.as_deref()) {
        (None, None, Some(route), None) if !deviates => Verdict::Mapped(route),
        (None, None, Some(route), Some(why)) => Verdict::Otherwise(route, why),
        (None, None, Some(_), None) => Verdict::Stale("the list of rows gives no reason"),
        (None, None, None, _) => Verdict::Missing,
        (Some(how), None, ..) if !deviates => Verdict::Written(how),
        (None, Some(_), Some(_), _) => Verdict::Stale("said to be left out, and a rule reaches it"),
        (None, Some(why), None, _) if !deviates => Verdict::Left(why),
        _ => Verdict::Stale("the list of rows says more than one thing"),
    }
}

/// An element with its resource, where it is another than the map's: `RelatedPerson.identifier`.
fn split(to: &str) -> Option<(&str, &str)> {
    to.split_once('.').filter(|_| to.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// The route that brings a field to an element of a resource.
fn reaching<'r>(routes: &'r [Route], field: &Path, resource: &str, element: &str) -> Option<&'r Route> {
    let brings = |purpose: Purpose| {
        routes.iter().find(|route| {
            route.purpose == purpose
                && route.path.segment() == field.segment()
                && route.path.field == field.field
                && (field.component == 0 || route.path.component == field.component)
                && covers(route, resource, element)
        })
    };
    let direct = brings(Purpose::Value).or_else(|| brings(Purpose::Fixed));
    direct.or_else(|| referred(routes, field, resource, element))
}

/// An element of another resource, `diagnosis.condition(Condition).code`, where a reference leads to it.
fn referred<'r>(routes: &'r [Route], field: &Path, resource: &str, element: &str) -> Option<&'r Route> {
    let (way, rest) = element.split_once(").")?;
    let (way, kind) = way.rsplit_once('(')?;
    let leads = |route: &Route| {
        route.refers.as_deref() == Some(kind)
            && route.resource == resource
            && bare(&route.element) == format!("{way}({kind})")
            && route.path.segment() == field.segment()
    };
    if routes.iter().any(leads) { reaching(routes, field, kind, rest) } else { None }
}

/// Whether a route ends at an element or within it, seen from its resource or from one that is contained on the way. A
/// fixed value within an element does not make the element, nor does an extension of it.
fn covers(route: &Route, resource: &str, element: &str) -> bool {
    let own = bare(&route.element);
    let within = |way: &str| {
        let value = route.purpose == Purpose::Value;
        let part = |rest: &str| rest.starts_with('.') && (element.ends_with(')') || !rest.starts_with(".extension("));
        let ends = |rest: &str| rest.is_empty() || rest.starts_with('(') || (value && part(rest));
        let inside = way.strip_prefix(element).is_some_and(ends);
        let above = element.strip_prefix(way).is_some_and(|rest| rest.starts_with('.'));
        inside || (route.whole && above)
    };
    let contained = format!("({resource}).");
    (route.resource == resource && within(&own))
        || own.match_indices(&contained).any(|(at, _)| within(&own[at + contained.len()..]))
}

/// An element without the positions in lists.
fn bare(element: &str) -> String {
    let mut out = String::with_capacity(element.len());
    let mut inside = false;
    for c in element.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

impl Map {
    fn segment(&self) -> &str {
        self.guide.split('[').next().unwrap_or_default()
    }

    /// The resource whose elements the map's rows name.
    fn resource(&self) -> &str {
        let inner = self.guide.split(['[', ']']).nth(1).unwrap_or_default();
        inner.split('-').next().unwrap_or_default()
    }
}
