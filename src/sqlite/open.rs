//! Connections as both stores want them.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a connection waits for a lock that another process holds for a moment.
const LOCKED: Duration = Duration::from_secs(5);

/// A connection that can only read; works beside a running writer. `cache` in KiB, `statements` kept prepared.
pub fn reader(path: &Path, cache: i64, statements: usize) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    common(&connection, statements)?;
    set_cache(&connection, cache)?;
    Ok(connection)
}

/// What every connection has. Statements are kept, and kept as they were planned: SQLite would else plan one that touches a
/// partial index again whenever its parameters change, which costs five times what a look-up does.
pub fn common(connection: &Connection, statements: usize) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCKED)?;
    connection.set_prepared_statement_cache_capacity(statements);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

/// How much the file may lag behind its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Each commit is on disk when it returns.
    Full,
    /// A power cut may take the last commits, and never damages the file.
    Checkpoints,
}

/// What a connection that writes has besides: a write-ahead log, and a `cache` of so many KiB.
pub fn for_writing(connection: &Connection, sync: Sync, cache: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match sync {
        Sync::Full => "FULL",
        Sync::Checkpoints => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    set_cache(connection, cache)
}

/// A negative size counts KiB, a positive one pages.
fn set_cache(connection: &Connection, kibibytes: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -kibibytes)
}

/// What a check of bounded length found.
#[derive(Debug, PartialEq, Eq)]
pub enum Health {
    Whole,
    Damaged(String),
    /// The time was over first.
    Unfinished,
}

/// SQLite's `quick_check`, for no longer than `limit`. A damaged page that lies behind the bound still shows when it is read.
pub fn quick_check(connection: &Connection, limit: Duration) -> rusqlite::Result<Health> {
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = mpsc::channel::<()>();
    let found = std::thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        found
    });
    match found {
        Ok(answer) if answer == "ok" => Ok(Health::Whole),
        Ok(answer) => Ok(Health::Damaged(answer)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(Health::Unfinished),
        Err(error) => Err(error),
    }
}
