//! The integration tests: one binary, a file per subject.

mod journal;
mod journal_scale;
