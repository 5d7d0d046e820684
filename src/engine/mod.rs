//! The engine: the one place where the stages meet.
//!
//! In come messages that listeners take, and orders of people; out go Bundles to the destination, and what became of each into
//! the journal. [`Engine::build`] opens and binds everything and starts nothing; [`Engine::run`] receives and delivers until it is
//! told to stop.
//!
//! - [`validate`], [`keys`]: what a listener may take, and whom a message is about
//! - [`worker`]: reads what waits in order, decides by its [`queue`] which may go, by its [`circuit`] whether the destination
//!   takes any, and makes an [`attempt`] for each; [`mapper`] maps what takes long aside, so that nobody waits for it;
//!   `under_way` gives the tickets back, here and in a replay
//! - [`control`], [`operator`], `dead_letters`: what people ask and decide
//! - `application_acks`: senders that want to know the outcome are told it as soon as the journal knows
//! - [`replay`]: files, delivered in order without a journal
//!
//! Promises: messages of one patient or visit are delivered in the order of their arrival, others side by side; what is
//! put off holds up its own lanes and no others, and so do dead letters where the site wants that; after a restart everything goes on where it was, and what was under
//! way is sent again with the same ids.
//!
//! Refuses: to hold more than a bounded number of messages or requests in memory, however many wait.

pub mod mapper;
pub mod validate;
pub mod control;
pub mod operator;
mod dead_letters;
mod application_acks;
mod metrics;
mod config;
pub mod queue;
pub mod circuit;
pub mod keys;
pub mod replay;
pub mod attempt;
pub mod worker;
mod under_way;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::journal::Journal;
use crate::mapping::{Context, Plan};
use crate::metrics::Metrics;
use crate::mllp::{self, Intake};
use crate::outbound::{Client, OnDeadLetter};
use crate::v2::charset::Charset;
use application_acks::ApplicationAcks;
use attempt::Attempts;
use mapper::{Mapper, ReadingRoom};
use validate::PlanValidator;
use worker::Worker;

pub use config::{BuildError, EngineConfig, Queue};
pub use control::Control;

/// Built and bound, and not yet running.
pub struct Engine {
    replies: ApplicationAcks,
    journal: Journal,
    plan: Arc<ArcSwap<Plan>>,
    metrics: Arc<Metrics>,
    worker: Worker,
    control: Control,
    listeners: Vec<(TcpListener, Arc<Intake>)>,
    drain: Duration,
    keep_bodies: Duration,
}

impl Engine {
    /// Opens the journal and binds the listeners.
    ///
    /// # Errors
    /// [`BuildError`], which says what to mend.
    pub async fn build(config: EngineConfig, plan: Plan, metrics: Arc<Metrics>) -> Result<Self, BuildError> {
        let contexts = contexts(&config.listeners)?;
        let client = Client::new(&config.outbound)?;
        let (opened, keep_bodies) = (config.journal.clone(), config.journal.keep_bodies);
        let journal = tokio::task::spawn_blocking(move || Journal::open(&opened)).await;
        let journal = journal.map_err(|error| BuildError::Runtime(error.to_string()))??;
        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let mut listeners = Vec::new();
        let aside = Arc::new(ReadingRoom::default());
        for listener in config.listeners {
            let context = contexts.get(&listener.name).cloned().unwrap_or_default();
            let (plan, unsupported, aside) = (plan.clone(), listener.unsupported, Arc::clone(&aside));
            let validator = PlanValidator { plan, unsupported, context, aside };
            listeners.push(bind(Intake::new(listener, journal.clone(), Arc::new(validator))?).await?);
        }
        let intakes: Vec<_> = listeners.iter().map(|(_, intake)| Arc::downgrade(intake)).collect();
        metrics::listeners(&metrics, &intakes);
        metrics::commits(&metrics, &journal);
        let intakes = listeners.iter().map(|(_, intake): &(_, Arc<Intake>)| intake.clone());
        let answering: Vec<_> = intakes.filter(|intake| intake.answers_later()).collect();
        let bell = Arc::new(Notify::new());
        let attempts = Attempts {
            journal: journal.clone(),
            client,
            mapper: Mapper::default(),
            sending: Semaphore::new(config.outbound.parallel.max(1)),
            plan: plan.clone(),
            contexts,
            retry: config.outbound.retry,
            promote: config.outbound.promote,
            answering: answering.iter().map(|intake| intake.config().name.clone()).collect(),
            bell: bell.clone(),
            metrics: metrics.clone(),
            up: AtomicBool::new(true),
        };
        let hold = config.outbound.on_dead_letter == OnDeadLetter::Hold;
        let (worker, control) = Worker::new(Arc::new(attempts), config.outbound.parallel, config.queue.window, hold);
        let worker = if still_paused(&journal).await? { worker.paused() } else { worker };
        let replies = ApplicationAcks { journal: journal.clone(), intakes: answering, bell };
        Ok(Self { replies, journal, plan, metrics, worker, control, listeners, drain: config.queue.drain, keep_bodies })
    }

    /// Where the listeners listen, in the order of the configuration: a port 0 there is a real one here.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    #[must_use]
    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// The plan in use. A new one that is stored here maps the next message.
    #[must_use]
    pub fn plan(&self) -> Arc<ArcSwap<Plan>> {
        self.plan.clone()
    }

    /// Where to ask the engine once it runs.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Receives and delivers until `shutdown`. Then nothing more is accepted, what has wholly arrived is stored and
    /// acknowledged, and what is under way may end; each within the configured time.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut listening = JoinSet::new();
        for (listener, intake) in self.listeners {
            tracing::info!(listener = intake.config().name, address = ?listener.local_addr().ok(), "listening");
            listening.spawn(mllp::run(listener, intake, shutdown.clone()));
        }
        let watching = AbortOnDropHandle::new(tokio::spawn(metrics::backlog(self.metrics, self.journal.clone())));
        let keeping = {
            let (journal, keep) = (self.journal.clone(), self.keep_bodies);
            AbortOnDropHandle::new(tokio::spawn(async move { journal.keep(keep).await }))
        };
        let replying =
            (!self.replies.intakes.is_empty()).then(|| AbortOnDropHandle::new(tokio::spawn(self.replies.run())));
        let delivering = self.worker.run(self.journal.feed(), shutdown.clone(), self.drain);
        tokio::join!(delivering, stopped(listening, &shutdown, self.drain));
        for task in [watching, keeping].into_iter().chain(replying) {
            task.abort();
            drop(task.await); // gone for certain, and with it its hold on the journal
        }
        tracing::info!("stopped");
    }
}

/// Whether a person stopped deliveries before this start.
async fn still_paused(journal: &Journal) -> Result<bool, BuildError> {
    let reader = journal.reader().clone();
    let asked = tokio::task::spawn_blocking(move || reader.pause()).await;
    let pause = asked.map_err(|error| BuildError::Runtime(error.to_string()))?;
    let pause = pause.map_err(|error| BuildError::Runtime(error.to_string()))?;
    if let Some(pause) = &pause {
        let (act, who, since) = (pause.id, &pause.act.who, pause.act.at);
        tracing::warn!(act, %who, %since, "deliveries are paused since then; stoker queue resume lets them go on");
    }
    Ok(pause.is_some())
}

/// Waits for the listeners, after `shutdown` for no longer than `grace`.
async fn stopped(mut listening: JoinSet<()>, shutdown: &CancellationToken, grace: Duration) {
    shutdown.cancelled().await;
    let all = async { while listening.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all).await.is_err() {
        tracing::warn!("a listener has not closed its connections within {grace:?}; they are cut, without an ack");
    }
}

async fn bind(intake: Intake) -> Result<(TcpListener, Arc<Intake>), BuildError> {
    let (name, bind) = (intake.config().name.clone(), intake.config().bind);
    let listener = TcpListener::bind(bind).await;
    let listener = listener.map_err(|e| BuildError::Bind { listener: name, bind, reason: e.to_string() })?;
    Ok((listener, Arc::new(intake)))
}

/// How the messages of each listener are read.
fn contexts(listeners: &[mllp::ListenerConfig]) -> Result<HashMap<String, Context>, BuildError> {
    let mut contexts = HashMap::new();
    for listener in listeners {
        if contexts.insert(listener.name.clone(), context(listener)?).is_some() {
            return Err(BuildError::SameName(listener.name.clone()));
        }
    }
    Ok(contexts)
}

/// How messages of a listener are read: its zone and its character set.
///
/// # Errors
/// When its zone or its character set is none.
pub fn context(listener: &mllp::ListenerConfig) -> Result<Context, BuildError> {
    let name = || listener.name.clone();
    let zone = listener
        .zone
        .as_deref()
        .map(|zone| TimeZone::get(zone).map_err(|_| BuildError::Zone { listener: name(), zone: zone.to_owned() }));
    let charset = listener.charset.clone().map(|charset| {
        Charset::try_from(charset).map_err(|e| BuildError::Charset { listener: name(), reason: e.to_string() })
    });
    Ok(Context {
        received: None,
        zone: zone.transpose()?,
        charset: charset.transpose()?,
        charset_override: listener.charset_override,
        promoted: false,
        budget: None,
    })
}
