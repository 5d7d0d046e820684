//! Opening the database file, and bringing its schema up to date.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::sqlite::open::{self, Sync};
use crate::sqlite::private;
use crate::sqlite::version::{migrate, version};

/// Each entry brings the schema from its index to the next version. Never change one that was released: add one.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("migrate-2.sql")];

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 128;

/// KiB of pages that a reader keeps.
const READER_CACHE: i64 = 16 << 10;

/// Why the mailbox's database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot make the folder {path} for the mailbox's database: {error}")]
    Folder { path: PathBuf, error: std::io::Error },
    #[error("cannot open the mailbox's database {path}: {error}; {}", remedy(error))]
    Open { path: PathBuf, error: rusqlite::Error },
    #[error("{path} is not a mailbox's database; set mailbox.data to another file")]
    NotAMailbox { path: PathBuf },
    #[error(
        "the mailbox's database {path} has schema {found}, newer than {known} that this version knows: update stoker"
    )]
    Newer { path: PathBuf, found: i64, known: usize },
    #[error("cannot start the mailbox's writer: {0}")]
    Thread(std::io::Error),
}

pub(super) fn writer(path: &Path, cache: u64) -> Result<Connection, OpenError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private::folder(folder).map_err(|error| OpenError::Folder { path: folder.into(), error })?;
    }
    let fault = |error| OpenError::Open { path: path.into(), error };
    recognise(path)?; // before anything of it is changed
    private::database(path).map_err(|error| OpenError::Folder { path: path.into(), error })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    common(&connection).map_err(fault)?;
    open::for_writing(&connection, Sync::Full, kibibytes(cache)).map_err(fault)?;
    let found = version(&connection).map_err(fault)?;
    if found > MIGRATIONS.len() as i64 {
        return Err(OpenError::Newer { path: path.into(), found, known: MIGRATIONS.len() });
    }
    migrate(&mut connection, &MIGRATIONS, |_| Ok(())).map_err(fault)?;
    Ok(connection)
}

/// What a person can do about a database that does not open.
fn remedy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is damaged: put a backup in its place that stoker verify passes, or recover what can be read (sqlite3 FILE \
             .recover). Or move it away to begin an empty one, and send it again what it held (stoker queue retry, replay)"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check that this user may read and write it and its folder"
        }
        Some(ErrorCode::DiskFull) => "make room on its disk",
        _ => "stoker verify looks at it more closely",
    }
}

/// A file that is there is a mailbox's, or an empty one.
fn recognise(path: &Path) -> Result<(), OpenError> {
    if !path.exists() {
        return Ok(());
    }
    let Ok(connection) = open::reader(path, READER_CACHE, STATEMENTS) else { return Ok(()) };
    let sql = "SELECT count(*), count(CASE WHEN name IN ('delivery', 'resource') THEN 1 END) FROM sqlite_schema
               WHERE type = 'table'";
    match connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))) {
        Ok((1.., 0)) => Err(OpenError::NotAMailbox { path: path.into() }),
        _ => Ok(()),
    }
}

fn kibibytes(bytes: u64) -> i64 {
    i64::try_from(bytes >> 10).unwrap_or(i64::MAX)
}

fn common(connection: &Connection) -> rusqlite::Result<()> {
    open::common(connection, STATEMENTS)
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
    open::reader(path, READER_CACHE, STATEMENTS).map_err(|error| OpenError::Open { path: path.into(), error })
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
