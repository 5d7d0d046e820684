//! The integration tests: one binary, a file per subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod mailbox;
