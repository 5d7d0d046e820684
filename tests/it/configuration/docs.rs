//! README and config.toml say what the program does: their keys are keys, their variables are read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use stoker::config::Config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// config.toml with the keys that it shows as comments, because they have no default, written out.
pub fn with_every_key() -> String {
    let shown = |line: &str| {
        let Some(key) = line.strip_prefix("# ") else { return line.to_owned() };
        let name: String =
            key.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '[' | ']' | '.')).collect();
        let is_table = key.starts_with('[') && name.ends_with(']');
        let is_key = !name.is_empty() && key[name.len()..].trim_start().starts_with("= ");
        if is_table || is_key { key.to_owned() } else { line.to_owned() }
    };
    // A list cannot stand beside its entries: they show what it holds.
    let text = read("config.toml").lines().map(|line| shown(line) + "\n").collect::<String>();
    text.lines()
        .filter(|line| !(line.starts_with("tokens ") && line.contains("= []")))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_keys_that_config_toml_shows_as_comments_are_keys_and_stand_there_once() {
    let text = with_every_key();
    let config = Config::parse(&text).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(config.mailbox.tls.is_some() && config.destination.identity_file.is_some(), "not all were written out");
    assert_eq!((config.mailbox.auth.tokens.len(), config.listeners.len()), (1, 1));
}

/// Every table and key of the configuration, as `mailbox.auth.jwt.keys`; lists without their numbers.
fn keys() -> BTreeSet<String> {
    fn collect(value: &toml::Value, place: &str, found: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                    found.insert(place.clone());
                    collect(value, &place, found);
                }
            }
            toml::Value::Array(items) => items.iter().for_each(|item| collect(item, place, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    collect(&toml::from_str(&with_every_key()).unwrap(), "", &mut found);
    found
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn documents() -> Vec<(PathBuf, String)> {
    let names =
        ["README.md", "CONTRIBUTING.md", "mappings/README.md", "samples/site/README.md", "tests/soak/README.md"];
    names.iter().map(|name| (PathBuf::from(name), read(name))).collect()
}

/// Keys that a text names as `[table] key`, and tables that it names as `[table]`.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for quote in quoted(text) {
        let Some(inner) = quote.strip_prefix('[') else { continue };
        let Some((table, rest)) = inner.trim_start_matches('[').split_once(']') else { continue };
        let key: String = rest
            .trim_start_matches(']')
            .trim_start()
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect();
        let is_table = !table.is_empty() && table.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
        if is_table {
            found.push(if key.is_empty() { table.to_owned() } else { format!("{table}.{key}") });
        }
    }
    found
}

#[test]
fn a_key_that_a_text_names_with_its_table_is_one() {
    let keys = keys();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (file, text) in documents() {
        for key in named(&text) {
            count += 1;
            // The mapping files have tables of their own.
            let of_mappings = file.starts_with("mappings") && !key.contains('.');
            if !keys.contains(&key) && !of_mappings && key != "type" {
                wrong.push(format!("{}: [{key}]", file.display()));
            }
        }
    }
    assert!(count > 10 && wrong.is_empty(), "{count} named, no keys: {wrong:?}");
}

#[test]
fn the_configurations_that_a_text_shows_are_taken() {
    let mut count = 0;
    for (file, text) in documents() {
        let blocks = text.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap());
        for block in blocks.filter(|block| block.contains("[mapping]") || block.contains("[[listener]]")) {
            count += 1;
            Config::parse(block).unwrap_or_else(|error| panic!("{}: {error:#}\n{block}", file.display()));
        }
    }
    assert!(count >= 2, "{count}");
}

fn variables(text: &str) -> BTreeSet<String> {
    let begins = text.match_indices("STOKER_").map(|(at, _)| &text[at..]);
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect::<String>();
    begins.map(name).filter(|name| name.len() > "STOKER_".len()).collect()
}

#[test]
fn the_variables_that_the_program_reads_are_told_and_those_that_are_told_are_read() {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let read_by_it = variables(&sources.concat());
    assert_eq!(variables(&read("README.md")), read_by_it, "README.md (left) and src (right) name other variables");
}
