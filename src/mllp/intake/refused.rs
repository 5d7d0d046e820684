//! What is refused, and what is good for nothing: answered by the rules, and kept as far as [`refusals`](super::refusals) says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::Intake;
use super::msh;
use super::posted::{AckDue, Acknowledgement, Posted, Sender};
use super::refusals::{CountedRefusals, RefusalKind};
use crate::journal::{Arrival, Fate, Line};
use crate::log_throttle::throttled;
use crate::mllp::ack::AckVerdict;
use crate::mllp::memory::MemoryGrant;
use crate::mllp::validator::{Admission, Decision, Fault, FaultClass};
use crate::mllp::wire::utf16::Readable;

impl Intake {
    pub(super) fn oversize(&self, source: &Sender, head: Bytes, length: u64, grant: MemoryGrant) -> Posted {
        self.counters.oversize.add(1);
        let admission = Admission::refused(msh::oversize(length, self.config.max_frame));
        self.keep_within_bounds(source, Readable::new(head), admission, RefusalKind::Oversize, grant)
    }

    /// Nobody waits for an answer to a frame that was never finished: its sender is gone or has begun again, and a NAK
    /// would be taken for the answer to what it sent next.
    pub(super) fn partial(&self, source: &Sender, head: Bytes, length: u64, grant: MemoryGrant) -> Posted {
        self.counters.partial.add(1);
        let text = format!("the frame broke off after {length} bytes");
        self.unanswered(source, head, Fault::new(FaultClass::Reject, 100, text), RefusalKind::Partial, grant)
    }

    /// Where it holds a message, somebody sends without framing.
    pub(super) fn noise(&self, source: &Sender, bytes: Bytes, grant: MemoryGrant) -> Posted {
        self.counters.noise_bytes.add(bytes.len() as u64);
        let (raw, text, kind) = match memchr::memmem::find(&bytes, b"MSH") {
            Some(at) => {
                let text = "the message came without MLLP framing (0x0B ... 0x1C 0x0D)";
                (bytes.slice(at..), text, RefusalKind::Unframed)
            }
            None => (bytes, "bytes outside any frame", RefusalKind::Noise),
        };
        self.unanswered(source, raw, Fault::new(FaultClass::Reject, 100, text), kind, grant)
    }

    fn unanswered(&self, source: &Sender, raw: Bytes, fault: Fault, kind: RefusalKind, grant: MemoryGrant) -> Posted {
        let refused = Admission::refused(fault);
        Posted { due: AckDue::Nothing, ..self.keep_within_bounds(source, Readable::new(raw), refused, kind, grant) }
    }

    /// Keeps it, or counts it where its sender has had enough of its kind kept.
    pub(super) fn keep_within_bounds(
        &self,
        source: &Sender,
        message: Readable,
        admission: Admission,
        kind: RefusalKind,
        grant: MemoryGrant,
    ) -> Posted {
        if let Decision::Refuse(fault) = &admission.decision {
            let (log, what) = (self.complaints.refused.of(kind), kind.plural());
            throttled!(warn, log, listener = %self.name, peer = %source.peer, error = fault.code, "refused: {what}");
        }
        if self.refusals.keeps(source.peer.ip(), kind, &message.raw) {
            return self.post(source, message, admission, grant);
        }
        self.counters.unkept.add(1);
        let size = message.raw.len();
        Posted { message, decision: admission.decision, storing: None, size, due: AckDue::Answer, grant }
    }

    /// Writes down what has been counted and not kept, where it is time for that; `all` of it when nothing more will come.
    pub(in crate::mllp) async fn tell_refusals(&self, all: bool) {
        let due = self.refusals.due(all);
        if let Some(most) = due.iter().max_by_key(|refusals| refusals.counted.count) {
            let total: u64 = due.iter().map(|refusals| refusals.counted.count).sum();
            let (log, reason) = (&self.complaints.unkept, most.reason());
            throttled!(warn, log, listener = %self.name, total, "refused input is counted and not kept: {reason}");
        }
        for refusals in due {
            self.ready().await;
            let row = self.row_of(&refusals);
            if let Err(error) = self.journal.enqueue(&Line::default(), row).await {
                tracing::debug!(listener = %self.name, %error, "a count of refusals was not stored");
                self.refusals.put_back(refusals);
            }
        }
    }

    fn row_of(&self, refusals: &CountedRefusals) -> Arrival {
        Arrival {
            listener: Arc::clone(&self.name),
            peer: SocketAddr::new(refusals.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0),
            received: Timestamp::now(),
            raw: refusals.counted.sample.clone(),
            control_id: String::new(),
            sender: String::new(),
            event: None,
            keys: Vec::new(),
            fate: Fate::Refuse { reason: refusals.reason() },
            parsed: None,
        }
    }

    /// What is taken is always kept: here it was refused, or gets no answer.
    pub(super) fn unkept(&self, message: &Readable, decision: &Decision) -> Acknowledgement {
        match decision {
            Decision::Refuse(fault) => {
                self.counters.refused.add(1);
                self.reply(message, AckVerdict::Refused(fault))
            }
            Decision::Skip { .. } | Decision::Accept { .. } => {
                self.counters.skipped.add(1);
                Acknowledgement::Nothing
            }
        }
    }
}
