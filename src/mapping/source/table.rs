//! Tables: v2 code to FHIR code.

use rustc_hash::{FxHashMap, FxHashSet};

use super::file::{RowEntry, TableEntry};

/// Where the v2 tables have their FHIR code systems (HL7 terminology).
const V2_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v2-";

#[derive(Debug)]
pub struct Table {
    pub name: Box<str>,
    /// The code system of the source codes, where the HL7 table is known.
    pub v2_system: Option<Box<str>>,
    rows: FxHashMap<Box<str>, CodeRow>,
    /// Rows by their code in lower case, for senders that do not care.
    folded: FxHashMap<Box<str>, CodeRow>,
    /// Codes for which FHIR has none, in lower case.
    none: FxHashSet<Box<str>>,
    /// Codes with a row that are the site's own, in lower case.
    local: FxHashSet<Box<str>>,
    /// Words in lower case, and the codes they mean.
    words: FxHashMap<Box<str>, Box<str>>,
    default: Option<CodeRow>,
    pass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRow {
    pub code: Box<str>,
    pub display: Option<Box<str>>,
    pub system: Option<Box<str>>,
}

/// What a lookup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'t> {
    Row(&'t CodeRow),
    /// No row: the table's default.
    Default(&'t CodeRow),
    /// No row: the code goes through as it is.
    Pass,
    /// The table says that FHIR has no code for this one, or it has no rows at all.
    None,
    Nothing,
}

impl Table {
    #[must_use]
    pub fn new(name: &str, entry: &TableEntry) -> Self {
        let row = |given: &RowEntry| match given {
            RowEntry::Code(code) => CodeRow { code: code.as_str().into(), display: None, system: system(entry) },
            RowEntry::Full(full) => CodeRow {
                code: full.code.as_str().into(),
                display: full.display.as_deref().map(Into::into),
                system: full.system.as_deref().map(Into::into).or_else(|| system(entry)),
            },
        };
        let rows: FxHashMap<Box<str>, CodeRow> = entry.codes.iter().map(|(k, v)| (k.as_str().into(), row(v))).collect();
        let folded = rows.iter().map(|(k, v)| (k.to_lowercase().into(), v.clone())).collect();
        let default = entry.default.as_deref().map(|code| {
            let known = entry.codes.values().find(|given| given.code() == code);
            known.map_or(CodeRow { code: code.into(), display: None, system: system(entry) }, row)
        });
        let v2_system = entry.v2.as_deref().map(|number| v2_system(number).into());
        let none = entry.none.iter().map(|code| code.to_lowercase().into()).collect();
        let local = entry.local.iter().map(|code| code.to_lowercase().into()).collect();
        let words = entry.words.iter().map(|(word, code)| (word.to_lowercase().into(), code.as_str().into())).collect();
        Self { name: name.into(), v2_system, rows, folded, none, local, words, default, pass: entry.pass }
    }

    /// Looks a code up: as sent, then without regard to case.
    #[must_use]
    pub fn find(&self, code: &str) -> Lookup<'_> {
        if let Some(row) = self.rows.get(code) {
            return Lookup::Row(row);
        }
        let folded = code.to_lowercase();
        if let Some(row) = self.folded.get(folded.as_str()) {
            return Lookup::Row(row);
        }
        if self.none.contains(folded.as_str()) {
            return Lookup::None;
        }
        if let Some(row) = self.words.get(folded.as_str()).and_then(|code| self.rows.get(code)) {
            return Lookup::Row(row);
        }
        match &self.default {
            Some(row) => Lookup::Default(row),
            None if self.pass => Lookup::Pass,
            None if self.is_empty() => Lookup::None,
            None => Lookup::Nothing,
        }
    }

    /// Whether `code` is one of the HL7 table's own: not a word that stands for one, nor a local code. A table without
    /// rows is the site's, and any code is its own.
    #[must_use]
    pub fn knows(&self, code: &str) -> bool {
        let folded = code.to_lowercase();
        let has = self.folded.contains_key(folded.as_str()) || self.none.contains(folded.as_str());
        self.is_empty() || (has && !self.local.contains(folded.as_str()))
    }

    /// The codes a table can give.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.rows.values().chain(&self.default).map(|row| row.code.as_ref())
    }

    #[must_use]
    pub fn passes(&self) -> bool {
        self.pass
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    #[must_use]
    pub fn has_default(&self) -> bool {
        self.default.is_some()
    }
}

fn system(entry: &TableEntry) -> Option<Box<str>> {
    entry.system.as_deref().map(Into::into)
}

/// The code system of an HL7 table, from its number with or without leading zeros.
#[must_use]
pub fn v2_system(number: &str) -> String {
    let zeros = "0000".get(number.chars().count()..).unwrap_or_default();
    [V2_SYSTEM, zeros, number].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::new("t", &toml::from_str(text).unwrap())
    }

    #[test]
    fn a_code_is_found_as_sent_then_without_regard_to_case() {
        let sexes =
            table("v2 = '1'\ndefault = 'unknown'\ncodes = { F = 'female', M = { code = 'male', display = 'Male' } }");
        assert!(matches!(sexes.find("F"), Lookup::Row(row) if &*row.code == "female"));
        assert!(matches!(sexes.find("m"), Lookup::Row(row) if row.display.as_deref() == Some("Male")));
        assert!(matches!(sexes.find("X"), Lookup::Default(row) if &*row.code == "unknown"));
        assert_eq!(sexes.v2_system.as_deref(), Some("http://terminology.hl7.org/CodeSystem/v2-0001"));
    }

    #[test]
    fn without_a_row_or_a_default_a_code_passes_only_where_the_table_says_so() {
        assert_eq!(table("pass = true").find("x"), Lookup::Pass);
        assert_eq!(table("codes = { a = 'b' }").find("x"), Lookup::Nothing);
    }

    #[test]
    fn a_word_means_a_code_and_is_none_itself() {
        let kin = table("words = { Mother = 'MTH' }\ncodes = { MTH = 'mother' }");
        assert!(matches!(kin.find("MOTHER"), Lookup::Row(row) if &*row.code == "mother"));
        assert!(kin.knows("mth") && !kin.knows("mother"));
    }

    #[test]
    fn a_code_without_a_fhir_code_is_known_and_no_miss() {
        let uses = table("none = ['V', 'TM']\ncodes = { H = 'home' }");
        assert_eq!(uses.find("tm"), Lookup::None);
        assert_eq!(uses.find("x"), Lookup::Nothing);
        assert_eq!(table("v2 = '0018'").find("x"), Lookup::None);
    }
}
