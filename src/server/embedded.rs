//! The mailbox that the daemon carries. Its trouble never keeps messages from being received: where its database cannot be
//! opened the daemon runs without it, deliveries to it wait, and it is tried again until it opens.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::http::health::{HealthReason, Readiness};
use crate::log_throttle::{LogThrottle, throttled};
use crate::mailbox::{Mailbox, MailboxConfig, MailboxError, StoreOpenError, unavailable};
use crate::metrics::Metrics;

/// How often it is tried to open the database again.
const AGAIN: Duration = Duration::from_secs(10);

static UNOPENED: LogThrottle = LogThrottle::minutely();

#[derive(Clone)]
pub struct EmbeddedMailbox {
    config: Arc<MailboxConfig>,
    /// Names of the server that carries it.
    hosts: Arc<[String]>,
    metrics: Arc<Metrics>,
    opened: Arc<OnceLock<OpenedMailbox>>,
    /// Why it is not open.
    fault: Arc<Mutex<String>>,
}

struct OpenedMailbox {
    mailbox: Mailbox,
    routes: Router,
}

impl EmbeddedMailbox {
    /// Opens it, where that can be done now.
    ///
    /// # Errors
    /// When its configuration is wrong: that does not mend itself.
    pub fn open(config: &MailboxConfig, hosts: &[String], metrics: &Arc<Metrics>) -> Result<Self, MailboxError> {
        let embedded = Self {
            config: Arc::new(config.clone()),
            hosts: hosts.into(),
            metrics: Arc::clone(metrics),
            opened: Arc::default(),
            fault: Arc::default(),
        };
        match Mailbox::open(config) {
            Ok(mailbox) => embedded.take(mailbox),
            Err(MailboxError::Store(error)) => embedded.fail(&error),
            Err(error) => return Err(error),
        }
        Ok(embedded)
    }

    fn take(&self, mailbox: Mailbox) {
        mailbox.observe(&self.metrics);
        let routes = mailbox.router(&self.hosts);
        if self.opened.set(OpenedMailbox { mailbox, routes }).is_err() {
            tracing::debug!("the mailbox was opened twice");
        }
    }

    fn fail(&self, error: &StoreOpenError) {
        throttled!(error, UNOPENED, "the mailbox cannot be opened; messages are received and wait for it. {error}");
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
    }

    /// Tries until it is open.
    pub async fn keep_trying(self) {
        while self.opened.get().is_none() {
            tokio::time::sleep(AGAIN).await;
            let config = Arc::clone(&self.config);
            match tokio::task::spawn_blocking(move || Mailbox::open(&config)).await {
                Ok(Ok(mailbox)) => {
                    self.take(mailbox);
                    tracing::info!("the mailbox is open");
                }
                Ok(Err(MailboxError::Store(error))) => self.fail(&error),
                Ok(Err(error)) => throttled!(error, UNOPENED, %error, "the mailbox cannot be opened"),
                Err(error) => throttled!(error, UNOPENED, %error, "the mailbox cannot be opened"),
            }
        }
    }

    /// Its routes at their place, open or not.
    pub fn routes(&self) -> Router {
        Router::new().nest("/fhir", Router::new().fallback(pass).with_state(self.clone()))
    }

    pub async fn readiness(&self) -> Readiness {
        match self.opened.get() {
            Some(opened) => opened.mailbox.readiness().await,
            None => {
                let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Readiness { reasons: vec![HealthReason::new("mailbox", fault)], ..Readiness::default() }
            }
        }
    }

    /// Lets readers that wait for messages go.
    pub fn release(&self) {
        self.opened.get().into_iter().for_each(|opened| opened.mailbox.release());
    }

    /// Finishes what is queued. Blocks.
    pub fn close(&self) {
        self.opened.get().into_iter().for_each(|opened| opened.mailbox.close());
    }
}

async fn pass(State(embedded): State<EmbeddedMailbox>, request: Request) -> Response {
    let Some(opened) = embedded.opened.get() else {
        let body = unavailable("the mailbox cannot be opened at the moment; the daemon's log says why");
        let kind = [(header::CONTENT_TYPE, "application/fhir+json"), (header::RETRY_AFTER, "10")];
        return (StatusCode::SERVICE_UNAVAILABLE, kind, Body::from(body)).into_response();
    };
    match TowerToHyperService::new(opened.routes.clone()).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
