//! Scenarios over real sockets and files, a subject in each file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod listening;
mod mllp;
mod mllp_hostile;
mod mllp_stop;
