//! `stoker mailbox`: the mailbox alone, for senders that are not this engine.

use std::process::ExitCode;

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Configured;
use super::running::logging;
use super::running::signals::{self, Hangup};
use crate::config::check::{self, check};
use crate::mailbox::{self, Mailbox};
use crate::server::limits;

#[derive(Debug, Args)]
pub struct MailboxArgs {
    #[command(flatten)]
    configured: Configured,
}

pub fn run(options: &MailboxArgs) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    logging::start(&config.log)?;
    for warning in check(&config).0.refuse()? {
        tracing::warn!("{warning}");
    }
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let bind = config.mailbox.bind;
        let listener = TcpListener::bind(bind).await;
        let listener = listener
            .map_err(|error| anyhow::anyhow!("mailbox.bind: cannot listen on {bind}: {}", check::why(&error, bind)))?;
        let mailbox = Mailbox::open(&config.mailbox)?;
        tracing::info!(address = %listener.local_addr()?, "the mailbox is at /fhir");
        let shutdown = CancellationToken::new();
        tokio::spawn(signals::stop(shutdown.clone(), Hangup::Ignored));
        Ok::<_, anyhow::Error>(mailbox::serve(listener, mailbox, shutdown).await?)
    })?;
    Ok(ExitCode::SUCCESS)
}
