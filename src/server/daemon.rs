//! The whole of it in one process: engine, mailbox, and the HTTP that shows both. `serve` runs it, and so does `demo`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admin::{self, Admin};
use crate::config::Config;
use crate::engine::{self, Engine};
use crate::http::listener::{Bounded, PROTOCOLS, Peer};
use crate::journal::Journal;
use crate::mailbox::Mailbox;
use crate::mapping::Plan;
use crate::metrics::{self, Metrics};
use crate::tls::Acceptor;

/// How long HTTP connections, and then the mailbox, may take to end when the engine has.
const HTTP_ENDS: Duration = Duration::from_secs(2);
const MAILBOX_ENDS: Duration = Duration::from_secs(3);

/// A daemon has ended so long after its deliveries were given up (`queue.drain`), whatever blocks.
pub const AFTER_DRAIN: Duration = Duration::from_secs(5);

/// Built, bound, and not yet running.
pub struct Daemon {
    engine: Engine,
    mailbox: Option<Mailbox>,
    http: TcpListener,
    tls: Option<Acceptor>,
    /// With HTTPS outside, the engine's own way to the mailbox.
    inside: Option<TcpListener>,
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
        let mut config = config.settled(http.local_addr()?);
        let tls = config.http.tls.as_ref().map(|files| Acceptor::new(files, PROTOCOLS)).transpose();
        let tls = tls.context("http.tls")?;
        let inside = inside(&mut config).await?;
        let plan = Plan::load(&config.mapping, &config.identifiers)?;
        let mailbox = match config.http.mailbox {
            true => {
                crate::http::auth::check_address(&config.mailbox.auth, http.local_addr()?)?;
                Some(Mailbox::open(&config.mailbox)?)
            }
            false => None,
        };
        let metrics = Arc::new(Metrics::new());
        mailbox.iter().for_each(|mailbox| mailbox.observe(&metrics));
        let parts = engine::EngineConfig {
            journal: config.journal.clone(),
            listeners: config.listeners.clone(),
            queue: config.queue.clone(),
            outbound: config.destination.clone(),
        };
        let engine = Engine::build(parts, plan, Arc::clone(&metrics)).await?;
        Ok(Self { engine, mailbox, http, tls, inside, metrics, config })
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
        let app = routes(self.mailbox.as_ref(), self.metrics).merge(admin::routes(admin));
        let app = app.into_make_service_with_connect_info::<Peer>();
        let stop_http = CancellationToken::new();
        let address = self.http.local_addr().ok();
        tracing::info!(?address, mailbox = self.mailbox.is_some(), tls = self.tls.is_some(), "http");
        let mut serving = JoinSet::new();
        let doors = std::iter::once((self.http, self.tls)).chain(self.inside.map(|inside| (inside, None)));
        for (listener, tls) in doors {
            let listener = Bounded::new(listener, tls, self.config.http.max_connections)?;
            let stop = stop_http.clone().cancelled_owned();
            serving.spawn(axum::serve(listener, app.clone()).with_graceful_shutdown(stop).into_future());
        }
        self.engine.run(shutdown).await;
        self.mailbox.iter().for_each(Mailbox::release);
        stop_http.cancel();
        let served = async {
            while let Some(served) = serving.join_next().await {
                served??;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(HTTP_ENDS, served).await {
            Ok(served) => served?,
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
        Ok(())
    }
}

/// A certificate names a host, and the engine would have to trust it and go out to come in again. So beside HTTPS the
/// engine reaches its own mailbox on a loopback port without TLS.
async fn inside(config: &mut Config) -> anyhow::Result<Option<TcpListener>> {
    let own = format!("https://{}/fhir/$process-message", config.http.bind);
    if !config.http.mailbox || config.http.tls.is_none() || config.destination.url != own {
        return Ok(None);
    }
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    config.destination.url = format!("http://{}/fhir/$process-message", listener.local_addr()?);
    Ok(Some(listener))
}

fn routes(mailbox: Option<&Mailbox>, metrics: Arc<Metrics>) -> Router {
    let app = metrics::routes(metrics);
    match mailbox {
        Some(mailbox) => app.nest("/fhir", mailbox.router()),
        None => app,
    }
}
