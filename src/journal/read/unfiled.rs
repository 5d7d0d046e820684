//! What stands in the log and not yet in the tables, as those see it who do not write the journal: some milliseconds'
//! worth while a daemon runs, and what a crash left while none does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::journal::error::ReadError;
use crate::journal::keys;
use crate::journal::model::Seq;
use crate::journal::tables::{open, schema};
use crate::journal::wal::entry::LogEntry;
use crate::journal::wal::reader::{self, Standing};

/// The log beside a journal, read before its tables.
pub enum UnfiledLog {
    None,
    Entries(Standing<UnfiledEntry>),
    /// This file is the log of another journal.
    Foreign(PathBuf),
}

/// An entry that was met in the log.
#[derive(Debug, Clone, Copy)]
pub struct UnfiledEntry {
    pub position: u64,
    /// The number of the message that it brings, where it does.
    pub brings: Option<Seq>,
    /// Whether it can be filed as it stands.
    pub whole: bool,
}

impl UnfiledEntry {
    fn at(position: u64, bytes: &[u8]) -> Self {
        let (brings, whole) = match LogEntry::decode(bytes) {
            Some(LogEntry::Arrival(arrived)) => (Some(arrived.seq), keys::digest(arrived.raw) == arrived.digest),
            other => (None, other.is_some()),
        };
        Self { position, brings, whole }
    }
}

impl UnfiledLog {
    /// `connection` must not have looked at the tables in a transaction that still stands.
    pub fn read(path: &Path, connection: &Connection) -> Result<Self, ReadError> {
        let version = crate::sqlite::version::version(connection)?;
        if version < schema::WITH_LOG {
            return Ok(Self::None);
        }
        let synced = if version < schema::WITH_SYNCED { "position" } else { "synced" };
        let (journal, synced): (i64, i64) =
            connection
                .query_row(&format!("SELECT journal, {synced} FROM filed"), [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let standing = reader::read(path, journal.cast_unsigned(), synced.cast_unsigned(), UnfiledEntry::at);
        Ok(match standing.map_err(|error| ReadError::Log(error.to_string()))? {
            Ok(standing) => Self::Entries(standing),
            Err(foreign) => Self::Foreign(foreign),
        })
    }

    /// The last position that was synced before this was read, as far as is known.
    pub fn synced(&self) -> u64 {
        match self {
            Self::Entries(standing) => standing.synced,
            Self::None | Self::Foreign(_) => 0,
        }
    }

    /// The entries that are not in the tables, as the connection sees these.
    pub fn unfiled(&self, connection: &Connection) -> rusqlite::Result<(u64, &[UnfiledEntry])> {
        let Self::Entries(Standing { entries, .. }) = self else { return Ok((0, &[])) };
        let filed: i64 = connection.query_row("SELECT position FROM filed", [], |row| row.get(0))?;
        let filed = filed.cast_unsigned();
        Ok((filed, &entries[entries.partition_point(|met| met.position <= filed)..]))
    }
}

/// How many messages these entries bring.
pub fn messages(entries: &[UnfiledEntry]) -> u64 {
    entries.iter().filter_map(|met| met.brings).collect::<HashSet<_>>().len() as u64
}

/// Between two looks at the tables of another process, which nobody there tells us to take.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until what stands in the log now is in the tables, for at most `patience`. Of what cannot be read somebody else
/// has to tell.
pub fn follow(path: &Path, patience: Duration) {
    let Ok(connection) = open::reader(path) else { return };
    let Ok(left) = UnfiledLog::read(path, &connection) else { return };
    let (until, mut pause) = (Instant::now() + patience, Duration::from_millis(1));
    while Instant::now() < until && left.unfiled(&connection).is_ok_and(|(_, entries)| !entries.is_empty()) {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// How many messages stand in the log of the journal at `path` and are not in its tables yet: nobody finds them there
/// before a daemon that runs has filed them, or the next one that opens the journal.
///
/// # Errors
/// When it is no journal, or cannot be read.
pub fn unfiled(path: &Path) -> Result<u64, ReadError> {
    let connection = open::reader(path)?;
    let left = UnfiledLog::read(path, &connection)?;
    let (_, entries) = left.unfiled(&connection)?;
    Ok(messages(entries))
}

#[cfg(test)]
mod tests {
    use crate::journal::fixture::{arrival, config, open, seq};
    use crate::journal::{Query, Reader};

    #[tokio::test]
    async fn who_opens_the_journal_of_a_running_process_sees_everything_acknowledged_before() {
        let (folder, journal) = open();
        for n in 1..30 {
            seq(journal.store(arrival(&n.to_string(), 0)).await.unwrap());
            let reader = Reader::open(&config(&folder).path).unwrap();
            assert_eq!(reader.count(&Query::default()).unwrap(), n);
        }
    }
}
