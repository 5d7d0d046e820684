//! Everything that is asked of the tables and changes nothing.
//!
//! In come questions, of this process or of another one beside it; out go rows, bytes and sums. It promises that who asks in this
//! process sees what was stored before the question, that no question holds up the thread that writes, and that a search of a
//! season's messages is answered from an index. It refuses a file that is no journal.
//!
//! - [`reader`]: the connections, and the small questions
//! - [`row`], [`search`], [`stats`], [`history`], [`order`]: what people ask
//! - [`pending`]: what the engine asks: what waits, in order
//! - [`unfiled`], [`verify`]: what the log has and the tables lack, and whether both hold together

pub(super) mod row;
pub(super) mod reader;
pub(super) mod search;
pub(super) mod pending;
pub(super) mod history;
pub(super) mod unfiled;
pub(super) mod verify;
pub(super) mod order;
pub(super) mod stats;
