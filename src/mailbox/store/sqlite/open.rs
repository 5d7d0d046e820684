//! Opening the database file, and bringing its schema up to date.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Each entry brings the schema from its index to the next version. Never change one that was released: add one.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// Why the mailbox's database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make the folder {path} for the mailbox's database: {error}")]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("cannot open the mailbox's database {path}: {error}")]
    Open { path: PathBuf, error: rusqlite::Error },
    #[error(
        "the mailbox's database {path} has schema {found}, newer than {known} that this version knows: update stoker"
    )]
    Newer { path: PathBuf, found: usize, known: usize },
    #[error("cannot start the mailbox's writer: {0}")]
    Thread(std::io::Error),
}

pub(super) fn writer(path: &Path, cache: u64) -> Result<Connection, OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| OpenError::Folder { path: folder.into(), error })?;
    }
    let fault = |error| OpenError::Open { path: path.into(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    prepare(&connection, cache).map_err(fault)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection, cache: u64) -> rusqlite::Result<()> {
    common(connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // A negative cache size counts KiB.
    connection.pragma_update(None, "cache_size", -i64::try_from(cache >> 10).unwrap_or(i64::MAX))?;
    connection.pragma_update(None, "temp_store", "memory")
}

fn common(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    // Without it SQLite plans a prepared statement anew for each value that could change the plan: a quarter of all time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), OpenError> {
    let fault = |error| OpenError::Open { path: path.into(), error };
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    let found = found as usize;
    if found > MIGRATIONS.len() {
        return Err(OpenError::Newer { path: path.into(), found, known: MIGRATIONS.len() });
    }
    for (version, step) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction().map_err(fault)?;
        transaction.execute_batch(step).map_err(fault)?;
        transaction.pragma_update(None, "user_version", version as u32 + 1).map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

/// A connection that only brings the log into the file.
pub(super) fn checkpointer(path: &Path) -> Result<Connection, OpenError> {
    let fault = |error| OpenError::Open { path: path.into(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    common(&connection).map_err(fault)?;
    connection.pragma_update(None, "synchronous", "full").map_err(fault)?;
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let fault = |error| OpenError::Open { path: path.into(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    common(&connection).map_err(fault)?;
    connection.pragma_update(None, "cache_size", -16_384).map_err(fault)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_a_newer_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/mailbox.db");
        writer(&path, 1 << 20).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let fault = writer(&path, 1 << 20).unwrap_err().to_string();
        assert!(fault.contains("schema 99") && fault.contains("update stoker"), "{fault}");
    }

    #[test]
    fn opening_twice_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mailbox.db");
        let insert = "INSERT INTO uri (uri) VALUES ('urn:x')";
        assert_eq!(writer(&path, 1 << 20).unwrap().execute(insert, []).unwrap(), 1);
        let again = writer(&path, 1 << 20).unwrap();
        let count: i64 = again.query_row("SELECT count(*) FROM uri", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
        assert!(reader(&path).unwrap().execute(insert, []).is_err());
    }
}
