//! What one durable commit costs, in the three forms that the journal could take: an append to a plain file, an append
//! to a file that is already written, and the narrowest insert that SQLite can make. `cargo bench --bench commit`.
//!
//! This is the measurement behind the journal's log: see `src/journal/wal`.

#![allow(clippy::disallowed_methods, reason = "a bench prints, and asks loopback")]

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

const BODY: usize = 1_300;
const RUN: Duration = Duration::from_millis(1_500);

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> Fallible<()> {
    let folder = tempfile::TempDir::new_in(std::env::var("BENCH_DIR").unwrap_or("/tmp".into()))?;
    let body = vec![b'x'; BODY];
    let mut out = std::io::stdout();
    writeln!(out, "microseconds a commit of so many messages of {BODY} bytes; messages a second")?;
    for batch in [1, 5, 10, 25, 50, 200] {
        let growing = rate(appender(folder.path(), 0)?, &body, batch)?;
        let written = rate(appender(folder.path(), 64 << 20)?, &body, batch)?;
        let sqlite = rate(inserter(folder.path(), 8_192)?, &body, batch)?;
        writeln!(out, "{batch:4}  append {growing}  append to written {written}  sqlite {sqlite}")?;
    }
    Ok(())
}

fn rate(mut commit: impl FnMut(&[u8], usize) -> Fallible<()>, body: &[u8], batch: usize) -> Fallible<String> {
    let (began, mut commits) = (Instant::now(), 0_u32);
    while began.elapsed() < RUN {
        commit(body, batch)?;
        commits += 1;
    }
    let each = began.elapsed() / commits;
    Ok(format!("{:6} us {:7.0}/s", each.as_micros(), batch as f64 / each.as_secs_f64()))
}

/// `written`: so many bytes are there already, and are written again from the start when they have been used up.
fn appender(folder: &Path, written: u64) -> Fallible<impl FnMut(&[u8], usize) -> Fallible<()>> {
    let mut file = File::create(folder.join("log"))?;
    for _ in 0..written >> 20 {
        file.write_all(&[1; 1 << 20])?;
    }
    file.sync_all()?;
    let mut at = 0;
    Ok(move |body: &[u8], batch: usize| {
        let bytes = body.repeat(batch);
        if written > 0 && at + bytes.len() as u64 > written {
            at = 0;
        }
        file.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
        Ok(file.sync_data()?)
    })
}

fn inserter(folder: &Path, page: u32) -> Fallible<impl FnMut(&[u8], usize) -> Fallible<()>> {
    let path = folder.join("narrow.db");
    let mut connection = Connection::open(&path)?;
    connection.pragma_update(None, "page_size", page)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    connection
        .execute_batch("DROP TABLE IF EXISTS arrival; CREATE TABLE arrival (seq INTEGER PRIMARY KEY, raw BLOB)")?;
    Ok(move |body: &[u8], batch: usize| {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut insert = transaction.prepare_cached("INSERT INTO arrival (raw) VALUES (?1)")?;
        for _ in 0..batch {
            insert.execute([body])?;
        }
        drop(insert);
        Ok(transaction.commit()?)
    })
}
