//! The log: to stderr, as text or JSON. At its default level it holds no patient data.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging. `STOKER_LOG` has the last word about the level.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let level = std::env::var("STOKER_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = EnvFilter::try_new(&level).with_context(|| format!("log.level: '{level}' is no level"))?;
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot start: {error}"))
}
