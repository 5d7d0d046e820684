//! What is wrong with a configuration: all of it, each with the place, the key and the remedy.

use std::fmt;

use crate::config::file::Config;

/// One thing that is wrong, written as `config.toml:12: listener 'adt': zone: 'Oslo' is no IANA time zone, as Europe/Oslo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The file and its line, where there is a file.
    pub place: Option<String>,
    /// As in the file, with lists by number: `listener.0.zone`.
    pub key: String,
    pub text: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything that was found. Faults keep the program from starting, warnings do not.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    pub faults: Vec<Wrong>,
    pub warnings: Vec<Wrong>,
}

impl Findings {
    /// Refuses to start with faults: all of them at once, so that one start shows what to mend.
    ///
    /// # Errors
    /// The faults.
    pub fn refuse(self) -> Result<Vec<Wrong>, Self> {
        if self.faults.is_empty() { Ok(self.warnings) } else { Err(self) }
    }
}

/// Shown as lines, the faults only.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was started; this has to be mended first:")?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl std::error::Error for Findings {}

/// Gathers what is found in a configuration.
pub struct Collector<'c> {
    pub config: &'c Config,
    found: Findings,
}

impl<'c> Collector<'c> {
    pub fn new(config: &'c Config) -> Self {
        Self { config, found: Findings::default() }
    }

    /// Something that cannot work. `text` says what and the remedy; the key is put before it.
    pub fn fault(&mut self, key: impl Into<String>, text: impl fmt::Display) {
        let wrong = self.wrong(key.into(), text);
        self.add_fault(wrong);
    }

    /// As [`Self::fault`], of a text that names the key itself.
    pub fn fault_as(&mut self, key: impl Into<String>, text: impl fmt::Display) {
        let key = key.into();
        let place = self.config.source.place(&key);
        self.add_fault(Wrong { place, key, text: text.to_string() });
    }

    /// A finding of somebody who names file and line.
    pub fn fault_elsewhere(&mut self, key: &str, text: impl fmt::Display) {
        self.add_fault(Wrong { place: None, key: key.to_owned(), text: text.to_string() });
    }

    pub fn warn_elsewhere(&mut self, key: &str, text: impl fmt::Display) {
        self.found.warnings.push(Wrong { place: None, key: key.to_owned(), text: text.to_string() });
    }

    /// Something that works and is hardly meant.
    pub fn warn(&mut self, key: impl Into<String>, text: impl fmt::Display) {
        let wrong = self.wrong(key.into(), text);
        self.found.warnings.push(wrong);
    }

    /// Whether something is wrong with a key, or with what stands below it.
    #[must_use]
    pub fn is_at_fault(&self, key: &str) -> bool {
        let below =
            |wrong: &Wrong| wrong.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.found.faults.iter().any(below)
    }

    #[must_use]
    pub fn done(self) -> Findings {
        self.found
    }

    fn add_fault(&mut self, wrong: Wrong) {
        if !self.found.faults.contains(&wrong) {
            self.found.faults.push(wrong);
        }
    }

    fn wrong(&self, key: String, text: impl fmt::Display) -> Wrong {
        let text = format!("{}: {text}", spoken(self.config, &key));
        Wrong { place: self.config.source.place(&key), key, text }
    }
}

/// A key as a person reads it: `listener 'adt': zone`, `mailbox.auth.tokens 'his': sha256`.
#[must_use]
pub fn spoken(config: &Config, key: &str) -> String {
    let named = |list: &str, name: &dyn Fn(usize) -> Option<String>| {
        let rest = key.strip_prefix(list)?.strip_prefix('.')?;
        let (number, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let name = name(number.parse().ok()?)?;
        Some(if rest.is_empty() { format!("{list} '{name}'") } else { format!("{list} '{name}': {rest}") })
    };
    let listener = named("listener", &|n| config.listeners.get(n).map(|listener| listener.name.clone()));
    let token = || named("mailbox.auth.tokens", &|n| config.mailbox.auth.tokens.get(n).map(|token| token.name.clone()));
    listener.or_else(token).unwrap_or_else(|| key.to_owned())
}
