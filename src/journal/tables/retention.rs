//! How long bytes are kept: those of finished messages go after a time, their rows stay, and the disk gets the room.
//!
//! Finished is delivered, skipped or refused. What waits is never touched, and neither is a dead message: it waits for a
//! person, who delivers or discards it.
//!
//! It is done in small steps on the filing thread, between filings, with pauses nine times as long as a step took. No
//! ack waits for that thread, and what it files comes a few milliseconds later.

use std::time::Instant;

use rusqlite::{Connection, params};

use super::audit;
use crate::journal::model::{Seq, Status};
use crate::journal::request::{Maintenance, MaintenanceDone};

/// Rows looked at in one step.
const ROWS: i64 = 500;

/// Bytes removed in one step.
const BYTES: u64 = 2 << 20;

/// Pages given back in one step: 2 MiB.
const PAGES: i64 = 256;

/// What is free stays in the file up to this part of it, for the messages that come next: to give it back only to ask
/// the disk for it again wears the disk.
const SPARE: i64 = 8;

/// Does a step of it.
pub fn run(step: &Maintenance, connection: &Connection) -> rusqlite::Result<MaintenanceDone> {
    let began = Instant::now();
    let (count, next) = match step {
        Maintenance::Note(act) => (audit::note(connection, act)?, None),
        Maintenance::Retire { before, after } => retire(connection, *before, *after)?,
        Maintenance::GiveBack => (give_back(connection)?, None),
    };
    Ok(MaintenanceDone { count, next, took: began.elapsed() })
}

/// How many, and where the next step goes on.
fn retire(connection: &Connection, before: i64, after: Seq) -> rusqlite::Result<(i64, Option<Seq>)> {
    let mut statement = connection.prepare_cached(
        "SELECT b.seq, length(b.raw), m.status, m.changed, m.received FROM body b JOIN message m ON m.seq = b.seq
         WHERE b.seq > ?1 ORDER BY b.seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, ROWS])?;
    let (mut old, mut bytes, mut seen, mut next) = (Vec::new(), 0, 0, None);
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(4)? >= before {
            next = None;
            break; // those behind it came later still
        }
        let seq: Seq = row.get(0)?;
        let status = Status::from_text(row.get_ref(2)?.as_str()?);
        if !status.waits() && status != Status::Dead && row.get::<_, i64>(3)? < before {
            bytes += row.get::<_, u64>(1)?;
            old.push(seq);
        }
        seen += 1;
        next = (seen == ROWS || bytes >= BYTES).then_some(seq);
        if bytes >= BYTES {
            break;
        }
    }
    for seq in &old {
        forget(connection, *seq)?;
    }
    Ok((i64::try_from(old.len()).unwrap_or(i64::MAX), next))
}

/// The bytes, and what the destination said of them.
fn forget(connection: &Connection, seq: Seq) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM body WHERE seq = ?1",
        "UPDATE message SET detail = NULL WHERE seq = ?1 AND detail IS NOT NULL",
        "UPDATE step SET detail = NULL WHERE seq = ?1 AND detail IS NOT NULL",
    ] {
        connection.prepare_cached(sql)?.execute([seq])?;
    }
    Ok(())
}

/// Moves pages from the end of the file into its holes and cuts it off there; how many it is shorter by.
fn give_back(connection: &Connection) -> rusqlite::Result<i64> {
    let ask = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let free = ask("PRAGMA freelist_count")?;
    let surplus = free - ask("PRAGMA page_count")? / SPARE;
    if surplus <= 0 {
        return Ok(0);
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({})", surplus.min(PAGES)))?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {}
    Ok(free - ask("PRAGMA freelist_count")?)
}
