//! The whole of it in one process: engine, mailbox, and the HTTP that shows both. `serve` runs it, and so does `demo`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::{self, Engine};
use crate::journal::Journal;
use crate::mailbox::Mailbox;
use crate::mapping::Plan;
use crate::metrics::{self, Metrics};

/// Built, bound, and not yet running.
pub struct Daemon {
    engine: Engine,
    mailbox: Option<Mailbox>,
    http: TcpListener,
    metrics: Arc<Metrics>,
    config: Config,
}

impl Daemon {
    /// Opens the stores and binds every port. A port 0 becomes a real one.
    ///
    /// # Errors
    /// What cannot be opened or bound, and why.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let bind = config.http.bind;
        let http = TcpListener::bind(bind).await.with_context(|| format!("http.bind: cannot listen on {bind}"))?;
        let config = config.settled(http.local_addr()?);
        let plan = Plan::load(&config.mapping, &config.identifiers)?;
        let mailbox = match config.http.mailbox {
            true => {
                crate::mailbox::auth::check_address(&config.mailbox.auth, http.local_addr()?)?;
                Some(Mailbox::open(&config.mailbox)?)
            }
            false => None,
        };
        let metrics = Arc::new(Metrics::new());
        mailbox.iter().for_each(|mailbox| mailbox.observe(&metrics));
        let parts = engine::Config {
            journal: config.journal.clone(),
            listeners: config.listeners.clone(),
            queue: config.queue.clone(),
            outbound: config.destination.clone(),
        };
        let engine = Engine::build(parts, plan, Arc::clone(&metrics)).await?;
        Ok(Self { engine, mailbox, http, metrics, config })
    }

    /// Where the listeners listen.
    #[must_use]
    pub fn mllp(&self) -> Vec<SocketAddr> {
        self.engine.addresses()
    }

    #[must_use]
    pub fn journal(&self) -> Journal {
        self.engine.journal()
    }

    /// The configuration with its ports and addresses filled in.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Runs until `shutdown`, then drains: the engine first, because what it has under way goes to the mailbox.
    ///
    /// # Errors
    /// When HTTP cannot be served.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let app = routes(self.mailbox.as_ref(), self.metrics);
        let stop_http = CancellationToken::new();
        tracing::info!(address = ?self.http.local_addr().ok(), mailbox = self.mailbox.is_some(), "http");
        let serving = axum::serve(self.http, app).with_graceful_shutdown(stop_http.clone().cancelled_owned());
        let serving = tokio::spawn(serving.into_future());
        self.engine.run(shutdown).await;
        self.mailbox.iter().for_each(Mailbox::release);
        stop_http.cancel();
        serving.await??;
        if let Some(mailbox) = self.mailbox {
            tokio::task::spawn_blocking(move || mailbox.close()).await?;
        }
        Ok(())
    }
}

fn routes(mailbox: Option<&Mailbox>, metrics: Arc<Metrics>) -> Router {
    let app = metrics::routes(metrics);
    match mailbox {
        Some(mailbox) => app.nest("/fhir", mailbox.router()),
        None => app,
    }
}
