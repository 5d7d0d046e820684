//! The worked example of `samples/site`, and the README that walks through it.

use std::path::Path;

use super::process::{stoker, text};

#[test]
fn the_sites_message_becomes_the_bundle_beside_it() {
    let output =
        stoker(&["convert", "--pretty", "--config", "samples/site/config.toml", "samples/site/A01-admit-nordvik.hl7"]);
    let now = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/site/A01-admit-nordvik.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, now).unwrap();
        return;
    }
    assert!(std::fs::read_to_string(&golden).unwrap() == now, "not the Bundle of {}", golden.display());
}

#[test]
fn what_the_site_changes_is_in_its_bundle() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/site/A01-admit-nordvik.json");
    let bundle: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(golden).unwrap()).unwrap();
    let (patient, visit) = (&bundle["entry"][1]["resource"], &bundle["entry"][2]["resource"]);
    assert_eq!(patient.get("contact"), None);
    assert_eq!(patient["extension"][0]["valueBoolean"], true);
    // A code that the site added to HL7's table 0002 is none of that table's.
    let status = &patient["maritalStatus"]["coding"];
    assert_eq!((&status[0]["code"], &status[1]), (&"T".into(), &serde_json::json!({"code": "SAM"})));
    assert_eq!(visit["period"]["start"], "2026-03-12T08:05:00+01:00");
    assert_eq!(visit["hospitalization"]["specialArrangement"][0]["coding"][0]["display"], "Droplet isolation");
    assert_eq!(visit["priority"]["coding"][0]["code"], "UR");
}

#[test]
fn every_command_of_the_walk_through_runs_as_it_is_written() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("### A site's own mapping, step by step").nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let commands: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("stoker ")).collect();
    assert_eq!(commands.len(), 8, "{commands:?}");
    for command in commands {
        let output = stoker(&command.split_whitespace().collect::<Vec<_>>());
        // Like diff, `stoker diff` says with 1 that there are differences.
        let expected = i32::from(command.starts_with("diff"));
        assert_eq!(output.status.code(), Some(expected), "{command}\n{}", text(&output.stderr));
        assert!(!output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn the_rules_that_the_walk_through_shows_are_those_of_the_site() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("# samples/site/mappings/resources/encounter.toml\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let rule = |line: &str| line.trim().split(" },").next().unwrap_or_default().to_owned();
    let own = std::fs::read_to_string(root.join("samples/site/mappings/resources/encounter.toml")).unwrap();
    let of_file: Vec<String> = own.lines().map(rule).filter(|line| line.starts_with('{')).collect();
    let of_readme: Vec<String> = shown.lines().map(rule).filter(|line| line.starts_with('{')).collect();
    assert_eq!(of_readme, of_file);
    assert_eq!(of_file.len(), 3);
}
