//! A slip of the pen in an overlay's folders and file names must not leave its rules out in silence.

use super::{both, stoker_in, write};

const RULES: &str = "rules = [ { to = \"birthDate\", from = \"ZPD-7\", as = \"date\" } ]\n";

/// What `check` says of an overlay with these files.
fn told(files: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.toml", "[mapping]\noverlays = [\"site\"]\n");
    for name in files {
        let text = if name.contains("patient") { RULES } else { "" };
        write(folder.path(), &format!("site/{name}"), text);
    }
    let out = stoker_in(folder.path(), &["check", "--config", "config.toml"]);
    format!("{}exit {}", both(&out), out.status.code().unwrap())
}

#[test]
fn a_folder_or_a_file_that_is_not_read_is_a_fault() {
    for (file, expected) in [
        ("resource/patient.toml", "site/resource: is not read; did you mean 'resources'?"),
        ("Resources/patient.toml", "site/Resources: is not read; did you mean 'resources'?"),
        ("resources/more/patient.toml", "site/resources/more: is not read"),
        ("site/patient.toml", "site/site: is not read"),
        ("resources/patient.tml", "site/resources/patient.tml: is not read; its name must end with .toml"),
        ("resources/patient.TOML", "site/resources/patient.TOML: is not read; its name must end with .toml"),
        ("resources/patient", "site/resources/patient: is not read; its name must end with .toml"),
        ("tables.toml.txt", "site/tables.toml.txt: is not read; its name must end with .toml"),
    ] {
        let told = told(&["datatypes.toml", file]);
        assert!(told.contains(expected) && told.ends_with("exit 1"), "{file}: {told}");
    }
}

#[test]
fn what_else_people_keep_in_a_folder_is_nobodys_business() {
    for file in [
        "README.md",
        "resources/notes.txt",
        ".git/config",
        "resources/.patient.toml.swp",
        "tables.toml~",
        "messages/a01.hl7",
    ] {
        let told = told(&["datatypes.toml", "resources/patient.toml", file]);
        assert!(told.ends_with("exit 0"), "{file}: {told}");
    }
}

#[test]
fn an_overlay_without_any_mapping_file_is_a_fault() {
    let told = told(&["README.md"]);
    assert!(told.contains("site: holds no mapping file") && told.ends_with("exit 1"), "{told}");
}
