//! What journal and mailbox both do with a SQLite file.
//!
//! In comes a path and what the two want of the file; out goes a connection that is set up, or a copy that is whole. It
//! promises that a statement is planned once ([`open::common`]), that a file of another program or of a later version is
//! recognised before anything is written to it ([`version`]), and that a copy is the state of one moment ([`backup`]). It knows
//! no table of either.
//!
//! - [`open`]: pragmas and limits that every connection has
//! - [`version`]: whose file it is, and bringing its tables up to date
//! - [`backup`]: a copy while another process writes

pub mod open;
pub mod version;
pub mod backup;
