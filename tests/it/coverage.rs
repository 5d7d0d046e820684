//! `stoker coverage`: which fields a mapping uses, and what it says of HL7's guide.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::process::{stoker, text};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn coverage(arguments: &[&str]) -> String {
    let output = stoker(&[&["coverage"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_is_published_of_the_coverage_is_what_the_command_says() {
    let now = coverage(&["--guide"]);
    let published = project("mappings/COVERAGE.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&published, now).unwrap();
        return;
    }
    let then = std::fs::read_to_string(&published).unwrap_or_default();
    assert!(then == now, "{} is not current: UPDATE_GOLDEN=1 cargo test coverage", published.display());
}

#[test]
fn of_a_hundred_rows_of_the_guide_ninety_five_reach_their_element_and_the_others_say_why_not() {
    let said = coverage(&["--guide"]);
    let faults: Vec<_> = said.lines().filter(|line| line.contains("| **")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let rows = said
        .lines()
        .take_while(|line| !line.starts_with("# Where"))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| field"));
    let (left, reached): (Vec<_>, Vec<_>) = rows.partition(|line| line.contains("| left out: "));
    assert!(reached.len() > 400 && reached.len() * 100 >= 95 * (reached.len() + left.len()), "{left:#?}");
    let readme = std::fs::read_to_string(project("README.md")).unwrap();
    let figure = format!("{} of {} rows reach", reached.len(), reached.len() + left.len());
    assert!(readme.contains(&figure), "the README does not say that {figure}");
}

/// The fields that the list of rows has for each of the guide's maps, with how many elements.
fn listed() -> BTreeMap<(String, String), usize> {
    let rows = std::fs::read_to_string(project("mappings/guide/rows.toml")).unwrap();
    let rows: toml::Table = toml::from_str(&rows).unwrap();
    let mut found = BTreeMap::new();
    for map in rows["map"].as_array().unwrap() {
        for row in map["rows"].as_array().unwrap() {
            let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
            *found.entry((text(&map["guide"]), text(&row["field"]))).or_default() += 1;
        }
    }
    found
}

/// The records of a CSV file whose cells may hold line breaks.
fn records(csv: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    for c in csv.chars().chain(['\n']) {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            '\r' => {}
            c => cell.push(c),
        }
    }
    records
}

/// An element as the guide writes it, without the numbers of instances and what is assigned; `None` for a row that only
/// gives an extension its URL.
fn element(cell: &str) -> Option<String> {
    let mut depth = 0;
    let text: String = cell
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '[');
            let keep = depth == 0;
            depth -= i32::from(*c == ']');
            keep
        })
        .collect();
    let text = text.split('=').next().unwrap_or_default().trim();
    let bare = text.trim_end_matches(')');
    let of_extension = |rest: &str| rest.rsplit(['.', '(']).next().is_some_and(|last| last == "extension");
    let url = [".url", ".uri"].iter().filter_map(|end| bare.strip_suffix(end)).any(of_extension);
    (!text.is_empty() && !url).then(|| bare.to_owned())
}

#[test]
fn no_row_of_the_guide_is_missing_from_the_list() {
    let folder = project("../shared/v2-to-fhir/segments");
    if !folder.exists() {
        eprintln!("skipped: {} is not there", folder.display());
        return;
    }
    let listed = listed();
    let elsewhere = std::fs::read_to_string(project("mappings/guide/rows.toml")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let map = file.file_stem().unwrap().to_string_lossy().into_owned();
        if elsewhere.contains(&format!("[[elsewhere]]\nguide = \"{map}\"")) {
            continue;
        }
        let mut elements: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in records(&std::fs::read_to_string(&file).unwrap()).iter().skip(2) {
            let cell = |n: usize| record.get(n).map(|cell| cell.trim()).unwrap_or_default();
            let field = if cell(1).is_empty() { &map[..3] } else { cell(1) };
            elements.entry(field.to_owned()).or_default().extend(element(cell(9)));
        }
        for (field, elements) in elements.into_iter().filter(|(_, elements)| !elements.is_empty()) {
            let place = (map.clone(), field);
            let rows = listed.get(&place).copied().unwrap_or_default();
            if rows < elements.len() {
                wrong.push(format!("{place:?}: {rows} of {elements:?}"));
            }
            seen.insert(place);
        }
    }
    // What a site decides (race, ethnic group) has no element in the guide.
    let local = ["PID-10", "PID-22"];
    wrong.extend(
        listed
            .keys()
            .filter(|place| !seen.contains(*place) && !local.contains(&&*place.1))
            .map(|place| format!("{place:?}: not in the guide")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.len() > 250, "{}", seen.len());
}

#[test]
fn an_overlay_shows_where_its_own_fields_go() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("resources")).unwrap();
    std::fs::write(
        site.join("resources/patient.toml"),
        "rules = [\n  { to = \"maritalStatus.text\", from = \"ZPD-3\" },\n]\ndrop = [\"birthDate\"]\n",
    )
    .unwrap();
    let config = folder.path().join("site.toml");
    std::fs::write(&config, format!("[mapping]\noverlays = [{:?}]\n", site.display().to_string())).unwrap();
    let config = config.display().to_string();
    let own = coverage(&["--config", &config, "--segment", "zpd"]);
    assert!(
        own.contains("| ZPD-3 |  | `Patient.maritalStatus.text` |  |") && own.contains("patient.toml:2 |"),
        "{own}"
    );
    let patient = coverage(&["--config", &config, "--segment", "PID"]);
    assert!(!patient.contains("`Patient.birthDate` |") && patient.contains("`Patient.gender`"), "{patient}");
    let guide = coverage(&["--config", &config, "--segment", "PID", "--guide"]);
    assert!(guide.contains("| PID-7 | Date/time of birth | `birthDate` | **missing** |"), "{guide}");
}
