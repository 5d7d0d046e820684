//! `stoker serve`: the daemon.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::Configured;
use super::running::logging;
use super::running::signals::{self, Hangup};
use crate::server::daemon::{AFTER_DRAIN, Daemon};
use crate::server::limits;

/// How long threads that do not end are waited for when all else has ended.
const LEFT_BEHIND: Duration = Duration::from_millis(500);

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
    let shutdown = CancellationToken::new();
    watch(shutdown.clone(), config.queue.drain + AFTER_DRAIN + LEFT_BEHIND)?;
    let ran = runtime.block_on(async { Daemon::build(config).await?.run(shutdown).await });
    // What still runs on a thread of its own cannot be stopped, and has been named; the process ends without it.
    runtime.shutdown_timeout(LEFT_BEHIND);
    ran.map(|()| ExitCode::SUCCESS)
}

/// Watches signals from a thread and a runtime of its own, so that nothing that blocks the others keeps the process from
/// ending: when it has not ended `grace` after the first signal, it ends here.
fn watch(shutdown: CancellationToken, grace: Duration) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watching = async move {
        let overdue = {
            let shutdown = shutdown.clone();
            async move {
                shutdown.cancelled().await;
                tokio::time::sleep(grace).await;
            }
        };
        tokio::join!(signals::stop(shutdown, Hangup::Ignored), async {
            overdue.await;
            tracing::error!("something has not ended within {grace:?}; the process ends without it");
            std::process::exit(1);
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(watching))?;
    Ok(())
}
