//! Reading a configuration. What it holds is checked by [`check`](super::check::check), not here: a command that only
//! converts needs no listener that works.

use std::path::Path;

use anyhow::Context as _;

use super::file::Config;
use super::paths;
use super::source::Source;

impl Config {
    /// Reads a file. Relative paths in it are taken from its folder.
    ///
    /// # Errors
    /// When it cannot be read, or has a key or a value that means nothing; with its line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut config: Self =
            toml::from_str(&text).with_context(|| format!("{} is not a configuration", path.display()))?;
        config.source = Source { file: Some(path.to_owned()), text, typed: Vec::new() };
        paths::settle(&mut config);
        Ok(config)
    }

    /// Reads the text of a file. Relative paths stay as they are.
    ///
    /// # Errors
    /// When it has a key or a value that means nothing; with its line.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }
}
