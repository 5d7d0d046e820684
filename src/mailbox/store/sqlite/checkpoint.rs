//! Brings what was committed from the write-ahead log into the database, on a thread of its own.
//!
//! SQLite does it within the commit that makes the log long enough. In a store of a million visits nearly every page of
//! such a step is another place of the file, and all messages would wait for the disk meanwhile: a third of the writer's
//! time. Done beside it, step by step, there is little left when the writer itself has to end the log and begin it anew.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::open::{self, OpenError};
use crate::log_throttle::{LogThrottle, throttled};

/// Pages of the log, 4 KiB each, after which the next step is due.
const STEP: i32 = 4096;

/// Pages after which the writer brings over what is left itself, so that the log begins anew: 128 MiB.
const LONGEST: i32 = 32_768;

static FAILED: LogThrottle = LogThrottle::minutely();

pub(super) struct Checkpointer {
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread, and has the writer's `connection` wake it.
    pub(super) fn start(path: &Path, connection: &mut Connection) -> Result<Self, OpenError> {
        let fault = |error| OpenError::Open { path: path.into(), error };
        let own = open::checkpointer(path)?;
        let (due, wakes) = sync_channel(1);
        let run = move || run(&own, &wakes);
        let thread = std::thread::Builder::new().name("mailbox-disk".into()).spawn(run).map_err(OpenError::Thread)?;
        let mut last = 0;
        let hook = move |log: &mut rusqlite::hooks::Wal, pages| {
            if pages >= LONGEST {
                last = 0;
                // An error here would be told as the commit's, which has happened. The next commit tries it again.
                log.checkpoint().ok();
                return Ok(());
            }
            // The log began anew.
            last = if pages < last { 0 } else { last };
            if pages >= last + STEP {
                last = pages;
                // Full: it is awake already. Gone: the store is closing.
                due.try_send(()).ok();
            }
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(fault)?;
        Ok(Self { thread: Some(thread) })
    }

    /// Brings over what is left. The writer has to be closed before: its connection holds what wakes the thread.
    pub(super) fn close(&mut self) {
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that brings the mailbox's log into its file ended by a panic");
        }
    }
}

fn run(connection: &Connection, wakes: &Receiver<()>) {
    while wakes.recv().is_ok() {
        if let Err(error) = connection.pragma_update(None, "wal_checkpoint", "passive") {
            throttled!(warn, FAILED, %error, "the mailbox's log was not brought into its file; that is tried again");
        }
    }
    // The writer is gone. Leaves one file behind instead of three where nobody else reads.
    if let Err(error) = connection.pragma_update(None, "wal_checkpoint", "truncate") {
        tracing::debug!(%error, "the last checkpoint of the mailbox did not finish");
    }
}
