//! A copy of a journal, of one moment, in one file, while another process writes it.
//!
//! What was acknowledged before it began is in it, also what only the log has: the log is copied first, then the tables,
//! and what these lack is filed into the copy, on the way that it takes after a crash. So it needs nothing of a daemon,
//! and is as good after a crash and while a daemon cannot write its tables.

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};

use rusqlite::Connection;
use tokio::sync::watch;

use super::config::JournalConfig;
use super::error::OpenError;
use super::handover::FreshMessages;
use super::tables::apply::Tables;
use super::tables::filer::Filer;
use super::tables::head::Head;
use super::tables::schema;
use super::wal::log::{Log, LogFiled, Opened};
use super::wal::reader;
use super::watermarks::Watermarks;
use crate::sqlite::backup::{self, CopyError};
use crate::sqlite::version::version;

/// Copies the journal `from` to a new file `to`, which opens as a journal. Tells `progress` the pages done and those there
/// are.
///
/// # Errors
/// [`CopyError`]: there is no copy.
pub fn backup(from: &Path, to: &Path, progress: impl FnMut(u64, u64)) -> Result<(), CopyError> {
    if to.exists() {
        return Err(CopyError::Exists(to.into()));
    }
    let part = backup::part(to);
    let fault = |error: io::Error| CopyError::Target { path: part.clone(), reason: error.to_string() };
    Log::remove(&part).map_err(fault)?;
    let beside = |error: io::Error| CopyError::Beside { path: from.into(), reason: error.to_string() };
    let copied = reader::copy(from, &part)
        .map_err(beside)
        .and_then(|any| backup::copy_and(from, to, progress, |part| complete(part, any)));
    Log::remove(&part).map_err(fault)?;
    copied
}

/// Files into the copy what stands in the log beside it, if there is any, and makes it one that knows of no more.
fn complete(copy: &Path, any: bool) -> Result<(), String> {
    if any {
        file(copy).map_err(|error| error.to_string())?;
    }
    let words = |error: rusqlite::Error| error.to_string();
    let connection = Connection::open(copy).map_err(words)?;
    if version(&connection).map_err(words)? >= schema::WITH_SYNCED {
        connection.execute("UPDATE filed SET synced = position", []).map_err(words)?;
    }
    // The log is in it now, and it is one file again, which can be read where nothing may be written.
    connection.pragma_update(None, "journal_mode", "DELETE").map_err(words)
}

fn file(copy: &Path) -> Result<(), OpenError> {
    let other = |reason: String| OpenError::Other { path: copy.into(), reason };
    let config = JournalConfig { path: copy.into(), ..JournalConfig::default() };
    let mut tables = Tables::over(&config);
    let filed = tables.filed().map_err(|error| other(error.to_string()))?;
    let marks = Arc::new(Watermarks::new(filed.position));
    // What came later than the log was copied is not expected there.
    let filed = LogFiled { synced: filed.position, ..filed };
    let Opened { log, unfiled: left, .. } = Log::open(copy, config.log_size, filed, Arc::clone(&marks))?;
    if left.is_empty() {
        return Ok(());
    }
    let files = log.readers().map_err(|error| other(error.to_string()))?;
    let (head, _) = watch::channel(Head::at(0));
    let mut filer =
        Filer::new(tables, files, marks, head, Arc::new(FreshMessages::new(0)), copy.into(), mpsc::channel().1);
    filer.recover(&left).map_err(|fault| other(fault.to_string()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::journal::fixture::{arrival, config, open, seq};
    use crate::journal::{Journal, Progress, Query, Reader, Record, Status, Verified, unfiled, verify};

    /// A journal as a crash leaves it: opened, used, and only the log of it reached the disk.
    async fn crashed() -> (tempfile::TempDir, JournalConfig) {
        let (folder, journal) = open();
        let after = tempfile::tempdir().unwrap();
        let (from, to) = (config(&folder), config(&after));
        for n in 0..3 {
            seq(journal.store(arrival(&format!("early{n}"), n)).await.unwrap());
        }
        drop(journal);
        let journal = Journal::open(&from).unwrap();
        std::fs::copy(&from.path, &to.path).unwrap();
        for n in 0..20 {
            seq(journal.store(arrival(&n.to_string(), n)).await.unwrap());
        }
        journal.record(Record::decision(5, Timestamp::now(), Progress::Delivered)).await.unwrap();
        assert!(reader::copy(&from.path, &to.path).unwrap());
        (after, to)
    }

    #[tokio::test]
    async fn what_only_the_log_has_is_in_the_backup_and_the_source_is_left_as_it_is() {
        let (folder, config) = crashed().await;
        assert_eq!(unfiled(&config.path).unwrap(), 20);
        let to = folder.path().join("copy");
        backup(&config.path, &to, |_, _| ()).unwrap();
        let reader = Reader::open(&to).unwrap();
        assert_eq!(reader.count(&Query::default()).unwrap(), 23);
        assert_eq!(reader.row(5).unwrap().unwrap().status, Status::Delivered);
        assert_eq!(unfiled(&config.path).unwrap(), 20);
        drop(reader);
        let names = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| name.starts_with("copy.") || name.starts_with("copy-")));

        let restored = Journal::open(&JournalConfig { path: to, ..config.clone() }).unwrap();
        assert_eq!(seq(restored.store(arrival("next", 50)).await.unwrap()), 24);
        drop(restored);
        let first = Journal::open(&config).unwrap();
        assert_eq!(first.count(Query::default()).await.unwrap(), 23);
    }

    #[tokio::test]
    async fn verify_counts_what_is_not_filed_yet_and_looks_at_its_bytes() {
        let (_folder, config) = crashed().await;
        let found = verify(&config.path, |_, _| ()).unwrap();
        assert_eq!(found, Verified { messages: 3, bodies: 3, unfiled: 20, findings: Vec::new() });
        Connection::open(&config.path).unwrap().execute("UPDATE filed SET journal = 1", []).unwrap();
        let found = verify(&config.path, |_, _| ()).unwrap();
        assert!(found.findings[0].what.contains("another journal"), "{:?}", found.findings);
    }

    #[tokio::test]
    async fn verify_names_a_gap_between_the_tables_and_the_log() {
        let (_folder, config) = crashed().await;
        Connection::open(&config.path).unwrap().execute("UPDATE filed SET position = 1", []).unwrap();
        let found = verify(&config.path, |_, _| ()).unwrap();
        assert!(found.findings[0].what.contains("lost"), "{:?}", found.findings);
    }

    #[tokio::test]
    async fn everything_acknowledged_before_is_in_a_backup_of_a_journal_that_is_written_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let config = JournalConfig { log_size: 200_000, ..config(&folder) }; // its files take turns all the time
        let journal = Journal::open(&config).unwrap();
        let writing = tokio::spawn({
            let journal = journal.clone();
            async move {
                for n in 0.. {
                    let many = (0..50).map(|m| journal.store(arrival(&format!("{n}-{m}"), 0)));
                    futures_util::future::join_all(many).await.into_iter().for_each(|stored| drop(stored.unwrap()));
                }
            }
        });
        for n in 0..8 {
            let before = seq(journal.store(arrival(&format!("mark{n}"), 0)).await.unwrap());
            let (from, to) = (config.path.clone(), folder.path().join(format!("copy{n}")));
            let (copied, read) = (to.clone(), to.clone());
            tokio::task::spawn_blocking(move || backup(&from, &copied, |_, _| ()).unwrap()).await.unwrap();
            let last = Reader::open(&read).unwrap().search(&Query { limit: 1, ..Query::default() }).unwrap()[0].seq;
            assert!(last >= before, "{last} of at least {before}");
            let found = verify(&to, |_, _| ()).unwrap();
            assert_eq!((found.findings, found.messages), (Vec::new(), last as u64), "none is missing");
            assert_eq!(verify(&config.path, |_, _| ()).unwrap().findings, [], "nor in the journal itself");
        }
        writing.abort();
    }
}
