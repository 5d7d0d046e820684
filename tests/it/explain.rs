//! `explain`: what it says of a message is what the Bundle holds.

use std::collections::BTreeSet;

use serde_json::Value;
use stoker::mapping::explain::{Assignment, AssignmentKind, Why};
use stoker::mapping::source::config as mapping;
use stoker::mapping::{Context, Explanation, Identifiers, MappingConfig, Plan, convert, explain};

use super::golden::{samples, shipped};

fn of(plan: &Plan, text: &str) -> Explanation {
    let explanation = explain(plan, text.replace('\n', "\r").as_bytes(), &Context::default());
    assert_eq!(explanation.fault, None);
    explanation
}

/// The shipped mappings, and what a site can make of them in its configuration.
fn plans() -> Vec<Plan> {
    let nav = MappingConfig {
        profile: mapping::Profile::Nav,
        source: Some("8094866".into()),
        destination: Some("79768".into()),
        bundle_profile: Some("https://nav.test/Bundle".into()),
        ..MappingConfig::default()
    };
    let configs = [
        MappingConfig::default(),
        MappingConfig { extended: true, ..MappingConfig::default() },
        MappingConfig { addressing: mapping::Addressing::Uuid, ..MappingConfig::default() },
        nav,
    ];
    configs.iter().map(|config| Plan::load(config, &Identifiers::default()).unwrap()).collect()
}

fn each_sample(mut check: impl FnMut(&str, &Explanation, &Value)) {
    for plan in plans() {
        for sample in samples() {
            let raw = std::fs::read(&sample).unwrap();
            let explanation = explain(&plan, &raw, &Context::default());
            let converted = convert(&plan, &raw, &Context::default()).unwrap();
            assert_eq!(explanation.bundle, converted.body, "{}", sample.display());
            let bundle = serde_json::from_str(&converted.body).unwrap();
            check(&sample.file_name().unwrap().to_string_lossy(), &explanation, &bundle);
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The pointers of all leaves.
fn leaves(value: &Value, pointer: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| leaves(v, &format!("{pointer}/{name}"), found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, v)| leaves(v, &format!("{pointer}/{n}"), found)),
        _ => {
            found.insert(pointer.to_owned());
        }
    }
}

#[test]
fn every_assignment_of_every_sample_is_where_it_says_with_the_value_it_says() {
    each_sample(|name, explanation, bundle| {
        assert!(!explanation.assignments.is_empty(), "{name}");
        for assignment in &explanation.assignments {
            let to = &assignment.to;
            let found = bundle.pointer(&to.pointer).unwrap_or_else(|| panic!("{name}: no {}", to.pointer));
            assert_eq!(text_of(found), to.value, "{name}: {}", to.pointer);
        }
    });
}

#[test]
fn every_element_of_every_sample_has_a_rule_or_is_stokers_own() {
    each_sample(|name, explanation, bundle| {
        let mut all = BTreeSet::new();
        leaves(bundle, "", &mut all);
        let told: BTreeSet<&str> = explanation.assignments.iter().map(|a| a.to.pointer.as_str()).collect();
        let erased: Vec<&str> = explanation
            .nulls
            .iter()
            .flat_map(|n| &n.erased)
            .chain(&explanation.erased)
            .map(|e| e.to.pointer.as_str())
            .collect();
        let own = |pointer: &str| {
            let last = pointer.rsplit('/').next().unwrap();
            matches!(last, "resourceType" | "url" | "relation")
                || matches!(pointer, "/type" | "/meta/profile/0")
                || (last == "id" && pointer.contains("/contained/"))
                || erased.iter().any(|erased| pointer.starts_with(erased))
        };
        let untold: Vec<_> = all.iter().filter(|p| !told.contains(p.as_str()) && !own(p)).collect();
        assert!(untold.is_empty(), "{name}: {untold:#?}");
    });
}

#[test]
fn every_origin_is_the_text_at_its_offsets() {
    each_sample(|name, explanation, _| {
        let origins = explanation.assignments.iter().flat_map(|a| &a.from);
        let unmapped = explanation.unmapped.iter().map(|u| &u.from);
        for origin in origins.chain(unmapped).chain(explanation.nulls.iter().map(|n| &n.from)) {
            assert_eq!(&explanation.text[origin.start..origin.end], origin.raw, "{name}: {}", origin.path);
            assert!(origin.path.len() >= 3, "{name}: {origin:?}");
        }
    });
}

#[test]
fn a_field_is_either_mapped_or_told_as_unmapped() {
    let plan = shipped();
    for sample in samples() {
        let raw = std::fs::read(&sample).unwrap();
        let explanation = explain(&plan, &raw, &Context::default());
        let untold: BTreeSet<String> =
            convert(&plan, &raw, &Context::default()).unwrap().unmapped.iter().map(|path| path.to_string()).collect();
        let told: BTreeSet<String> = explanation.unmapped.iter().map(|u| field_of(&u.from.path)).collect();
        assert!(untold.is_subset(&told), "{}: {untold:?} {told:?}", sample.display());
    }
}

/// `DG1[2]-3[1].2` as `DG1-3`.
fn field_of(path: &str) -> String {
    let (segment, rest) = path.split_once('-').unwrap();
    let field: String = rest.chars().take_while(char::is_ascii_digit).collect();
    format!("{}-{field}", &segment[..3])
}

const VISIT: &str = "PV1|1|I|||||||||||||||||V1";
const HEAD: &str = "MSH|^~\\&|APP|FAC|||20240101120000+0100||ADT^A08|42|P|2.5\nEVN||20240101120000+0100\n";

fn find<'e>(explanation: &'e Explanation, path: &str) -> Vec<&'e Assignment> {
    explanation.assignments.iter().filter(|a| a.from.iter().any(|from| from.path == path)).collect()
}

#[test]
fn a_name_goes_to_its_element_by_a_rule_of_the_template() {
    let explanation = of(&shipped(), &format!("{HEAD}PID|1||7^^^H^MR||Doe^Jane^Q\nPV1|1|I"));
    let [given] = find(&explanation, "PID-5.2")[..] else { panic!() };
    assert_eq!((given.to.resource.as_str(), given.to.path.as_str()), ("Patient", "name[0].given[0]"));
    assert_eq!(given.to.value, "Jane");
    assert_eq!(given.from[0].name.as_deref(), Some("Patient name: given name"));
    assert!(given.rule.starts_with("datatypes.toml:"), "{}", given.rule);
    assert!(given.via[0].starts_with("resources/patient.toml:"), "{:?}", given.via);
}

#[test]
fn two_rules_that_give_the_same_contained_person_are_both_told() {
    let doctor = "9^House^Greg";
    let explanation = of(&shipped(), &format!("{HEAD}PID|1||7^^^H^MR\nPV1|1|I|||||{doctor}|{doctor}|||||||||||V1"));
    for path in ["PV1-7.2", "PV1-8.2"] {
        let family: Vec<_> = find(&explanation, path).into_iter().filter(|a| a.to.path.ends_with("family")).collect();
        assert_eq!(family.len(), 1, "{path}");
        assert_eq!(family[0].to.contained.as_deref(), Some("Practitioner"));
        assert_eq!(family[0].to.path, "contained[0].name[0].family");
    }
}

#[test]
fn a_name_in_another_script_stays_with_the_person_it_names() {
    let visit = VISIT.replace("I|||||", "I|||||9^House^Greg~9^\u{30cf}\u{30a6}\u{30b9}");
    let explanation = of(&shipped(), &format!("{HEAD}PID|1||7^^^H^MR\n{visit}"));
    let [family] = find(&explanation, "PV1-7[2].2")[..] else { panic!("{:?}", explanation.unmapped) };
    assert_eq!(family.to.path, "contained[0].name[1].family");
}

#[test]
fn a_discharge_before_the_admission_is_told_as_lost() {
    let visit = format!("{VISIT}{}20240102|20240101", "|".repeat(25));
    let explanation = of(&shipped(), &format!("{HEAD}PID|1||7^^^H^MR\n{visit}"));
    let lost = explanation.unmapped.iter().find(|u| u.from.path == "PV1-45").unwrap();
    assert_eq!((lost.why, lost.text.as_str()), (Why::Lost, "the period would end before it starts"));
}

#[test]
fn a_diagnosis_in_a_transfer_is_told_as_outside_the_events_set() {
    let text = format!("{HEAD}PID|1||7^^^H^MR\n{VISIT}\nDG1|1||I10^Hypertension^I10\nZZZ|x");
    let explanation = of(&shipped(), &text.replace("A08", "A02"));
    let why = |path: &str| explanation.unmapped.iter().find(|u| u.from.path == path).map(|u| u.why);
    assert_eq!(why("DG1-3.1"), Some(Why::NotInSet));
    assert_eq!(why("DG1-1"), Some(Why::SetId));
    assert_eq!(why("ZZZ-1"), Some(Why::Unread));
    let segment = |name: &str| explanation.segments.iter().find(|s| s.name == name).unwrap().ignored;
    assert!(segment("DG1") && segment("ZZZ") && !segment("PV1") && !segment("MSH"));
}

#[test]
fn a_value_that_is_no_date_and_a_code_without_a_row_are_told() {
    let text = format!("{HEAD}PID|1||7^^^H^MR||Doe^J||female|9^^local\nPV1|1|Q");
    let explanation = of(&shipped(), &text);
    let birth = explanation.unmapped.iter().find(|u| u.from.path == "PID-7").unwrap();
    assert_eq!(birth.why, Why::Unconvertible);
    assert!(birth.rules[0].starts_with("resources/patient.toml:"));
    let sex = explanation.missed.iter().find(|m| m.table == "administrative-sex").unwrap();
    assert_eq!(sex.from.as_ref().unwrap().path, "PID-8.1");
    assert_eq!(sex.became, ["Patient.gender = unknown"]);
}

#[test]
fn a_null_is_told_with_what_it_erases() {
    let text = format!("{HEAD}PID|1||7^^^H^MR||Doe^\"\"||\"\"|\"\"\nPV1|1|I");
    let explanation = of(&shipped(), &text);
    let null = |path: &str| explanation.nulls.iter().find(|n| n.from.path == path).unwrap();
    assert_eq!(null("PID-7").erased[0].to.path, "_birthDate");
    assert!(null("PID-5.2").erased.is_empty() && null("PID-5.2").text.contains("inside a field"));
}

#[test]
fn an_event_that_erases_by_itself_is_told() {
    let text = format!("{HEAD}PID|1||7^^^H^MR\n{VISIT}");
    let explanation = of(&shipped(), &text.replace("A08", "A13"));
    assert!(explanation.erased.iter().any(|e| e.to.path == "period._end"), "{:?}", explanation.erased);
}

#[test]
fn the_condition_of_an_entry_names_the_field_it_came_from() {
    let explanation = of(&shipped(), &format!("{HEAD}PID|1||7^^^H^MR~8^^^H^PI\nPV1|1|I"));
    let url = explanation
        .assignments
        .iter()
        .find(|a| a.kind == AssignmentKind::Identity && a.to.value.contains("/Patient?"))
        .unwrap();
    let from: Vec<_> = url.from.iter().map(|from| from.path.as_str()).collect();
    assert_eq!(from, ["PID-3[1].1", "PID-3[1].4"]);
}

#[test]
fn a_message_that_cannot_be_mapped_is_shown_with_the_reason() {
    let explanation = explain(&shipped(), b"MSH|^~\\&|A|B|||20240101||ADT^A99|42|P|2.5\rPID|1", &Context::default());
    assert!(explanation.fault.unwrap().contains("A99"));
    assert_eq!(explanation.segments.len(), 2);
}

#[test]
fn bytes_that_are_no_message_are_explained_without_a_panic() {
    for raw in [&b""[..], b"MSH", b"\xff\xfe\x00", b"MSH|^~\\&|\xe9", b"MSH|^~\\&|A\r\r\r|||\rPID"] {
        let explanation = explain(&shipped(), raw, &Context::default());
        assert!(explanation.fault.is_some() && explanation.bundle.is_empty());
        explanation.to_json().unwrap();
    }
}

/// The survivor of two merges, who stands in two groups with another doctor in each; both are the first contained there.
#[test]
fn a_patient_of_two_groups_keeps_both_doctors_and_each_is_told_with_its_field() {
    let group = |doctor: &str, prior: &str| format!("PID|1||7^^^H^MR||Doe^Jane\nPD1||||{doctor}\nMRG|{prior}^^^H^MR\n");
    let groups = [group("1^Haugen", "8"), group("2^Lund", "9"), group("1^Haugen~3^Vik", "6")].concat();
    let explanation = of(&shipped(), &format!("{HEAD}{groups}").replace("A08", "A40"));
    let bundle: Value = serde_json::from_str(&explanation.bundle).unwrap();
    let patient = bundle["entry"].as_array().unwrap().iter().find(|e| e["resource"]["name"][0]["family"] == "Doe");
    let patient = &patient.unwrap()["resource"];
    let doctor = |reference: &Value| {
        let id = reference["reference"].as_str().unwrap().strip_prefix('#').unwrap();
        let list = patient["contained"].as_array().unwrap();
        let found: Vec<_> = list.iter().filter(|contained| contained["id"] == id).collect();
        assert_eq!(found.len(), 1, "{id} in {list:#?}");
        found[0]["name"][0]["family"].as_str().unwrap().to_owned()
    };
    let doctors: Vec<_> = patient["generalPractitioner"].as_array().unwrap().iter().map(doctor).collect();
    assert_eq!(doctors, ["Haugen", "Lund", "Vik"]);
    let families = explanation.assignments.iter().filter(|a| a.to.path.ends_with("name[0].family"));
    let told: BTreeSet<_> = families.map(|a| (a.from[0].path.as_str(), a.to.value.as_str())).collect();
    for expected in [("PD1[1]-4.2", "Haugen"), ("PD1[2]-4.2", "Lund"), ("PD1[3]-4[2].2", "Vik")] {
        assert!(told.contains(&expected), "{expected:?} {told:?}");
    }
    let pointers: BTreeSet<&str> = explanation.assignments.iter().map(|a| a.to.pointer.as_str()).collect();
    for n in 0..3 {
        let reference = format!("/generalPractitioner/{n}/reference");
        assert!(pointers.iter().any(|pointer| pointer.ends_with(&reference)), "{reference} {pointers:?}");
    }
}
