//! A message that has its place in the journal's queue, and what its sender gets when it is on disk.

use std::net::SocketAddr;

use bytes::Bytes;

use super::batch::Batch;
use crate::journal::{Line, Storing};
use crate::mllp::memory::MemoryGrant;
use crate::mllp::validator::Decision;
use crate::mllp::wire::utf16::Readable;

/// A message in the journal's queue.
pub struct Posted {
    pub message: Readable,
    pub decision: Decision,
    /// `None` for what is counted and not kept.
    pub storing: Option<Storing>,
    /// What it holds in memory until it is answered, as the connection counts it.
    pub size: usize,
    pub due: AckDue,
    /// The memory of all that, of the frame too.
    pub grant: MemoryGrant,
}

/// What has become of a piece.
pub enum Taken {
    Posted(Posted),
    /// The envelope has its place, the messages are to be taken one by one.
    Batch(Posted, Batch),
}

/// What its sender gets when it is on disk.
pub enum AckDue {
    Answer,
    /// Nobody waits for an answer.
    Nothing,
    /// The answer to a batch without messages.
    Empty(Batch),
    /// Its ack stands in the answer to the batch.
    Part,
    /// The answer to the batch, in which it is the last.
    End(Batch),
}

/// Whom a message comes from.
#[derive(Debug, Clone)]
pub struct Sender {
    pub peer: SocketAddr,
    /// What is sent behind a message that could not be stored is not stored either.
    pub line: Line,
}

/// What goes back to the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledgement {
    /// An ack, without framing.
    Ack(Bytes),
    Nothing,
    /// No ack, for this message or any after it: the connection ends here.
    Close,
}

impl Acknowledgement {
    pub fn ack(self) -> Option<Bytes> {
        match self {
            Self::Ack(ack) => Some(ack),
            Self::Nothing | Self::Close => None,
        }
    }
}
