//! Circles in who imports whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::imports::Imports;

type Arrows<'i> = BTreeMap<&'i Path, BTreeSet<&'i Path>>;

/// A shortest circle of each group of files that reach each other, told with the names that close it.
pub fn circles(imports: &Imports) -> Vec<String> {
    let mut arrows = Arrows::new();
    for (from, to) in imports.keys() {
        arrows.entry(from).or_default().insert(to);
    }
    let mut told: BTreeSet<&Path> = BTreeSet::new();
    let mut found = Vec::new();
    for &file in arrows.keys() {
        if told.contains(file) {
            continue;
        }
        let ahead = reached(&arrows, file);
        let group: BTreeSet<&Path> =
            ahead.iter().copied().filter(|other| reached(&arrows, other).contains(file)).collect();
        if !group.contains(file) {
            continue;
        }
        told.extend(&group);
        let shortest = group.iter().filter_map(|file| circle(&arrows, file)).min_by_key(Vec::len);
        found.push(tell(imports, &shortest.unwrap_or_default(), group.len()));
    }
    found
}

fn reached<'i>(arrows: &Arrows<'i>, from: &Path) -> BTreeSet<&'i Path> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Path> = arrows.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = next.pop() {
        if let Some((&file, _)) = arrows.get_key_value(file)
            && reached.insert(file)
        {
            next.extend(arrows[file].iter());
        }
    }
    reached
}

/// The shortest way from a file back to itself.
fn circle<'i>(arrows: &Arrows<'i>, file: &'i Path) -> Option<Vec<&'i Path>> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for &next in arrows.get(way[way.len() - 1]).into_iter().flatten() {
            let longer: Vec<_> = way.iter().copied().chain([next]).collect();
            if next == file {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

fn tell(imports: &Imports, circle: &[&Path], files: usize) -> String {
    let mut told = format!("a circle among {files} files");
    for step in circle.windows(2) {
        let key: (PathBuf, PathBuf) = (step[0].into(), step[1].into());
        let names: Vec<_> = imports[&key].iter().map(String::as_str).collect();
        write!(told, "\n  {} takes {} from {}", step[0].display(), names.join(", "), step[1].display()).unwrap();
    }
    told
}
