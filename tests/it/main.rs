//! The integration tests: one binary, a file per subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod journal;
mod journal_scale;
mod outbound;
mod receiver;
