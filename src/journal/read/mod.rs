//! The SQLite file as it is read: questions come in from the engine, the pages and the commands, and rows go out. All of it
//! is beside the writer, and most of it works in other processes too.
//!
//! Promises that an answer has what was stored before the question, where the process that asks is the one that writes; that
//! the queue is handed on in order and without a gap; and that nothing here writes. Refuses files that are no journal.
//!
//! - [`reader`]: the connections, and the questions about one message or the whole queue
//! - [`row`]: a message as people see it; [`search`]: finding some; [`stats`]: counting them
//! - [`pending`]: the feed: what waits for delivery, from memory or page by page
//! - [`order`]: who stands before whom; [`holders`]: what a message waits for in the end; [`history`]: what became of one, and what people did
//! - [`unfiled`]: what stands in the log only; [`verify`]: whether everything holds together

pub(super) mod row;
pub(super) mod reader;
pub(super) mod search;
pub(super) mod pending;
pub(super) mod history;
pub(super) mod unfiled;
pub(super) mod verify;
pub(super) mod order;
pub(super) mod holders;
pub(super) mod sources;
pub(super) mod stats;
