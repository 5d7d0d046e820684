//! `stoker mailbox`: the mailbox alone, for senders that are not this engine.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Configured, logging, serve};
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
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let bind = config.mailbox.bind;
        let listener =
            TcpListener::bind(bind).await.with_context(|| format!("mailbox.bind: cannot listen on {bind}"))?;
        let mailbox = Mailbox::open(&config.mailbox)?;
        tracing::info!(address = %listener.local_addr()?, "the mailbox is at /fhir");
        let shutdown = CancellationToken::new();
        tokio::spawn(serve::signals(shutdown.clone()));
        Ok::<_, anyhow::Error>(mailbox::serve(listener, mailbox, shutdown).await?)
    })?;
    Ok(ExitCode::SUCCESS)
}
