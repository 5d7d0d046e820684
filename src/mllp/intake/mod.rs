//! What happens to a frame between the socket and the journal: judged, stored, answered.
//!
//! In comes a piece of a connection, out go its place in the journal's queue and, later, its acknowledgement. Judging and
//! posting wait for nothing, so that messages are stored in the order in which they are taken. It promises that a positive ack
//! is made only after the journal has said that the bytes are on disk, and that what is refused is stored too, with the reason,
//! before its sender hears of it. It refuses nothing by itself but what [`msh`] can tell from the header.
//!
//! - this file: a frame's way, from its MSH to the answer
//! - [`msh`]: what is refused by the MSH alone
//! - [`posted`]: a message in the journal's queue, and what its sender gets
//! - [`batch`]: a frame that holds many messages, taken apart and answered; [`batches`] takes them in

pub(super) mod batches;
pub(super) mod posted;
pub(super) mod msh;
pub(super) mod batch;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{Timestamp, Zoned};
use tokio::sync::oneshot;

use super::ack::{self, AckVerdict};
use super::config::{ApplicationAcks, ConfigError, ListenerConfig, Transient};
use super::connections::Connections;
use super::counters::Counters;
use super::validator::{Admission, Decision, Fault, FaultClass, Validator};
use super::wire::frame::Piece;
use super::wire::utf16::Readable;
use crate::journal::{Arrival, Fate, Journal, StoreError, Stored};
use crate::log_throttle::LogThrottle;
use crate::tls::Acceptor;
use crate::v2::Header;
use posted::{AckDue, Posted};

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
    /// Whether the last attempt to store failed: a full disk is one line in the log, not one for each message.
    failing: AtomicBool,
    complaints: Mutex<LogThrottle>,
}

/// Faults of connections are told this often, with how many there were: a scanner makes thousands a minute.
const COMPLAINTS: Duration = Duration::from_secs(60);

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
            failing: AtomicBool::new(false),
            complaints: Mutex::new(LogThrottle::new(COMPLAINTS)),
        })
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

    /// Whether a fault of a connection is to be told now, and how many were kept back since the last.
    pub(super) fn may_complain(&self) -> Option<u64> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).speak(Instant::now())
    }

    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Waits until the journal can follow: before more is read, and before each message that is taken.
    pub(super) async fn ready(&self) -> bool {
        self.journal.ready().await
    }

    /// Puts a piece of a connection into the journal's queue, at once: what is taken first is stored first. `None` where there
    /// is nothing to store. A batch is taken by its messages ([`Self::take_envelope`]).
    pub(super) fn take(&self, source: &Sender, piece: Piece) -> Option<Posted> {
        match piece {
            Piece::Frame(raw) => Some(self.frame(source, raw)),
            Piece::Oversize { head, length } => Some(self.oversize(source, head, length)),
            Piece::Partial { head, length } => Some(self.partial(source, head, length)),
            Piece::Noise(bytes) => self.noise(source, &bytes),
        }
    }

    pub(super) fn frame(&self, source: &Sender, raw: Bytes) -> Posted {
        self.counters.bytes.add(raw.len() as u64);
        let message = Readable::new(raw);
        let admission = self.judge(&message);
        self.post(source, message, admission)
    }

    fn oversize(&self, source: &Sender, head: Bytes, length: u64) -> Posted {
        self.counters.oversize.add(1);
        self.post(source, Readable::new(head), Admission::refused(msh::oversize(length, self.config.max_frame)))
    }

    /// Nobody waits for an answer to a frame that was never finished: its sender is gone or has begun again, and a NAK
    /// would be taken for the answer to what it sent next.
    fn partial(&self, source: &Sender, head: Bytes, length: u64) -> Posted {
        self.counters.partial.add(1);
        let text = format!("the frame broke off after {length} bytes");
        self.keep_refused(source, head, Fault::new(FaultClass::Reject, 100, text))
    }

    /// Noise is counted. Where it holds a message, somebody sends without framing, and that message is kept.
    fn noise(&self, source: &Sender, bytes: &Bytes) -> Option<Posted> {
        self.counters.noise_bytes.add(bytes.len() as u64);
        let at = memchr::memmem::find(bytes, b"MSH")?;
        let text = "the message came without MLLP framing (0x0B ... 0x1C 0x0D)";
        Some(self.keep_refused(source, bytes.slice(at..), Fault::new(FaultClass::Reject, 100, text)))
    }

    fn keep_refused(&self, source: &Sender, raw: Bytes, fault: Fault) -> Posted {
        self.keep(source, Readable::new(raw), Admission::refused(fault))
    }

    /// Stores what gets no answer.
    pub(super) fn keep(&self, source: &Sender, message: Readable, admission: Admission) -> Posted {
        Posted { due: AckDue::Nothing, ..self.post(source, message, admission) }
    }

    fn post(&self, source: &Sender, message: Readable, admission: Admission) -> Posted {
        let Admission { event, keys, decision, parsed } = admission;
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
        let storing = self.journal.enqueue(&source.line, arrival);
        let size = message.raw.len();
        Posted { message, decision, storing, size, due: AckDue::Answer }
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
        stored: Result<Stored, StoreError>,
    ) -> Acknowledgement {
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => return self.unstored(message, &error),
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
        if self.failing.swap(true, Ordering::Relaxed) {
            tracing::debug!(listener = %self.name, %error, "message not stored");
        } else {
            tracing::error!(listener = %self.name, %error, "message not stored, and so not acknowledged");
        }
        let class = match self.config.transient {
            Transient::Close => return Acknowledgement::Close,
            Transient::Ar => FaultClass::Reject,
            Transient::Ae => FaultClass::Error,
        };
        let fault = Fault::new(class, 207, "the message could not be stored; send it again later");
        self.reply(message, AckVerdict::Refused(&fault))
    }

    fn recovered(&self) {
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
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
