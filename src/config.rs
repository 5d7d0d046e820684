//! The configuration: one TOML file, each part owned by the module that reads it. Without a file every key has its
//! default; `config.toml` shows them all.

pub mod units;

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::mapping;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub mapping: mapping::Config,
    pub identifiers: mapping::Identifiers,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or has a key or a value that means nothing; with its line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a configuration", path.display()))
    }
}
