//! A SQLite file copied whole and checked, while another process may be writing it.
//!
//! The copy is the state of one moment: the source is read in one transaction from first page to last, so what is
//! committed meanwhile is not in it and does not make the copy begin again. It appears under its name only when it is
//! complete and on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Pages between two reports of progress; a step holds nobody up.
const PAGES: i32 = 1024;

/// Why there is no copy. Nothing stands under its name.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{0} exists already; name another file, or remove it first")]
    Exists(PathBuf),
    #[error("{path} cannot be read: {error}")]
    Source { path: PathBuf, error: rusqlite::Error },
    #[error("{path} cannot be written: {reason}; check the folder, its rights and the room on its disk")]
    Target { path: PathBuf, reason: String },
    #[error(
        "what stands beside {path} cannot be copied: {reason}; check the rights in both folders and the room there"
    )]
    Beside { path: PathBuf, reason: String },
    #[error("the copy {path} is damaged ({found}); check the disks, and the source with stoker verify")]
    Damaged { path: PathBuf, found: String },
}

/// Copies the database `from` to a new file `to`. Tells `progress` the pages done and those there are.
///
/// # Errors
/// [`CopyError`].
pub fn copy(from: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<(), CopyError> {
    copy_and(from, to, progress, |_| Ok(()))
}

/// The name that a copy has until it is complete.
#[must_use]
pub fn part(to: &Path) -> PathBuf {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// [`copy`], and lets `complete` add to the copy what the source holds elsewhere, before the copy is checked. It gets the
/// name that the copy has until then, and must leave one file.
///
/// # Errors
/// [`CopyError`].
pub fn copy_and(
    from: &Path,
    to: &Path,
    progress: impl FnMut(u64, u64),
    complete: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), CopyError> {
    if to.exists() {
        return Err(CopyError::Exists(to.into()));
    }
    let part = part(to);
    let completed = |()| complete(&part).map_err(|reason| CopyError::Target { path: part.clone(), reason });
    let done = write(from, &part, progress).and_then(completed).and_then(|()| check(&part));
    let done = done.and_then(|()| publish(&part, to));
    if done.is_err() {
        // What is left of it is in nobody's way: the next copy begins by removing it.
        drop(std::fs::remove_file(&part));
    }
    done
}

fn write(from: &Path, part: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), CopyError> {
    let source = |error| CopyError::Source { path: from.into(), error };
    let target = |reason: String| CopyError::Target { path: part.into(), reason };
    if part.exists() {
        std::fs::remove_file(part).map_err(|e| target(e.to_string()))?;
    }
    let read = open(from).map_err(source)?;
    // Holds the moment: without a transaction of ours each step would see a later one and begin again.
    let moment = read.unchecked_transaction().map_err(source)?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(source)?;
    let mut copy = Connection::open(part).map_err(|e| target(e.to_string()))?;
    {
        let backup = Backup::new(&read, &mut copy).map_err(|e| target(e.to_string()))?;
        loop {
            let step = backup.step(PAGES).map_err(|e| target(e.to_string()))?;
            let pages = backup.progress();
            let count = |n: i32| u64::try_from(n).unwrap_or(0);
            progress(count(pages.pagecount - pages.remaining), count(pages.pagecount));
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    // One file without companions, which can be read where nothing may be written.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(|e| target(e.to_string()))
}

fn check(part: &Path) -> Result<(), CopyError> {
    let target = |error: rusqlite::Error| CopyError::Target { path: part.into(), reason: error.to_string() };
    let found = open(part).and_then(|copy| damage(&copy)).map_err(target)?;
    match found.into_iter().next() {
        Some(found) => Err(CopyError::Damaged { path: part.into(), found }),
        None => Ok(()),
    }
}

/// On disk first, then under its name.
fn publish(part: &Path, to: &Path) -> Result<(), CopyError> {
    let target = |error: std::io::Error| CopyError::Target { path: to.into(), reason: error.to_string() };
    File::open(part).and_then(|file| file.sync_all()).map_err(target)?;
    std::fs::rename(part, to).map_err(target)?;
    let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(target)
}

/// A connection that cannot write, to a database that another process may have open.
///
/// # Errors
/// When there is no such file, or it cannot be read.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// What SQLite finds wrong with a database: its pages, its indexes, its references. Empty: nothing.
///
/// # Errors
/// When it cannot be read as a database at all.
pub fn damage(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = Vec::new();
    match search(connection, &mut found) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => found.push(error.to_string()),
        other => other?,
    }
    Ok(found)
}

fn search(connection: &Connection, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    for line in statement.query_map([], |row| row.get::<_, String>(0))? {
        found.push(line?);
    }
    found.retain(|line| line != "ok");
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let rows = statement.query_map([], |row| {
        let (table, row, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!("row {} of {table} refers to a row of {parent} that is not there", row.unwrap_or(0)))
    })?;
    for line in rows.take(20) {
        found.push(line?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(path: &Path, rows: i64) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)").unwrap();
        let sql = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?1)
                   INSERT INTO t SELECT n, hex(randomblob(100)) FROM c";
        connection.execute(sql, [rows]).unwrap();
        connection
    }

    fn names(folder: &Path) -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_copy_holds_the_moment_at_which_it_began_while_the_source_is_written_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("db"), folder.path().join("copy"));
        let source = filled(&from, 40_000);
        let mut steps = 0;
        copy(&from, &to, |_, _| {
            steps += 1;
            source.execute("INSERT INTO t (text) VALUES ('later')", []).unwrap();
        })
        .unwrap();
        assert!(steps > 1, "one step shows nothing");
        let copied: i64 = open(&to).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(copied, 40_000);
        assert!(!names(folder.path()).iter().any(|name| name.starts_with("copy.") || name.starts_with("copy-")));
    }

    #[test]
    fn a_file_that_exists_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("db"), folder.path().join("copy"));
        drop(filled(&from, 10));
        std::fs::write(&to, "mine").unwrap();
        assert!(matches!(copy(&from, &to, |_, _| ()), Err(CopyError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "mine");
    }

    #[test]
    fn damage_is_found_and_no_copy_of_it_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("db"), folder.path().join("copy"));
        drop(filled(&from, 10_000));
        let mut bytes = std::fs::read(&from).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xA5);
        std::fs::write(&from, bytes).unwrap();
        assert!(!damage(&open(&from).unwrap()).unwrap().is_empty());
        assert!(matches!(copy(&from, &to, |_, _| ()), Err(CopyError::Damaged { .. })));
        assert!(!names(folder.path()).iter().any(|name| name.starts_with("copy")));
    }
}
