//! `stoker queue`: the journal and its queue, as those who look after an interface need them.
//!
//! Reading works on the journal's file, whether the daemon runs or not. What changes messages goes through the daemon
//! that holds the journal, or works on the file when none does; each change is kept with who asked for it.

mod asked;
mod change;
mod export;
mod list;
mod log;
mod overview;
mod selection;
mod show;
mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Configured;
use super::admin::Remote;
use crate::config::Config;
use crate::engine::decide::Decision;
use crate::journal::Reader;

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List messages, the newest first
    List(list::Options),
    /// Show everything about one message: its way so far, what it waits for, its text
    Show(show::Options),
    /// Deliver messages again: those that failed, unless --status says otherwise
    Retry(change::Options),
    /// Give up messages that wait or have failed
    Discard(change::Options),
    /// Write messages as they were received, so that send, convert and replay take them
    Export(export::Options),
    /// What people did to the queue: who, when, which messages
    Log(log::Options),
}

/// Where the journal is, and the daemon that may hold it.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    configured: Configured,
    /// Where the daemon answers, when http.bind of the configuration is not how it is reached
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// A token with the scope admin, for a daemon that wants one
    #[arg(long, global = true, env = "STOKER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl Place {
    fn config(&self) -> anyhow::Result<Config> {
        self.configured.load()
    }

    fn reader(&self) -> anyhow::Result<Reader> {
        Ok(Reader::open(&self.config()?.journal.path)?)
    }

    fn daemon(&self, config: &Config) -> anyhow::Result<Remote> {
        Remote::of(config, self.url.as_deref(), self.token.as_deref())
    }
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let place = &options.place;
    match &options.command {
        None => overview::run(place),
        Some(Command::List(options)) => list::run(place, options),
        Some(Command::Show(options)) => show::run(place, options),
        Some(Command::Retry(options)) => change::run(place, Decision::Retry, options),
        Some(Command::Discard(options)) => change::run(place, Decision::Discard, options),
        Some(Command::Export(options)) => export::run(place, options),
        Some(Command::Log(options)) => log::run(place, options),
    }
}

/// Runs one question to the daemon.
fn wait<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
