//! From the log to rows: what people and the engine search, kept in SQLite.
//!
//! In come entries of the log in their order, from memory or from the disk; out go rows, the news of them ([`head`]), and
//! verdicts on what people decided. It promises that an entry is filed exactly once, whatever happens between, and that a decision
//! gets the same verdict when it is filed again after a crash. A fault loses nothing: the log keeps what the tables lack.
//!
//! - [`open`], [`schema`]: the file, its tables, and how an older one becomes a newer one
//! - [`filer`]: the thread
//! - [`apply`]: entries to rows, many in one transaction
//! - [`audit`], [`retention`]: people's acts and chores
//! - [`head`]: how far it has come, for those who wait for news

pub(super) mod head;
pub(super) mod schema;
pub(super) mod open;
pub(super) mod apply;
pub(super) mod filer;
pub(super) mod audit;
pub(super) mod retention;
