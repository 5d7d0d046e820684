//! The journal: every byte sequence that arrived, and what became of it. Messages come in from the listeners and go out to
//! the engine; what comes of each delivery, and what people decide, comes back in.
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
//! # The way of a message
//!
//! ```text
//!  listener                     engine, people             commands, pages
//!     |                           |        ^                    ^
//!     | store                     | record | feed, work         | search, row, ...
//!     v                           v        |                    |
//!  +-------------- intake/queue --------+  |                    |
//!  | in order, one place for each       |  |                    |
//!  +------------------+-----------------+  |                    |
//!                     v                    |                    |
//!  +----- thread: intake/writer --------+  |                    |
//!  | seen before?  (intake/dedup)       |  |                    |
//!  | room for it?  (intake/quota)       |  |                    |
//!  | a group: append, sync  (wal/)      |  |                    |
//!  | answer: it is safe  --> ack        |  |                    |
//!  +------------------+-----------------+  |                    |
//!    the group, in memory or by its        |                    |
//!    place in the log  (handover)          |                    |
//!                     v                    |                    |
//!  +----- thread: tables/filer ---------+  |                    |
//!  | many groups: one transaction       |  | what is fresh, in  |
//!  |   (tables/apply, tables/audit)     +--+ memory (handover,  |
//!  | decisions: answered here           |  | tables/head)       |
//!  | old bytes go  (tables/retention)   |  |                    |
//!  +------------------+-----------------+  |                    |
//!                     v                    | the rest           |
//!                SQLite file -------- read/+--------------------+
//! ```
//!
//! [`request`] is all that the threads say to each other, [`watermarks`] how far each has come, and who waits for that. What
//! is synced in the log is safe; the tables follow, and the log is begun anew only when they have it on disk. What goes
//! from hand to hand in memory is bounded ([`handover`]), and is read back from the disk by who has fallen behind.
//!
//! # Layout
//!
//! Each imports only what stands above it:
//! - [`keys`], [`model`], [`error`], [`config`]: what the journal takes and tells; [`files`]: its files, and who may write them;
//!   [`damage`]: how people are told of it
//! - [`handover`], [`watermarks`]: the memory and the positions that the threads share
//! - [`wal`]: the log, which knows no tables
//! - [`request`]: the protocol between the threads
//! - [`tables`]: the SQLite file as it is written
//! - [`intake`]: from the queue to the log
//! - [`read`]: the SQLite file as it is read
//! - [`journal`]: the handle that its users hold; [`housekeeping`] and [`backup`] beside it

mod keys;
mod model;
mod error;
mod config;
mod files;
mod damage;
mod handover;
mod watermarks;
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
pub use config::{JournalConfig, OnDamage};
pub use damage::{ACKNOWLEDGE, DAMAGE, Damage};
pub use error::{OpenError, ReadError, StoreError};
pub use files::{exists, exposed, held};
pub use intake::queue::Storing;
pub use intake::writer::Commit;
pub use journal::{Journal, JournalHealth};
pub use keys::{Key, KeyKind};
pub use model::{Act, Arrival, Fate, Noted, Parsed, Progress, Queued, Record, Seq, Status, Stored};
pub use read::history::{PAUSE, RESUME, StatusChange};
pub use read::holders::Holders;
pub use read::pending::{Feed, News};
pub use read::reader::{Backlog, Owed, Reader, Work};
pub use read::row::Row;
pub use read::search::{Query, SearchCursor};
pub use read::sources::{RefusedPeer, SourceActivity};
pub use read::stats::{Overview, Reason};
pub use read::unfiled::unfiled;
pub use read::verify::{Finding, Verified, verify};
pub use request::Line;
pub use tables::open::is_one;
pub use wal::entry::LogEntry;
pub use wal::reader::read as read_log;
