//! Whether a journal holds together: SQLite's own checks, then what this program relies on.
//!
//! Reads only, in one moment of the file, and beside a writer; the log too, as far as it is not in the tables. Findings
//! name messages by their numbers and hold no patient data.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::unfiled::{self, UnfiledLog};
use crate::journal::error::ReadError;
use crate::journal::keys;
use crate::journal::model::Seq;
use crate::journal::tables::open;
use crate::journal::tables::schema::BLOCK_SHIFT;
use crate::sqlite::backup;

/// How many messages a finding names.
const NAMED: usize = 5;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub remedy: &'static str,
    /// How many messages it concerns; 0 where it is about the file.
    pub count: u64,
    /// The first of them.
    pub messages: Vec<Seq>,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub messages: u64,
    pub bodies: u64,
    /// Messages that stand in the log only, on their way into the tables or left there by a crash.
    pub unfiled: u64,
    pub findings: Vec<Finding>,
}

/// Checks that are one question each. The query gives the numbers of the messages that fail it.
const RULES: &[(&str, &str, &str)] = &[
    (
        "waits, and has no bytes: it can never be delivered",
        "SELECT seq FROM message m WHERE status IN ('received', 'retrying')
         AND NOT EXISTS (SELECT 1 FROM body b WHERE b.seq = m.seq)",
        "let the source send it again, then: stoker queue discard NUMBER",
    ),
    (
        "has bytes and no row",
        "SELECT seq FROM body b WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = b.seq)",
        RESTORE,
    ),
    (
        "has a status that does not exist",
        "SELECT seq FROM message WHERE status NOT IN
         ('received', 'retrying', 'delivered', 'dead', 'skipped', 'refused')",
        RESTORE,
    ),
    (
        "is retrying and has no time at which it is tried again, or has one and is not",
        "SELECT seq FROM message WHERE (status = 'retrying') <> (due IS NOT NULL)",
        "stoker queue retry NUMBER",
    ),
    (
        "is delivered without an attempt, or has a first attempt and none counted",
        "SELECT seq FROM message WHERE attempts < 0 OR (attempts = 0 AND (status = 'delivered' OR tried IS NOT NULL))",
        RESTORE,
    ),
    (
        "was given up or put aside without a reason",
        "SELECT seq FROM message WHERE status IN ('dead', 'skipped', 'refused', 'retrying') AND reason IS NULL",
        "it does no harm; stoker queue show NUMBER tells what is known",
    ),
    (
        "names a mapping plan that is not there",
        "SELECT seq FROM message m WHERE plan IS NOT NULL AND NOT EXISTS (SELECT 1 FROM plan p WHERE p.id = m.plan)",
        RESTORE,
    ),
    (
        "is in the index of patients and visits and has no row",
        "SELECT DISTINCT seq FROM mention k WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = k.seq)",
        RESTORE,
    ),
];

/// Only where the file has steps.
const STEPS: (&str, &str, &str) = (
    "has steps and no row",
    "SELECT DISTINCT seq FROM step s WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.seq = s.seq)",
    RESTORE,
);

const RESTORE: &str = "stop the program, keep the file for its maker, and restore a backup that stoker verify passes";
const RECOVER: &str = "stop the program and restore a backup that stoker verify passes, or recover what can be read: sqlite3 FILE .recover";

/// Looks through the whole journal at `path`; takes as long as reading it does. Tells `progress` the bodies read and
/// those there are.
///
/// # Errors
/// When it is no journal, or cannot be read at all.
pub fn verify(path: &Path, progress: impl FnMut(u64, u64)) -> Result<Verified, ReadError> {
    let connection = open::reader(path)?;
    let left = match UnfiledLog::read(path, &connection) {
        // What is damaged is found and named below.
        Err(ReadError::Sql(error)) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => UnfiledLog::None,
        left => left?,
    };
    let moment = connection.unchecked_transaction()?;
    let mut verified = Verified::default();
    match of_log(&left, &moment, &mut verified).and_then(|()| look(&moment, &mut verified, progress)) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            verified.findings.push(about_the_file(error.to_string()));
            Ok(verified)
        }
        Err(error) => Err(error.into()),
        Ok(()) => Ok(verified),
    }
}

fn about_the_file(what: String) -> Finding {
    Finding { what, remedy: RECOVER, count: 0, messages: Vec::new() }
}

fn look(connection: &Connection, verified: &mut Verified, progress: impl FnMut(u64, u64)) -> rusqlite::Result<()> {
    verified.findings.extend(backup::damage(connection)?.into_iter().map(about_the_file));
    verified.messages = connection.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
    verified.bodies = connection.query_row("SELECT count(*) FROM body", [], |row| row.get(0))?;
    let steps = (crate::sqlite::version::version(connection)? > 1).then_some(&STEPS);
    for (what, sql, remedy) in RULES.iter().chain(steps) {
        let mut failed = Failed::default();
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            failed.add(row.get(0)?);
        }
        failed.report(what, remedy, verified);
    }
    bytes(connection, verified, progress)?;
    index(connection, verified)
}

/// What stands in the log only follows the tables without a gap and is what arrived.
fn of_log(left: &UnfiledLog, connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    if let UnfiledLog::Foreign(log) = left {
        let what = format!("{} is the log of another journal", log.display());
        let remedy = "put that journal back, or move the log away if its messages are not wanted";
        verified.findings.push(Finding { what, remedy, count: 0, messages: Vec::new() });
    }
    let (filed, entries) = left.unfiled(connection)?;
    verified.unfiled = unfiled::messages(entries);
    let mut failed = Failed::default();
    let mut before = filed;
    for met in entries {
        verified.findings.extend(lost(before, met.position));
        if !met.whole {
            failed.add(met.brings.unwrap_or_default());
        }
        before = met.position;
    }
    verified.findings.extend(lost(before, left.synced() + 1));
    failed.report("stands in the log with other bytes than those that arrived, or in no known form", RESTORE, verified);
    Ok(())
}

/// Nothing that was acknowledged is between these two positions of the log, or it is damaged.
fn lost(before: u64, behind: u64) -> Option<Finding> {
    let what = format!("of the log, the entries behind {before} and before {behind} are lost: they are damaged");
    (behind > before + 1).then(|| Finding { what, remedy: RESTORE, count: 0, messages: Vec::new() })
}

#[derive(Default)]
struct Failed {
    count: u64,
    first: Vec<Seq>,
}

impl Failed {
    fn add(&mut self, seq: Seq) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(seq);
        }
    }

    fn report(self, what: &str, remedy: &'static str, verified: &mut Verified) {
        if self.count > 0 {
            let (count, messages) = (self.count, self.first);
            verified.findings.push(Finding { what: what.into(), remedy, count, messages });
        }
    }
}

/// Every message's bytes are those that arrived.
fn bytes(connection: &Connection, verified: &mut Verified, mut progress: impl FnMut(u64, u64)) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT m.seq, m.size, m.digest, b.raw FROM body b JOIN message m ON m.seq = b.seq")?;
    let mut rows = statement.query([])?;
    let (mut failed, mut read) = (Failed::default(), 0);
    while let Some(row) = rows.next()? {
        let raw = row.get_ref(3)?.as_blob()?;
        if row.get::<_, u64>(1)? != raw.len() as u64 || row.get_ref(2)?.as_blob()? != keys::digest(raw) {
            failed.add(row.get(0)?);
        }
        read += 1;
        progress(read, verified.bodies);
    }
    failed.report("has other bytes than those that arrived: size or hash differ", RESTORE, verified);
    Ok(())
}

/// Every message is found by each of its patients and visits.
fn index(connection: &Connection, verified: &mut Verified) -> rusqlite::Result<()> {
    let mut messages = connection.prepare("SELECT seq, keys FROM message ORDER BY seq")?;
    let mut mentions = connection.prepare("SELECT hash, seq FROM mention WHERE block = ?1")?;
    let (mut block, mut known) = (None, HashSet::new());
    let mut failed = Failed::default();
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        let seq: Seq = row.get(0)?;
        if block != Some(seq >> BLOCK_SHIFT) {
            block = Some(seq >> BLOCK_SHIFT);
            let pairs = mentions.query_map([block], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Seq>(1)?)))?;
            known = pairs.collect::<rusqlite::Result<_>>()?;
        }
        if keys::hashes(row.get_ref(1)?.as_str()?).iter().any(|hash| !known.contains(&(hash.cast_signed(), seq))) {
            failed.add(seq);
        }
    }
    failed.report("is not found by one of its patients or visits", RESTORE, verified);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fixture::{arrival, config, open as open_new, patient, seq};

    async fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
        let (folder, journal) = open_new();
        for n in 0..20 {
            let mut one = arrival(&n.to_string(), n);
            one.keys = vec![patient(&format!("H|{n}"))];
            seq(journal.store(one).await.unwrap());
        }
        drop(journal);
        let path = config(&folder).path;
        (folder, path)
    }

    #[tokio::test]
    async fn a_journal_that_nobody_touched_passes_and_every_message_is_counted() {
        let (_folder, path) = filled().await;
        let mut seen = 0;
        let verified = verify(&path, |read, _| seen = read).unwrap();
        assert_eq!(verified, Verified { messages: 20, bodies: 20, unfiled: 0, findings: Vec::new() });
        assert_eq!(seen, 20);
    }

    #[tokio::test]
    async fn each_thing_that_is_wrong_is_named_with_the_message_and_a_remedy() {
        for (wrong, told) in [
            ("DELETE FROM body WHERE seq = 7", "can never be delivered"),
            ("DELETE FROM message WHERE seq = 7", "bytes and no row"),
            ("UPDATE message SET status = 'retrying', reason = 'x' WHERE seq = 7", "tried again"),
            ("UPDATE message SET tried = 1 WHERE seq = 7", "none counted"),
            ("UPDATE message SET status = 'dead' WHERE seq = 7", "without a reason"),
            ("UPDATE message SET plan = 99 WHERE seq = 7", "mapping plan"),
            ("UPDATE body SET raw = x'4d' WHERE seq = 7", "hash differ"),
            ("DELETE FROM mention WHERE seq = 7", "not found by one of its patients"),
            ("INSERT INTO mention VALUES (0, 1, 77)", "index of patients"),
            ("INSERT INTO step VALUES (77, 1, 1, 'dead', NULL, NULL, 0)", "steps and no row"),
        ] {
            let (_folder, path) = filled().await;
            Connection::open(&path).unwrap().execute(wrong, []).unwrap();
            let findings = verify(&path, |_, _| ()).unwrap().findings;
            let found = findings.iter().find(|f| f.what.contains(told));
            let found = found.unwrap_or_else(|| panic!("{wrong}: {findings:?}"));
            assert!(
                found.count == 1 && matches!(found.messages[..], [7 | 77]) && !found.remedy.is_empty(),
                "{found:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_damaged_page_is_a_finding_and_no_crash() {
        let (_folder, path) = filled().await;
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 8192;
        bytes[last..].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        let findings = verify(&path, |_, _| ()).unwrap().findings;
        assert!(findings.iter().any(|f| f.count == 0 && f.remedy.contains(".recover")), "{findings:?}");
    }
}
