//! What the mailbox keeps, and the only place that knows how.
//!
//! Three traits stand between the rules and the database: [`Transaction`] is what the processing of one message reads
//! and writes, [`Reader`] what the REST side asks, [`Store`] hands out both. [`sqlite`] is the one implementation;
//! nothing in the traits is SQLite's own, so that a shared PostgreSQL can be the second. [`compression`] is how texts are kept.
//!
//! Promises: one message is one transaction, all or nothing; an answer is given only after the commit that holds it is
//! on disk; readers see committed states only, and of those what their caller may read: authorization stands where the data is
//! taken. Refuses: a database written by a newer schema.

use crate::http::auth::Caller;

pub(super) mod model;
pub mod compression;
mod reader;
pub mod sqlite;
mod transaction;

pub use model::{Facts, Holder, Identifier, Link, LinkKind, Pk, Seq, StoreError, StoredResource};

pub use compression::Compressed;
pub use model::Cursor;
pub use reader::{
    LinkEvents, LoggedMessage, MessagePage, MessageQuery, Name, Reader, RecordedLink, ResourcePage, Unanswerable,
    Version, Which,
};
pub use transaction::{
    Answer, BundleUse, Correspondence, Identities, LinkEvent, NewMessage, Owner, PendingAnswer, Put, Resources,
    Transaction,
};

/// Bytes of text after which a page ends, however many messages or resources were asked for; it has one at least.
pub const PAGE_BYTES: usize = 4 << 20;

/// One unit of work for the writer.
pub trait Work: Send {
    /// Runs inside the transaction. `Ok(false)`: an answer was found, but what was written is to be undone. May be called
    /// again after everything was undone.
    fn run(&mut self, transaction: &mut dyn Transaction) -> Result<bool, StoreError>;
    /// Called once, after the commit that holds the work, or with the reason why there is none.
    fn settle(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Where transactions and readers come from.
pub trait Store: Send + Sync {
    /// Queues work for the next group commit.
    fn submit(&self, work: Box<dyn Work>) -> Result<(), StoreError>;
    /// Runs `ask` on a reader that finds what `caller` may read, and nothing else; blocks while all are in use.
    fn read(
        &self,
        caller: &Caller,
        ask: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;
    /// Finishes what is queued and ends the writer. Later work is refused.
    fn close(&self);
}
