//! `[log]`: what goes to stderr. Patient data never does.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or by module as in `info,stoker::mllp=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Overrules `log.level`, for one start.
pub const VARIABLE: &str = "STOKER_LOG";

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// The modules that log, as `stoker::mllp`.
const ROOMS: &[&str] = &[
    "units",
    "log_throttle",
    "work",
    "metrics",
    "tls",
    "sqlite",
    "http",
    "v2",
    "journal",
    "mllp",
    "fhir",
    "mapping",
    "outbound",
    "mailbox",
    "engine",
    "config",
    "server",
    "cli",
];

impl Log {
    /// What has the last word about the level, and where it was said: the variable where it is set, else the key.
    #[must_use]
    pub fn said(&self) -> (&'static str, String) {
        match std::env::var(VARIABLE) {
            Ok(level) if !level.trim().is_empty() => (VARIABLE, level),
            _ => ("log.level", self.level.clone()),
        }
    }
}

/// The filter that a level means. A word that is no level would else be the name of a module, and silence all others.
///
/// # Errors
/// Words that say which part is wrong, and what it may be.
pub fn filter(level: &str) -> Result<String, String> {
    let mut directives = Vec::new();
    for part in level.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        directives.push(match part.split_once('=') {
            None => word(part)?.to_owned(),
            Some((module, "off")) => format!("{}=off", target(module.trim())?),
            Some((module, level)) => format!("{}={}", target(module.trim())?, word(level.trim())?),
        });
    }
    // Without a level of its own, everything that is not named would be silent.
    if directives.iter().all(|directive| directive.contains('=')) {
        directives.insert(0, "info".to_owned());
    }
    Ok(directives.join(","))
}

fn word(level: &str) -> Result<&'static str, String> {
    let known = LEVELS.iter().find(|known| known.eq_ignore_ascii_case(level));
    known.copied().ok_or_else(|| {
        format!("'{level}' is no level; write error, warn, info or debug, or by module: \"info,stoker::mllp=debug\"")
    })
}

fn target(module: &str) -> Result<&str, String> {
    let mut steps = module.split("::");
    let plain = |step: &str| !step.is_empty() && step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !module.split("::").all(plain) {
        return Err(format!("'{module}' is no module; write one as in \"info,stoker::mllp=debug\""));
    }
    match (steps.next(), steps.next()) {
        (Some("stoker"), Some(room)) if !ROOMS.contains(&room) => {
            Err(format!("there is no module 'stoker::{room}'; there are {}", ROOMS.join(", ")))
        }
        (Some("stoker"), _) => Ok(module),
        // Another program's name is taken as it is: which of them log, nobody here can say. A room alone is a slip.
        (Some(first), None) if ROOMS.contains(&first) && first != "http" => {
            Err(format!("there is no module '{first}'; write stoker::{first}"))
        }
        _ => Ok(module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_that_is_one_for_all_or_for_a_module_that_is_there() {
        for (typed, meant) in [
            ("info", "info"),
            ("WARN", "warn"),
            ("info,stoker::mllp=debug", "info,stoker::mllp=debug"),
            ("stoker::mllp = debug , error", "stoker::mllp=debug,error"),
            ("stoker::mllp=debug", "info,stoker::mllp=debug"),
            ("info,rustls=off", "info,rustls=off"),
            ("", "info"),
        ] {
            assert_eq!(filter(typed).as_deref(), Ok(meant), "{typed}");
        }
    }

    #[test]
    fn a_word_that_would_silence_the_log_is_refused_with_what_it_may_be() {
        for (typed, told) in [
            ("verbos", "'verbos' is no level; write error"),
            ("off", "'off' is no level"),
            ("info,stoker::mlp=debug", "no module 'stoker::mlp'; there are"),
            ("info,mllp=debug", "write stoker::mllp"),
            ("info,stoker::mllp=verbose", "'verbose' is no level"),
            ("info,stoker:mllp=debug", "no module"),
            ("info,=debug", "no module"),
        ] {
            let fault = filter(typed).unwrap_err();
            assert!(fault.contains(told), "{typed}: {fault}");
        }
    }

    #[test]
    fn the_modules_are_those_of_the_crate() {
        let lib = include_str!("../lib.rs");
        let rooms: Vec<&str> =
            lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
        assert_eq!(ROOMS, rooms);
    }
}
