//! The messages of a batch on their way into the journal's queue, and the one answer to all of them.

use bytes::Bytes;
use jiff::Zoned;

use super::Intake;
use super::batch::{Batch, MOST};
use super::posted::{AckDue, Acknowledgement, Posted, Sender};
use super::refusals::RefusalKind;
use crate::mllp::memory::MemoryGrant;
use crate::mllp::validator::{Admission, Decision, Fault, FaultClass};
use crate::mllp::wire::utf16::Readable;

impl Intake {
    /// Puts the envelope of a batch into the journal's queue. Nobody waits for an answer to that.
    pub(super) fn take_envelope(&self, source: &Sender, batch: &Batch) -> Posted {
        let decision = Decision::Skip { reason: batch.reason(), warning: None };
        let envelope = Admission::from(decision);
        // What the frame holds in memory is counted here until the last of its messages has been answered.
        let size = if batch.messages.is_empty() { batch.size } else { 0 };
        let posted = self.keep_within_bounds(
            source,
            Readable::new(batch.kept()),
            envelope,
            RefusalKind::Envelope,
            MemoryGrant::default(),
        );
        Posted { size, due: AckDue::Nothing, ..posted }
    }

    /// Puts the next message of a batch there, and the batch away with the last.
    pub fn take_part(&self, source: &Sender, rest: &mut Option<Batch>) -> Option<Posted> {
        let mut batch = rest.take()?;
        let posted = self.frame(source, batch.messages.pop_front()?, MemoryGrant::default());
        if batch.messages.is_empty() {
            return Some(Posted { size: batch.size, due: AckDue::End(batch), ..posted });
        }
        *rest = Some(batch);
        Some(Posted { size: 0, due: AckDue::Part, ..posted })
    }

    /// The memory for the acks of a batch, before the first of its messages is taken.
    pub async fn make_room_for(&self, batch: &mut Batch) {
        let weight = batch.weight();
        self.memory.grow(&mut batch.grant, weight).await;
    }

    /// A batch that is too long to be answered.
    pub(super) fn refuse_batch(&self, source: &Sender, raw: Bytes, grant: MemoryGrant) -> Posted {
        let text = format!("the batch has more than {MOST} messages; send them in several batches");
        let refused = Admission::refused(Fault::new(FaultClass::Reject, 207, text));
        self.keep_within_bounds(source, Readable::new(raw), refused, RefusalKind::Oversize, grant)
    }

    pub fn answer_batch(&self, batch: &Batch, acks: &[Bytes]) -> Acknowledgement {
        let answer = batch.answer(acks, &Zoned::now(), &self.next_control_id());
        answer.map_or(Acknowledgement::Nothing, Acknowledgement::Ack)
    }
}
