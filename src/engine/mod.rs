//! The engine: the one place where the stages meet.
//!
//! In come messages that listeners take, and orders of people; out go Bundles to the destination, and what became of each into
//! the journal. [`Engine::build`] opens and binds everything and starts nothing; [`Engine::run`] receives and delivers until it is
//! told to stop.
//!
//! - [`validate`], [`keys`]: what a listener may take, and whom a message is about
//! - [`worker`]: reads what waits in order, decides by its [`queue`] which may go, by what is known of the [`destination`]
//!   whether any may, and makes an [`attempt`] for each; [`mapper`] maps what takes long aside, so that nobody waits for it;
//!   `under_way` gives the tickets back, here and in a replay
//! - [`control`], [`operator`], `dead_letters`: what people ask and decide
//! - [`rules`]: what the configuration says about messages that are in the journal already
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
pub mod rules;
pub mod queue;
pub mod destination;
pub mod keys;
pub mod replay;
pub mod attempt;
pub mod worker;
mod under_way;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::journal::Journal;
use crate::mapping::Plan;
use crate::metrics::Metrics;
use crate::mllp::{self, FrameMemory, Intake};
use crate::outbound::{Client, OnDeadLetter};
use application_acks::ApplicationAcks;
use attempt::Attempts;
use control::RunningListener;
use destination::doubt::Doubts;
use mapper::{Mapper, ReadingRoom};
use rules::SiteRules;
use validate::PlanValidator;
use worker::Worker;

pub use config::{BuildError, EngineConfig, Queue};
pub use control::Control;
pub use rules::context;

/// Built and bound, and not yet running.
pub struct Engine {
    replies: ApplicationAcks,
    journal: Journal,
    plan: Arc<ArcSwap<Plan>>,
    metrics: Arc<Metrics>,
    worker: Worker,
    control: Control,
    listeners: Vec<(TcpListener, Arc<Intake>)>,
    listening: Listening,
    drain: Duration,
    keep_bodies: Duration,
}

impl Engine {
    /// Opens the journal and binds the listeners.
    ///
    /// # Errors
    /// [`BuildError`], which says what to mend.
    pub async fn build(config: EngineConfig, plan: Plan, metrics: Arc<Metrics>) -> Result<Self, BuildError> {
        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let rules = SiteRules::new(&config.listeners, Some(plan.clone()))?;
        let client = match config.own {
            Some(routes) => Client::within(&config.outbound, routes)?,
            None => Client::new(&config.outbound)?,
        };
        let (opened, keep_bodies) = (config.journal.clone(), config.journal.keep_bodies);
        let journal = tokio::task::spawn_blocking(move || Journal::open(&opened)).await;
        let journal = journal.map_err(|error| BuildError::Runtime(error.to_string()))??;
        known(&journal, &rules).await?;
        let memory = Arc::new(FrameMemory::new(&config.mllp));
        let mut listeners = Vec::new();
        let aside = Arc::new(ReadingRoom::default());
        for listener in config.listeners {
            let (plan, unsupported, aside) = (plan.clone(), listener.unsupported, Arc::clone(&aside));
            let context = rules.context(&listener.name).unwrap_or_default();
            let validator = PlanValidator { plan, unsupported, context, aside };
            listeners.push(
                bind(Intake::new(listener, journal.clone(), Arc::new(validator))?.sharing(memory.clone())).await?,
            );
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
            rules,
            retry: config.outbound.retry,
            promote: config.outbound.promote,
            bell: bell.clone(),
            metrics: metrics.clone(),
            up: AtomicBool::new(true),
            doubts: Doubts::default(),
        };
        let hold = config.outbound.on_dead_letter == OnDeadLetter::Hold;
        let (worker, control) = Worker::new(Arc::new(attempts), config.outbound.parallel, config.queue.window, hold);
        let listening = listeners.iter().filter_map(|(listener, intake): &(TcpListener, Arc<Intake>)| {
            Some(RunningListener { address: listener.local_addr().ok()?, intake: Arc::downgrade(intake) })
        });
        let control = control.with_listeners(listening);
        let worker = if still_paused(&journal).await? { worker.paused() } else { worker };
        let replies = ApplicationAcks { journal: journal.clone(), intakes: answering, bell, metrics: metrics.clone() };
        let listening = Listening::none_of(listeners.iter().map(|(_, intake)| intake.config().name.clone()));
        let drain = config.queue.drain;
        Ok(Self { replies, journal, plan, metrics, worker, control, listeners, listening, drain, keep_bodies })
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

    /// Which of the listeners listen, once it runs.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening.clone()
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
            let address = listener.local_addr().unwrap_or(intake.config().bind);
            tracing::info!(listener = intake.config().name, %address, "listening");
            let open = self.listening.open(&intake.config().name);
            let serving = mllp::run(listener, intake, shutdown.clone());
            listening.spawn(async move {
                serving.await;
                drop(open);
            });
        }
        let watching = AbortOnDropHandle::new(tokio::spawn(metrics::backlog(self.metrics, self.journal.clone())));
        let keeping = {
            let (journal, keep) = (self.journal.clone(), self.keep_bodies);
            AbortOnDropHandle::new(tokio::spawn(async move { journal.keep(keep).await }))
        };
        let replying = AbortOnDropHandle::new(tokio::spawn(self.replies.run()));
        let delivering = self.worker.run(self.journal.feed(), shutdown.clone(), self.drain);
        tokio::join!(delivering, stopped(listening, &shutdown, self.drain));
        for task in [watching, keeping, replying] {
            task.abort();
            drop(task.await); // gone for certain, and with it its hold on the journal
        }
        tracing::info!("stopped");
    }
}

/// What waits is read with its listener's zone and character set. Of a listener that nobody knows any more they could only be
/// guessed; to give the messages up instead would let later ones of their patients overtake them.
async fn known(journal: &Journal, rules: &SiteRules) -> Result<(), BuildError> {
    let reader = journal.reader().clone();
    let asked = tokio::task::spawn_blocking(move || reader.waiting_by_listener()).await;
    let waiting = asked.map_err(|error| BuildError::Runtime(error.to_string()))?;
    let waiting = waiting.map_err(|error| BuildError::Runtime(error.to_string()))?;
    match waiting.into_iter().find(|(listener, _)| rules.context(listener).is_none()) {
        Some((listener, messages)) => Err(BuildError::Unconfigured { listener, messages }),
        None => Ok(()),
    }
}

/// Which listeners listen. Clones tell of the same ones.
#[derive(Debug, Clone)]
pub struct Listening {
    listeners: Arc<Vec<(String, AtomicBool)>>,
}

/// Held while a listener listens, however that ends.
struct OpenListener(Listening, usize);

impl Listening {
    fn none_of(names: impl Iterator<Item = String>) -> Self {
        Self { listeners: Arc::new(names.map(|name| (name, AtomicBool::new(false))).collect()) }
    }

    fn open(&self, name: &str) -> Option<OpenListener> {
        let at = self.listeners.iter().position(|(known, _)| known == name)?;
        self.listeners[at].1.store(true, Ordering::Relaxed);
        Some(OpenListener(self.clone(), at))
    }

    /// The names of those that do not.
    pub fn closed(&self) -> impl Iterator<Item = &str> {
        let closed = self.listeners.iter().filter(|(_, open)| !open.load(Ordering::Relaxed));
        closed.map(|(name, _)| name.as_str())
    }
}

impl Drop for OpenListener {
    fn drop(&mut self) {
        self.0.listeners[self.1].1.store(false, Ordering::Relaxed);
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
