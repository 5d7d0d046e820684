//! The configuration that a command works with.

use std::path::PathBuf;

use clap::Args;

use crate::config::Config;

/// The configuration a command works with.
#[derive(Debug, Args)]
pub struct Configured {
    /// The configuration file; without one every key has its default
    #[arg(long, short, global = true, value_name = "FILE", env = "STOKER_CONFIG")]
    config: Option<PathBuf>,
}

impl Configured {
    /// With relative paths taken from the file's folder, or from the current one where there is no file.
    pub fn load(&self) -> anyhow::Result<Config> {
        match &self.config {
            Some(path) => Config::read(path),
            None => Ok(Config::default()),
        }
    }
}
