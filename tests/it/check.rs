//! `check`: one broken file for each thing it finds, and the line it is found in.

use std::path::Path;

use stoker::mapping::{Checked, Identifiers, MappingConfig, check};

/// Checks the shipped mappings with an overlay of these files.
fn overlay(files: &[(&str, &str)]) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let config = MappingConfig { overlays: vec![folder.path().to_owned()], ..MappingConfig::default() };
    let mut checked = check(&config, &Identifiers::default());
    let within = |name: &str| {
        let inside = Path::new(name).strip_prefix(folder.path()).map(|path| path.display().to_string());
        inside.unwrap_or_else(|_| name.to_owned())
    };
    for diagnostic in checked.faults.0.iter_mut().chain(&mut checked.warnings.0) {
        diagnostic.file = within(&diagnostic.file);
    }
    checked
}

fn faults(files: &[(&str, &str)]) -> Vec<String> {
    overlay(files).faults.0.iter().map(ToString::to_string).collect()
}

fn warnings(files: &[(&str, &str)]) -> Vec<String> {
    let checked = overlay(files);
    assert_eq!(checked.faults.to_string(), "");
    checked.warnings.0.iter().map(ToString::to_string).collect()
}

/// The faults of an overlay's patient.toml with one rule in its third line.
fn patient(rule: &str) -> Vec<String> {
    faults(&[("resources/patient.toml", &format!("# A site's own\nrules = [\n  {rule},\n]\n"))])
}

const PATIENT: &str = "resources/patient.toml:3: ";

#[test]
fn the_shipped_mappings_are_clean_with_and_without_the_extended_set() {
    for extended in [false, true] {
        let checked = check(&MappingConfig { extended, ..MappingConfig::default() }, &Identifiers::default());
        assert_eq!((checked.faults.to_string(), checked.warnings.to_string()), Default::default());
        assert!(checked.plan.is_some());
    }
}

#[test]
fn every_table_and_template_of_the_shipped_mappings_is_used() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings");
    // As a site's own directory, for of the files inside the program `check` does not say it.
    let config = MappingConfig { dir: Some(shipped), extended: true, ..MappingConfig::default() };
    let checked = check(&config, &Identifiers::default());
    let unused: Vec<_> = checked.warnings.0.iter().filter(|one| one.message.contains("no rule uses")).collect();
    assert!(checked.plan.is_some() && unused.is_empty(), "{unused:?}");
}

#[test]
fn a_rule_that_cannot_be_is_told_with_its_line_and_a_remedy() {
    let cases = [
        (r#"{ to = "gender", fron = "PID-8" }"#, "unknown key 'fron'; did you mean 'from'?"),
        (r#"{ to = "gendre", from = "PID-8" }"#, "FHIR R4 has no element 'Patient.gendre'; did you mean 'gender'?"),
        (r#"{ to = "meta.account", from = "PID-18", as = "Named" }"#, "FHIR R4 has no element 'Meta.account'"),
        (
            r#"{ to = "gender", from = "PID-8", table = "administrative-sx" }"#,
            "no table 'administrative-sx'; did you mean 'administrative-sex'?",
        ),
        (
            r#"{ to = "name[]", from = "PID-5", as = "XPM" }"#,
            "no template 'XPM' in datatypes.toml, and no simple type of that name; did you mean 'XPN'?",
        ),
        (
            r#"{ to = "generalPractitioner[]", from = "PD1-4", contain = "Practitoner", as = "XCN" }"#,
            "'Practitoner' is no FHIR R4 resource that Stoker knows; did you mean 'Practitioner'?",
        ),
        (
            r#"{ to = "generalPractitioner[]", from = "PD1-4", contain = "HumanName", as = "XPN" }"#,
            "'HumanName' is no FHIR R4 resource that Stoker knows",
        ),
        (r#"{ to = "link[0].other", ref = "Patent" }"#, "no resource 'Patent' to refer to; did you mean 'Patient'?"),
        (
            r#"{ to = "name", from = "PID-5", as = "XPN" }"#,
            "'Patient.name' is a list: write name[] for every repetition, or name[0]",
        ),
        (
            r#"{ to = "maritalStatus", from = "ZPD-2" }"#,
            "'maritalStatus' is a CodeableConcept: say with `as` which template makes one, as CWE",
        ),
        (
            r#"{ to = "extension.valueString", from = "ZPD-2" }"#,
            "an extension is named by its URL: extension(http://...).valueString",
        ),
        (
            r#"{ to = "birthDate", from = "pid-7", as = "date" }"#,
            "'pid-7': a path starts with a segment name of three capital letters or digits, as PID-3",
        ),
        (
            r#"{ to = "birthDate", from = "PID7", as = "date" }"#,
            "'PID7': behind the segment name comes a dash and the field's number, as PID-3",
        ),
        (r#"{ to = "gender", value = "woman" }"#, "'gender' takes female, male, other, unknown, and not 'woman'"),
        (
            r#"{ to = "birthDate", value = "spring", as = "date" }"#,
            "'spring' can be no value of birthDate, which is a Date",
        ),
        (
            r#"{ to = "birthDate", from = "PID-7", value = "1980" }"#,
            "a rule has exactly one of `from`, `value` and `ref`",
        ),
        (
            r#"{ to = "name[]", from = "PID-5", as = "XPN", with = { usee = "old" } }"#,
            "template 'XPN' reads no $usee; did you mean $use?",
        ),
        (r#"{ to = "language", value = "$evnt" }"#, "there is no $evnt; did you mean $event?"),
        (
            r#"{ to = "active", value = "true", as = "boolean", when = "$event = A0I" }"#,
            "events.toml has no event 'A0I'; did you mean A01?",
        ),
        (
            r#"{ to = "active", value = "true", as = "boolean", when = "$event = A20" }"#,
            "this rule never applies: none of the events it names makes a patient",
        ),
    ];
    for (rule, message) in cases {
        assert_eq!(patient(rule), [format!("{PATIENT}{message}")], "{rule}");
    }
}

#[test]
fn a_rule_behind_one_that_always_wins_is_told() {
    let rules = "rules = [\n  { to = \"gender\", value = \"other\" },\n  { to = \"gender\", from = \"PID-8\", table = \"administrative-sex\" },\n]\n";
    let told = faults(&[("resources/patient.toml", rules)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("resources/patient.toml:3: this rule never has its turn: the one in line 2 always"),
        "{told:?}"
    );
    let choice = "rules = [\n  { to = \"deceasedBoolean\", value = \"true\", when = \"PID-30 = Y\" },\n  { to = \"deceasedDateTime\", from = \"PID-29\", as = \"dateTime\", when = \"PID-30 = Y and PID-29 valued\" },\n]\n";
    assert!(faults(&[("resources/patient.toml", choice)])[0].starts_with("resources/patient.toml:3: this rule never"));
}

#[test]
fn a_rule_that_an_overlay_keeps_from_its_turn_is_no_fault() {
    let rules = "rules = [\n  { to = \"gender\", value = \"other\" },\n]\n";
    assert_eq!(faults(&[("resources/patient.toml", rules)]), Vec::<String>::new());
}

#[test]
fn the_same_rule_twice_is_told() {
    let rule = "  { to = \"name[]\", from = \"ZPD-1\", as = \"XPN\" },\n";
    let told = faults(&[("resources/patient.toml", &format!("rules = [\n{rule}{rule}]\n"))]);
    assert_eq!(told, ["resources/patient.toml:3: the same rule stands in line 2 already; take one away"]);
}

/// A resource of a site's own, made by an A01.
fn site_resource(rules: &str) -> Vec<String> {
    let events = "[sets]\nSITE = [\"messageheader\", \"patient\", \"encounter\", \"site-observation\"]\n\
                  [A01]\nname = \"Admit\"\nfhir = \"admin-notify\"\nset = \"SITE\"\nstatus = \"in-progress\"\n";
    let resource = format!("resource = \"Observation\"\neach = \"ZOB\"\nrules = [\n{rules}]\n");
    faults(&[("events.toml", events), ("resources/site-observation.toml", &resource)])
}

#[test]
fn a_required_element_that_no_rule_gives_is_told() {
    let told = site_resource(
        "  { to = \"code\", value = \"x\", as = \"Text\" },\n  { to = \"valueString\", from = \"ZOB-1\" },\n",
    );
    let message = "resources/site-observation.toml:1: FHIR R4 requires Observation.status, and no rule gives it; add one with a value that always fits";
    assert_eq!(told, [message]);
}

#[test]
fn a_required_element_that_may_be_missing_is_told() {
    let told = site_resource(
        "  { to = \"status\", value = \"final\", when = \"ZOB-2 = F\" },\n  { to = \"status\", value = \"registered\", when = \"ZOB-3 valued\" },\n\
         \x20 { to = \"code\", value = \"x\", as = \"Text\" },\n  { to = \"valueString\", from = \"ZOB-1\" },\n",
    );
    assert_eq!(told.len(), 1, "{told:?}");
    let message = "resources/site-observation.toml:5: FHIR R4 requires Observation.status, and it may be missing beside valueString (line 7); add a last rule without `when` and with a fixed `value`";
    assert_eq!(told, [message]);
}

#[test]
fn a_required_element_is_safe_where_its_conditions_leave_no_gap_or_nothing_else_stands_beside_it() {
    let both = "  { to = \"status\", value = \"final\", when = \"ZOB-2 valued\" },\n  { to = \"status\", value = \"unknown\", when = \"ZOB-2 absent\" },\n";
    let code = "  { to = \"code\", value = \"x\", as = \"Text\" },\n  { to = \"valueString\", from = \"ZOB-1\" },\n";
    assert_eq!(site_resource(&format!("{both}{code}")), Vec::<String>::new());
    let part = "  { to = \"status\", value = \"final\" },\n  { to = \"component[0].code\", from = \"ZOB-4\", as = \"CWE\" },\n\
                \x20 { to = \"component[0].valueString\", from = \"ZOB-5\", when = \"ZOB-4 valued\" },\n";
    assert_eq!(site_resource(&format!("{part}{code}")), Vec::<String>::new());
    let gap = part.replace(", when = \"ZOB-4 valued\"", "");
    let told = site_resource(&format!("{gap}{code}"));
    assert!(
        told[0].contains(
            ":5: FHIR R4 requires Observation.component.code, and it may be missing beside component[0].valueString"
        ),
        "{told:?}"
    );
}

/// Rules for a status that fifteen fields decide.
fn fifteen(rest: &str) -> String {
    let status: String = (1..=15)
        .map(|n| format!("  {{ to = \"status\", value = \"final\", when = \"ZOB-{} = A\" }},\n", n + 10))
        .collect();
    let code = "  { to = \"code\", value = \"x\", as = \"Text\" },\n  { to = \"valueString\", from = \"ZOB-1\" },\n";
    format!("{status}{rest}{code}")
}

#[test]
fn a_required_element_that_very_many_conditions_decide_is_decided_too() {
    let told = site_resource(&fifteen(""));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("FHIR R4 requires Observation.status, and it may be missing beside valueString"),
        "{told:?}"
    );
    let last = "  { to = \"status\", value = \"final\", when = \"ZOB-30 valued\" },\n\
                \x20 { to = \"status\", value = \"unknown\", when = \"ZOB-30 absent\" },\n";
    assert_eq!(site_resource(&fifteen(last)), Vec::<String>::new());
}

#[test]
fn a_required_element_that_is_beyond_telling_is_a_warning() {
    let pairs: String = (1..=15)
        .map(|n| {
            format!(
                "  {{ to = \"status\", value = \"final\", when = \"ZOB-{} valued and ZOB-{} valued\" }},\n",
                n + 10,
                n + 30
            )
        })
        .collect();
    let last = "  { to = \"status\", value = \"final\", when = \"ZOB-50 valued\" },\n\
                \x20 { to = \"status\", value = \"unknown\", when = \"ZOB-50 absent\" },\n\
                \x20 { to = \"code\", value = \"x\", as = \"Text\" },\n  { to = \"valueString\", from = \"ZOB-1\" },\n";
    let resource = format!("resource = \"Observation\"\neach = \"ZOB\"\nrules = [\n{pairs}{last}]\n");
    let events = "[sets]\nSITE = [\"messageheader\", \"patient\", \"encounter\", \"site-observation\"]\n\
                  [A01]\nname = \"Admit\"\nfhir = \"admin-notify\"\nset = \"SITE\"\nstatus = \"in-progress\"\n";
    let told = warnings(&[("events.toml", events), ("resources/site-observation.toml", &resource)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("FHIR R4 requires Observation.status, and too many conditions decide it"), "{told:?}");
}

#[test]
fn a_target_to_drop_that_is_not_there_is_told() {
    let told = faults(&[("resources/patient.toml", "drop = [\n  \"telecom[]\",\n  \"telecoms[]\",\n]\n")]);
    assert_eq!(
        told,
        [
            "resources/patient.toml:3: nothing to drop: no rule before this file has the target 'telecoms[]'; did you mean 'telecom[]'?"
        ]
    );
    let told = faults(&[("datatypes.toml", "[XPN]\ndrop = [\"famly\"]\n")]);
    assert!(told[0].starts_with("datatypes.toml:2: nothing to drop"), "{told:?}");
}

#[test]
fn a_file_with_a_name_that_is_not_quite_a_shipped_one_is_told_with_the_name_that_is() {
    let rules = "# Ours\nrules = [ { to = \"birthDate\", from = \"PID-7\", as = \"date\" } ]\n";
    let told = faults(&[("resources/patients.toml", rules)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with(
            "resources/patients.toml:1: there is no resources/patients.toml to lie over; did you mean 'patient'?"
        ),
        "{told:?}"
    );
    let told = faults(&[("patient.toml", rules)]);
    assert!(told[0].ends_with("a file for a resource belongs into resources/"), "{told:?}");
}

#[test]
fn a_field_beyond_the_standard_is_a_warning() {
    let rules = "rules = [\n  { to = \"maritalStatus.text\", from = \"PID-61\" },\n  { to = \"language\", from = \"ZPD-61\" },\n]\n";
    let told = warnings(&[("resources/patient.toml", rules)]);
    assert_eq!(told, ["resources/patient.toml:2: PID-61: the standard's PID has 40 fields"]);
}

#[test]
fn an_event_with_a_status_that_there_is_not_is_told() {
    let event = "\n[A01]\nname = \"Admit\"\nfhir = \"admin-notify\"\nset = \"FULL\"\nstatus = \"in-progres\"\n";
    let told = faults(&[("events.toml", event)]);
    assert_eq!(told, ["events.toml:2: an Encounter has no status 'in-progres'; did you mean 'in-progress'?"]);
    let told = faults(&[("events.toml", &event.replace("FULL", "FUL").replace("progres", "progress"))]);
    assert_eq!(told, ["events.toml:2: no set 'FUL' in [sets]; did you mean 'FULL'?"]);
}

#[test]
fn what_nothing_uses_is_a_warning() {
    let told = warnings(&[
        ("tables.toml", "# Ours\n[ward-types]\ncodes = { A = \"a\" }\n"),
        ("datatypes.toml", "[Ward]\nrules = [{ to = \"text\", from = \".1\" }]\n"),
        (
            "resources/site.toml",
            "resource = \"Location\"\neach = \"ZLO\"\nrules = [{ to = \"name\", from = \"ZLO-1\" }]\n",
        ),
    ]);
    let expected = [
        "datatypes.toml:1: no rule uses template 'Ward'",
        "resources/site.toml:1: no set of events.toml has 'site': the file is never used",
        "tables.toml:2: no rule uses table 'ward-types'",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_path_to_a_segment_that_no_message_has_is_a_warning() {
    let told = warnings(&[(
        "resources/patient.toml",
        "rules = [\n  { to = \"language\", from = \"PDI-3\" },\n  { to = \"implicitRules\", from = \"UB1-2\", as = \"uri\" },\n  { to = \"name[]\", from = \"ZPD-3\", as = \"XPN\" },\n]\n",
    )]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]
            .starts_with("resources/patient.toml:2: the standard's ADT messages have no segment PDI; did you mean P"),
        "{told:?}"
    );
    let told = warnings(&[("resources/location.toml", "rules = [\n  { to = \"alias[]\", from = \"PV1-3.1\" },\n]\n")]);
    assert_eq!(
        told,
        ["resources/location.toml:2: no message of the events that use this file (A20) has a segment PV1"]
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_alone() {
    let told = faults(&[("datatypes.toml", "[XPN]\nrules = [\n  { to = \"family\" from = \".1\" },\n]\n")]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("datatypes.toml:3: "), "{told:?}");
}
