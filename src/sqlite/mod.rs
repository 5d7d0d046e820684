//! What journal and mailbox both do with a SQLite file.
//!
//! In comes a path and what the two want of the file; out goes a connection that is set up, or a copy that is whole. It
//! promises that a statement is planned once ([`open::common`]), that each step of a migration is taken once and whole
//! ([`version`]), and that a copy is the state of one moment ([`backup`]). Whether a file is one of theirs is for the two to
//! say; it knows no table of either.
//!
//! - [`private`]: files that only their owner may read
//! - [`custody`]: whether files that are held open are still those of their names
//! - [`open`]: pragmas and limits that every connection has
//! - [`version`]: how far a file's tables are, and bringing them up to date
//! - [`backup`]: a copy while another process writes

pub mod private;
pub mod custody;
pub mod open;
pub mod version;
pub mod backup;
