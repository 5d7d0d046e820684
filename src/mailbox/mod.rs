//! The mailbox: a FHIR R4 server for messages.
//!
//! It takes message Bundles at `$process-message`, does what their event says, resolves who the patient is, and offers
//! what it holds by REST. It speaks HTTP only, knows nothing of HL7 v2 and of the engine, and serves any sender.
//!
//! - [`net`], [`auth`]: connections, TLS, and who may do what
//! - [`http`]: the routes, and errors as OperationOutcomes
//! - [`process`]: what each event does, as a function over one transaction
//! - [`empi`]: identifiers to Patients, Patients to persons
//! - [`search`]: what can be asked
//! - [`store`]: what is kept, and how
//! - [`counts`]: what the metrics tell; [`courier`]: answers that are sent to their receivers
//! - [`json`], [`canonical`], [`kind`]: resources as trees, the one way of writing them, and the types that are stored
//!
//! Promises: a message is applied whole or not at all, and is on disk before it is answered; a duplicate gets the first
//! answer byte for byte; two that match one condition stop the message instead of the wrong patient being changed.

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
pub mod store;

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::tls::Acceptor;

use crate::http::auth::{AuthError, Guard};
pub use config::Config;
pub use http::ROUTES;
use metrics::Counts;
use store::sqlite::{OpenError, Options, Sqlite};
use store::{Reader, Store, StoreError, Transaction, Work};

/// An open mailbox. Clones share it.
#[derive(Clone)]
pub struct Mailbox {
    store: Arc<dyn Store>,
    config: Arc<Config>,
    /// Rung when something new may be in the log.
    bell: watch::Sender<()>,
    closing: CancellationToken,
    guard: Arc<Guard>,
    counts: Arc<Counts>,
}

/// Why a mailbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Mailbox {
    /// Opens the database and starts the writer.
    ///
    /// # Errors
    /// [`MailboxError`] when the database or the configuration of tokens cannot be used.
    pub fn open(config: &Config) -> Result<Self, MailboxError> {
        let guard = Arc::new(Guard::new(&config.auth)?);
        let options = Options { readers: config.readers, cache: config.cache, queue: config.queue };
        let store = Sqlite::open(&config.data, options)?;
        Ok(Self {
            store,
            config: Arc::new(config.clone()),
            bell: watch::Sender::new(()),
            closing: CancellationToken::new(),
            guard,
            counts: Arc::default(),
        })
    }

    /// The routes, to be mounted at `/fhir`. Called within a tokio runtime, on which answers are sent to those who want
    /// them sent.
    pub fn router(&self) -> axum::Router {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(callback::run(self.clone(), self.closing.clone()));
        }
        http::router(self)
    }

    /// Shows in `metrics` what becomes of messages.
    pub fn observe(&self, metrics: &Metrics) {
        self.counts.show(metrics);
    }

    /// Lets readers that wait for messages go, so that HTTP can end.
    pub fn release(&self) {
        self.closing.cancel();
    }

    /// Finishes what is queued and lets waiting readers go. Later messages are refused. Blocks.
    pub fn close(&self) {
        self.closing.cancel();
        self.store.close();
    }

    fn ring(&self) {
        self.bell.send_replace(());
    }

    fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Runs `work` in the next group commit and waits until it is on disk.
    fn transact<T, F>(&self, work: F) -> Result<impl Future<Output = Result<T, StoreError>> + use<T, F>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Transaction) -> Result<Step<T>, StoreError> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.store.submit(Box::new(Answered { work, result: None, sender }))?;
        Ok(async move { receiver.await.unwrap_or(Err(StoreError::Closed)) })
    }

    /// Runs `ask` on a reader, away from the threads that serve sockets.
    async fn read<T, F>(&self, ask: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        let run = move || {
            let mut ask = Some(ask);
            let mut answer = Err(StoreError::Closed);
            store.read(&mut |reader| {
                if let Some(ask) = ask.take() {
                    answer = ask(reader);
                }
                Ok(())
            })?;
            answer
        };
        tokio::task::spawn_blocking(run).await.unwrap_or(Err(StoreError::Closed))
    }
}

/// What a piece of work came to, and whether what it wrote stays.
enum Step<T> {
    Keep(T),
    Undo(T),
}

/// Work whose result somebody waits for. It may be run more than once; the last result counts.
struct Answered<T, F> {
    work: F,
    result: Option<T>,
    sender: tokio::sync::oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F> Work for Answered<T, F>
where
    F: FnMut(&mut dyn Transaction) -> Result<Step<T>, StoreError> + Send,
{
    fn run(&mut self, transaction: &mut dyn Transaction) -> Result<bool, StoreError> {
        self.result = None;
        let (result, keep) = match (self.work)(transaction)? {
            Step::Keep(result) => (result, true),
            Step::Undo(result) => (result, false),
        };
        self.result = Some(result);
        Ok(keep)
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { result, sender, .. } = *self;
        let answer = committed.and_then(|()| result.ok_or(StoreError::Closed));
        if sender.send(answer).is_err() {
            tracing::debug!("a sender left before its message was answered");
        }
    }
}

/// Serves `mailbox` at `/fhir`, with `/health` and `/metrics` beside it, until `cancel`, then lets the requests in hand finish.
///
/// # Errors
/// When the listener or TLS cannot be used, or when everyone on the network could come in and nobody declared that.
pub async fn serve(listener: TcpListener, mailbox: Mailbox, cancel: CancellationToken) -> io::Result<()> {
    let config = &mailbox.config;
    crate::http::auth::check_address(&config.auth, listener.local_addr()?).map_err(io::Error::other)?;
    let tls = config.tls.as_ref().map(|files| Acceptor::new(files, crate::http::listener::PROTOCOLS)).transpose();
    let tls = tls.map_err(|fault| io::Error::other(format!("mailbox.tls: {fault}")))?;
    let listener = crate::http::listener::Bounded::new(listener, tls, config.max_connections)?;
    let metrics = Arc::new(Metrics::new());
    mailbox.observe(&metrics);
    let app = crate::metrics::routes(metrics).nest("/fhir", mailbox.router());
    let waiting = mailbox.clone();
    let stop = async move {
        cancel.cancelled().await;
        waiting.release();
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    tokio::task::spawn_blocking(move || mailbox.close()).await.map_err(io::Error::other)
}
