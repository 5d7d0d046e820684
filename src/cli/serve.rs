//! `stoker serve`: the daemon.

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Configured, logging};
use crate::server::daemon::Daemon;
use crate::server::limits;

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    configured: Configured,
}

pub fn run(options: &ServeArgs) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    logging::start(&config.log)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let daemon = Daemon::build(config).await?;
        let shutdown = CancellationToken::new();
        tokio::spawn(signals(shutdown.clone()));
        daemon.run(shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The first SIGTERM or Ctrl-C drains, the second ends the process at once.
pub async fn signals(shutdown: CancellationToken) {
    if !arrived().await {
        return;
    }
    tracing::info!("stopping: nothing more is accepted, what is in hand is finished; a second signal ends at once");
    shutdown.cancel();
    if arrived().await {
        tracing::warn!("ended at once; what was under way is sent again after the next start");
        std::process::exit(1);
    }
}

#[cfg(unix)]
async fn arrived() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be watched; stop the process with SIGKILL");
        return false;
    };
    tokio::select! {
        _ = term.recv() => true,
        _ = interrupt.recv() => true,
    }
}

#[cfg(not(unix))]
async fn arrived() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
