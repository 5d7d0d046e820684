//! `stoker replay`: files of messages, converted and delivered.
//!
//! Messages are counted from 1 over all files. A replay that was stopped, by Ctrl-C or because the destination went down,
//! leaves a small state file, and the same command goes on where it ended. What was under way then is sent twice, with the
//! same ids, which does no harm.

mod source;
mod state;
mod tally;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Configured;
use super::running::signals::{self, Hangup};
use crate::config::Config;
use crate::engine;
use crate::engine::replay::{Replay, ReplayEnd, ReplayMessage, ReplayOutcome, Settled};
use crate::journal::Seq;
use crate::mapping::{Context, Plan};
use source::ReplayFiles;
use state::ReplayState;
use tally::Tally;

/// Messages that wait between the reader of the files and the sender.
const AHEAD: usize = 256;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Files with messages as convert takes them, folders of such files, or `-` for stdin
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The endpoint, or the base URL before its $process-message; otherwise the destination of the configuration
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// At most so many messages a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Begin with this message, counted from 1; otherwise where an interrupted replay of these files ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<Seq>,
    /// Give the messages ids of their own, so that the receiver takes them for new ones
    #[arg(long)]
    as_new: bool,
    /// Read the messages as this listener does: its time zone and character set
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The bearer token for --to; the configuration's is sent to the configured destination only
    #[arg(long, env = "STOKER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// The file that keeps the place of an interrupted replay
    #[arg(long, default_value = "stoker-replay.state", value_name = "FILE")]
    state: PathBuf,
    #[command(flatten)]
    configured: Configured,
}

pub fn run(options: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let config = destined(options.configured.load()?, options)?;
    let source = ReplayFiles::of(&options.files)?;
    let mut state = ReplayState::load(&options.state, &source, &config.destination.url, options.as_new, options.from)?;
    if state.next > 1 && options.from.is_none() {
        eprintln!("going on with message {}, where the last replay ended; --from 1 begins again", state.next);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (end, tally) = runtime.block_on(replay(options, &config, source, &mut state))?;
    tally.print();
    Ok(match end {
        ReplayEnd::Through => {
            state.remove()?;
            if tally.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        ReplayEnd::Stopped => {
            state.save()?;
            eprintln!("stopped; {}", go_on(&state));
            ExitCode::FAILURE
        }
        ReplayEnd::Down { reason } => {
            state.save()?;
            eprintln!("{} takes no messages: {reason}", config.destination.url);
            eprintln!("the replay was ended there, no message was given up for it; {}", go_on(&state));
            ExitCode::FAILURE
        }
    })
}

fn go_on(state: &ReplayState) -> String {
    if state.is_kept() {
        format!("the same command goes on with message {} (or say --from {0})", state.next)
    } else {
        format!("go on with --from {}", state.next)
    }
}

/// The configuration with the destination that was named. A token is only sent to where it was meant for.
fn destined(mut config: Config, options: &ReplayArgs) -> anyhow::Result<Config> {
    if let Some(to) = &options.to {
        let to = to.trim_end_matches('/');
        let url = if to.ends_with("$process-message") { to.to_owned() } else { format!("{to}/$process-message") };
        if url != config.destination.url {
            (config.destination.token, config.destination.token_file) = (None, None);
        }
        config.destination.url = url;
    }
    if let Some(token) = &options.token {
        config.destination.token = Some(token.as_str().into());
    }
    let http = config.http.bind;
    Ok(config.settled(http))
}

async fn replay(
    options: &ReplayArgs,
    config: &Config,
    source: ReplayFiles,
    state: &mut ReplayState,
) -> anyhow::Result<(ReplayEnd, Tally)> {
    let plan = Plan::load(&config.mapping, &config.identifiers)?;
    let mut replay = Replay::new(&config.destination, plan, context(options, config)?)?;
    replay.rate = options.rate;
    replay.as_new = state.run.as_deref().map(|run| Uuid::new_v5(&Uuid::NAMESPACE_OID, run.as_bytes()));
    let stop = CancellationToken::new();
    tokio::spawn(signals::stop(stop.clone(), Hangup::Stops));
    let (sender, messages) = mpsc::channel(AHEAD);
    let (from, bar) = (state.next, bar(&source, state.next));
    let reading = std::thread::spawn(move || read(&source, from, &sender));
    let mut tally = Tally::default();
    let mut saved = Instant::now();
    let (end, next) = engine::replay::run(replay, messages, stop, |settled| {
        note(&settled, &mut tally, &bar);
        state.next = state.next.max(settled.next);
        if saved.elapsed() > Duration::from_secs(1) {
            saved = Instant::now();
            if let Err(error) = state.save() {
                bar.suspend(|| eprintln!("{error:#}"));
            }
        }
    })
    .await;
    bar.finish_and_clear();
    state.next = state.next.max(next);
    // A replay that ended early leaves the reader behind; it finds nobody to send to.
    if end == ReplayEnd::Through {
        tally.unreadable = reading.join().map_err(|_| anyhow::anyhow!("reading the files broke off"))?;
    }
    Ok((end, tally))
}

/// The listener that is named, or the only one there is.
fn context(options: &ReplayArgs, config: &Config) -> anyhow::Result<Context> {
    let listener = match (&options.listener, &config.listeners[..]) {
        (Some(name), all) => {
            Some(all.iter().find(|l| l.name == *name).with_context(|| format!("there is no listener '{name}'"))?)
        }
        (None, [only]) => Some(only),
        (None, all) => {
            let differ = all.iter().any(|l| (&l.zone, &l.charset) != (&all[0].zone, &all[0].charset));
            if differ {
                bail!(
                    "the listeners differ in zone or charset; say with --listener which of them received the messages"
                );
            }
            all.first()
        }
    };
    Ok(listener.map(engine::context).transpose()?.unwrap_or_default())
}

/// Reads the files on a thread of its own; how many pieces of them are no message.
fn read(source: &ReplayFiles, from: Seq, sender: &mpsc::Sender<ReplayMessage>) -> u64 {
    let mut number = 0;
    let mut unreadable = 0;
    source.each(|found| {
        match found {
            Some((place, raw)) => {
                number += 1;
                if number >= from && sender.blocking_send(ReplayMessage { number, place, raw }).is_err() {
                    return false;
                }
            }
            None => unreadable += 1,
        }
        true
    });
    unreadable
}

/// Failures that are told one by one; the summary counts them all.
const TOLD: u64 = 20;

fn note(settled: &Settled, tally: &mut Tally, bar: &ProgressBar) {
    tally.count(settled);
    bar.set_message(format!("{} failed", tally.failed()));
    bar.inc(1);
    if let ReplayOutcome::Failed { reason } = &settled.fate
        && tally.failed() <= TOLD
    {
        bar.suspend(|| eprintln!("{}: {reason}", settled.place));
        if tally.failed() == TOLD {
            bar.suspend(|| eprintln!("further failures are counted and not told"));
        }
    }
}

/// On a terminal, with the time that is left where it can be known.
fn bar(source: &ReplayFiles, next: Seq) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let done = u64::try_from(next - 1).unwrap_or(0);
    let (bar, template) = match source.count() {
        Some(all) => (ProgressBar::new(all), "{wide_bar} {human_pos} of {human_len}, {rate}/s, {eta} left, {msg}"),
        None => (ProgressBar::no_length(), "{spinner} {human_pos} messages, {rate}/s, {msg}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // indicatif's own rate has four decimals.
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        write!(out, "{:.0}", state.per_sec()).unwrap_or_default();
    };
    bar.with_style(style.with_key("rate", rate)).with_position(done)
}
