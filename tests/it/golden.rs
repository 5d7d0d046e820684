//! Golden pairs: `samples/x.hl7` and the Bundle it becomes, `samples/x.json`. A pair needs no code to be added.
//!
//! `UPDATE_GOLDEN=1 cargo test golden` writes what comes out now; the change is then read in `git diff`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use stoker::fhir::pretty;
use stoker::mapping::{Context, Identifiers, MappingConfig, Plan, convert, convert_inbound};
use stoker::v2::charset::Charset;
use stoker::v2::{Header, Inbound};

/// The files of a folder of the project with one of these endings, by name.
pub fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let fits = |path: &PathBuf| path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending));
    let mut found: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(fits).collect();
    found.sort();
    found
}

pub fn samples() -> Vec<PathBuf> {
    files("samples", &["hl7"])
}

pub fn shipped() -> Plan {
    Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn every_sample_becomes_the_bundle_beside_it() {
    let plan = shipped();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for sample in samples() {
        let raw = std::fs::read(&sample).unwrap();
        let name = sample.file_name().unwrap().to_string_lossy().into_owned();
        let converted = match convert(&plan, &raw, &Context::default()) {
            Ok(converted) => converted,
            Err(why) => {
                wrong.push(format!("{name}: {why}"));
                continue;
            }
        };
        let golden = sample.with_extension("json");
        let now = pretty(&converted.body) + "\n";
        if update {
            std::fs::write(&golden, now).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != now {
            wrong.push(format!("{name}: not the Bundle of {}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_message_maps_to_the_same_bytes() {
    let (one, two) = (shipped(), shipped());
    for sample in samples() {
        let raw = std::fs::read(&sample).unwrap();
        let bodies = [&one, &two].map(|plan| convert(plan, &raw, &Context::default()).unwrap().body);
        assert_eq!(bodies[0], bodies[1], "{}", sample.display());
    }
}

#[test]
fn a_message_that_was_taken_apart_when_it_came_in_becomes_the_same_bundle() {
    let plan = shipped();
    let context = Context::default();
    let latin = Context { charset: Charset::try_from("8859/1".to_owned()).ok(), ..Context::default() };
    for sample in samples() {
        let raw = Bytes::from(std::fs::read(&sample).unwrap());
        let header = Header::peek(&raw).unwrap();
        let inbound = Inbound::read(raw.clone(), Some(&header), context.reading(&plan)).unwrap();
        // The second one is read in another way than it came in, as when a listener's character set has changed since.
        for context in [&context, &latin] {
            let now = convert_inbound(&plan, &inbound, context).map(|converted| converted.body);
            assert_eq!(now, convert(&plan, &raw, context).map(|converted| converted.body), "{}", sample.display());
        }
    }
}

/// Every reference below a node.
fn references<'v>(value: &'v serde_json::Value, found: &mut Vec<&'v str>) {
    match value {
        serde_json::Value::Object(members) => {
            found.extend(members.get("reference").and_then(serde_json::Value::as_str));
            members.values().for_each(|child| references(child, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn bundle(plan: &Plan, sample: &Path) -> serde_json::Value {
    let raw = std::fs::read(sample).unwrap();
    serde_json::from_str(&convert(plan, &raw, &Context::default()).unwrap().body).unwrap()
}

#[test]
fn every_reference_resolves_inside_its_bundle() {
    let plan = shipped();
    for sample in samples() {
        let bundle = bundle(&plan, &sample);
        let entries = bundle["entry"].as_array().unwrap();
        let urls: Vec<_> = entries.iter().map(|entry| entry["fullUrl"].as_str().unwrap()).collect();
        for entry in entries {
            let resource = &entry["resource"];
            let contained: Vec<_> = resource["contained"].as_array().into_iter().flatten().collect();
            let mut found = Vec::new();
            references(resource, &mut found);
            for reference in found {
                let resolves = match reference.strip_prefix('#') {
                    Some(id) => contained.iter().any(|c| c["id"] == id),
                    None => urls.contains(&reference),
                };
                assert!(resolves, "{}: {reference}", sample.display());
            }
        }
    }
}

#[test]
fn no_patient_links_to_itself() {
    let plan = shipped();
    let mut links = 0;
    for sample in samples() {
        for entry in bundle(&plan, &sample)["entry"].as_array().unwrap() {
            for link in entry["resource"]["link"].as_array().into_iter().flatten() {
                assert_ne!(link["other"]["reference"], entry["fullUrl"], "{}", sample.display());
                links += 1;
            }
        }
    }
    assert!(links > 10, "the merges of the samples were not found");
}
