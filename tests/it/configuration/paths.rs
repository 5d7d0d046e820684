//! Relative paths, and where a journal may begin.

use std::collections::BTreeSet;
use std::path::Path;

use stoker::config::Config;
use syn::{Fields, GenericArgument, Item, PathArguments, Type};

use super::{FREE_PORTS, both, program, serve_until, stoker_in, write};

const LISTENS: &str = "listening";

#[test]
fn the_journal_stands_beside_the_configuration_from_wherever_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "etc/config.toml", FREE_PORTS);
    let log = serve_until(folder.path(), &["--config", "etc/config.toml"], LISTENS);
    assert!(log.contains("a new one begins") && log.contains("etc/data/journal.db"), "{log}");
    assert!(folder.path().join("etc/data/journal.db").exists() && !folder.path().join("data").exists(), "{log}");
    let inside = stoker_in(&folder.path().join("etc"), &["queue", "--config", "config.toml"]);
    assert_eq!(inside.status.code(), Some(0), "{}", both(&inside));
    let again = serve_until(folder.path(), &["--config", "etc/config.toml"], LISTENS);
    assert!(!again.contains("begins"), "{again}");
}

#[test]
fn a_journal_at_the_old_place_is_not_left_behind_by_an_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "etc/config.toml", FREE_PORTS);
    // As the version before it did: the data stands where the daemon was started.
    write(folder.path(), "old.toml", FREE_PORTS);
    serve_until(folder.path(), &["--config", "old.toml"], LISTENS);
    assert!(folder.path().join("data/journal.db").exists());
    let (new, old) = ("etc/data/journal.db", folder.path().join("data/journal.db").display().to_string());
    for args in [&["serve"][..], &["check"], &["queue"], &["verify"], &["backup", "copy.bak"], &["queue", "pause"]] {
        let refused = stoker_in(folder.path(), &[args, &["--config", "etc/config.toml"]].concat());
        let told = both(&refused);
        assert_ne!(refused.status.code(), Some(0), "{args:?}: {told}");
        assert!(told.contains(new) && told.contains(&old), "{args:?}: {told}");
    }
    assert!(!folder.path().join("etc/data").exists(), "something was made at the new place");
    let begun = serve_until(folder.path(), &["--config", "etc/config.toml", "--new-journal"], LISTENS);
    assert!(folder.path().join(new).exists(), "{begun}");
}

#[test]
fn an_overlay_and_a_token_at_the_old_place_are_named_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site/tables.toml", "");
    write(folder.path(), "secret", "t");
    let config = format!("[mapping]\noverlays = [\"site\"]\n[destination]\ntoken_file = \"secret\"\n{FREE_PORTS}");
    write(folder.path(), "etc/config.toml", &config);
    let told = both(&stoker_in(folder.path(), &["check", "--config", "etc/config.toml"]));
    for (line, path) in
        [("etc/config.toml:2: mapping.overlays", "site"), ("etc/config.toml:4: destination.token_file", "secret")]
    {
        let line = told.lines().find(|one| one.starts_with(line)).unwrap_or_else(|| panic!("{line}: {told}"));
        assert!(line.contains(&format!("{} is there", folder.path().join(path).display())), "{line}");
    }
}

#[test]
fn only_serve_makes_a_journal_and_the_others_say_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let commands: &[&[&str]] = &[
        &["queue"],
        &["queue", "list"],
        &["queue", "show", "1"],
        &["queue", "log"],
        &["queue", "pause"],
        &["queue", "resume"],
        &["queue", "retry", "--all", "--yes"],
        &["queue", "discard", "--all", "--yes"],
        &["queue", "export", "--all"],
        &["verify"],
        &["backup", "copy.bak"],
        &["backup", "copy.bak", "--mailbox", "mailbox.bak"],
    ];
    for args in commands {
        let said = stoker_in(folder.path(), args);
        assert_eq!(said.status.code(), Some(2), "{args:?}: {}", both(&said));
        assert!(both(&said).contains("there is no journal at data/journal.db"), "{args:?}: {}", both(&said));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{args:?} made something");
    }
    assert_eq!(stoker_in(folder.path(), &["check"]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "check made something");
}

#[test]
fn a_misspelt_journal_beside_the_right_one_begins_none() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.toml", FREE_PORTS);
    serve_until(folder.path(), &["--config", "config.toml"], LISTENS);
    write(folder.path(), "config.toml", &FREE_PORTS.replace("[journal]", "[journal]\npath = \"data/jurnal.db\""));
    let log = serve_until(folder.path(), &["--config", "config.toml"], LISTENS);
    assert!(log.contains("config.toml:6: journal.path: there is no journal at data/jurnal.db"), "{log}");
    assert!(log.contains("data/journal.db is there") && log.contains("--new-journal"), "{log}");
    assert!(!folder.path().join("data/jurnal.db").exists());
}

#[test]
fn a_log_without_its_journal_begins_none() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "config.toml", FREE_PORTS);
    let mut daemon = program(folder.path(), &["serve", "--config", "config.toml"]);
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut child = daemon.stderr(log).spawn().unwrap();
    while !std::fs::read_to_string(folder.path().join("log")).unwrap().contains(LISTENS) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(folder.path().join("data/journal.db")).unwrap();
    let refused = serve_until(folder.path(), &["--config", "config.toml"], LISTENS);
    assert!(refused.contains("its folder is not new") && refused.contains("journal.db-log0 is there"), "{refused}");
}

/// Fields of type PathBuf, in whatever wrapping, of structs that are read from the configuration.
fn path_fields() -> BTreeSet<String> {
    fn holds_a_path(kind: &Type) -> bool {
        let Type::Path(kind) = kind else { return false };
        let last = kind.path.segments.last().unwrap();
        let inner = match &last.arguments {
            PathArguments::AngleBracketed(inner) => &inner.args,
            _ => return last.ident == "PathBuf",
        };
        inner.iter().any(|inner| matches!(inner, GenericArgument::Type(kind) if holds_a_path(kind)))
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = [
        "config/file.rs",
        "mllp/config.rs",
        "journal/config.rs",
        "mapping/source/config.rs",
        "outbound/config.rs",
        "engine/config.rs",
        "mailbox/config.rs",
        "http/auth/config.rs",
        "tls/mod.rs",
    ];
    let mut names = BTreeSet::new();
    for file in files {
        let parsed = syn::parse_file(&std::fs::read_to_string(root.join(file)).unwrap()).unwrap();
        for item in parsed.items {
            let Item::Struct(item) = item else { continue };
            let read = item.attrs.iter().any(|attribute| {
                attribute.path().is_ident("derive")
                    && attribute.meta.require_list().unwrap().tokens.to_string().contains("Deserialize")
            });
            let Fields::Named(fields) = item.fields else { continue };
            let paths = fields.named.into_iter().filter(|field| read && holds_a_path(&field.ty));
            names.extend(paths.map(|field| field.ident.unwrap().to_string()));
        }
    }
    names
}

/// Texts under these keys that do not begin with `folder`, and how many do.
fn outside(
    value: &toml::Value,
    names: &BTreeSet<String>,
    folder: &str,
    under: Option<&str>,
    told: &mut Vec<String>,
) -> usize {
    match value {
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| outside(value, names, folder, names.contains(key).then_some(key), told))
            .sum(),
        toml::Value::Array(items) => items.iter().map(|item| outside(item, names, folder, under, told)).sum(),
        toml::Value::String(text) if under.is_some() => {
            if !text.starts_with(folder) {
                told.push(format!("{}: {text}", under.unwrap()));
            }
            1
        }
        _ => 0,
    }
}

#[test]
fn every_path_of_the_configuration_is_taken_from_its_folder() {
    let names = path_fields();
    assert!(names.len() >= 10, "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    let shown = super::docs::with_every_key().replace("overlays         = []", "overlays = [\"site\"]");
    write(folder.path(), "config.toml", &shown);
    let config = Config::read(&folder.path().join("config.toml")).unwrap();
    let value = toml::Value::try_from(&config).unwrap();
    let mut told = Vec::new();
    let paths = outside(&value, &names, &folder.path().display().to_string(), None, &mut told);
    let absolute = |line: &String| line.contains(": /"); // config.toml shows a secret where systems keep them
    told.retain(|line| !absolute(line));
    assert!(told.is_empty() && paths >= 16, "{paths} paths, left as they were typed: {told:?}");
}
