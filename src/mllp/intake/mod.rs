//! What happens to a frame between the socket and the journal: judged, stored, answered.
//!
//! In comes a piece of a connection, out go its place in the journal's queue and, later, its acknowledgement. Judging and
//! posting wait for nothing, so that messages are stored in the order in which they are taken. It promises that a positive ack
//! is made only after the journal has said that the bytes are on disk, and that what is refused is stored too, with the reason,
//! before its sender hears of it. It refuses nothing by itself but what [`msh`] can tell from the header.
//!
//! - this file: a frame's way, from its MSH to the answer
//! - [`msh`]: what is refused by the MSH alone
//! - [`refused`]: what is refused, kept as far as [`refusals`] says
//! - [`posted`]: a message in the journal's queue, and what its sender gets
//! - [`batch`]: a frame that holds many messages, taken apart and answered; [`batches`] takes them in

pub(super) mod batches;
pub(super) mod posted;
pub(super) mod msh;
pub(super) mod refusals;
mod refused;
pub(super) mod batch;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use tokio::sync::oneshot;
use tokio::task::JoinError;

use super::ack::{self, AckVerdict};
use super::complaints::Complaints;
use super::config::{ApplicationAcks, ConfigError, ListenerConfig, Transient};
use super::connections::Connections;
use super::counters::Counters;
use super::memory::{FrameMemory, MemoryGrant};
use super::validator::{Admission, Decision, Fault, FaultClass, Validator};
use super::wire::frame::Piece;
use super::wire::reader::GrantedPiece;
use super::wire::utf16::Readable;
use crate::journal::{Arrival, Fate, Journal, StoreError, Stored};
use crate::log_throttle::throttled;
use crate::tls::Acceptor;
use crate::v2::Header;
use batch::Batch;
use posted::{AckDue, Posted, Taken};
use refusals::{RefusalKind, Refusals};

pub use posted::{Acknowledgement, Sender};
/// One listener's judgement, shared by its connections.
pub struct Intake {
    name: Arc<str>,
    config: ListenerConfig,
    journal: Journal,
    validator: Arc<dyn Validator>,
    tls: Option<Acceptor>,
    connections: Connections,
    counters: Counters,
    acks: ControlIds,
    complaints: Complaints,
    refusals: Refusals,
    memory: Arc<FrameMemory>,
}

/// A piece of no more than this is taken apart where its connection is served: it takes a fraction of a millisecond.
const AT_ONCE: usize = 64 << 10;

/// Longest control id and sender name that is indexed; the bytes themselves are kept whole.
const MAX_NAME: usize = 256;

impl Intake {
    /// # Errors
    /// [`ConfigError`] when the configuration cannot work.
    pub fn new(config: ListenerConfig, journal: Journal, validator: Arc<dyn Validator>) -> Result<Self, ConfigError> {
        config.validate()?;
        let tls = config.tls.as_ref().map(|files| Acceptor::new(files, &[])).transpose();
        let tls = tls.map_err(|fault| ConfigError::Tls { listener: config.name.clone(), fault })?;
        Ok(Self {
            tls,
            name: config.name.as_str().into(),
            config,
            journal,
            validator,
            connections: Connections::default(),
            counters: Counters::default(),
            acks: ControlIds::new(Timestamp::now()),
            complaints: Complaints::default(),
            refusals: Refusals::default(),
            memory: Arc::default(),
        })
    }

    /// With the memory that it shares with other listeners.
    #[must_use]
    pub fn sharing(self, memory: Arc<FrameMemory>) -> Self {
        Self { memory, ..self }
    }

    pub(super) fn memory(&self) -> &Arc<FrameMemory> {
        &self.memory
    }

    #[must_use]
    pub fn config(&self) -> &ListenerConfig {
        &self.config
    }

    pub(super) fn tls(&self) -> Option<&Acceptor> {
        self.tls.as_ref()
    }

    /// Whether what MSH-16 asks for is sent when the outcome is known.
    #[must_use]
    pub fn answers_later(&self) -> bool {
        self.config.application_acks == ApplicationAcks::Later
    }

    /// Whether somebody may be there to be told something.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.config.application_acks_to.is_some() || self.connections.any()
    }

    /// The application acknowledgement of a message's outcome, if its sender wants one.
    #[must_use]
    pub fn application_ack(&self, raw: &Bytes, failure: Option<&str>) -> Option<Bytes> {
        let message = Readable::new(raw.clone());
        let ack = ack::application(&message.header().ok()?, failure, &Zoned::now(), &self.acks.next())?;
        Some(message.reply(ack))
    }

    /// Says it on a connection from this peer's address, where there is one, and tells when it has been written.
    pub fn say(&self, peer: SocketAddr, ack: &Bytes) -> Option<oneshot::Receiver<()>> {
        self.connections.say(peer, ack)
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until the journal can follow: before more is read, and before each message that is taken.
    pub(super) async fn ready(&self) -> bool {
        self.journal.ready().await
    }

    /// Puts a piece of a connection into the journal's queue: what is taken first is stored first. A large one is taken apart on
    /// another thread than those that serve connections, and one at a time: that takes several times its size in memory.
    pub(super) async fn take(self: &Arc<Self>, source: &Sender, granted: GrantedPiece) -> Taken {
        if granted.piece.kept() <= AT_ONCE {
            return self.take_now(source, granted);
        }
        let _turn = self.memory.turn().await;
        let (intake, source) = (Arc::clone(self), source.clone());
        let taken = tokio::task::spawn_blocking(move || intake.take_now(&source, granted)).await;
        match taken.map_err(JoinError::try_into_panic) {
            Ok(taken) => taken,
            Err(Ok(panic)) => resume_unwind(panic),
            Err(Err(_)) => std::future::pending().await, // the runtime is going down
        }
    }

    fn take_now(&self, source: &Sender, GrantedPiece { piece, grant }: GrantedPiece) -> Taken {
        Taken::Posted(match piece {
            Piece::Frame(raw) => match Batch::split(&raw) {
                Some(batch) if batch.is_too_long() => self.refuse_batch(source, raw, grant),
                Some(mut batch) => {
                    batch.grant = grant;
                    return self.begin_batch(source, batch);
                }
                None => self.frame(source, raw, grant),
            },
            Piece::Oversize { head, length } => self.oversize(source, head, length, grant),
            Piece::Partial { head, length } => self.partial(source, head, length, grant),
            Piece::Noise(bytes) => self.noise(source, bytes, grant),
        })
    }

    fn begin_batch(&self, source: &Sender, mut batch: Batch) -> Taken {
        let envelope = self.take_envelope(source, &batch);
        if !batch.messages.is_empty() {
            return Taken::Batch(envelope, batch);
        }
        let grant = std::mem::take(&mut batch.grant);
        let due = if batch.is_whole() { AckDue::Empty(batch) } else { AckDue::Nothing };
        Taken::Posted(Posted { grant, due, ..envelope })
    }

    pub(super) fn frame(&self, source: &Sender, raw: Bytes, grant: MemoryGrant) -> Posted {
        self.counters.bytes.add(raw.len() as u64);
        let message = Readable::new(raw);
        let admission = self.judge(&message);
        match RefusalKind::of(&message, &admission.decision) {
            Some(kind) => self.keep_within_bounds(source, message, admission, kind, grant),
            None => self.post(source, message, admission, grant),
        }
    }

    pub(super) fn post(
        &self,
        source: &Sender,
        message: Readable,
        admission: Admission,
        mut grant: MemoryGrant,
    ) -> Posted {
        let Admission { event, keys, decision, parsed } = admission;
        // Where there is no room for it the message is taken apart again when it is its turn.
        let parsed = parsed.filter(|parsed| self.memory.try_add(&mut grant, parsed.size));
        let header = message.header().ok();
        let sender = |header: &Header<'_>| [name(header.field(4)), name(header.field(3))].join("|");
        let arrival = Arrival {
            listener: Arc::clone(&self.name),
            peer: source.peer,
            received: Timestamp::now(),
            raw: message.raw.clone(),
            control_id: header.as_ref().map(|header| name(header.control_id()).into_owned()).unwrap_or_default(),
            sender: header.as_ref().map(sender).unwrap_or_default(),
            event,
            keys,
            fate: fate(&decision),
            parsed,
        };
        let storing = Some(self.journal.enqueue(&source.line, arrival));
        let size = message.raw.len();
        Posted { message: message.for_the_ack(), decision, storing, size, due: AckDue::Answer, grant }
    }

    fn judge(&self, message: &Readable) -> Admission {
        let header = match message.header() {
            Ok(header) => header,
            Err(fault) => return Admission::refused(msh::no_header(fault)),
        };
        if ack::is_ack(&header) {
            let reason = "an acknowledgement, which is never answered and has nothing to deliver".into();
            return Admission::from(Decision::Skip { reason, warning: None });
        }
        let admission = self.validator.admit(&message.raw, &header);
        match msh::message(&self.config, &header, message.bytes()) {
            Some(fault) => Admission { decision: Decision::Refuse(fault), parsed: None, ..admission },
            None => admission,
        }
    }

    /// The answer, once it is known what the journal made of the message.
    pub(super) fn settle(
        &self,
        message: &Readable,
        decision: Decision,
        stored: Option<Result<Stored, StoreError>>,
    ) -> Acknowledgement {
        let stored = match stored {
            Some(Ok(stored)) => stored,
            Some(Err(error)) => return self.unstored(message, &error),
            None => return self.unkept(message, &decision),
        };
        self.recovered();
        self.count(&stored, &decision);
        let fresh = matches!(stored, Stored::New { .. } | Stored::Reused { .. });
        let waits = fresh && self.answers_later() && matches!(decision, Decision::Accept { .. });
        if waits && message.header().is_ok_and(|header| ack::waits_for_outcome(&header)) {
            return Acknowledgement::Nothing;
        }
        let (mut warnings, refusal) = match decision {
            Decision::Accept { warning } | Decision::Skip { warning, .. } => (Vec::from_iter(warning), None),
            Decision::Refuse(fault) => (Vec::new(), Some(fault)),
        };
        let refusal = match stored {
            Stored::New { .. } => refusal,
            Stored::Reused { .. } => {
                warnings.push(msh::reused_control_id());
                refusal
            }
            // The same ack again, also when another verdict would be reached today.
            Stored::Duplicate { fate: Fate::Refuse { reason }, .. } => {
                Some(refusal.unwrap_or_else(|| Fault::new(FaultClass::Error, 207, reason)))
            }
            Stored::Duplicate { .. } => None,
        };
        match &refusal {
            Some(fault) => self.reply(message, AckVerdict::Refused(fault)),
            None => self.reply(message, AckVerdict::Accepted { warnings: &warnings }),
        }
    }

    pub(super) fn next_control_id(&self) -> String {
        self.acks.next()
    }

    fn reply(&self, message: &Readable, verdict: AckVerdict<'_>) -> Acknowledgement {
        let header = message.header().ok();
        match ack::build(header.as_ref(), verdict, &Zoned::now(), &self.acks.next()) {
            Some(ack) => Acknowledgement::Ack(message.reply(ack)),
            None => Acknowledgement::Nothing,
        }
    }

    fn unstored(&self, message: &Readable, error: &StoreError) -> Acknowledgement {
        self.counters.unstored.add(1);
        let log = &self.complaints.unstored;
        throttled!(error, log, listener = %self.name, %error, "message not stored, and so not acknowledged");
        let class = match self.config.transient {
            Transient::Close => return Acknowledgement::Close,
            Transient::Ar => FaultClass::Reject,
            Transient::Ae => FaultClass::Error,
        };
        let fault = Fault::new(class, 207, "the message could not be stored; send it again later");
        self.reply(message, AckVerdict::Refused(&fault))
    }

    fn recovered(&self) {
        if self.complaints.unstored.over() {
            tracing::info!(listener = %self.name, "messages are stored again");
        }
    }

    fn count(&self, stored: &Stored, decision: &Decision) {
        let counters = &self.counters;
        if let Stored::Reused { .. } = stored {
            counters.reused_control_ids.add(1);
        }
        match (stored, decision) {
            (Stored::Duplicate { .. }, _) => counters.duplicates.add(1),
            (_, Decision::Accept { .. }) => counters.accepted.add(1),
            (_, Decision::Skip { .. }) => counters.skipped.add(1),
            (_, Decision::Refuse(_)) => counters.refused.add(1),
        }
    }
}

fn fate(decision: &Decision) -> Fate {
    match decision {
        Decision::Accept { .. } => Fate::Queue,
        Decision::Skip { reason, .. } => Fate::Skip { reason: reason.clone() },
        Decision::Refuse(fault) => Fate::Refuse { reason: fault.to_string() },
    }
}

/// Whether the sender of this message asks, in some case, for an application acknowledgement.
#[must_use]
pub fn wants_outcome(raw: &Bytes) -> bool {
    Readable::new(raw.clone()).header().is_ok_and(|header| ack::asks_for_outcome(&header))
}

/// Whether a reason to refuse says that the bytes in the journal are not one whole message: the head of a frame that was too
/// large or broke off, bytes outside any frame, a count of many.
#[must_use]
pub fn kept_in_part(reason: &str) -> bool {
    let part = ["the frame broke off after ", "without MLLP framing", "outside any frame", "counted and not kept"];
    let oversize = reason.starts_with("error 207: the message of ") && reason.contains(" is longer than the ");
    oversize || part.iter().any(|words| reason.contains(words))
}

/// A field as the journal indexes it.
fn name(field: &[u8]) -> Cow<'_, str> {
    let mut text = String::from_utf8_lossy(field);
    if text.len() > MAX_NAME {
        let end = text.floor_char_boundary(MAX_NAME);
        text.to_mut().truncate(end);
    }
    text
}

/// MSH-10 of our acks: unique over restarts, and no longer than the 20 characters that v2.5 allows.
#[derive(Debug)]
struct ControlIds {
    started: i64,
    next: AtomicU64,
}

impl ControlIds {
    fn new(started: Timestamp) -> Self {
        Self { started: started.as_millisecond(), next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:X}-{:X}", self.started, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
