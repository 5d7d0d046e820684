//! `stoker poll`: reads the messages of a destination from a mailbox's log, as NDJSON.
//!
//! The offset is kept in a file, written after the messages it counts. With `--output` the file's length is kept beside
//! it, and what was written behind it by an interrupted run is cut off: each message stands there once, however often
//! either side dies. On stdout, messages may come twice after a crash, and never not at all.

mod page;
mod state;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::running::signals::{self, Hangup};
use page::{Failed, MailboxList};
use state::{Output, PollState};

#[derive(Debug, Args)]
pub struct PollArgs {
    /// The mailbox's base URL, as in http://127.0.0.1:8575/fhir
    url: String,
    /// Whose messages: the endpoint that they are addressed to
    #[arg(long, value_name = "URI")]
    destination: String,
    /// Only messages of this event, as code or system|code
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Start at this message, counted from 0; otherwise where the last run ended
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    /// Wait for more when all are read
    #[arg(long)]
    follow: bool,
    /// The file that keeps the offset
    #[arg(long, default_value = "stoker-poll.state", value_name = "FILE")]
    state: PathBuf,
    /// Where the messages go; otherwise to stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Messages to ask for at once
    #[arg(long, default_value_t = 200, value_name = "N")]
    count: u32,
    /// The bearer token, for a mailbox that wants one
    #[arg(long, env = "STOKER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// The proxy through which the mailbox is reached; the environment's is not followed
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
}

/// How long the mailbox is asked to wait for more.
const WAIT: u64 = 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

pub fn run(options: &PollArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let read = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(signals::stop(stop.clone(), Hangup::Stops));
        poll(options, stop).await
    })?;
    eprintln!("{read} messages read");
    Ok(ExitCode::SUCCESS)
}

async fn poll(options: &PollArgs, stop: CancellationToken) -> anyhow::Result<u64> {
    let (event, token, proxy) = (options.event.as_deref(), options.token.as_deref(), options.proxy.as_deref());
    let source = MailboxList::new(&options.url, &options.destination, event, token, proxy)?;
    let mut state = PollState::load(&options.state, source.list(), options.offset)?;
    let mut output = Output::open(options.output.as_deref(), &mut state)?;
    let (start, mut failures) = (state.offset, 0);
    while !stop.is_cancelled() {
        let wait = if options.follow { WAIT } else { 0 };
        let asked = source.page(state.offset, options.count, wait);
        let page = tokio::select! {
            page = asked => page,
            () = stop.cancelled() => break,
        };
        match page {
            Ok(page) => {
                if failures > 0 {
                    eprintln!("the mailbox answers again");
                    failures = 0;
                }
                if page.total < state.offset {
                    bail!(
                        "{} messages were read, and the list holds {}: this is another mailbox, or an older state of it; \
                         start again with --offset",
                        state.offset,
                        page.total
                    );
                }
                let empty = page.messages.is_empty();
                take(&mut output, &mut state, &page.messages)?;
                if empty && !options.follow {
                    break;
                }
            }
            Err(Failed::Refused(why)) => bail!("{why}"),
            Err(Failed::Away(why)) if !options.follow => bail!("{why}"),
            Err(Failed::Away(why)) => {
                if failures == 0 {
                    eprintln!("waiting for the mailbox: {why}");
                }
                failures += 1;
                let pause = Duration::from_secs(1 << failures.min(5)).min(LONGEST_PAUSE);
                tokio::select! {
                    () = tokio::time::sleep(pause / 2) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
    }
    Ok(state.offset - start)
}

/// Writes messages, then the state that counts them.
fn take(output: &mut Output, state: &mut PollState, messages: &[String]) -> anyhow::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    for message in messages {
        output.write_all(message.as_bytes()).and_then(|()| output.write_all(b"\n")).context("cannot write messages")?;
    }
    state.bytes = output.settle().context("cannot write messages")?;
    state.offset += messages.len() as u64;
    state.save()
}
