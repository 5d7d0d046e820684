//! The whole of it in one process: engine, mailbox, and the HTTP that shows both. `serve` runs it, and so does `demo`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::admin::{self, Admin};
use super::embedded::EmbeddedMailbox;
use super::health::DaemonHealth;
use crate::config::Config;
use crate::config::check::{self, check};
use crate::engine::{self, Engine};
use crate::http::health;
use crate::http::hosts::{self, Hosts};
use crate::http::inside::inside;
use crate::http::listener::{self, Door, PROTOCOLS};
use crate::journal::Journal;
use crate::mapping::Plan;
use crate::metrics::{self, Metrics};
use crate::tls::Acceptor;

/// How long HTTP connections, and then the mailbox, may take to end when the engine has.
const HTTP_ENDS: Duration = Duration::from_secs(2);
const MAILBOX_ENDS: Duration = Duration::from_secs(3);

/// A daemon has ended so long after its deliveries were given up (`queue.drain`), whatever blocks.
pub const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// What is answered however many connections are at work.
const ALWAYS: &[&str] = &["/health", "/metrics", "/admin"];

/// Built, bound, and not yet running.
pub struct Daemon {
    engine: Engine,
    mailbox: Option<EmbeddedMailbox>,
    http: TcpListener,
    tls: Option<Acceptor>,
    /// The mailbox's routes at their place.
    fhir: Router,
    metrics: Arc<Metrics>,
    config: Config,
}

impl Daemon {
    /// Checks the configuration, opens the stores and binds every port. A port 0 becomes a real one.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration; else what cannot be opened or bound, and why.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        for warning in check(&config).0.refuse()? {
            tracing::warn!("{warning}");
        }
        check::ports(&config).refuse()?;
        say_what_begins(&config);
        let bind = config.http.bind;
        let http = TcpListener::bind(bind).await.with_context(|| format!("http.bind: cannot listen on {bind}"))?;
        let config = config.settled(http.local_addr()?);
        let tls = config.http.tls.as_ref().map(|files| Acceptor::new(files, PROTOCOLS)).transpose();
        let tls = tls.context("http.tls")?;
        let plan = Plan::load(&config.mapping, &config.identifiers)?;
        let metrics = Arc::new(Metrics::new());
        let mailbox = match config.http.mailbox {
            true => {
                crate::http::auth::check_address(&config.mailbox.auth, http.local_addr()?)?;
                Some(EmbeddedMailbox::open(&config.mailbox, &config.http.hosts, &metrics)?)
            }
            false => None,
        };
        let fhir = mailbox.as_ref().map(EmbeddedMailbox::routes).unwrap_or_default();
        let parts = engine::EngineConfig {
            journal: config.journal.clone(),
            listeners: config.listeners.clone(),
            mllp: config.mllp.clone(),
            queue: config.queue.clone(),
            outbound: config.destination.clone(),
            own: config.delivers_to_itself().then(|| inside(fhir.clone())),
        };
        let engine = Engine::build(parts, plan, Arc::clone(&metrics)).await?;
        Ok(Self { engine, mailbox, http, tls, fhir, metrics, config })
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
        let (journal, control) = (self.engine.journal(), self.engine.control());
        let admin = Admin::new(journal, &self.config.journal.path, control, &self.config.mailbox.auth)?;
        let health = DaemonHealth {
            journal: self.engine.journal(),
            listening: self.engine.listening(),
            mailbox: self.mailbox.clone(),
            metrics: Arc::clone(&self.metrics),
            stopping: shutdown.clone(),
        };
        let health = health::routes(move || health.clone().readiness());
        let hosts = Hosts::new(&self.config.http.hosts, self.config.mailbox.base.as_deref());
        let open = hosts::guard(metrics::routes(Arc::clone(&self.metrics)).merge(health), hosts);
        let app = open.merge(self.fhir).merge(admin::routes(admin));
        let stop_http = CancellationToken::new();
        let address = self.http.local_addr().unwrap_or(self.config.http.bind);
        tracing::info!(%address, mailbox = self.mailbox.is_some(), tls = self.tls.is_some(), "http");
        let (limits, metrics) = (self.config.http.limits(), self.metrics);
        let door = Door { listener: self.http, tls: self.tls, app, limits, always: ALWAYS, metrics };
        let serving = tokio::spawn(listener::serve(door, stop_http.clone()));
        let trying = self.mailbox.clone().map(|mailbox| AbortOnDropHandle::new(tokio::spawn(mailbox.keep_trying())));
        let journal = self.engine.journal();
        self.engine.run(shutdown).await;
        let gone = journal.trouble();
        drop(journal);
        drop(trying);
        self.mailbox.iter().for_each(EmbeddedMailbox::release);
        stop_http.cancel();
        match tokio::time::timeout(HTTP_ENDS, serving).await {
            Ok(served) => served??,
            Err(_) => tracing::warn!("HTTP connections have not ended within {HTTP_ENDS:?}; they are cut"),
        }
        if let Some(mailbox) = self.mailbox {
            let closing = tokio::task::spawn_blocking(move || mailbox.close());
            match tokio::time::timeout(MAILBOX_ENDS, closing).await {
                Ok(closed) => closed?,
                Err(_) => {
                    tracing::warn!("the mailbox's writer has not ended within {MAILBOX_ENDS:?}; it is left behind")
                }
            }
        }
        match gone {
            Some(what) => {
                bail!("{what}: what the journal held is in the file that its log names; it is not acknowledged anew")
            }
            None => Ok(()),
        }
    }
}

fn say_what_begins(config: &Config) {
    let (path, mailbox) = (config.journal.path.display(), config.mailbox.data.display());
    if !check::begins(config) {
        return;
    }
    if config.http.mailbox && config.mailbox.data.exists() {
        tracing::warn!(%path, %mailbox, "there is no journal: a new one begins, beside a mailbox that has data");
    } else {
        tracing::info!(%path, "there is no journal yet: a new one begins");
    }
}
