//! The rules of the house: which room may import which, that no files import each other in a circle, that a folder can be
//! taken in at a glance, and that a name means one thing. One table holds the rooms, in the order of `src/lib.rs`.

mod circles;
mod imports;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imports::Sources;

/// A room of the house, and the rooms it may import. What everybody stands on comes first, then the way of a message.
const ROOMS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("log_throttle", &[]),
    ("work", &[]),
    ("metrics", &[]),
    ("tls", &["units", "log_throttle"]),
    ("sqlite", &[]),
    ("http", &["units", "log_throttle", "metrics", "tls"]),
    ("v2", &["work"]),
    ("journal", &["units", "log_throttle", "sqlite"]),
    ("mllp", &["units", "log_throttle", "metrics", "tls", "v2", "journal"]),
    ("fhir", &["work"]),
    ("mapping", &["work", "v2", "fhir"]),
    ("outbound", &["units", "log_throttle", "metrics", "tls", "fhir"]),
    ("mailbox", &["units", "log_throttle", "metrics", "tls", "sqlite", "http", "fhir"]),
    ("engine", &["units", "log_throttle", "work", "metrics", "v2", "journal", "mllp", "fhir", "mapping", "outbound"]),
    ("config", &["units", "tls", "http", "v2", "journal", "mllp", "mapping", "outbound", "mailbox", "engine"]),
    ("server", &["log_throttle", "metrics", "tls", "http", "journal", "mapping", "mailbox", "engine", "config"]),
    (
        "cli",
        &[
            "units", "work", "metrics", "tls", "sqlite", "v2", "journal", "mllp", "fhir", "mapping", "outbound",
            "mailbox", "engine", "config", "server",
        ],
    ),
];

/// As many files as a person takes in at a glance.
const SIDE_BY_SIDE: usize = 14;

/// In how many places of the crate a type may have the same name.
const MEANINGS: usize = 3;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn room(file: &Path) -> String {
    let first = file.components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

#[test]
fn each_room_imports_only_what_the_table_allows() {
    let imports = Sources::read(&source()).imports();
    let mut wrong = Vec::new();
    for ((from, to), names) in &imports {
        let (inside, other) = (room(from), room(to));
        if inside == other || matches!(inside.as_str(), "lib" | "main") {
            continue;
        }
        let allowed = ROOMS.iter().find(|(name, _)| *name == inside);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{inside} is not in the table"));
        if !allowed.contains(&other.as_str()) {
            wrong.push(format!("{} takes {names:?} from {}", from.display(), to.display()));
        }
    }
    assert!(imports.len() > 500, "the imports were not found: {}", imports.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_the_rooms_of_the_crate_in_their_order_and_none_looks_down() {
    let text = std::fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let rooms: Vec<_> = ROOMS.iter().map(|(name, _)| *name).collect();
    assert_eq!(declared, rooms);
    for (at, (name, allowed)) in ROOMS.iter().enumerate() {
        for other in *allowed {
            assert!(rooms[..at].contains(other), "{name} may import {other}, which stands below it");
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let found = circles::circles(&Sources::read(&source()).imports());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_folder_can_be_taken_in_at_a_glance_and_says_what_it_is() {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let mut folders = BTreeMap::<&Path, usize>::new();
    files.iter().for_each(|file| *folders.entry(file.parent().unwrap()).or_default() += 1);
    let mut wrong = Vec::new();
    for (folder, count) in folders {
        if count > SIDE_BY_SIDE {
            wrong.push(format!("{} has {count} files side by side", folder.display()));
        }
        let heads = [folder.join("mod.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
        let head = heads.iter().find_map(|head| std::fs::read_to_string(head).ok());
        if !head.is_some_and(|text| text.starts_with("//! ") && !text.starts_with("//! TODO")) {
            wrong.push(format!("{} has no head that says what it is", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_type_name_stands_for_three_things_at_most() {
    let types = Sources::read(&source()).types();
    assert!(types.len() > 300, "the types were not found: {}", types.len());
    let many = types.iter().filter(|(_, files)| files.len() > MEANINGS);
    let told: Vec<_> = many.map(|(name, files)| format!("{name}: {files:?}")).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// A crate of files with their texts.
fn made_of(files: &[(&str, &str)]) -> Sources {
    Sources::of(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())))
}

#[test]
fn a_circle_is_told_with_its_files_and_names() {
    let sources = made_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::Two; pub struct One(Two);"),
        ("b.rs", "pub struct Two; fn make() { println!(\"{}\", super::a::One::new()); }"),
    ]);
    let found = circles::circles(&sources.imports());
    assert_eq!(found, ["a circle among 2 files\n  a.rs takes Two from b.rs\n  b.rs takes new from a.rs"]);
}

#[test]
fn a_name_counts_to_the_file_that_defines_it_and_a_mod_line_to_none() {
    let sources = made_of(&[
        ("lib.rs", "pub mod a; mod b; pub use a::One;"),
        ("a/mod.rs", "mod deep; pub use deep::{One, make as build};"),
        ("a/deep.rs", "pub struct One; pub fn make() {}"),
        ("b.rs", "use crate::{a, One}; fn f() -> One { a::build() }"),
    ]);
    let imports = sources.imports();
    let told: Vec<_> = imports.iter().map(|((from, to), names)| (from.to_str(), to.to_str(), names.len())).collect();
    let expected = [
        (Some("b.rs"), Some("a/deep.rs"), 2),
        (Some("b.rs"), Some("a/mod.rs"), 1),
        (Some("lib.rs"), Some("a/deep.rs"), 1),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_only_tests_import_is_no_import() {
    let sources = made_of(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod fixture;"),
        ("a.rs", "pub struct One; #[cfg(test)] mod tests { use crate::b::Two; }"),
        ("b.rs", "pub struct Two; #[cfg(all(test, unix))] use crate::fixture::x; use crate::a::One;"),
        ("fixture.rs", "use crate::a::One; pub fn x() {}"),
    ]);
    let imports = sources.imports();
    assert_eq!(imports.keys().map(|(from, _)| from.to_str().unwrap()).collect::<Vec<_>>(), ["b.rs"]);
}

#[test]
fn a_module_of_another_room_and_a_function_named_like_its_file_are_imports() {
    let sources = made_of(&[
        ("lib.rs", "mod units; mod a; mod b;"),
        ("units.rs", "pub mod size {}"),
        ("a/mod.rs", "mod copy; pub use copy::copy;"),
        ("a/copy.rs", "pub fn copy() {}"),
        (
            "b.rs",
            "use crate::units; use crate::a; struct One { #[serde(with = \"units::size\")] size: u8 } fn f() { a::copy() }",
        ),
    ]);
    let imports = sources.imports();
    let told: Vec<_> = imports.keys().filter(|(from, _)| from.ends_with("b.rs")).map(|(_, to)| to.to_str()).collect();
    assert_eq!(told, [Some("a/copy.rs"), Some("a/mod.rs"), Some("units.rs")]);
}
