//! The fields that a mapping uses, segment by segment, and those that it does not.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown::{code, row};
use crate::mapping::plan::lineage::{Purpose, Route};
use crate::v2::path::Path;
use crate::v2::standard;

pub(super) fn write(routes: &[Route], wanted: impl Fn(&str) -> bool) -> String {
    let mut out = String::from("# Where each field goes\n");
    let mut segments: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    for route in routes {
        segments.entry(route.path.segment()).or_default().push(route);
    }
    for (name, routes) in segments.iter().filter(|(name, _)| wanted(name)) {
        segment(&mut out, name, routes);
    }
    let unread: Vec<_> =
        standard::segments().filter(|name| wanted(name) && !segments.contains_key(name)).map(str::to_owned).collect();
    if !unread.is_empty() {
        out.push_str(&format!("\nSegments that no rule reads: {}.\n", unread.join(", ")));
    }
    out
}

fn segment(out: &mut String, name: &str, routes: &[&Route]) {
    out.push_str(&format!("\n## {name}\n\n"));
    let mut values: BTreeMap<Line, BTreeSet<&str>> = BTreeMap::new();
    for route in routes.iter().filter(|route| route.purpose == Purpose::Value) {
        let target = format!("{}.{}", route.resource, route.target);
        values.entry((route.named, target, route.template.as_deref())).or_default().insert(&route.rule);
    }
    if !values.is_empty() {
        out.push_str(&row(&["field", "is called", "goes to", "by", "rule"]));
        out.push_str("|---|---|---|---|---|\n");
    }
    for ((path, target, template), rules) in &values {
        let by = template.unwrap_or_default();
        out.push_str(&row(&[&path.to_string(), &called(path), &code(target), by, &places(rules)]));
    }
    let used: BTreeSet<u16> = routes.iter().map(|route| route.path.field).collect();
    let mapped: BTreeSet<u16> = values.keys().map(|(path, ..)| path.field).collect();
    let of = |purpose: Purpose| -> BTreeSet<u16> {
        routes.iter().filter(|route| route.purpose == purpose).map(|route| route.path.field).collect()
    };
    sentence(out, "Finds a resource, or makes its id", name, &of(Purpose::Identity));
    let asked: BTreeSet<u16> = of(Purpose::Condition).difference(&mapped).copied().collect();
    sentence(out, "Asked for by conditions only", name, &asked);
    let unused: BTreeSet<u16> =
        standard::fields(name).filter_map(|(n, _)| u16::try_from(n).ok()).filter(|n| !used.contains(n)).collect();
    sentence(out, "Not used", name, &unused);
}

/// The place read, the element, the template.
type Line<'r> = (Path, String, Option<&'r str>);

/// Several lines of one file with the file's name once: `resources/encounter.toml:64, 65`.
fn places(rules: &BTreeSet<&str>) -> String {
    let mut lines: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (file, line) in rules.iter().filter_map(|rule| rule.rsplit_once(':')) {
        lines.entry(file).or_default().extend(line.parse::<u32>());
    }
    let one = |(file, lines): (&str, BTreeSet<u32>)| {
        format!("{file}:{}", lines.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
    };
    lines.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

fn sentence(out: &mut String, what: &str, segment: &str, fields: &BTreeSet<u16>) {
    let fields: Vec<String> = fields.iter().filter(|&&field| field > 0).map(|&field| named(segment, field)).collect();
    if !fields.is_empty() {
        out.push_str(&format!("\n{what}: {}.\n", fields.join("; ")));
    }
}

fn named(segment: &str, field: u16) -> String {
    match standard::field_name(segment, usize::from(field)) {
        Some(name) => format!("{segment}-{field} {name}"),
        None => format!("{segment}-{field}"),
    }
}

fn called(path: &Path) -> String {
    let (field, component) = (usize::from(path.field), usize::from(path.component));
    let name = standard::field_name(path.segment(), field).unwrap_or_default();
    match standard::component_name(path.segment(), field, component) {
        Some(part) => format!("{name}: {part}"),
        None => name.to_owned(),
    }
}
