//! From those who store to the log: messages and outcomes come in, each with its place in the order, and each gets its answer
//! when it is on disk.
//!
//! Promises that nothing is answered `Ok` before its group is synced, that the order is the one in which things were
//! posted, that nothing overtakes a message of its own connection that was not stored, and that a message which is known is
//! not stored again. Refuses messages when there is no room, never outcomes.
//!
//! 1. [`queue`]: where everything waits for the one thread, and who waits before that
//! 2. [`writer`]: that thread: takes a group, judges each, appends and syncs, answers, hands on to the filer
//! 3. [`dedup`]: what a sender sent before, in the tables and on its way there
//! 4. [`quota`]: whether the disk and the configuration leave room for one more

pub(super) mod dedup;
pub(super) mod quota;
pub(super) mod queue;
pub(super) mod writer;
