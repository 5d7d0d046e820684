//! `stoker queue`: the journal and its queue, as those who look after an interface need them.
//!
//! Reading works on the journal's file, whether the daemon runs or not. What changes messages goes through the daemon
//! that holds the journal, or works on the file when none does; each change is kept with who asked for it. What a crash
//! left in the journal's log is filed before something is changed, and spoken of where something is only read.

mod asked;
mod change;
mod export;
mod list;
mod log;
mod overview;
mod pause;
mod selection;
mod show;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Configured;
use crate::cli::admin::Remote;
use crate::config::Config;
use crate::engine::operator::Decision;
use crate::journal::{Journal, Reader, held, unfiled};

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
    /// Stop deliveries, over restarts too, until somebody resumes them; messages are received all the while
    Pause(pause::Options),
    /// Let deliveries go on
    Resume(pause::Options),
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
        reader(&self.config()?)
    }

    fn daemon(&self, config: &Config) -> anyhow::Result<Remote> {
        Remote::of(config, self.url.as_deref(), self.token.as_deref())
    }

    fn writer(&self, config: &Config) -> anyhow::Result<Writer> {
        Ok(match held(&config.journal.path) {
            Some(holder) => Writer::Daemon(self.daemon(config)?, Holder(holder)),
            None => Writer::Here(Journal::open(&config.journal)?),
        })
    }
}

/// Who may write the journal.
enum Writer {
    /// The daemon that holds it.
    Daemon(Remote, Holder),
    /// This process, as none does.
    Here(Journal),
}

/// The process that holds the journal, in words.
struct Holder(String);

impl Holder {
    /// Runs what it is asked to do.
    fn wait<T>(&self, asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let words = || format!("the journal is held by a running process{}, which has to do it", self.0);
        wait(asked).with_context(words)
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
        Some(Command::Pause(options)) => pause::run(place, true, options),
        Some(Command::Resume(options)) => pause::run(place, false, options),
        Some(Command::Log(options)) => log::run(place, options),
    }
}

/// Says what it does not see: a daemon files its log all the time, but after a crash none does.
fn reader(config: &Config) -> anyhow::Result<Reader> {
    let path = &config.journal.path;
    let reader = Reader::open(path)?;
    match left(config)? {
        0 => {}
        n => eprintln!(
            "note: messages in the journal's log that are not in its tables yet, and not seen here: {n}. stoker serve \
             files them when it starts; so do queue retry and discard"
        ),
    }
    Ok(reader)
}

/// How many messages stand in the log only, and nobody is there who files them.
fn left(config: &Config) -> anyhow::Result<u64> {
    let path = &config.journal.path;
    Ok(if held(path).is_some() { 0 } else { unfiled(path)? })
}

/// Runs one question to the daemon.
fn wait<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
