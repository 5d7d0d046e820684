//! The mailbox: a FHIR R4 server for messages.
//!
//! It takes message Bundles at `$process-message`, does what their event says, resolves who the patient is, and offers
//! what it holds by REST. It speaks HTTP only, knows nothing of HL7 v2 and of the engine, and serves any sender.
//!
//! In come requests, each of a caller whom [`crate::http`] has let in; out go answers, resources, and messages for those who
//! poll. In the order of a message:
//!
//! - [`http`]: the routes, and errors as OperationOutcomes
//! - [`process`]: what each event does, in stages over one transaction
//! - [`empi`]: identifiers to Patients, Patients to persons
//! - [`search`]: what can be asked
//! - [`store`]: what is kept, and how
//! - [`mailbox`]: what all of these hold; [`metrics`]: what became of messages; [`callback`]: answers that are sent to their
//!   receivers
//! - [`json`], [`canonical`], [`resource_type`]: resources as trees, the one way of writing them, and the types that are stored;
//!   [`budget`]: how much is done at once; [`steps`]: what tests count
//!
//! Promises: a message is applied whole or not at all, and is on disk before it is answered; a duplicate gets the first
//! answer byte for byte; two that match one condition stop the message instead of the wrong patient being changed.

#[expect(clippy::module_inception, reason = "the mailbox as its routes hold it")]
mod mailbox;
mod budget;
mod metrics;
mod callback;
pub mod resource_type;
pub mod canonical;
pub mod config;
pub mod empi;
mod http;
pub mod json;
pub mod outcome;
pub mod process;
pub mod search;
mod steps;
pub mod store;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::hosts::{self, Hosts};
use crate::http::listener::{Door, PROTOCOLS};
use crate::metrics::Metrics;
use crate::tls::Acceptor;
pub use mailbox::{Mailbox, MailboxError};
use store::Transaction;

pub use config::MailboxConfig;
pub use http::ROUTES;
pub use store::sqlite::OpenError as StoreOpenError;

impl Mailbox {
    /// The routes, to be mounted at `/fhir` of a server with these names. Called within a tokio runtime, on which answers are sent to those who want
    /// them sent.
    pub fn router(&self, names: &[String]) -> axum::Router {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(callback::run(self.clone(), self.closing.clone()));
        }
        http::router(self, self.hosts(names))
    }

    /// The names of a server that carries the mailbox.
    #[must_use]
    pub fn hosts(&self, names: &[String]) -> Hosts {
        Hosts::new(names, self.config.base.as_deref())
    }
}

/// The files of a mailbox's database, and their folder, that others on this machine may read, in words.
#[must_use]
pub fn exposed(data: &std::path::Path) -> Vec<String> {
    crate::sqlite::private::findings(data, &[])
}

/// The OperationOutcome of a mailbox that cannot answer now.
#[must_use]
pub fn unavailable(why: &str) -> String {
    outcome::operation_outcome(&[outcome::Issue::error("transient", why)]).to_string()
}

/// Serves `mailbox` at `/fhir`, with `/health` and `/metrics` beside it, until `cancel`, then lets the requests in hand finish.
///
/// # Errors
/// When the listener or TLS cannot be used, or when everyone on the network could come in and nobody declared that.
pub async fn serve(listener: TcpListener, mailbox: Mailbox, cancel: CancellationToken) -> io::Result<()> {
    let config = &mailbox.config;
    crate::http::auth::check_address(&config.auth, listener.local_addr()?).map_err(io::Error::other)?;
    let tls = config.tls.as_ref().map(|files| Acceptor::new(files, PROTOCOLS)).transpose();
    let tls = tls.map_err(|fault| io::Error::other(format!("mailbox.tls: {fault}")))?;
    let metrics = Arc::new(Metrics::new());
    mailbox.observe(&metrics);
    let asked = mailbox.clone();
    let health = crate::http::health::routes(move || {
        let mailbox = asked.clone();
        async move { mailbox.readiness().await }
    });
    let open = hosts::guard(crate::metrics::routes(Arc::clone(&metrics)).merge(health), mailbox.hosts(&config.hosts));
    let app = open.nest("/fhir", mailbox.router(&config.hosts));
    let waiting = mailbox.clone();
    let stop = cancel.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        waiting.release();
    });
    let door = Door { listener, tls, app, limits: config.limits(), always: &["/health", "/metrics"], metrics };
    crate::http::listener::serve(door, cancel).await?;
    tokio::task::spawn_blocking(move || mailbox.close()).await.map_err(io::Error::other)
}
