//! Who may import whom. The order of the modules is the order in which a message passes through them.

use std::path::{Path, PathBuf};

/// A module, and the modules of ours it may use. `config::units` (how a duration or a size is written) is for everyone.
const TABLE: &[(&str, &[&str])] = &[
    ("snapshot", &[]),
    ("v2", &[]),
    ("journal", &["snapshot"]),
    ("fhir", &[]),
    ("metrics", &[]),
    ("quiet", &[]),
    ("tls", &[]),
    ("mapping", &["v2", "fhir"]),
    ("mllp", &["v2", "journal", "metrics", "quiet", "tls"]),
    ("outbound", &["fhir", "metrics"]),
    ("mailbox", &["fhir", "metrics", "snapshot", "tls"]),
    ("console", &["journal", "mapping", "v2", "metrics"]),
    ("engine", &["v2", "journal", "fhir", "metrics", "mapping", "mllp", "outbound", "mailbox", "console", "quiet"]),
    ("config", &["journal", "mapping", "mllp", "outbound", "mailbox", "engine", "tls"]),
    ("cli", &["tls", "engine", "config", "mapping", "v2", "fhir", "journal", "mailbox", "mllp", "metrics", "snapshot"]),
];

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

/// The module of ours that each `crate::` in a file names.
fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).filter(|rest| !rest.starts_with("config::units")).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn no_module_imports_what_stands_behind_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let relative = file.strip_prefix(&src).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_string_lossy();
        let module = module.trim_end_matches(".rs");
        let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == module) else {
            assert!(matches!(module, "lib" | "main"), "{module} is not in the table");
            continue;
        };
        let text = std::fs::read_to_string(file).unwrap();
        for import in imports(&text) {
            if import != module && TABLE.iter().any(|(name, _)| *name == import) && !allowed.contains(&import) {
                wrong.push(format!("{} uses {import}", relative.display()));
            }
        }
    }
    assert!(files.len() > 40, "the source tree was not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
