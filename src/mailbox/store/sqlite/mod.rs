//! The store on SQLite: WAL, `synchronous=FULL`, one writer with group commit, readers on connections of their
//! own; what was committed goes from the log into the file beside them.

mod checkpoint;
mod column;
mod guarded;
mod log;
mod open;
mod reader;
mod search;
mod transaction;
mod verify;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::Work;
use super::model::StoreError;
use crate::http::auth::Caller;
use checkpoint::Checkpointer;
use reader::Pool;
use writer::StoreWriter;

pub use open::OpenError;
pub use verify::{is_one, verify};
/// How the database is opened.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    pub readers: usize,
    /// Bytes of pages that the writer keeps in memory.
    pub cache: u64,
    /// Messages that may wait for the writer.
    pub queue: usize,
}

/// One database file.
pub struct Sqlite {
    writer: StoreWriter,
    readers: Pool,
    checkpointer: Mutex<Checkpointer>,
}

impl Sqlite {
    /// Opens or makes the database and starts its writer.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be opened, or was written by a newer version.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Arc<Self>, OpenError> {
        let mut connection = open::writer(path, options.cache)?;
        let readers = Pool::open(path, options.readers)?;
        let checkpointer = Mutex::new(Checkpointer::start(path, &mut connection)?);
        Ok(Arc::new(Self { writer: StoreWriter::start(path, connection, options.queue)?, readers, checkpointer }))
    }
}

impl super::Store for Sqlite {
    fn submit(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        self.writer.submit(work)
    }

    fn read(
        &self,
        caller: &Caller,
        ask: &mut dyn FnMut(&mut dyn super::Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.readers.with(caller, |reader| ask(reader))
    }

    fn close(&self) {
        self.writer.close();
        self.checkpointer.lock().unwrap_or_else(PoisonError::into_inner).close();
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // SQLite's own words name tables and codes, never values.
        Self::Database(error.to_string())
    }
}
