//! The commands that look at messages and mappings, as a person runs them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::process::{stoker, text};

fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name).display().to_string()
}

fn written(folder: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn explain_tells_in_columns_where_a_field_went_and_what_was_left_out() {
    let out = stoker(&["explain", &sample("A01-admit-fjordvik.hl7")]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let table = text(&out.stdout);
    let row = table.lines().find(|line| line.contains("PID-8 ")).unwrap();
    assert!(row.contains("Patient.gender = female") && row.contains("patient:"), "{row}");
    let (_, unmapped) = table.split_once("Not mapped").unwrap();
    assert!(unmapped.contains("EVN-7.1"), "{unmapped}");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "a line is longer than 120");
    assert!(!table.contains('\u{1b}'));
}

#[test]
fn explain_tells_programs_the_same_as_json_with_the_bundle() {
    let out = stoker(&["explain", &sample("A01-admit-fjordvik.hl7"), "--format", "json"]);
    let json: Value = serde_json::from_slice(&out.stdout).unwrap();
    let gender = json["assignments"].as_array().unwrap().iter().find(|a| a["to"]["path"] == "gender").unwrap();
    assert_eq!(gender["from"][0]["path"], "PID-8");
    let pointer = gender["to"]["pointer"].as_str().unwrap();
    assert_eq!(json["bundle"].pointer(pointer).unwrap(), "female");
    assert_eq!(json["event"]["code"], "A01");
}

#[test]
fn explain_writes_a_page_that_loads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let out = stoker(&["explain", &sample("A01-admit-fjordvik.hl7"), "--format", "html", "-o", page.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("Øverås"));
    for outside in [" src=", "@import", "url(", "<link", "fetch("] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn explain_takes_a_message_of_a_file_by_its_number_and_says_when_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let one = "MSH|^~\\&|A|B|||20240101||ADT^A01|first|P|2.5\rPID|1||7^^^H\r";
    let file = written(&folder, "two.hl7", &format!("{one}{}", one.replace("first", "second")));
    let file = file.to_str().unwrap();
    assert!(text(&stoker(&["explain", file, "--message", "2"]).stdout).contains("control id second"));
    let out = stoker(&["explain", file, "--message", "3"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("no message 3; it holds 2"), "{}", text(&out.stderr));
}

#[test]
fn explain_of_a_message_that_cannot_be_mapped_says_why_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(&folder, "a99.hl7", "MSH|^~\\&|A|B|||20240101||ADT^A99|1|P|2.5\r");
    let out = stoker(&["explain", file.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("not mapped: MSH-9: A99"), "{}", text(&out.stdout));
}

#[test]
fn a_report_over_all_samples_counts_every_message_and_names_no_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let files: Vec<String> = super::golden::samples().iter().map(|path| path.display().to_string()).collect();
    let mut args = vec!["convert", "--report", "--report-format", "json"];
    args.extend(files.iter().map(String::as_str));
    let out = stoker(&args);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["messages"], files.len());
    let names = &report["fields"]["PID-5"];
    assert!(names["mapped"].as_u64().unwrap() > 60, "{names}");
    assert!(report["fields"]["EVN-7"]["dropped"].as_u64().unwrap() > 0);
    assert_eq!(
        report["events"]["A01"],
        std::fs::read_dir(folder)
            .unwrap()
            .filter(|e| {
                let name = e.as_ref().unwrap().file_name().into_string().unwrap();
                name.starts_with("A01") && name.ends_with(".hl7")
            })
            .count()
    );
    assert!(!text(&out.stdout).contains("Haugen"));
}

const MESSAGE: &str = "MSH|^~\\&|A|B|||20240101||ADT^A08|77|P|2.5\rPID|1||7^^^H||Doe^Jane||19800101|F\r";

#[test]
fn diff_shows_what_an_overlay_changes_and_exits_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let message = written(&folder, "message.hl7", MESSAGE);
    let overlay = "drop = [\"name[]\"]\nrules = [{ to = \"gender\", value = \"other\", when = \"PID-8 = F\" }]\n";
    written(&folder, "site/resources/patient.toml", overlay);
    let site = folder.path().join("site").display().to_string();
    let out = stoker(&["diff", "--mappings", &site, message.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    let told = text(&out.stdout);
    for line in ["~ Patient.gender", "female -> other", "- Patient.name", "1 messages: 0 the same, 1 changed"] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn diff_of_mappings_that_say_the_same_exits_with_zero_and_with_two_when_it_cannot_tell() {
    let folder = tempfile::tempdir().unwrap();
    let message = written(&folder, "message.hl7", MESSAGE);
    let message = message.to_str().unwrap();
    let mappings = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings").display().to_string();
    assert_eq!(stoker(&["diff", "--mappings", &mappings, message]).status.code(), Some(0));
    assert_eq!(stoker(&["diff", "--mappings", &mappings, "/nowhere.hl7"]).status.code(), Some(2));
    written(&folder, "broken/resources/patient.toml", "rules = [{ to = \"gendre\", from = \"PID-8\" }]\n");
    let broken = folder.path().join("broken").display().to_string();
    let out = stoker(&["diff", "--mappings", &broken, message]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        text(&out.stderr).contains("patient.toml:1: FHIR R4 has no element 'Patient.gendre'"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn diff_for_programs_is_a_line_for_each_message_and_one_for_the_sum() {
    let folder = tempfile::tempdir().unwrap();
    let message = written(&folder, "message.hl7", MESSAGE);
    let other =
        written(&folder, "other.toml", "[mapping]\nzone = \"Europe/Oslo\"\nbase = \"https://other.test/fhir\"\n");
    let out = stoker(&["diff", "--to", other.to_str().unwrap(), "--format", "json", message.to_str().unwrap()]);
    let lines: Vec<Value> = text(&out.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes = lines[0]["changes"].as_array().unwrap();
    assert!(changes.iter().any(|c| c["resource"] == "Patient" && c["path"] == "fullUrl"), "{changes:?}");
    assert!(!changes.iter().any(|c| c["path"].as_str().unwrap().ends_with("reference")), "{changes:?}");
    assert_eq!(lines[1]["sum"]["changed"], 1);
}
