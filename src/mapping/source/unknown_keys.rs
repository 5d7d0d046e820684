//! Keys of mapping files that mean nothing: all of them, each with its place.
//!
//! Reading a file ends at the first of them. This reads the file again as mere TOML, so that a person sees them all.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::nearest;

/// Which kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Events,
    Templates,
    Tables,
    Resource,
}

const RULE: &[&str] = &["to", "from", "value", "ref", "as", "table", "when", "with", "contain"];
const RESOURCE: &[&str] = &["resource", "each", "key", "condition", "when", "rules", "drop"];
const TEMPLATE: &[&str] = &["rules", "drop"];
const EVENT: &[&str] = &["name", "fhir", "set", "status", "needs", "groups", "variant", "refused", "absorbed"];
const VARIANT: &[&str] = &["when", "fhir", "set", "status"];
const TABLE: &[&str] = &["v2", "system", "default", "pass", "note", "codes", "none", "words"];
const ROW: &[&str] = &["code", "display", "system"];

/// The offset of each unknown key and what to say of it.
pub fn unknown(text: &str, form: Form) -> Vec<(usize, String)> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let mut found = UnknownKeys(Vec::new());
    let top = document.get_ref();
    match form {
        Form::Resource => found.resource(top),
        Form::Templates => each(top, |_, table| found.template(table)),
        Form::Tables => each(top, |_, table| found.table(table)),
        Form::Events => each(top, |name, table| {
            if name != "sets" {
                found.event(table);
            }
        }),
    }
    found.0.sort_unstable();
    found.0
}

struct UnknownKeys(Vec<(usize, String)>);

impl UnknownKeys {
    fn keys(&mut self, table: &DeTable<'_>, known: &[&'static str], what: &str) {
        for (key, _) in table {
            let name = key.get_ref();
            if !known.contains(&&**name) {
                let remedy = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("; did you mean '{near}'?"),
                    None => format!("; {what} has {}", known.join(", ")),
                };
                self.0.push((key.span().start, format!("unknown key '{name}'{remedy}")));
            }
        }
    }

    fn resource(&mut self, table: &DeTable<'_>) {
        self.keys(table, RESOURCE, "a resource file");
        self.rules(table, "condition");
        self.rules(table, "rules");
    }

    fn template(&mut self, table: &DeTable<'_>) {
        self.keys(table, TEMPLATE, "a template");
        self.rules(table, "rules");
    }

    fn rules(&mut self, table: &DeTable<'_>, name: &str) {
        let rules = table.get(name).and_then(|rules| rules.get_ref().as_array());
        for rule in rules.into_iter().flatten() {
            if let Some(rule) = rule.get_ref().as_table() {
                self.keys(rule, RULE, "a rule");
            }
        }
    }

    fn event(&mut self, table: &DeTable<'_>) {
        self.keys(table, EVENT, "an event");
        if let Some(variant) = table.get("variant").and_then(|variant| variant.get_ref().as_table()) {
            self.keys(variant, VARIANT, "a variant");
        }
    }

    fn table(&mut self, table: &DeTable<'_>) {
        self.keys(table, TABLE, "a table");
        if let Some(codes) = table.get("codes").and_then(|codes| codes.get_ref().as_table()) {
            each(codes, |_, row| self.keys(row, ROW, "a row"));
        }
    }
}

fn each(table: &DeTable<'_>, mut visit: impl FnMut(&str, &DeTable<'_>)) {
    for (key, value) in table {
        let value: &Spanned<DeValue<'_>> = value;
        if let Some(inner) = value.get_ref().as_table() {
            visit(key.get_ref(), inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_here_are_those_that_the_files_are_read_with() {
        use crate::mapping::source::file::{
            EventEntry, ResourceOverlay, RuleEntry, TableEntry, TemplateEntry, VariantEntry,
        };
        fn named<T: serde::de::DeserializeOwned>() -> String {
            toml::from_str::<T>("wrong-key = 1").err().map(|error| error.message().to_owned()).unwrap_or_default()
        }
        let forms = [
            (named::<RuleEntry>(), RULE),
            (named::<ResourceOverlay>(), RESOURCE),
            (named::<TemplateEntry>(), TEMPLATE),
            (named::<EventEntry>(), EVENT),
            (named::<VariantEntry>(), VARIANT),
            (named::<TableEntry>(), TABLE),
        ];
        for (told, keys) in forms {
            let quoted: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            assert!(keys.iter().all(|key| told.contains(&format!("`{key}`"))), "{told} {keys:?}");
            assert_eq!(told.matches('`').count(), 2 * quoted.len() + 2, "{told}");
        }
    }

    #[test]
    fn every_unknown_key_is_told_with_its_place() {
        let text = "rules = [\n  { to = \"a\", fron = \"PID-8\" },\n  { tabel = \"x\" },\n]\nxyzzy = 1\n";
        let told = unknown(text, Form::Resource);
        let lines: Vec<_> =
            told.iter().map(|(at, what)| (1 + text[..*at].matches('\n').count(), what.as_str())).collect();
        assert_eq!(lines[0], (2, "unknown key 'fron'; did you mean 'from'?"));
        assert_eq!(lines[1], (3, "unknown key 'tabel'; did you mean 'table'?"));
        assert!(lines[2].0 == 5 && lines[2].1.contains("a resource file has resource, each"), "{lines:?}");
    }
}
