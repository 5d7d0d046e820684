//! Where the journal is, and who may write it: the daemon that holds it, or this process where none does.

use anyhow::Context as _;
use clap::Args;

use crate::cli::Configured;
use crate::cli::admin::{Remote, Trust};
use crate::config::Config;
use crate::journal::{Journal, Reader, held, unfiled};

/// Where the journal is, and the daemon that may hold it.
#[derive(Debug, Args)]
pub struct JournalAccess {
    #[command(flatten)]
    configured: Configured,
    /// Where the daemon answers, when http.bind of the configuration is not how it is reached
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// A token with the scope admin, for a daemon that wants one
    #[arg(long, global = true, env = "STOKER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    #[command(flatten)]
    trust: Trust,
}

impl JournalAccess {
    pub fn config(&self) -> anyhow::Result<Config> {
        self.configured.load()
    }

    pub fn reader(&self) -> anyhow::Result<Reader> {
        reader(&self.config()?)
    }

    pub fn daemon(&self, config: &Config) -> anyhow::Result<Remote> {
        Remote::of(config, self.url.as_deref(), self.token.as_deref(), &self.trust)
    }

    pub fn writer(&self, config: &Config) -> anyhow::Result<JournalWriter> {
        Ok(match held(&config.journal.path) {
            Some(holder) => JournalWriter::Daemon(self.daemon(config)?, Holder(holder)),
            None => {
                config.existing_journal()?;
                JournalWriter::Here(Journal::open(&config.journal)?)
            }
        })
    }
}

/// Who may write the journal.
pub enum JournalWriter {
    /// The daemon that holds it.
    Daemon(Remote, Holder),
    /// This process, as none does.
    Here(Journal),
}

/// The process that holds the journal, in words.
pub struct Holder(String);

impl Holder {
    /// Runs what it is asked to do.
    pub fn wait<T>(&self, asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let words = || format!("the journal is held by a running process{}, which has to do it", self.0);
        wait(asked).with_context(words)
    }
}

/// Says what it does not see: a daemon files its log all the time, but after a crash none does.
pub fn reader(config: &Config) -> anyhow::Result<Reader> {
    let reader = Reader::open(config.existing_journal()?)?;
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
pub fn left(config: &Config) -> anyhow::Result<u64> {
    let path = config.existing_journal()?;
    Ok(if held(path).is_some() { 0 } else { unfiled(path)? })
}

/// Runs one question to the daemon.
pub fn wait<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
