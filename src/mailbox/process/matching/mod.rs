//! Stage two: which stored resource each entry means.
//!
//! In come a message and the transaction; out go [`targets::Targets`], one for each entry: found, to be created, or refused. It
//! writes nothing. It promises that two that match one condition stop the message, and that the same message finds the same
//! resources.

pub(super) mod targets;
