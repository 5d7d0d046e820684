//! Which version of its tables a file has, and bringing them up to date.

use rusqlite::{Connection, Transaction};

/// The steps that a file has behind it.
pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a file to the newest version: step `n` takes it from version `n` to `n + 1`, in a transaction of its own, to which
/// `also` adds what else it wants. A step that has been released is never edited. The caller has refused newer files.
pub fn migrate(
    connection: &mut Connection,
    steps: &[&str],
    also: impl Fn(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let from = usize::try_from(version(connection)?).unwrap_or(0);
    for (done, step) in steps.iter().enumerate().skip(from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        also(&transaction)?;
        transaction.pragma_update(None, "user_version", done + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE one (x)";
    const SECOND: &str = "CREATE TABLE two (x)";

    #[test]
    fn a_file_is_taken_from_where_it_is_to_the_newest_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &[FIRST], |_| Ok(())).unwrap();
        migrate(&mut connection, &[FIRST, SECOND], |_| Ok(())).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        migrate(&mut connection, &[FIRST, SECOND], |_| panic!("it is up to date")).unwrap();
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(migrate(&mut connection, &[FIRST, "CREATE TABLE one (x)"], |_| Ok(())).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        connection.execute("INSERT INTO one VALUES (1)", []).unwrap();
    }
}
