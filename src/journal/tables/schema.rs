//! The tables, and how an older file becomes a newer one.
//!
//! `mention` is the index of patients and visits. As an ordinary index on the identifier, every message would change
//! pages all over it, and each commit would write them all to the log. So it is cut into blocks of 2,048 messages: a
//! commit touches a handful of pages, and a search asks each block once (1,500 probes for 60 days of 50,000 a day,
//! some milliseconds).

use rusqlite::Connection;

use crate::sqlite::version;

/// `STKR`: marks the file as ours for `file(1)`, and keeps us from writing into somebody else's database.
pub const APPLICATION_ID: i32 = 0x53_54_4b_52;

/// How many messages share a block of `mention`, as a shift. Stored data depends on it.
pub const BLOCK_SHIFT: i64 = 11;

/// The partial index of what waits is only used by queries that repeat its condition word for word.
pub const WAITING: &str = "status IN ('received', 'retrying')";

/// Step `n` takes a file from version `n` to `n + 1`. A step that has been released is never edited.
const STEPS: &[&str] = &[MESSAGES, STEPS_AND_ACTS, OWED, FILED, SYNCED];

const MESSAGES: &str = "
CREATE TABLE message (
    seq        INTEGER PRIMARY KEY,
    received   INTEGER NOT NULL,              -- microseconds since 1970, UTC, as are all times here
    listener   TEXT NOT NULL,
    peer       TEXT NOT NULL,
    sender     TEXT NOT NULL,                 -- MSH-4 and MSH-3: facility|application
    control_id TEXT NOT NULL,
    event      TEXT,
    keys       TEXT NOT NULL,                 -- P|authority|value, V|authority|value, one a line
    size       INTEGER NOT NULL,
    digest     BLOB NOT NULL,                 -- 128 bits of SHA-256 of the bytes
    status     TEXT NOT NULL CHECK (status IN ('received', 'retrying', 'delivered', 'dead', 'skipped', 'refused')),
    reason     TEXT,                          -- why it has this status; no patient data
    detail     TEXT,                          -- what the destination said last
    attempts   INTEGER NOT NULL DEFAULT 0,
    tried      INTEGER,                       -- the first attempt
    due        INTEGER,                       -- the next attempt, while retrying
    changed    INTEGER NOT NULL,
    plan       INTEGER,                       -- plan.id of the mapping that made the Bundle
    bundle     BLOB                           -- Bundle.id, 16 bytes
) STRICT;
CREATE TABLE body (seq INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT;
CREATE TABLE plan (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE mention (
    block INTEGER NOT NULL,                   -- seq >> 11
    hash  INTEGER NOT NULL,                   -- 64 bits of SHA-256 of kind and value
    seq   INTEGER NOT NULL,
    PRIMARY KEY (block, hash, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_control ON message (control_id, sender) WHERE control_id <> '';
CREATE INDEX message_received ON message (received);
CREATE INDEX message_event ON message (event, received);
CREATE INDEX message_waiting ON message (seq) WHERE status IN ('received', 'retrying');
CREATE INDEX message_new ON message (received) WHERE status = 'received';
CREATE INDEX message_retrying ON message (received) WHERE status = 'retrying';
CREATE INDEX message_dead ON message (received) WHERE status = 'dead';
CREATE INDEX message_skipped ON message (received) WHERE status = 'skipped';
CREATE INDEX message_refused ON message (received) WHERE status = 'refused';
";

/// The way of each message, and what people did. A trigger writes the steps, so that no writer can forget one.
const STEPS_AND_ACTS: &str = "
CREATE TABLE act (
    id        INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,               -- as are the steps that came of it
    who       TEXT NOT NULL,
    command   TEXT NOT NULL,                  -- retry, discard, export, pause, resume
    selection TEXT NOT NULL,                  -- what was asked for, as it was typed; may hold patient data
    reason    TEXT,
    messages  INTEGER NOT NULL                -- how many were meant
) STRICT;
CREATE INDEX act_at ON act (at);
CREATE TABLE step (
    seq    INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    detail TEXT,                              -- NULL where it is the same as before
    sent   INTEGER NOT NULL,                  -- 1 where something was sent to the destination
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER message_step AFTER UPDATE OF status ON message
WHEN NOT (new.status = 'delivered' AND old.attempts = 0)
BEGIN
    INSERT INTO step (seq, n, at, status, reason, detail, sent)
    VALUES (new.seq, (SELECT coalesce(max(n), 0) + 1 FROM step WHERE seq = new.seq), new.changed, new.status,
            new.reason, CASE WHEN new.detail IS NOT old.detail THEN new.detail END, new.attempts > old.attempts);
END;
";

const OWED: &str = "
CREATE TABLE owed (seq INTEGER PRIMARY KEY) STRICT; -- whose sender is still to be told the outcome
";

const FILED: &str = "
CREATE TABLE filed (
    journal  INTEGER NOT NULL,                -- by this the journal and its log know each other
    position INTEGER NOT NULL                 -- the last entry of the log that is in these tables
) STRICT;
INSERT INTO filed VALUES (random(), 0);
";

const SYNCED: &str = "
ALTER TABLE filed ADD COLUMN synced INTEGER NOT NULL DEFAULT 0; -- the last position known to be on disk, at that time
CREATE TABLE aside (
    position INTEGER PRIMARY KEY,             -- an entry of the log that could not be filed
    entry    BLOB NOT NULL,
    why      TEXT NOT NULL
) STRICT;
";

/// The version that brought steps and acts.
pub const WITH_STEPS: i64 = 2;

/// The version that brought the log.
pub const WITH_LOG: i64 = 4;

/// The version that knows how far the log was synced.
pub const WITH_SYNCED: i64 = 5;

/// The version that this program writes.
pub fn newest() -> i64 {
    STEPS.len() as i64
}

/// Brings the file to the newest version. The caller has refused newer files.
pub fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    version::migrate(connection, STEPS, |step| step.pragma_update(None, "application_id", APPLICATION_ID))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::fixture::config;
    use crate::journal::{Journal, Progress, Query, Reader, Record, Status};

    /// A file as the first version left it, with a message that waits.
    fn of_the_first_version(path: &std::path::Path) {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch(MESSAGES).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO message (received, listener, peer, sender, control_id, event, keys, size, digest, status, changed)
                 VALUES (1, 'adt', '127.0.0.1:1', 'H|A', 'C1', 'A01', 'P|H|12345', 3, x'00', 'received', 1);
                 INSERT INTO body VALUES (1, x'4d5348');",
            )
            .unwrap();
        let hash = 0xaeca_5a24_200a_b41b_u64.cast_signed(); // of patient 12345
        connection.execute("INSERT INTO mention VALUES (0, ?1, 1)", [hash]).unwrap();
    }

    #[tokio::test]
    async fn a_file_of_an_older_version_becomes_a_new_one_and_keeps_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        of_the_first_version(&config.path);
        let journal = Journal::open(&config).unwrap();
        assert_eq!(&journal.body(1).await.unwrap().unwrap()[..], b"MSH");
        journal
            .record(Record::decision(1, Timestamp::now(), Progress::Dead { reason: "HTTP 422".into() }))
            .await
            .unwrap();
        let query = Query { patient: Some("12345".into()), ..Query::default() };
        let row = journal.search(query).await.unwrap().remove(0);
        assert_eq!((row.control_id.as_str(), row.status), ("C1", Status::Dead));
        assert_eq!(journal.reader().steps(&row).unwrap().len(), 1);
        drop(journal);
        let connection = Connection::open(&config.path).unwrap();
        assert_eq!(version::version(&connection).unwrap(), newest());
        let shrinks: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap();
        assert_eq!(shrinks, 2, "incremental");
    }

    #[test]
    fn a_file_of_an_older_version_can_be_read_before_it_is_migrated() {
        let folder = tempfile::tempdir().unwrap();
        let path = config(&folder).path;
        of_the_first_version(&path);
        let reader = Reader::open(&path).unwrap();
        let rows = reader.search(&Query::default()).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(reader.steps(&rows[0]).unwrap().is_empty() && reader.acts(5).unwrap().is_empty());
        assert_eq!(version::version(&Connection::open(&path).unwrap()).unwrap(), 1);
    }
}
