//! A damaged file is written anew with everything that can still be read of it.
//!
//! Each table is read in the order of its keys. Where a page of it is damaged, the rows that it held are asked for one by one,
//! so that none is lost that stands elsewhere; and then all leaves that nothing leads to any more ([`super::leaves`]). The damaged file stays as it is under another name, and the new one takes its
//! place in a step that a crash may cut anywhere: as long as it is not complete it has a name that nobody opens.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::schema::{self, BLOCK_SHIFT, WAITING};
use super::{audit, leaves, open};
use crate::journal::config::JournalConfig;
use crate::journal::damage::Damage;
use crate::journal::error::OpenError;
use crate::journal::files;
use crate::journal::keys;
use crate::journal::model::Seq;
use crate::sqlite::{custody, private};

/// Rows that are asked for at once, and one by one where one of them cannot be read.
const PAGE: i64 = 512;

/// Behind the last row that could be read, and a page that could not, so many numbers are asked for.
const BEYOND: i64 = 20_000;

/// Writes the damaged file anew. `log` is the journal's id as its log knows it. The caller holds the lock.
///
/// # Errors
/// When the new file cannot be written; the damaged one is as it was then.
pub fn salvage(config: &JournalConfig, why: &str, log: Option<u64>) -> Result<Damage, OpenError> {
    let path = &config.path;
    let part = files::beside(path, ".salvage");
    let sql = |error: rusqlite::Error| OpenError::Other { path: path.clone(), reason: error.to_string() };
    let io = |error: io::Error| OpenError::NotWritable { path: path.clone(), reason: error.to_string() };
    remove(&part).map_err(io)?;
    private::database(&part).map_err(io)?;
    let kept = custody::aside(path, "damaged");
    let told = {
        let mut to = open::connect(&JournalConfig { path: part.clone(), ..config.clone() }).map_err(sql)?;
        schema::migrate(&mut to).map_err(sql)?;
        let from = open::damaged(path).ok();
        let told =
            write(from.as_ref(), &to, (path, &files::beside(path, ".leaves")), why, log, kept.clone()).map_err(sql)?;
        to.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(sql)?;
        told
    };
    std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&part, complete(path)).map_err(io)?;
    put_in_place(path, &kept).map_err(io)?;
    Ok(told)
}

/// Puts a file in place that a crash kept from that.
///
/// # Errors
/// When the files cannot be renamed.
pub fn finish(path: &Path) -> io::Result<()> {
    if complete(path).exists() { put_in_place(path, &custody::aside(path, "damaged")) } else { Ok(()) }
}

fn complete(path: &Path) -> PathBuf {
    files::beside(path, files::SALVAGED)
}

/// The damaged file goes aside with what stands beside it, and last the new one gets its name.
fn put_in_place(path: &Path, kept: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (files::beside(path, suffix), files::beside(kept, suffix));
        match std::fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(complete(path), path)?;
    files::sync_folder(path)
}

fn remove(part: &Path) -> io::Result<()> {
    ["", "-wal", "-shm"].iter().try_for_each(|suffix| match std::fs::remove_file(files::beside(part, suffix)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

fn write(
    from: Option<&Connection>,
    to: &Connection,
    beside: (&Path, &Path),
    why: &str,
    log: Option<u64>,
    kept: PathBuf,
) -> rusqlite::Result<Damage> {
    let transaction = to.unchecked_transaction()?;
    if let Some(from) = from {
        for table in ["plan", "act", "owed"] {
            copy(from, to, table)?;
        }
        for seq in copy(from, to, "message")? {
            details_of(from, to, seq)?;
        }
    }
    let path = beside.0;
    match leaves::add(path, beside.1, to) {
        Ok(seqs) => seqs.into_iter().try_for_each(|seq| mention(to, seq))?,
        Err(error) => tracing::warn!(error, "the pages of the damaged journal could not be looked through one by one"),
    }
    if let Some(from) = from {
        bodies_alone(from, to)?;
    }
    let count = |sql: &str| to.query_row(sql, [], |row| row.get::<_, u64>(0));
    let messages = count("SELECT count(*) FROM message")?;
    let without_bytes = count(&format!(
        "SELECT count(*) FROM message m WHERE {WAITING} AND NOT EXISTS (SELECT 1 FROM body b WHERE b.seq = m.seq)"
    ))?;
    to.execute(
        &format!(
            "UPDATE message SET status = 'dead', due = NULL, reason = ?1 WHERE {WAITING}
             AND NOT EXISTS (SELECT 1 FROM body b WHERE b.seq = message.seq)"
        ),
        ["its bytes were lost with a damaged part of the journal; let its source send it again"],
    )?;
    let filed = from.and_then(|from| {
        let ask =
            |column: &str| from.query_row(&format!("SELECT {column} FROM filed"), [], |row| row.get::<_, i64>(0)).ok();
        Some((ask("journal")?, ask("position")?, ask("synced").unwrap_or_default()))
    });
    match (filed, log) {
        (Some((journal, position, synced)), _) => {
            to.execute("UPDATE filed SET journal = ?1, position = ?2, synced = ?3", [journal, position, synced])?;
        }
        // Everything that stands in the log is filed, and what is here already is known again.
        (None, Some(journal)) => drop(to.execute("UPDATE filed SET journal = ?1", [journal.cast_signed()])?),
        (None, None) => {}
    }
    let told = Damage::Tables { why: why.into(), messages, without_bytes, kept: vec![kept] };
    audit::note(to, &told.act(Timestamp::now()))?;
    transaction.commit()?;
    Ok(told)
}

/// The columns of a table, in both files.
fn columns(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let of = |connection: &Connection| -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = statement.query_map([table], |row| row.get(0))?;
        names.collect()
    };
    let there = of(from).unwrap_or_default();
    Ok(of(to)?.into_iter().filter(|name| there.contains(name)).collect())
}

/// Copies a table by its numbers; those that could be read.
fn copy(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<Vec<Seq>> {
    let columns = columns(from, to, table)?;
    let Some(key) = columns.first() else { return Ok(Vec::new()) };
    let list = columns.join(", ");
    let places = (1..=columns.len()).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO {table} ({list}) VALUES ({places})"))?;
    let select = |what: &str| format!("SELECT {list} FROM {table} WHERE {key} {what}");
    let (Ok(mut many), Ok(mut one)) =
        (from.prepare(&select(&format!("> ?1 ORDER BY {key} LIMIT {PAGE}"))), from.prepare(&select("= ?1")))
    else {
        return Ok(Vec::new());
    };
    let width = columns.len();
    let read = |row: &rusqlite::Row<'_>| {
        (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>()
    };
    let (mut after, mut found, mut missed) = (0, Vec::new(), 0);
    loop {
        let page: rusqlite::Result<Vec<_>> = many.query_map([after], read).and_then(Iterator::collect);
        let rows = match page {
            Ok(rows) if rows.is_empty() => return Ok(found),
            Ok(rows) => rows,
            Err(_) => (after + 1..=after + PAGE).filter_map(|key| one.query_row([key], read).ok()).collect(),
        };
        let last = rows.last().and_then(|row| match row.first() {
            Some(rusqlite::types::Value::Integer(key)) => Some(*key),
            _ => None,
        });
        missed = if last.is_some() { 0 } else { missed + PAGE };
        if missed > BEYOND {
            return Ok(found);
        }
        for row in rows {
            // A row that the tables of this version refuse was damaged where nothing else tells it.
            if insert.execute(params_from_iter(row.iter().map(|value| value as &dyn ToSql))).unwrap_or(0) > 0
                && let Some(rusqlite::types::Value::Integer(key)) = row.first()
            {
                found.push(*key);
            }
        }
        after = last.map_or(after + PAGE, |last| last.max(after + 1));
    }
}

/// Its bytes, its steps, and where it is found by its patients and visits.
fn details_of(from: &Connection, to: &Connection, seq: Seq) -> rusqlite::Result<()> {
    let steps = from.prepare_cached("SELECT n, at, status, reason, detail, sent FROM step WHERE seq = ?1").and_then(
        |mut statement| {
            let rows = statement.query_map([seq], |row| {
                (0..6).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>()
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        },
    );
    for step in steps.unwrap_or_default() {
        let values = std::iter::once(rusqlite::types::Value::Integer(seq)).chain(step);
        drop(
            to.prepare_cached("INSERT OR IGNORE INTO step (seq, n, at, status, reason, detail, sent) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params_from_iter(values)),
        );
    }
    mention(to, seq)?;
    let body = from
        .prepare_cached("SELECT raw FROM body WHERE seq = ?1")
        .and_then(|mut statement| statement.query_row([seq], |row| row.get::<_, Vec<u8>>(0)).optional());
    if let Ok(Some(raw)) = body {
        to.prepare_cached("INSERT INTO body (seq, raw) VALUES (?1, ?2)")?.execute(params![seq, raw])?;
    }
    Ok(())
}

/// Where a message is found by its patients and visits.
fn mention(to: &Connection, seq: Seq) -> rusqlite::Result<()> {
    let keys: String =
        to.prepare_cached("SELECT keys FROM message WHERE seq = ?1")?.query_row([seq], |row| row.get(0))?;
    for hash in keys::hashes(&keys) {
        to.prepare_cached("INSERT OR IGNORE INTO mention (block, hash, seq) VALUES (?1, ?2, ?3)")?.execute([
            seq >> BLOCK_SHIFT,
            hash.cast_signed(),
            seq,
        ])?;
    }
    Ok(())
}

/// Bytes whose row is lost are kept for a person: nothing tells any more whose they are.
fn bodies_alone(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let ids = from
        .prepare("SELECT seq FROM body")
        .and_then(|mut statement| {
            let mut rows = statement.query([])?;
            let mut ids = Vec::new();
            while let Ok(Some(row)) = rows.next() {
                ids.push(row.get::<_, Seq>(0)?);
            }
            Ok(ids)
        })
        .unwrap_or_default();
    for seq in ids {
        let known = to.prepare_cached("SELECT 1 FROM message WHERE seq = ?1")?.exists([seq])?;
        let raw = from
            .prepare_cached("SELECT raw FROM body WHERE seq = ?1")
            .and_then(|mut statement| statement.query_row([seq], |row| row.get::<_, Vec<u8>>(0)));
        if let (false, Ok(raw)) = (known, raw) {
            to.prepare_cached("INSERT OR IGNORE INTO aside (position, entry, why) VALUES (?1, ?2, ?3)")?
                .execute(params![-seq, raw, "the bytes of a message whose row was damaged"])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::journal::fixture::{arrival, config, open, patient, seq};
    use crate::journal::{Journal, OnDamage, Progress, Query, Record, Status, verify};

    /// A journal of 400 messages, closed, and where its pages begin.
    async fn filled() -> (tempfile::TempDir, JournalConfig) {
        let (folder, journal) = open();
        for n in 0..400 {
            let mut one = arrival(&n.to_string(), n);
            one.keys = vec![patient(&format!("H|{n}"))];
            let seq = seq(journal.store(one).await.unwrap());
            if n % 2 == 0 {
                let delivered = Record::decision(seq, Timestamp::now(), Progress::Delivered);
                journal.record(Record { sent: true, ..delivered }).await.unwrap();
            }
        }
        drop(journal);
        let config = config(&folder);
        (folder, config)
    }

    #[tokio::test]
    async fn every_page_may_be_damaged_and_what_stands_on_the_others_is_kept_and_the_rest_is_told() {
        let (folder, before) = filled().await;
        let whole = std::fs::read(&before.path).unwrap();
        for page in 0..whole.len() / 8192 {
            let path = folder.path().join(format!("d{page}")).join("journal.db");
            private::folder(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &whole).unwrap();
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[0xA5; 8192], page as u64 * 8192).unwrap();
            let config = JournalConfig { path: path.clone(), ..before.clone() };
            if page == 0 {
                // Nothing in the file tells any more what it was; its log does.
                std::fs::write(files::beside(&path, "-log0"), "").unwrap();
            }
            let Ok(journal) = Journal::open(&config) else { panic!("page {page} keeps the journal from opening") };
            let (alarms, told) = journal.alarms(1).await.unwrap();
            let messages = journal.count(Query::default()).await.unwrap();
            assert!(alarms == 1 || messages == 400, "page {page}: {messages} messages, nobody was told");
            assert!(messages >= 300, "page {page} cost {} messages", 400 - messages);
            if alarms > 0 {
                assert!(told[0].act.selection.contains("damaged") && told[0].act.reason.is_some());
                let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
                let kept = names.filter(|name| {
                    let name = name.as_ref().unwrap().file_name();
                    let name = name.to_string_lossy().into_owned();
                    name.starts_with("journal.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")
                });
                assert_eq!(kept.count(), 1);
            }
            assert_eq!(journal.store(arrival("more", 500)).await.map(|stored| seq(stored) > 0), Ok(true));
            drop(journal);
            assert_eq!(verify(&path, |_, _| ()).unwrap().findings, [], "page {page}");
        }
    }

    #[tokio::test]
    async fn what_waited_without_its_bytes_is_given_up_with_the_reason_and_a_crash_in_between_loses_nothing() {
        let (_folder, config) = filled().await;
        Connection::open(&config.path).unwrap().execute("DELETE FROM body WHERE seq = 2", []).unwrap();
        salvage(&config, "a test", None).unwrap();
        // As when the process ended before the new file was in its place.
        std::fs::rename(&config.path, complete(&config.path)).unwrap();
        let journal = Journal::open(&config).unwrap();
        assert_eq!(journal.count(Query::default()).await.unwrap(), 400);
        let row = journal.row(2).await.unwrap().unwrap();
        assert_eq!((row.status, row.reason.unwrap().contains("lost")), (Status::Dead, true));
        assert_eq!(journal.alarms(5).await.unwrap().0, 1);
    }

    #[tokio::test]
    async fn a_site_may_want_the_start_to_be_refused_and_then_nothing_is_changed() {
        let (folder, config) = filled().await;
        let file = std::fs::OpenOptions::new().write(true).open(&config.path).unwrap();
        file.write_all_at(&[0xA5; 8192], 3 * 8192).unwrap();
        let found = verify(&config.path, |_, _| ()).unwrap();
        let refusing = JournalConfig { on_damage: OnDamage::Refuse, ..config.clone() };
        let error = Journal::open(&refusing).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }) && error.to_string().contains("on_damage"), "{error}");
        assert_eq!(verify(&config.path, |_, _| ()).unwrap(), found);
        assert!(
            std::fs::read_dir(folder.path()).unwrap().all(|e| !e
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("damaged"))
        );
    }
}
