//! `stoker convert` and `stoker check` as an analyst uses them.

use std::path::{Path, PathBuf};

use super::process::{lines_with, stoker, text};

fn corpus() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if !folder.exists() {
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    let mut found = Vec::new();
    for site in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        found.extend(std::fs::read_dir(site).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.retain(|path| path.extension().is_some_and(|e| e == "hl7"));
    found.sort();
    Some(found)
}

fn convert(files: &[&Path]) -> (Vec<serde_json::Value>, String, Option<i32>) {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let output = stoker(&[&["convert"], files.as_slice()].concat());
    let bundles = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (bundles, text(&output.stderr), output.status.code())
}

#[test]
fn messages_that_others_wrote_convert_or_name_their_fault() {
    let Some(files) = corpus() else { return };
    let (bundles, said, code) = convert(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert_eq!(files.len(), 142);
    assert!(bundles.len() >= 130, "{} convert\n{said}", bundles.len());
    assert_eq!(code, Some(1));
    // Three have no PID, in one nothing names anybody, two merge nobody into anybody.
    for (file, fault) in [
        ("A01-0035", "PID-3"),
        ("A01-0039", "PID: the segment is missing"),
        ("A01-0040", "PID: the segment is missing"),
        ("A01-0041", "PID: the segment is missing"),
        ("A34-0004", "MRG: the segment is missing"),
        ("A40-0008", "MRG: the segment is missing"),
    ] {
        assert_eq!(lines_with(&said, &[file, "message 1", fault]).len(), 1, "{file}\n{said}");
    }
    assert_eq!(lines_with(&said, &["message 1"]).len(), 6, "{said}");
}

#[test]
fn one_file_may_hold_many_messages_in_any_shape() {
    let one = "MSH|^~\\&|A|F|||20260101||ADT^A01|1|P|2.5\rPID|1||1^^^F\rPV1|1|I";
    let two = one.replace("|1|P|", "|2|P|").replace("||1^^^F", "||2^^^F");
    let shapes = [
        format!("{one}\r{two}\r"),
        format!("{one}\n{two}\n").replace('\r', "\n"),
        format!("{one}\r\n{two}\r\n").replace('\r', "\r\n").replace("\n\n", "\n"),
        format!("\u{b}{one}\r\u{1c}\r\u{b}{two}\r\u{1c}\r"),
        format!("FHS|^~\\&|A\rBHS|^~\\&|A\r{one}\r{two}\rBTS|2\rFTS|1\r"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (n, shape) in shapes.iter().enumerate() {
        let path = folder.path().join(format!("{n}.hl7"));
        std::fs::write(&path, shape).unwrap();
        let (bundles, said, code) = convert(&[&path]);
        let ids: Vec<_> = bundles.iter().map(|bundle| bundle["identifier"]["value"].as_str().unwrap()).collect();
        assert_eq!((ids, code), (vec!["1", "2"], Some(0)), "{n}: {said}");
    }
}

#[test]
fn a_fault_names_file_message_line_and_place_and_the_others_still_convert() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.hl7");
    let good = "MSH|^~\\&|A|F|||20260101||ADT^A01|1|P|2.5\rPID|1||1^^^F\rPV1|1|I";
    std::fs::write(&path, format!("MSH|^~\\&|A|F|||20260101||ADT^A01|0|P|2.5\rPV1|1|I\r{good}\r")).unwrap();
    let (bundles, said, code) = convert(&[&path, Path::new("/nowhere/x.hl7")]);
    assert_eq!((bundles.len(), code), (1, Some(1)));
    assert_eq!(lines_with(&said, &["two.hl7", "message 1", "line 1", "PID"]).len(), 1, "{said}");
    assert_eq!(lines_with(&said, &["/nowhere/x.hl7", "cannot be read"]).len(), 1, "{said}");
    assert!(said.contains("1 converted, 2 failed"), "{said}");
}

#[test]
fn an_overlay_changes_one_field_without_copying_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("resources")).unwrap();
    let rule = "rules = [ { to = \"maritalStatus.text\", from = \"ZPD-3\" } ]\n";
    std::fs::write(site.join("resources/patient.toml"), rule).unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, format!("[mapping]\noverlays = [\"{}\"]\n", site.display())).unwrap();
    let message = folder.path().join("m.hl7");
    let text_of = "MSH|^~\\&|A|F|||20260101||ADT^A31|1|P|2.5\rPID|1||1^^^F||Doe\rZPD|1||lives alone\r";
    std::fs::write(&message, text_of).unwrap();
    let output = stoker(&["convert", "--config", config.to_str().unwrap(), message.to_str().unwrap()]);
    let bundle: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let patient = &bundle["entry"][1]["resource"];
    assert_eq!(patient["maritalStatus"]["text"], "lives alone");
    assert_eq!(patient["name"][0]["family"], "Doe");
}

#[test]
fn check_names_file_and_line_of_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("resources")).unwrap();
    let rules = "rules = [\n  { to = \"birthDay\", from = \"PID-7\" },\n  { to = \"gender\", from = \"PID-8\", table = \"administrative-sx\" },\n]\n";
    std::fs::write(folder.path().join("resources/patient.toml"), rules).unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, format!("[mapping]\noverlays = [\"{}\"]\n", folder.path().display())).unwrap();
    // The configuration stands in the overlay's folder and is no mapping file.
    let config_elsewhere = tempfile::tempdir().unwrap();
    let moved = config_elsewhere.path().join("config.toml");
    std::fs::rename(&config, &moved).unwrap();
    let output = stoker(&["check", "--config", moved.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines_with(&said, &["patient.toml:2:", "birthDay", "birthDate"]).len(), 1, "{said}");
    assert_eq!(lines_with(&said, &["patient.toml:3:", "administrative-sx", "administrative-sex"]).len(), 1, "{said}");
}

/// The MessageHeader of an A28 whose MSH-3 to MSH-6 are these.
fn header_from(ends: &str) -> serde_json::Value {
    let raw = format!("MSH|^~\\&|{ends}|20260101||ADT^A28|1|P|2.5\rPID|1||1^^^F\r");
    let converted = stoker::mapping::convert(&super::golden::shipped(), raw.as_bytes(), &Default::default()).unwrap();
    let bundle: serde_json::Value = serde_json::from_str(&converted.body).unwrap();
    bundle["entry"][0]["resource"].clone()
}

#[test]
fn a_message_that_names_no_receiver_has_no_destination() {
    assert_eq!(header_from("A|F||").get("destination"), None);
    let half = header_from("A|F||HOSP");
    assert_eq!(half["destination"][0]["endpoint"], "urn:stoker:endpoint:HOSP:");
    let by_id = header_from("A|F|^1.2.3^L,M,N|");
    assert_eq!(by_id["destination"][0]["endpoint"], "urn:stoker:endpoint:unknown");
    assert!(by_id["destination"][0]["target"].is_object());
}

#[test]
fn a_message_that_names_no_sender_says_that_its_source_is_unknown() {
    let header = header_from("||B|G");
    assert_eq!(header["source"], serde_json::json!({"endpoint": "urn:stoker:endpoint:unknown"}));
    assert_eq!(header_from("|F|B|G")["source"]["endpoint"], "urn:stoker:endpoint:F:");
}
