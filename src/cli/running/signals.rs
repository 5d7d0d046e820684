//! The signals that stop a command in order.
//!
//! SIGPIPE needs nothing: the runtime of Rust ignores it, and whoever writes sees the error. `terminal` has the stdout side of
//! that, [`logging`](super::logging) the log's.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What SIGHUP means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangup {
    /// To a daemon: read the configuration again. That is not supported yet, and nothing changes.
    Ignored,
    /// To a command: its terminal is gone. It ends as it does on Ctrl-C.
    Stops,
}

/// Cancels `shutdown` at the first signal that stops; the second ends the process at once.
pub async fn stop(shutdown: CancellationToken, hangup: Hangup) {
    let mut signals = match Signals::watch(hangup) {
        Ok(signals) => signals,
        Err(error) => return tracing::error!(%error, "signals cannot be watched; stop the process with SIGKILL"),
    };
    signals.stop().await;
    tracing::info!("stopping: nothing more is accepted, what is in hand is finished; a second signal ends at once");
    shutdown.cancel();
    signals.stop().await;
    tracing::warn!("ended at once; what was under way is sent again after the next start");
    std::process::exit(1);
}

/// Watched from before the first to the end, so that none is missed between two.
#[cfg(unix)]
struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
    meaning: Hangup,
}

#[cfg(unix)]
impl Signals {
    fn watch(hangup: Hangup) -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            meaning: hangup,
        })
    }

    /// Waits for one that stops.
    async fn stop(&mut self) {
        loop {
            tokio::select! {
                Some(()) = self.term.recv() => return,
                Some(()) = self.interrupt.recv() => return,
                Some(()) = self.hangup.recv() => match self.meaning {
                    Hangup::Stops => return,
                    Hangup::Ignored => tracing::warn!(
                        "SIGHUP: reading the configuration again is not supported yet, and nothing was changed; \
                         restart to use a new one"
                    ),
                },
                else => std::future::pending().await,
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn watch(_: Hangup) -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn stop(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
