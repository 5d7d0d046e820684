//! `stoker queue`: the journal and its queue, as those who look after an interface need them.
//!
//! Reading works on the journal's file, whether the daemon runs or not. What changes messages goes through the daemon
//! that holds the journal, or works on the file when none does; each change is kept with who asked for it. What a crash
//! left in the journal's log is filed before something is changed, and spoken of where something is only read.

pub(super) mod place;
mod acknowledge;
mod asked;
mod change;
mod export;
mod list;
mod listeners;
mod log;
mod overview;
mod pause;
mod selection;
mod show;
mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::engine::operator::OperatorAction;
use place::JournalAccess;

#[derive(Debug, Args)]
pub struct QueueArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: JournalAccess,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List messages, the newest first
    List(list::ListArgs),
    /// Show everything about one message: its way so far, what it waits for, its text
    Show(show::ShowArgs),
    /// Deliver messages again: those that failed, unless --status says otherwise
    Retry(change::RetryArgs),
    /// Give up messages that wait or have failed
    Discard(change::ChangeArgs),
    /// Write messages as they were received, so that send, convert and replay take them
    Export(export::ExportArgs),
    /// Stop deliveries, over restarts too, until somebody resumes them; messages are received all the while
    Pause(pause::PauseArgs),
    /// Let deliveries go on
    Resume(pause::PauseArgs),
    /// Take down the alarm that damage has raised, when it has been dealt with
    Acknowledge(acknowledge::AcknowledgeArgs),
    /// What people did to the queue: who, when, which messages
    Log(log::LogArgs),
}

pub fn run(options: &QueueArgs) -> anyhow::Result<ExitCode> {
    let place = &options.place;
    match &options.command {
        None => overview::run(place),
        Some(Command::List(options)) => list::run(place, options),
        Some(Command::Show(options)) => show::run(place, options),
        Some(Command::Retry(options)) => change::run(place, OperatorAction::Retry, &options.change, options.budget),
        Some(Command::Discard(options)) => change::run(place, OperatorAction::Discard, options, None),
        Some(Command::Export(options)) => export::run(place, options),
        Some(Command::Pause(options)) => pause::run(place, true, options),
        Some(Command::Resume(options)) => pause::run(place, false, options),
        Some(Command::Acknowledge(options)) => acknowledge::run(place, options),
        Some(Command::Log(options)) => log::run(place, options),
    }
}
