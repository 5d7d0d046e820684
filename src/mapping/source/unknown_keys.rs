//! Keys of mapping files that mean nothing: all of them, each with its place.
//!
//! Reading a file ends at the first of them. This reads the file again as mere TOML, so that a person sees them all. Which
//! keys there are is asked of the types that the files are read into ([`super::file`]), so that it is said once.

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::nearest;
use super::file::{EventEntry, FullRow, ResourceOverlay, RuleEntry, TableEntry, TemplateEntry, VariantEntry};

/// Which kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileForm {
    Events,
    Templates,
    Tables,
    Resource,
}

/// The offset of each unknown key and what to say of it.
pub fn unknown(text: &str, form: FileForm) -> Vec<(usize, String)> {
    let Ok(document) = DeTable::parse(text) else { return Vec::new() };
    let mut found = UnknownKeys(Vec::new());
    let top = document.get_ref();
    match form {
        FileForm::Resource => found.resource(top),
        FileForm::Templates => each(top, |_, table| found.template(table)),
        FileForm::Tables => each(top, |_, table| found.table(table)),
        FileForm::Events => each(top, |name, table| {
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
    fn keys(&mut self, table: &DeTable<'_>, known: &'static [&'static str], what: &str) {
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
        self.keys(table, keys_of::<ResourceOverlay>(), "a resource file");
        self.rules(table, "condition");
        self.rules(table, "rules");
    }

    fn template(&mut self, table: &DeTable<'_>) {
        self.keys(table, keys_of::<TemplateEntry>(), "a template");
        self.rules(table, "rules");
    }

    fn rules(&mut self, table: &DeTable<'_>, name: &str) {
        let rules = table.get(name).and_then(|rules| rules.get_ref().as_array());
        for rule in rules.into_iter().flatten() {
            if let Some(rule) = rule.get_ref().as_table() {
                self.keys(rule, keys_of::<RuleEntry>(), "a rule");
            }
        }
    }

    fn event(&mut self, table: &DeTable<'_>) {
        self.keys(table, keys_of::<EventEntry>(), "an event");
        if let Some(variant) = table.get("variant").and_then(|variant| variant.get_ref().as_table()) {
            self.keys(variant, keys_of::<VariantEntry>(), "a variant");
        }
    }

    fn table(&mut self, table: &DeTable<'_>) {
        self.keys(table, keys_of::<TableEntry>(), "a table");
        if let Some(codes) = table.get("codes").and_then(|codes| codes.get_ref().as_table()) {
            each(codes, |_, row| self.keys(row, keys_of::<FullRow>(), "a row"));
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

/// The keys that a form is read with, in their order.
fn keys_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It fails with the keys in hand: there is nothing to read.
    T::deserialize(KeysOf(&mut keys)).err();
    keys
}

/// Takes note of what a type asks for, and gives it nothing.
struct KeysOf<'k>(&'k mut &'static [&'static str]);

impl<'de> Deserializer<'de> for KeysOf<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("nothing is read"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_that_the_files_are_read_with() {
        assert_eq!(keys_of::<RuleEntry>(), ["to", "from", "value", "ref", "as", "table", "when", "with", "contain"]);
        assert_eq!(keys_of::<TemplateEntry>(), ["rules", "drop"]);
        assert_eq!(keys_of::<FullRow>(), ["code", "display", "system"]);
        assert_eq!(keys_of::<ResourceOverlay>(), ["resource", "each", "key", "condition", "when", "rules", "drop"]);
        let event = ["name", "fhir", "set", "status", "needs", "groups", "variant", "refused", "absorbed"];
        assert_eq!(keys_of::<EventEntry>(), event);
        assert_eq!(keys_of::<VariantEntry>(), ["when", "fhir", "set", "status"]);
        let table = ["v2", "system", "default", "pass", "note", "codes", "none", "words"];
        assert_eq!(keys_of::<TableEntry>(), table);
    }

    #[test]
    fn every_unknown_key_is_told_with_its_place() {
        let text = "rules = [\n  { to = \"a\", fron = \"PID-8\" },\n  { tabel = \"x\" },\n]\nxyzzy = 1\n";
        let told = unknown(text, FileForm::Resource);
        let lines: Vec<_> =
            told.iter().map(|(at, what)| (1 + text[..*at].matches('\n').count(), what.as_str())).collect();
        assert_eq!(lines[0], (2, "unknown key 'fron'; did you mean 'from'?"));
        assert_eq!(lines[1], (3, "unknown key 'tabel'; did you mean 'table'?"));
        assert!(lines[2].0 == 5 && lines[2].1.contains("a resource file has resource, each"), "{lines:?}");
    }
}
