//! The journal: every byte sequence that arrived, and what became of it.
//!
//! Promises:
//! - [`Journal::store`] returns `Ok` only after the bytes were written and synced. When in doubt it returns an error,
//!   and the sender, who got no positive ack, sends again.
//! - Rows are numbered in the order in which they were stored, and [`Feed`] hands them on in that order without a gap.
//! - A message is stored once: the same control id and bytes from the same sender within the duplicate window are
//!   recognised, and the first one's fate is told again.
//! - What has been stored is never changed. Only its status moves:
//!   `received -> delivered | retrying | dead | skipped | refused`; and its bytes go when it was finished long ago, if
//!   the site wants that.
//!
//! Refuses: to open a file that another process writes, that is damaged, or that a later version wrote; and to
//! take messages when the disk or the configured size is nearly used up, while outcomes still can be recorded.
//!
//! # Layout
//!
//! A message gets its place among the [`posts`] and goes through two threads. [`writer`] knows what was there before ([`known`]) and whether there is [`room`],
//! appends to the [`log`] ([`entry`], [`chunk`]) and answers; [`filer`] brings the tables after the log, decides what
//! people ask for and does the chores ([`keep`]), and [`marks`] says how far each is. All SQL is in [`schema`] (the
//! tables), [`ledger`], [`acts`], [`keep`] (writing), and [`read`], [`search`], [`feed`], [`known`], [`history`],
//! [`lanes`], [`overview`], [`left`], [`verify`] (reading). [`backup`] makes a copy of both, log and tables.

mod model;
mod error;
mod keys;
mod config;
mod files;
mod handover;
mod progress;
mod wal;
mod request;
mod tables;
mod intake;
mod read;
#[expect(clippy::module_inception, reason = "the journal as its users hold it")]
mod journal;
mod housekeeping;
mod backup;
#[cfg(test)]
mod fixture;

pub use backup::backup;
pub use config::Config;
pub use error::{OpenError, ReadError, StoreError};
pub use files::held;
pub use intake::queue::Storing;
pub use intake::writer::Commit;
pub use journal::Journal;
pub use keys::{Key, KeyKind};
pub use model::{Act, Arrival, Fate, Noted, Parsed, Progress, Queued, Record, Seq, Status, Stored};
pub use read::history::{PAUSE, RESUME, StatusChange};
pub use read::pending::{Feed, News};
pub use read::reader::{Backlog, Owed, Reader, Work};
pub use read::row::Row;
pub use read::search::{Query, SearchCursor};
pub use read::stats::{Overview, Reason};
pub use read::unfiled::unfiled;
pub use read::verify::{Finding, Verified, verify};
pub use request::Line;
