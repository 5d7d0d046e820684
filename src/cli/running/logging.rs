//! The log: to stderr, as text or JSON. At its default level it holds no patient data.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::cli::terminal::columns;
use crate::config::log::{self, Log, LogFormat};

/// Starts logging. `STOKER_LOG` has the last word about the level.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let (key, level) = log.said();
    // A level that is none is refused with everything else that is wrong, which has to be told somewhere.
    let level = log::filter(&level).unwrap_or_else(|_| Log::default().level);
    let filter = EnvFilter::try_new(&level).with_context(|| format!("{key}: '{level}'"))?;
    let colours = columns::coloured(std::io::stderr().is_terminal());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // Whoever read the log may have gone. A line that cannot be written is no reason to write another one there.
    let builder = builder.log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot start: {error}"))
}
