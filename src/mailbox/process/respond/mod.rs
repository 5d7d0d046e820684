//! Stage four: the answer, a message of its own or an OperationOutcome.
//!
//! In come the message and what became of it; out goes the text that is sent, kept for its sender and told again to a
//! duplicate. It promises that the same message gets the same answer, byte for byte, and keeps no error quiet: 204 would say
//! that all was well.

pub mod response;
