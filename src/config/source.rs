//! Where a configuration was read, and in which line of it a key stands.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// The file behind a configuration; without one the current folder stands for its folder.
#[derive(Clone, Default)]
pub struct Source {
    pub file: Option<PathBuf>,
    /// May hold a token, and is never printed.
    pub text: String,
    /// Relative paths as they were typed, by their keys.
    pub typed: Vec<(String, PathBuf)>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Source {
    /// The folder from which relative paths are taken; empty for the current one.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// Where versions up to 0.1 looked for the path of a key: in the current folder.
    #[must_use]
    pub fn from_here(&self, key: &str) -> Option<&Path> {
        let (_, typed) = self.typed.iter().find(|(name, _)| name == key)?;
        Some(typed)
    }

    /// `config.toml:12`, for a key such as `listener.0.zone`; the line of its table where the key has its default.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<String> {
        let file = self.file.as_deref()?.display();
        Some(match self.line(key) {
            Some(line) => format!("{file}:{line}"),
            None => file.to_string(),
        })
    }

    fn line(&self, key: &str) -> Option<usize> {
        let root = DeTable::parse(&self.text).ok()?;
        let mut found = None;
        let mut table = Some(root.get_ref());
        let mut list = None;
        for step in key.split('.') {
            let (at, value) = match (list.take(), table.take()) {
                (Some(items), _) => {
                    let items: &toml::de::DeArray<'_> = items;
                    let item = step.parse::<usize>().ok().and_then(|n| items.get(n));
                    let Some(item) = item else { break };
                    (item.span().start, item.get_ref())
                }
                (None, Some(entries)) => {
                    let entry = entries.iter().find(|(name, _)| name.get_ref() == step);
                    let Some((name, value)) = entry else { break };
                    (name.span().start, value.get_ref())
                }
                (None, None) => break,
            };
            found = Some(at);
            match value {
                DeValue::Table(inner) => table = Some(inner),
                DeValue::Array(items) => list = Some(items),
                _ => {}
            }
        }
        let before = self.text.get(..found?)?;
        Some(1 + before.bytes().filter(|&b| b == b'\n').count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_line_and_a_missing_one_in_that_of_its_table() {
        let text = "[http]\nbind = \"x\"\n\n[[listener]]\nname = \"a\"\n[[listener]]\nzone = \"b\"\n[listener.tls]\nkey = \"k\"\n";
        let source = Source { file: Some("c.toml".into()), text: text.into(), typed: Vec::new() };
        let place = |key: &str| source.place(key).unwrap();
        assert_eq!(place("http.bind"), "c.toml:2");
        assert_eq!(place("http.mailbox"), "c.toml:1");
        assert_eq!(place("listener.1.zone"), "c.toml:7");
        assert_eq!(place("listener.1.tls.key"), "c.toml:9");
        assert_eq!(place("listener.0.pipeline"), "c.toml:4");
        assert_eq!(place("journal.path"), "c.toml");
        assert_eq!(Source::default().place("http.bind"), None);
    }
}
