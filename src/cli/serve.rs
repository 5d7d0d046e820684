//! `stoker serve`: the daemon.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Configured;
use super::running::logging;
use super::running::signals::{self, Hangup};
use crate::server::daemon::Daemon;
use crate::server::limits;

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Begin a new journal where there is none, though its folder holds data, or the place of an earlier version does
    #[arg(long)]
    new_journal: bool,
    #[command(flatten)]
    configured: Configured,
}

pub fn run(options: &ServeArgs) -> anyhow::Result<ExitCode> {
    let mut config = options.configured.load()?;
    config.new_journal = options.new_journal;
    logging::start(&config.log)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(signals::stop(shutdown.clone(), Hangup::Ignored));
        let daemon = Daemon::build(config).await?;
        daemon.run(shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}
