//! How messages are taken and what becomes of them: listeners, mapping files, identifier systems.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::findings::Collector;
use crate::mapping;
use crate::v2::charset::Charset;

pub fn check(found: &mut Collector<'_>) -> Option<mapping::Plan> {
    listeners(found);
    identifiers(found);
    mappings(found)
}

fn listeners(found: &mut Collector<'_>) {
    let config = found.config;
    if config.listeners.is_empty() {
        found.warn("listener", "there is none, and so nothing is received");
    }
    if let Err(fault) = config.mllp.validate() {
        found.fault_as("mllp.frame_memory", fault);
    }
    let mut names = BTreeSet::new();
    for (n, listener) in config.listeners.iter().enumerate() {
        let key = |key: &str| format!("listener.{n}.{key}");
        if listener.names().filter(|name| !names.insert(*name)).count() > 0 {
            found.fault(key("name"), "two listeners have this name, or had it (formerly); give each a name of its own");
        }
        for (name, fault) in listener.faults() {
            found.fault_as(key(name), fault);
        }
        if let Some(zone) = listener.zone.as_deref().filter(|zone| TimeZone::get(zone).is_err()) {
            found.fault(key("zone"), format_args!("'{zone}' is no IANA time zone, as Europe/Oslo"));
        }
        if let Some(Err(fault)) = listener.charset.as_deref().map(str::parse::<Charset>) {
            found.fault(key("charset"), fault);
        }
    }
}

/// Numbers of two who number alike must not share a system: that is how two patients become one.
fn identifiers(found: &mut Collector<'_>) {
    let config = &found.config.identifiers;
    if !config.fallback.contains("{authority}") {
        let text = "without {authority} the numbers of all unknown authorities share one system, and patients are mixed; \
                    write it as \"urn:stoker:authority:{authority}\"";
        found.fault("identifiers.fallback", text);
    }
    let systems = [
        ("identifiers.fallback", &config.fallback, &["{authority}"][..]),
        ("identifiers.without_authority", &config.without_authority, &["{MSH-4}", "{MSH-3}"]),
        ("identifiers.visit", &config.visit, &["{MSH-4}", "{MSH-3}"]),
    ];
    let none: &[&str] = &[];
    let of_site =
        config.authorities.iter().map(|(name, system)| (format!("identifiers.authorities.{name}"), system, none));
    let systems = systems.map(|(key, system, holes)| (key.to_owned(), system, holes));
    for (key, system, holes) in systems.into_iter().chain(of_site) {
        let bare = holes.iter().fold(system.clone(), |text, hole| text.replace(hole, ""));
        if !bare.contains(':') || bare.contains(char::is_whitespace) {
            found.fault(&key, format_args!("'{system}' is no URI, as https://hospital.example/mrn or urn:oid:1.2.3"));
        } else if bare.contains(['{', '}']) {
            let may = if holes.is_empty() { "nothing".to_owned() } else { holes.join(" and ") };
            found.fault(&key, format_args!("'{system}': what may be filled in here is {may}"));
        }
    }
}

/// What the mapping files say, and what of the configuration only they know.
fn mappings(found: &mut Collector<'_>) -> Option<mapping::Plan> {
    let config = found.config;
    let settled = config.clone().settled(config.http.bind);
    let mapping::Checked { plan, faults, warnings } = mapping::check(&settled.mapping, &settled.identifiers);
    for fault in &faults.0 {
        match fault.file.strip_prefix("mapping.") {
            // The base URL follows the destination, where the fault has been told.
            Some("base") if found.is_at_fault("destination.url") => {}
            Some(_) if fault.line == 0 => found.fault(fault.file.clone(), &fault.message),
            _ => match folder_key(&config.mapping, &fault.file) {
                Some(key) if found.is_at_fault(&key) => {} // left behind elsewhere, and told
                Some(key) => found.fault(key, fault),
                None => found.fault_elsewhere("mapping", fault),
            },
        }
    }
    for warning in &warnings.0 {
        found.warn_elsewhere("mapping", warning);
    }
    plan
}

/// The key of a folder that is meant as a whole.
fn folder_key(mapping: &mapping::MappingConfig, folder: &str) -> Option<String> {
    let is = |path: &PathBuf| path.display().to_string() == folder;
    if mapping.dir.as_ref().is_some_and(is) {
        return Some("mapping.dir".to_owned());
    }
    mapping.overlays.iter().position(is).map(|n| format!("mapping.overlays.{n}"))
}
