//! The SQLite file as it is written: entries of the log come in, many at a time, and become rows; what is new goes out to the
//! feed, and the verdict on each decision to who asked for it.
//!
//! Promises that an entry is filed exactly once, whatever happens between: the position up to which the log is filed stands
//! in the same transaction. Refuses a person's decision that the state of the message does not allow, and files that are
//! not ours, damaged, or of a later version.
//!
//! 1. [`open`]: the file is recognised, checked and brought to this version; [`schema`] has its tables
//! 2. [`filer`]: the thread: takes what was synced as a [`batch`], files it, tells everybody, tries again after a fault
//! 3. [`apply`]: a transaction; [`rows`]: an entry in it; [`audit`] judges the decisions in it
//! 4. [`head`]: what the feed is told after it
//! 5. [`retention`]: old bytes go, in steps between the transactions
//! 6. [`salvage`]: a damaged file is written anew, at the start, with the rows on its [`leaves`]

pub(super) mod schema;
pub(super) mod open;
pub(super) mod head;
mod rows;
pub(super) mod apply;
pub(super) mod batch;
pub(super) mod filer;
pub(super) mod audit;
pub(super) mod retention;
mod leaves;
pub(super) mod salvage;
