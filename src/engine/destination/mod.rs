//! What is known of the destination beyond one answer.
//!
//! In come signals of attempts, out goes how many messages may be sent now, and whose fault an answer is. It promises that one
//! message's fault stops no other message, and that a fault of the destination makes no dead letter. [`circuit`] decides
//! whether messages are sent at all; it has neither clock nor IO. [`doubt`] tells a wrong address from a bad message by what
//! others are answered and by the destination's `metadata`.

pub mod circuit;
pub mod doubt;
