//! The rows on the pages of a file that nothing leads to any more, because a page above them is damaged.
//!
//! A table is a tree of pages, and the rows stand on its leaves. So a copy of the file gets a first page that is whole, made
//! by this program, and each leaf in its turn is told to be all of the table: SQLite reads what is on it. Which table a leaf
//! is of nobody says; a row is believed when it has the types of a message, and bytes when they have the hash of the message of
//! that number.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, params_from_iter};

use super::schema;
use crate::journal::files;
use crate::journal::keys;
use crate::journal::model::Seq;

/// What the first byte of a leaf of a table is.
const LEAF: u8 = 0x0D;

/// As files of this program have it.
const PAGE: usize = 8192;

/// Adds to `to` what is on the leaves of the file `from` and is not there yet; the messages. `work` is a name for files that
/// are made and removed.
pub fn add(from: &Path, work: &Path, to: &Connection) -> Result<Vec<Seq>, String> {
    let done = copy(from, work).map_err(|error| error.to_string()).and_then(|(pages, page)| {
        let leaves = leaves(work, pages, page).map_err(|error| error.to_string())?;
        read(work, &leaves, to).map_err(|error| error.to_string())
    });
    for suffix in ["", "-wal", "-shm", "-journal"] {
        drop(std::fs::remove_file(files::beside(work, suffix))); // of a copy, and the next one overwrites it
    }
    done
}

/// A copy of the file as SQLite would read it, with a first page of our own; how many pages it has, and their size.
fn copy(from: &Path, work: &Path) -> io::Result<(u64, usize)> {
    for suffix in ["", "-wal"] {
        match std::fs::copy(files::beside(from, suffix), files::beside(work, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // What stands in SQLite's log comes into the copy, where its first page can still be read.
    drop(Connection::open(work).and_then(|copy| copy.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))));
    let file = OpenOptions::new().read(true).write(true).open(work)?;
    let page = page_size(&file)?;
    let pages = file.metadata()?.len() / page as u64;
    let mut first = fresh(page).map_err(io::Error::other)?;
    first[18..20].fill(1); // no log beside it
    first[28..32].copy_from_slice(&u32::try_from(pages).unwrap_or(u32::MAX).to_be_bytes());
    first[32..40].fill(0); // no free pages
    file.write_all_at(&first, 0)?;
    file.sync_all()?;
    Ok((pages, page))
}

fn page_size(file: &File) -> io::Result<usize> {
    let mut size = [0; 2];
    file.read_exact_at(&mut size, 16)?;
    let size = usize::from(u16::from_be_bytes(size));
    Ok(if size.is_power_of_two() && size >= 512 { size } else { PAGE })
}

/// The first page of a file that has all tables and no rows.
fn fresh(page: usize) -> rusqlite::Result<Vec<u8>> {
    let mut made = Connection::open_in_memory()?;
    made.pragma_update(None, "page_size", page)?;
    made.pragma_update(None, "auto_vacuum", 2)?;
    schema::migrate(&mut made)?;
    let bytes = made.serialize("main")?;
    Ok(bytes[..page].to_vec())
}

fn leaves(work: &Path, pages: u64, page: usize) -> io::Result<Vec<u64>> {
    let mut file = io::BufReader::with_capacity(1 << 20, File::open(work)?);
    let (mut bytes, mut leaves) = (vec![0; page], Vec::new());
    for number in 1..=pages {
        file.read_exact(&mut bytes)?;
        if number > 1 && bytes[0] == LEAF {
            leaves.push(number);
        }
    }
    Ok(leaves)
}

fn read(work: &Path, leaves: &[u64], to: &Connection) -> rusqlite::Result<Vec<Seq>> {
    let from = Connection::open(work)?;
    let mut found = Vec::new();
    for leaf in leaves {
        found.extend(messages(&from, *leaf, to).unwrap_or_default());
    }
    for leaf in leaves {
        bodies(&from, *leaf, to)?;
    }
    Ok(found)
}

/// Makes the page all that there is of a table.
fn tell(from: &Connection, table: &str, leaf: u64) -> rusqlite::Result<()> {
    from.pragma_update(None, "writable_schema", true)?;
    from.execute("UPDATE sqlite_schema SET rootpage = ?1 WHERE name = ?2", rusqlite::params![leaf, table])?;
    from.execute_batch("PRAGMA writable_schema = RESET")
}

fn messages(from: &Connection, leaf: u64, to: &Connection) -> rusqlite::Result<Vec<Seq>> {
    tell(from, "message", leaf)?;
    let mut select = from.prepare(
        "SELECT * FROM message NOT INDEXED WHERE typeof(received) = 'integer' AND typeof(listener) = 'text'
         AND typeof(keys) = 'text' AND typeof(digest) = 'blob' AND length(digest) = 16 AND typeof(changed) = 'integer'
         AND status IN ('received', 'retrying', 'delivered', 'dead', 'skipped', 'refused')",
    )?;
    let width = select.column_count();
    let places = (1..=width).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    let mut insert = to.prepare(&format!("INSERT OR IGNORE INTO message VALUES ({places})"))?;
    let (mut rows, mut found) = (select.query([])?, Vec::new());
    while let Ok(Some(row)) = rows.next() {
        let values = (0..width).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>()?;
        if insert.execute(params_from_iter(values)).unwrap_or(0) > 0 {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// Those that are the bytes of a message that has none.
fn bodies(from: &Connection, leaf: u64, to: &Connection) -> rusqlite::Result<()> {
    tell(from, "body", leaf)?;
    let mut select = from.prepare("SELECT seq, raw FROM body WHERE typeof(raw) = 'blob'")?;
    let mut rows = select.query([])?;
    while let Ok(Some(row)) = rows.next() {
        let (Ok(seq), Ok(raw)) = (row.get::<_, Seq>(0), row.get::<_, Vec<u8>>(1)) else { continue };
        to.prepare_cached(
            "INSERT OR IGNORE INTO body (seq, raw) SELECT ?1, ?2 FROM message WHERE seq = ?1 AND digest = ?3",
        )?
        .execute(rusqlite::params![seq, raw, keys::digest(&raw)])?;
    }
    Ok(())
}
