//! From a message in memory to bytes on disk: one queue, one thread, one sync for a group.
//!
//! In come [`super::request::Job`]s; out go verdicts, and [`super::request::FilerRequest`]s for the thread that files. It promises that
//! the places in the queue are the order in the journal, that nothing is answered before its group is synced, and that nothing
//! sent behind a message that was not stored is stored before it. It refuses a message where there is no room, and recognises one
//! that came before.
//!
//! - [`queue`]: the places, and who waits for one
//! - [`dedup`]: what came before under the same control id
//! - [`quota`]: whether there is room
//! - [`writer`]: the thread

pub(super) mod dedup;
pub(super) mod quota;
pub(super) mod queue;
pub(super) mod writer;
