//! Whether the mailbox's file is whole, as SQLite sees it. Reads only, beside a running mailbox.

use std::path::Path;

use crate::sqlite::backup;

/// Whether a file holds a mailbox's tables.
#[must_use]
pub fn is_one(path: &Path) -> bool {
    let tables = backup::open(path).and_then(|connection| {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('delivery', 'resource')";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0))
    });
    tables.is_ok_and(|tables| tables == 2)
}

/// What is wrong with it; empty: nothing.
///
/// # Errors
/// When it cannot be read as a database.
pub fn verify(path: &Path) -> rusqlite::Result<Vec<String>> {
    backup::damage(&backup::open(path)?)
}
