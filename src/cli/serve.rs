//! `stoker serve`: the daemon.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Configured, logging};
use crate::server::daemon::{AFTER_DRAIN, Daemon};
use crate::server::limits;

/// How long threads that do not end are waited for when all else has ended.
const LEFT_BEHIND: Duration = Duration::from_millis(500);

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
        tokio::join!(signals(shutdown), async {
            overdue.await;
            tracing::error!("something has not ended within {grace:?}; the process ends without it");
            std::process::exit(1);
        });
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(watching))?;
    Ok(())
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
