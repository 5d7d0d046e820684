//! Opening the journal's file: one writer, checked, of a version that we know.

use std::io::Read as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::schema;
use crate::journal::config::JournalConfig;
use crate::journal::error::OpenError;
use crate::journal::wal::segment;
use crate::sqlite::open::{self, Health, Sync};
use crate::sqlite::private;
use crate::sqlite::version::version;

/// Opens, checks and migrates the file for the one writer. The caller holds the [`crate::journal::files::Lock`].
pub fn writer(config: &JournalConfig) -> Result<Connection, OpenError> {
    let path = &config.path;
    if let Ok(connection) = open::reader(path, READER_CACHE, STATEMENTS) {
        recognise(&connection, path)?; // before anything of it is changed
    }
    private::database(path).map_err(|e| OpenError::NotWritable { path: path.clone(), reason: e.to_string() })?;
    let mut connection = connect(config).map_err(|e| classify(path, &e))?;
    if connection.is_readonly("main").unwrap_or(false) {
        return Err(OpenError::NotWritable { path: path.clone(), reason: "it is read-only".into() });
    }
    recognise(&connection, path)?;
    check(&connection, config)?;
    schema::migrate(&mut connection).map_err(|e| classify(path, &e))?;
    make_shrinkable(&connection).map_err(|e| classify(path, &e))?;
    Ok(connection)
}

/// SQLite's log is moved into the file when it has so many pages: rarely, because a page of an index that many
/// transactions change is moved only once.
const CHECKPOINT: i64 = 4_096;

/// Kilobytes of pages that a connection keeps. The system's own cache has the rest, and what is kept here counts against
/// what a million waiting messages may take.
const WRITER_CACHE: i64 = 12_000;
const READER_CACHE: i64 = 1_000;

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 64;

/// The connection that files, nothing checked. It never corrupts the file and does not sync each transaction: the promise
/// of durability rests on the log, which is kept until what it holds is synced here too.
pub fn connect(config: &JournalConfig) -> rusqlite::Result<Connection> {
    let connection = Connection::open(&config.path)?;
    open::common(&connection, STATEMENTS)?;
    connection.pragma_update(None, "page_size", 8192)?; // takes effect in a new file only
    connection.pragma_update(None, "auto_vacuum", 2)?; // likewise: free pages can be given back to the disk
    open::for_writing(&connection, Sync::Checkpoints, WRITER_CACHE)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    Ok(connection)
}

/// A file made before version 2 has to be written anew to be able to shrink, which is done at the start up to this size.
const REWRITTEN_UP_TO: i64 = 256 << 20;

/// Makes an older, small file one that can shrink. A large one only uses its free room again, and says so.
fn make_shrinkable(connection: &Connection) -> rusqlite::Result<()> {
    let ask = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    if ask("PRAGMA auto_vacuum")? != 0 {
        return Ok(());
    }
    if ask("PRAGMA page_count")? * ask("PRAGMA page_size")? > REWRITTEN_UP_TO {
        tracing::info!(
            "the journal's file was made by an older version: room that becomes free in it is used again, but not given \
             back to the disk. To change that, stop the program and run: sqlite3 FILE 'PRAGMA auto_vacuum = 2; VACUUM'"
        );
        return Ok(());
    }
    connection.pragma_update(None, "auto_vacuum", 2)?;
    connection.execute_batch("VACUUM")
}

/// A connection that can only read; works beside a running writer.
pub fn reader(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.into() });
    }
    let connection = open::reader(path, READER_CACHE, STATEMENTS).map_err(|e| classify(path, &e))?;
    recognise(&connection, path)?;
    Ok(connection)
}

/// A connection that only reads what may be damaged, nothing checked.
pub fn damaged(path: &Path) -> rusqlite::Result<Connection> {
    open::reader(path, READER_CACHE, STATEMENTS)
}

/// Whether a file is a journal, by its head; nothing is opened or changed.
#[must_use]
pub fn is_one(path: &Path) -> bool {
    // SQLite file format, 1.3: the application's id stands at byte 68.
    let mut head = [0; 72];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"SQLite format 3\0") && head[68..] == schema::APPLICATION_ID.to_be_bytes()
}

/// Is this a journal, empty or ours, of a version that we know?
fn recognise(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let read = || -> rusqlite::Result<(i32, i64, i64)> {
        let id = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((id, tables, version(connection)?))
    };
    let (id, tables, version) = read().map_err(|e| classify(path, &e))?;
    if id != schema::APPLICATION_ID && tables > 0 {
        return Err(OpenError::NotAJournal { path: path.into() });
    }
    if version > schema::newest() {
        return Err(OpenError::Newer { path: path.into(), found: version, known: schema::newest() });
    }
    Ok(())
}

/// For a bounded time: a journal of many gigabytes must not keep the listener closed for minutes after a power cut.
fn check(connection: &Connection, config: &JournalConfig) -> Result<(), OpenError> {
    let (path, limit) = (config.path.clone(), config.check_for);
    match open::quick_check(connection, limit) {
        Ok(Health::Whole) => waiting(connection).map_err(|e| classify(&path, &e)),
        Ok(Health::Damaged(reason)) => Err(OpenError::Damaged { path, reason }),
        Ok(Health::Unfinished) => {
            tracing::info!("the journal was checked for {limit:?}, not to its end");
            Ok(())
        }
        Err(error) => Err(classify(&path, &error)),
    }
}

/// What waits is found by an index, which the check above does not hold against the rows: one that had lost an entry would
/// keep a message from ever being delivered.
fn waiting(connection: &Connection) -> rusqlite::Result<()> {
    if version(connection)? == 0 {
        return Ok(());
    }
    let ask = |how: &str| {
        let sql = format!("SELECT count(*), coalesce(sum(seq), 0) FROM message {how} WHERE {}", schema::WAITING);
        connection.query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
    };
    if ask("INDEXED BY message_waiting")? != ask("NOT INDEXED")? {
        tracing::warn!("an index of the journal was damaged; it is made anew from the messages");
        connection.execute_batch("REINDEX")?;
    }
    Ok(())
}

fn classify(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, reason) = (path.to_path_buf(), error.to_string());
    match error.sqlite_error_code() {
        // What begins like nothing that SQLite knows and has a log of ours beside it was a journal.
        Some(ErrorCode::NotADatabase) if has_log(&path) => OpenError::Damaged { path, reason },
        Some(ErrorCode::NotADatabase) => OpenError::NotAJournal { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, reason },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            OpenError::NotWritable { path, reason }
        }
        _ => OpenError::Other { path, reason },
    }
}

fn has_log(path: &Path) -> bool {
    (0..2).any(|n| segment::name(path, n).exists())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::journal::files::held;
    use crate::journal::fixture::{arrival, config, open, seq};
    use crate::journal::{Journal, OnDamage};

    fn refused(config: &JournalConfig) -> OpenError {
        Journal::open(config).expect_err("this journal must not open")
    }

    #[test]
    fn a_power_cut_cannot_damage_the_tables() {
        let folder = TempDir::new().unwrap();
        let connection = connect(&config(&folder)).unwrap();
        let ask = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(ask("PRAGMA journal_mode"), "wal");
        let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 1, "NORMAL: synced before each checkpoint");
    }

    #[tokio::test]
    async fn a_second_writer_is_refused_and_told_who_holds_the_journal() {
        let (folder, journal) = open();
        assert!(held(&config(&folder).path).unwrap().contains(&std::process::id().to_string()));
        let error = refused(&config(&folder));
        assert!(matches!(&error, OpenError::Locked { .. }), "{error}");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(journal);
        assert_eq!(held(&config(&folder).path), None);
        assert!(Journal::open(&config(&folder)).is_ok());
    }

    #[tokio::test]
    async fn readers_work_beside_the_writer() {
        let (folder, journal) = open();
        let reader = crate::journal::Reader::open(&config(&folder).path).unwrap();
        let seq = seq(journal.store(arrival("1", 0)).await.unwrap());
        journal.row(seq).await.unwrap(); // it has come from the log into the tables
        assert_eq!(reader.row(seq).unwrap().unwrap().control_id, "1");
    }

    #[test]
    fn a_file_that_is_no_database_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        let text = "MSH|^~\\&|".repeat(200);
        std::fs::write(&config.path, &text).unwrap();
        assert!(matches!(refused(&config), OpenError::NotAJournal { .. }));
        assert_eq!(std::fs::read_to_string(&config.path).unwrap(), text);
    }

    #[test]
    fn somebody_elses_database_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let config = config(&folder);
        Connection::open(&config.path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        let before = std::fs::read(&config.path).unwrap();
        assert!(matches!(refused(&config), OpenError::NotAJournal { .. }));
        assert_eq!(std::fs::read(&config.path).unwrap(), before);
    }

    #[test]
    fn a_journal_of_a_newer_version_is_refused() {
        let (folder, journal) = open();
        drop(journal);
        Connection::open(config(&folder).path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = refused(&config(&folder));
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_journal_is_refused_with_the_remedy() {
        let (folder, journal) = open();
        for n in 0..200 {
            seq(journal.store(arrival(&n.to_string(), 0)).await.unwrap());
        }
        drop(journal);
        let path = config(&folder).path;
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2 / 8192 * 8192;
        bytes[middle..middle + 8192].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&JournalConfig { on_damage: OnDamage::Refuse, ..config(&folder) });
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(".recover"));
    }

    #[tokio::test]
    async fn a_check_that_takes_too_long_is_cut_short_and_the_journal_opens() {
        let (folder, journal) = open();
        seq(journal.store(arrival("1", 0)).await.unwrap());
        drop(journal);
        let config = JournalConfig { check_for: Duration::ZERO, ..config(&folder) };
        assert!(Journal::open(&config).is_ok());
    }

    #[test]
    fn a_place_where_nothing_can_be_written_is_named() {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let config = JournalConfig { path: folder.path().join("file/journal.db"), ..JournalConfig::default() };
        let error = refused(&config);
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
        assert!(error.to_string().contains("file/journal.db"), "{error}");
    }
}
