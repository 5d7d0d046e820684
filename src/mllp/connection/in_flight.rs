//! The messages of a connection that have their place in the journal, and what is needed to answer them.
//!
//! Answers are taken from the front: they leave in the order in which the messages came. A batch is its messages in a row;
//! the last of them brings the answer for all.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use futures_util::FutureExt;

use crate::mllp::intake::Intake;
use crate::mllp::intake::posted::{AckDue, Acknowledgement, Posted};

#[derive(Default)]
pub struct InFlight {
    posted: VecDeque<Posted>,
    bytes: usize,
    /// Those of the batch whose messages are at the front.
    acks: Vec<bytes::Bytes>,
}

impl InFlight {
    pub fn push(&mut self, posted: Posted) {
        self.bytes += posted.size;
        self.posted.push_back(posted);
    }

    pub fn is_empty(&self) -> bool {
        self.posted.is_empty()
    }

    pub fn messages(&self) -> usize {
        self.posted.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer to the first. Loses nothing when it is dropped before it is ready; never ready where there is none.
    pub async fn next(&mut self, intake: &Intake) -> Acknowledgement {
        let stored = poll_fn(|context| match self.posted.front_mut().map(|first| &mut first.storing) {
            Some(Some(storing)) => storing.poll_unpin(context).map(Some),
            Some(None) => Poll::Ready(None),
            None => Poll::Pending,
        });
        let stored = stored.await;
        let Some(first) = self.posted.pop_front() else { return Acknowledgement::Nothing };
        self.bytes -= first.size;
        let kept = !matches!(stored, Some(Err(_)));
        match (intake.settle(&first.message, first.decision, stored), first.due) {
            (Acknowledgement::Close, _) => Acknowledgement::Close,
            (answer, AckDue::Answer) => answer,
            (_, AckDue::Empty(batch)) if kept => intake.answer_batch(&batch, &[]),
            (answer, AckDue::Empty(_)) => answer,
            (_, AckDue::Nothing) => Acknowledgement::Nothing,
            (answer, AckDue::Part) => {
                self.acks.extend(answer.ack());
                Acknowledgement::Nothing
            }
            (answer, AckDue::End(batch)) => {
                self.acks.extend(answer.ack());
                intake.answer_batch(&batch, &std::mem::take(&mut self.acks))
            }
        }
    }
}
