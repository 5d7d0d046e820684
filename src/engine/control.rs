//! Where a person asks the engine: what it is doing, why a message waits, and to pause.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::rules::SiteRules;
use crate::journal::Seq;
use crate::mllp::{Intake, TurnedAwayPeer};

/// Asks a running engine. Clones ask the same one.
#[derive(Debug, Clone)]
pub struct Control {
    questions: mpsc::Sender<ControlRequest>,
    rules: SiteRules,
    listeners: Arc<[RunningListener]>,
}

/// A listener, for as long as the engine runs it.
#[derive(Debug, Clone)]
pub(super) struct RunningListener {
    pub address: SocketAddr,
    pub intake: Weak<Intake>,
}

/// A listener at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerState {
    pub name: String,
    pub address: SocketAddr,
    /// Open now.
    pub connections: u64,
    /// Since the start.
    pub connections_refused: u64,
    /// Whose connections came to nothing lately, the latest first.
    pub turned_away: Vec<TurnedAwayPeer>,
}

#[derive(Debug)]
pub(super) enum ControlRequest {
    State(oneshot::Sender<DeliveryState>),
    Why(Seq, oneshot::Sender<WaitReason>),
    Pause(bool),
    Hurry(Vec<Seq>),
}

/// The delivery at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryState {
    /// Messages known to the queue; more may wait in the journal.
    pub queued: usize,
    pub under_way: usize,
    /// Tried, and waiting for their time.
    pub put_off: usize,
    /// Dead letters that hold back the later messages of their patient.
    pub holding: usize,
    /// A person has stopped deliveries.
    pub paused: bool,
    pub outage: Option<Outage>,
}

/// The destination takes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    pub since: Instant,
    /// It refuses us or is not there, and a person has to mend that; else it is down.
    pub held: bool,
    pub reason: String,
}

/// Why a message waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// It is being delivered.
    UnderWay,
    /// These stand before it, of the same patient or visit.
    Behind(Vec<Seq>),
    /// These dead letters, of the same patient or visit, hold it back until a person has decided about them.
    HeldBy(Vec<Seq>),
    /// It has been given up and holds back others until a person has sent it again or discarded it.
    GivenUp,
    /// It was tried and will be again.
    PutOff {
        after: Duration,
    },
    Paused,
    Outage(Outage),
    /// It may go as soon as there is a place.
    Next,
    /// The queue does not know it: done, or not yet read from the journal.
    NotQueued,
}

impl Control {
    pub(super) fn new(rules: SiteRules) -> (Self, mpsc::Receiver<ControlRequest>) {
        let (questions, asked) = mpsc::channel(16);
        (Self { questions, rules, listeners: Arc::new([]) }, asked)
    }

    pub(super) fn with_listeners(self, listeners: impl IntoIterator<Item = RunningListener>) -> Self {
        Self { listeners: listeners.into_iter().collect(), ..self }
    }

    /// Those that listen, in the order of the configuration.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerState> {
        let state = |listening: &RunningListener| {
            let intake = listening.intake.upgrade()?;
            let counters = intake.counters();
            Some(ListenerState {
                name: intake.config().name.clone(),
                address: listening.address,
                connections: counters.connections(),
                connections_refused: counters.connections_refused.get(),
                turned_away: counters.turned_away.peers(),
            })
        };
        self.listeners.iter().filter_map(state).collect()
    }

    /// What the engine goes by.
    #[must_use]
    pub fn rules(&self) -> &SiteRules {
        &self.rules
    }

    /// `None` when the engine has stopped.
    pub async fn state(&self) -> Option<DeliveryState> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(ControlRequest::State(answer)).await.ok()?;
        answered.await.ok()
    }

    /// `None` when the engine has stopped.
    pub async fn why(&self, seq: Seq) -> Option<WaitReason> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(ControlRequest::Why(seq, answer)).await.ok()?;
        answered.await.ok()
    }

    /// Looks at messages now that were put off, because what became of them has changed: whether there is an engine to
    /// do so.
    pub async fn hurry(&self, seqs: Vec<Seq>) -> bool {
        self.questions.send(ControlRequest::Hurry(seqs)).await.is_ok()
    }

    /// Stops deliveries, or lets them go on: whether there is an engine to do so. Messages are received all the while.
    pub async fn pause(&self, pause: bool) -> bool {
        self.questions.send(ControlRequest::Pause(pause)).await.is_ok()
    }
}
