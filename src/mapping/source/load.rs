//! Brings the mapping files together: the shipped ones, the extended set, and a site's overlays on top.
//!
//! An overlay's rules come before the shipped ones (the first value wins), its table rows add to or replace theirs, its
//! events replace theirs, and what it drops goes away.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use rust_embed::RustEmbed;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::config::MappingConfig;
use super::diagnostic::{Diagnostic, Diagnostics, did_you_mean};
use super::file::{EventEntry, ResourceOverlay, RuleEntry, TableEntry, TemplateEntry};
use super::place::RulePlace;
use super::unknown_keys;
use super::unread;

#[derive(RustEmbed)]
#[folder = "mappings"]
#[include = "*.toml"]
struct Shipped;

/// All files as one, in the order of their word: the last overlay read stands first.
#[derive(Debug, Default)]
pub struct Sources {
    /// Names by [`RulePlace::file`].
    pub files: Vec<Box<str>>,
    pub texts: Vec<String>,
    pub sets: BTreeMap<String, Vec<String>>,
    pub events: BTreeMap<String, (RulePlace, EventEntry)>,
    pub resources: BTreeMap<String, ResourceSource>,
    pub templates: BTreeMap<String, TemplateSource>,
    pub tables: BTreeMap<String, (RulePlace, TableEntry)>,
    pub diagnostics: Diagnostics,
    /// How many of the files are the shipped ones.
    pub shipped: usize,
    /// The files being read are overlays.
    of_site: bool,
    /// A file could not be read, so that what it says is missing here.
    pub unread: bool,
    /// Targets that a file drops and that are not there, and what may have been meant.
    pub drops: Vec<(RulePlace, String, String)>,
}

/// A template of all files.
#[derive(Debug, Default)]
pub struct TemplateSource {
    pub place: RulePlace,
    pub rules: Vec<(RulePlace, RuleEntry)>,
}

#[derive(Debug, Default)]
pub struct ResourceSource {
    pub place: RulePlace,
    pub resource: String,
    pub each: String,
    pub key: Vec<String>,
    pub when: Option<String>,
    pub condition: Vec<(RulePlace, RuleEntry)>,
    pub rules: Vec<(RulePlace, RuleEntry)>,
}

impl Sources {
    /// Whether a file is a shipped one, which a site does not change.
    #[must_use]
    pub fn is_shipped(&self, place: RulePlace) -> bool {
        usize::from(place.file) < self.shipped
    }

    /// Reads everything the configuration names. What is wrong is in [`Sources::diagnostics`].
    #[must_use]
    pub fn read(config: &MappingConfig) -> Self {
        let mut sources = Self::default();
        match &config.dir {
            Some(dir) => sources.directory(dir),
            None => sources.embedded(""),
        }
        if config.extended {
            match &config.dir {
                Some(dir) => sources.directory(&dir.join("extended")),
                None => sources.embedded("extended/"),
            }
        }
        if config.dir.is_none() {
            sources.shipped = sources.files.len();
        }
        sources.of_site = true;
        for overlay in config.overlays.iter().rev() {
            sources.directory(overlay);
        }
        sources
    }

    /// The shipped files of one folder, `resources/` below it included.
    fn embedded(&mut self, folder: &str) {
        for name in Shipped::iter() {
            let Some(inner) = name.strip_prefix(folder) else { continue };
            if inner.strip_prefix("resources/").unwrap_or(inner).contains('/') {
                continue;
            }
            match Shipped::get(&name).map(|file| String::from_utf8(file.data.into_owned())) {
                Some(Ok(text)) => self.file(&name, text),
                _ => self.diagnostics.add(Diagnostic::of_file(&name, "is not UTF-8 text")),
            }
        }
    }

    fn directory(&mut self, dir: &Path) {
        let mut found = Vec::new();
        for place in [dir.to_owned(), dir.join("resources")] {
            match std::fs::read_dir(&place) {
                Ok(entries) => found.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
                Err(error) if place == *dir => {
                    let why = format!("cannot be read: {error}; name a directory with mapping files");
                    self.diagnostics.add(Diagnostic::of_file(&dir.display().to_string(), &why));
                }
                // An overlay need not have resources.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let why = format!("cannot be read: {error}");
                    self.diagnostics.add(Diagnostic::of_file(&place.display().to_string(), &why));
                }
            }
        }
        found.sort();
        for (path, why) in unread::slips(dir, &found) {
            self.unread = true;
            self.diagnostics.add(Diagnostic::of_file(&path.display().to_string(), &why));
        }
        found.retain(|path| path.extension().is_some_and(|e| e == "toml"));
        if found.is_empty() && dir.is_dir() && !dir.ends_with("extended") {
            let why = "holds no mapping file; events.toml, datatypes.toml and tables.toml are, and files in resources/";
            self.diagnostics.add(Diagnostic::of_file(&dir.display().to_string(), why));
        }
        for path in found {
            let name = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => self.file(&name, text),
                Err(error) => self.diagnostics.add(Diagnostic::of_file(&name, &format!("cannot be read: {error}"))),
            }
        }
    }

    fn file(&mut self, name: &str, text: String) {
        let file = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        self.files.push(name.into());
        self.texts.push(text.clone());
        let stem = Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let in_resources = Path::new(name).parent().is_some_and(|p| p.ends_with("resources"));
        let file = MappingFile { number: file, name, text: &text };
        match stem.as_str() {
            _ if in_resources => self.resource(&file, stem),
            "events" => self.events(&file),
            "datatypes" => self.templates(&file),
            "tables" => self.tables(&file),
            _ => self.diagnostics.add(Diagnostic::of_file(
                name,
                "is no mapping file: events.toml, datatypes.toml and tables.toml are; a file for a resource belongs into resources/",
            )),
        }
    }

    fn parse<T: DeserializeOwned>(&mut self, file: &MappingFile<'_>, form: unknown_keys::FileForm) -> Option<T> {
        toml::from_str(file.text).map_err(|error| self.unreadable(file, form, &error)).ok()
    }

    /// Keys that mean nothing are all told, and with a remedy; of anything else the first.
    fn unreadable(&mut self, file: &MappingFile<'_>, form: unknown_keys::FileForm, error: &toml::de::Error) {
        self.unread = true;
        let unknown = unknown_keys::unknown(file.text, form);
        if unknown.is_empty() {
            self.diagnostics.add(Diagnostic::of_toml(file.name, file.text, error));
        }
        for (offset, message) in unknown {
            self.diagnostics.add(Diagnostic::new(file.name, file.place(offset).line, message));
        }
    }

    fn events(&mut self, file: &MappingFile<'_>) {
        let Some(entries) = self.parse::<BTreeMap<String, Spanned<toml::Value>>>(file, unknown_keys::FileForm::Events)
        else {
            return;
        };
        for (name, entry) in entries {
            let place = file.place(entry.span().start);
            let value = entry.into_inner();
            let problem = if name == "sets" {
                value.try_into().map(|sets: BTreeMap<String, Vec<String>>| self.sets.extend(sets)).err()
            } else {
                value.try_into().map(|event| self.events.insert(name.clone(), (place, event))).err()
            };
            if let Some(error) = problem {
                self.unread = true;
                self.event_fault(file, &name, place, &error);
            }
        }
    }

    fn event_fault(&mut self, file: &MappingFile<'_>, name: &str, place: RulePlace, error: &toml::de::Error) {
        let unknown = unknown_keys::unknown(file.text, unknown_keys::FileForm::Events);
        if unknown.is_empty() {
            self.diagnostics.add(Diagnostic::new(file.name, place.line, format!("[{name}] {}", error.message())));
        }
        for (offset, message) in unknown {
            self.diagnostics.add(Diagnostic::new(file.name, file.place(offset).line, message));
        }
    }

    fn templates(&mut self, file: &MappingFile<'_>) {
        let entries = self.parse::<BTreeMap<String, Spanned<TemplateEntry>>>(file, unknown_keys::FileForm::Templates);
        for (name, entry) in entries.unwrap_or_default() {
            let place = file.place(entry.span().start);
            let entry = entry.into_inner();
            let known = self.templates.entry(name).or_insert_with(|| TemplateSource { place, rules: Vec::new() });
            self.drops.extend(file.drop_targets(&mut known.rules, &entry.drop));
            known.rules.splice(0..0, file.rules(entry.rules));
        }
    }

    fn tables(&mut self, file: &MappingFile<'_>) {
        let Some(entries) = self.parse::<BTreeMap<String, Spanned<TableEntry>>>(file, unknown_keys::FileForm::Tables)
        else {
            return;
        };
        for (name, entry) in entries {
            let place = file.place(entry.span().start);
            let entry = entry.into_inner();
            match self.tables.get_mut(&name) {
                Some((_, known)) => overlay_table(known, entry, self.of_site),
                None => {
                    self.tables.insert(name, (place, entry));
                }
            }
        }
    }

    fn resource(&mut self, file: &MappingFile<'_>, name: String) {
        let Some(entry) = self.parse::<ResourceOverlay>(file, unknown_keys::FileForm::Resource) else { return };
        let at = RulePlace { file: file.number, line: 1 };
        let known =
            self.resources.entry(name).or_insert_with(|| ResourceSource { place: at, ..ResourceSource::default() });
        if let Some(resource) = entry.resource {
            known.resource = resource;
        }
        if let Some(each) = entry.each {
            known.each = each;
            known.place = at;
        }
        if let Some(key) = entry.key {
            known.key = key;
        }
        known.when = entry.when.or(known.when.take());
        self.drops.extend(file.drop_targets(&mut known.rules, &entry.drop));
        known.condition.splice(0..0, file.rules(entry.condition));
        known.rules.splice(0..0, file.rules(entry.rules));
    }
}

fn overlay_table(known: &mut TableEntry, overlay: TableEntry, of_site: bool) {
    if of_site {
        let is_new = |code: &&String| !known.codes.contains_key(*code) && !known.none.contains(code);
        known.local.extend(overlay.codes.keys().filter(is_new).cloned());
    }
    known.none.retain(|code| !overlay.codes.contains_key(code));
    known.codes.extend(overlay.codes);
    known.none.extend(overlay.none);
    known.words.extend(overlay.words);
    known.default = overlay.default.or(known.default.take());
    known.system = overlay.system.or(known.system.take());
    known.v2 = overlay.v2.or(known.v2.take());
    known.pass |= overlay.pass;
}

struct MappingFile<'f> {
    number: u16,
    name: &'f str,
    text: &'f str,
}

impl MappingFile<'_> {
    fn place(&self, offset: usize) -> RulePlace {
        let line = 1 + self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|&&b| b == b'\n').count();
        RulePlace { file: self.number, line: line as u32 }
    }

    /// Takes the rules of targets away; those that are not there.
    fn drop_targets(
        &self,
        rules: &mut Vec<(RulePlace, RuleEntry)>,
        dropped: &[Spanned<String>],
    ) -> Vec<(RulePlace, String, String)> {
        let is_there = |target: &&Spanned<String>| rules.iter().any(|(_, rule)| *target.get_ref() == rule.to);
        let missing = dropped.iter().filter(|target| !is_there(target)).map(|target| {
            let hint = did_you_mean(target.get_ref(), rules.iter().map(|(_, rule)| rule.to.as_str()));
            (self.place(target.span().start), target.get_ref().clone(), hint)
        });
        let missing = missing.collect();
        rules.retain(|(_, rule)| !dropped.iter().any(|target| *target.get_ref() == rule.to));
        missing
    }

    fn rules(&self, rules: Vec<Spanned<RuleEntry>>) -> Vec<(RulePlace, RuleEntry)> {
        rules.into_iter().map(|rule| (self.place(rule.span().start), rule.into_inner())).collect()
    }
}
