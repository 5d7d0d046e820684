//! Delivering messages from files: the same mapping, the same client and the same order as the engine's, and no journal.
//!
//! Messages of one patient or visit go in the order of the files, others side by side. The ids are those of the first
//! time, so a receiver that remembers messages answers what it has had before as it did then.
//!
//! A message that the receiver judges is settled, whatever the judgement. One that finds no receiver is tried again some
//! times; when it fails as often and nothing else got through meanwhile, the destination is down, and the replay ends
//! there instead of failing every message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::mapper::{Mappable, Mapper};
use super::queue::{Lanes, Ticket};
use super::under_way::{UnderWay, wake_at};
use super::{BuildError, keys};
use crate::journal::{Key, Parsed, Seq};
use crate::mapping::{Context, Plan};
use crate::outbound::{self, Client, Outcome, Retry, backoff};
use crate::v2::{Header, Inbound};

/// How often a message is sent that gets no answer.
const TRIES: u32 = 6;

/// Messages read ahead.
const WINDOW: usize = 4_096;

/// How messages are replayed.
pub struct Replay {
    client: Client,
    mapper: Mapper,
    plan: Arc<Plan>,
    context: Context,
    retry: Retry,
    parallel: usize,
    /// At most so many a second.
    pub rate: Option<u32>,
    /// Makes other ids than those of the first time, the same ones for the same name: the receiver takes the messages
    /// for new ones.
    pub as_new: Option<Uuid>,
}

/// A message of a file. Numbers rise.
#[derive(Debug, Clone)]
pub struct ReplayMessage {
    pub number: Seq,
    /// Where it stands, for people.
    pub place: String,
    pub raw: Vec<u8>,
}

/// A message that is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub number: Seq,
    pub place: String,
    /// `None` where no Bundle was made.
    pub event: Option<String>,
    pub fate: ReplayOutcome,
    /// Every message before this number is done with.
    pub next: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayOutcome {
    Delivered,
    Failed { reason: String },
}

/// Why a replay is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayEnd {
    Through,
    /// It was told to stop.
    Stopped,
    /// The destination takes nothing.
    Down {
        reason: String,
    },
}

/// Replays what comes over `messages`, and tells of each that is done with. Answers why it is over, and the number of
/// the first message that is not done with.
pub async fn run(
    replay: Replay,
    mut messages: mpsc::Receiver<ReplayMessage>,
    stop: CancellationToken,
    mut tell: impl FnMut(Settled),
) -> (ReplayEnd, Seq) {
    let mut run = Run::new(replay);
    let mut end = ReplayEnd::Through;
    loop {
        let ending = end != ReplayEnd::Through;
        let wake = if ending { None } else { run.start() };
        let read = messages.is_closed() && messages.is_empty();
        let wanted = !ending && !read && run.open.len() < WINDOW;
        if run.under_way.is_empty() && (ending || (read && run.open.is_empty())) {
            return (end, run.next());
        }
        tokio::select! {
            biased;
            () = stop.cancelled(), if !ending => end = ReplayEnd::Stopped,
            Some((ticket, ended)) = run.under_way.ended() => {
                if let Some(down) = run.settle(ticket, ended, &mut tell) && !ending {
                    end = down;
                }
            }
            message = messages.recv(), if wanted => {
                if let Some(message) = message {
                    run.admit(message, &mut tell);
                }
            }
            () = wake_at(wake) => {}
        }
    }
}

struct Run {
    replay: Arc<Replay>,
    lanes: Lanes,
    /// Not done with.
    open: BTreeMap<Seq, Unsettled>,
    /// Behind the last that was read.
    end: Seq,
    under_way: UnderWay<Ticket, Sending>,
    /// When the destination last judged a message.
    answered: Option<Instant>,
    /// Not before this may the next be sent.
    pace: Instant,
}

struct Unsettled {
    place: String,
    message: Arc<Inbound>,
    failures: u32,
    /// When half of its tries had failed. An answer that others got after that tells that the destination is there; one
    /// before it may have been on its way when the destination went down.
    doubted: Option<Instant>,
}

/// What came of sending a message.
enum Sending {
    Unmapped { reason: String },
    Answered { event: String, outcome: Outcome },
}

impl Run {
    fn new(replay: Replay) -> Self {
        Self {
            replay: Arc::new(replay),
            lanes: Lanes::default(),
            open: BTreeMap::new(),
            end: 0,
            under_way: UnderWay::default(),
            answered: None,
            pace: Instant::now(),
        }
    }

    fn next(&self) -> Seq {
        self.open.first_key_value().map_or(self.end, |(number, _)| *number)
    }

    fn admit(&mut self, message: ReplayMessage, tell: &mut impl FnMut(Settled)) {
        let ReplayMessage { number, place, raw } = message;
        self.end = number + 1;
        match self.replay.read(raw) {
            Ok(message) => {
                self.lanes.push(number, &Key::lanes(&keys::keys(&message.message())));
                let message = Arc::new(message);
                self.open.insert(number, Unsettled { place, message, failures: 0, doubted: None });
            }
            Err(reason) => {
                tell(Settled { number, place, event: None, fate: ReplayOutcome::Failed { reason }, next: self.next() });
            }
        }
    }

    /// Sends what may go; answers when to look again if nothing happens before.
    fn start(&mut self) -> Option<Instant> {
        while self.under_way.len() < self.replay.parallel {
            let now = Instant::now();
            if self.pace > now {
                return Some(self.pace);
            }
            let Some(ticket) = self.lanes.next(now) else { return self.lanes.wakes() };
            let Some(open) = self.open.get(&ticket.seq) else {
                self.lanes.done(ticket);
                continue;
            };
            let message = Arc::clone(&open.message);
            if let Some(rate) = self.replay.rate {
                // What was missed is caught up with for a tenth of a second, not more.
                let behind = now.checked_sub(Duration::from_millis(100)).unwrap_or(now);
                self.pace = self.pace.max(behind) + Duration::from_secs(1) / rate.max(1);
            }
            let replay = Arc::clone(&self.replay);
            self.under_way.start(ticket, async move { replay.send(message).await });
        }
        None
    }

    /// Puts a sent message away, or off. Answers when the destination is found to take nothing.
    fn settle(
        &mut self,
        ticket: Ticket,
        ended: Result<Sending, JoinError>,
        tell: &mut impl FnMut(Settled),
    ) -> Option<ReplayEnd> {
        let broken = || "internal fault: the attempt broke off; please report it".to_owned();
        let sent = ended.unwrap_or_else(|_| Sending::Unmapped { reason: broken() });
        let (event, fate) = match sent {
            Sending::Unmapped { reason } => (None, ReplayOutcome::Failed { reason }),
            Sending::Answered { event, outcome } => match outcome {
                Outcome::Delivered => (Some(event), ReplayOutcome::Delivered),
                Outcome::Dead { reason } => (Some(event), ReplayOutcome::Failed { reason }),
                Outcome::Hold { reason } => return Some(ReplayEnd::Down { reason }),
                outcome @ (Outcome::Accepted { .. } | Outcome::Retry { .. } | Outcome::Doubtful { .. }) => {
                    let (after, reason) = outcome.put_off();
                    match self.put_off(ticket, after, reason) {
                        Later::Again => return None,
                        Later::Down(reason) => return Some(ReplayEnd::Down { reason }),
                        Later::GivenUp(ticket, reason) => {
                            self.done(ticket, Some(event), ReplayOutcome::Failed { reason }, tell);
                            return None;
                        }
                    }
                }
            },
        };
        if event.is_some() {
            self.answered = Some(Instant::now());
        }
        self.done(ticket, event, fate, tell);
        None
    }

    fn done(&mut self, ticket: Ticket, event: Option<String>, fate: ReplayOutcome, tell: &mut impl FnMut(Settled)) {
        let number = ticket.seq;
        let place = self.open.remove(&number).map(|open| open.place).unwrap_or_default();
        self.lanes.done(ticket);
        tell(Settled { number, place, event, fate, next: self.next() });
    }

    fn put_off(&mut self, ticket: Ticket, after: Option<Duration>, reason: String) -> Later {
        let now = Instant::now();
        let Some(open) = self.open.get_mut(&ticket.seq) else { return Later::GivenUp(ticket, reason) };
        open.failures += 1;
        if open.failures >= TRIES / 2 {
            open.doubted.get_or_insert(now);
        }
        if open.failures < TRIES {
            let wait = backoff::wait(&self.replay.retry, after, open.failures, ticket.seq.cast_unsigned());
            self.lanes.delay(ticket, now + wait);
            return Later::Again;
        }
        if self.answered > open.doubted {
            return Later::GivenUp(ticket, format!("{reason}; given up after {TRIES} attempts"));
        }
        Later::Down(reason)
    }
}

enum Later {
    Again,
    /// Others get through meanwhile: it is this message.
    GivenUp(Ticket, String),
    Down(String),
}

impl Replay {
    /// To `destination`, of messages that are read in `context`.
    ///
    /// # Errors
    /// When the destination's configuration cannot be used.
    pub fn new(destination: &outbound::DestinationConfig, plan: Plan, context: Context) -> Result<Self, BuildError> {
        Ok(Self {
            client: Client::new(destination)?,
            mapper: Mapper::default(),
            plan: Arc::new(plan),
            context,
            retry: destination.retry.clone(),
            parallel: destination.parallel.max(1),
            rate: None,
            as_new: None,
        })
    }

    /// Takes a message apart, or says why that cannot be done.
    fn read(&self, raw: Vec<u8>) -> Result<Inbound, String> {
        let raw = Bytes::from(raw);
        let header = Header::peek(&raw).ok();
        Inbound::read(raw.clone(), header.as_ref(), self.context.reading(&self.plan)).map_err(|fault| fault.to_string())
    }

    async fn send(&self, message: Arc<Inbound>) -> Sending {
        let (raw, size) = (message.raw().clone(), message.size());
        let message = Mappable { raw, parsed: Some(Parsed { made: message, size }), context: self.context.clone() };
        let (converted, place) = match self.mapper.briefly(&self.plan, &message) {
            Some(mapped) => (mapped.map_err(|error| error.to_string()), None),
            None => {
                let mapped = self.mapper.at_length(Arc::clone(&self.plan), message, String::new()).await;
                (mapped.converted, mapped.place)
            }
        };
        let converted = match converted {
            Ok(converted) => converted,
            Err(reason) => return Sending::Unmapped { reason },
        };
        let mut body = converted.body;
        if let Some(name) = self.as_new {
            for id in [converted.bundle_id, converted.message_id] {
                body = body.replace(&id.to_string(), &Uuid::new_v5(&name, id.as_bytes()).to_string());
            }
        }
        let outcome = self.client.deliver(body).await.outcome;
        drop(place);
        Sending::Answered { event: converted.event, outcome }
    }
}
