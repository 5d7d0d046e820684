//! The mailbox as its routes hold it: the store behind a queue of work, what rings when something is new, and who may come in.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::config::MailboxConfig;
use super::metrics::MessageCounts;
use super::resource_type::ResourceType;
use super::store::sqlite::{OpenError, Sqlite, StoreOptions};
use super::store::{Reader, Store, StoreError, Transaction, Work};
use crate::http::auth::{AuthError, Authenticator, Caller};
use crate::http::health::{HealthReason, Readiness};
use crate::metrics::Metrics;

/// An open mailbox. Clones share it.
#[derive(Clone)]
pub struct Mailbox {
    store: Arc<dyn Store>,
    pub(super) config: Arc<MailboxConfig>,
    /// Rung when something new may be in the log.
    bell: watch::Sender<()>,
    pub(super) closing: CancellationToken,
    pub(super) guard: Arc<Authenticator>,
    pub(super) counts: Arc<MessageCounts>,
    pub(super) budget: Arc<Budget>,
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
    pub fn open(config: &MailboxConfig) -> Result<Self, MailboxError> {
        let guard = Arc::new(Authenticator::new(&config.auth)?);
        let options = StoreOptions { readers: config.readers, cache: config.cache, queue: config.queue };
        let store = Sqlite::open(&config.data, options)?;
        Ok(Self {
            store,
            config: Arc::new(config.clone()),
            bell: watch::Sender::new(()),
            closing: CancellationToken::new(),
            guard,
            counts: Arc::default(),
            budget: Arc::new(Budget::new(config.body_limit, config.readers)),
        })
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

    /// Whether a message would be taken now.
    pub async fn readiness(&self) -> Readiness {
        let mut found = Readiness::default();
        if self.closing.is_cancelled() {
            found.reasons.push(HealthReason::new("mailbox", "it is stopping"));
        }
        if let Err(error) = self.read(&Caller::anyone(), |reader| reader.system_known(ResourceType::Patient, "")).await
        {
            found.reasons.push(HealthReason::new("mailbox", format!("its database cannot be read: {error}")));
        }
        found.warnings.extend(self.guard.fault().map(|fault| HealthReason::new("jwt", fault)));
        found
    }

    pub(super) fn ring(&self) {
        self.bell.send_replace(());
    }

    pub(super) fn bell(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Runs `work` in the next group commit and waits until it is on disk.
    pub(super) fn transact<T, F>(
        &self,
        work: F,
    ) -> Result<impl Future<Output = Result<T, StoreError>> + use<T, F>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Transaction) -> Result<Effect<T>, StoreError> + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.store.submit(Box::new(AwaitedWork { work, result: None, sender }))?;
        Ok(async move { receiver.await.unwrap_or(Err(StoreError::Closed)) })
    }

    /// Runs `ask` on a reader in the name of `caller`, away from the threads that serve sockets.
    pub(super) async fn read<T, F>(&self, caller: &Caller, ask: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let (store, caller) = (Arc::clone(&self.store), caller.clone());
        let run = move || {
            let mut ask = Some(ask);
            let mut answer = Err(StoreError::Closed);
            store.read(&caller, &mut |reader| {
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
pub enum Effect<T> {
    Keep(T),
    Undo(T),
}

/// Work whose result somebody waits for. It may be run more than once; the last result counts.
pub struct AwaitedWork<T, F> {
    work: F,
    result: Option<T>,
    sender: tokio::sync::oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F> Work for AwaitedWork<T, F>
where
    F: FnMut(&mut dyn Transaction) -> Result<Effect<T>, StoreError> + Send,
{
    fn run(&mut self, transaction: &mut dyn Transaction) -> Result<bool, StoreError> {
        self.result = None;
        let (result, keep) = match (self.work)(transaction)? {
            Effect::Keep(result) => (result, true),
            Effect::Undo(result) => (result, false),
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
