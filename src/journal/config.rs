//! What a person can set about the journal.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// The SQLite file; its folder is made when it is missing. `-wal`, `-shm`, `-log0`, `-log1` and `.lock`
    /// files stand beside it, and belong to it: until the program has ended in order they hold messages too.
    pub path: PathBuf,
    /// For how long the same control id and bytes from one sender count as the same message.
    #[serde(with = "units::duration")]
    pub duplicate_window: Duration,
    /// At most so many messages share one commit.
    pub batch_messages: usize,
    /// A commit is closed when its messages have so many bytes.
    #[serde(with = "units::size")]
    pub batch_bytes: usize,
    /// Messages go into a log of two files of this size first, and from there into the journal. When both are full, senders
    /// wait.
    #[serde(with = "units::size")]
    pub log_size: u64,
    /// So many messages may wait for the writer, and one more of each connection; those after them wait on their
    /// connections.
    pub waiting: usize,
    /// Connections that read at the same time: searches, the console, the engine.
    pub readers: usize,
    /// No more messages are taken when the file, with what is in the log and not yet in it, has this size; `0B`: no limit
    /// but the disk's.
    #[serde(with = "units::size")]
    pub max_size: u64,
    /// No more messages are taken when the disk has less than this left for more than what is in the log, so that what became of those already taken can
    /// still be recorded.
    #[serde(with = "units::size")]
    pub min_free: u64,
    /// For how long the file is checked for damage at the start.
    #[serde(with = "units::duration")]
    pub check_for: Duration,
    /// What the start does when it finds damage.
    pub on_damage: OnDamage,
    /// How long the bytes of finished messages (delivered, skipped, refused) are kept; their rows stay. `0s`: for ever.
    /// Shorter than `duplicate_window`, a message that is sent again meanwhile is known and not delivered again, though
    /// its bytes are gone.
    #[serde(with = "units::duration")]
    pub keep_bodies: Duration,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("data/journal.db"),
            duplicate_window: Duration::from_secs(7 * 86_400),
            batch_messages: 1024,
            batch_bytes: 8 << 20,
            log_size: 64 << 20,
            waiting: 1024,
            readers: 4,
            max_size: 0,
            min_free: 64 << 20,
            check_for: Duration::from_secs(10),
            on_damage: OnDamage::GoOn,
            // Longer than anyone asks for a replay, and short enough that a disk sized for a season does not fill up.
            keep_bodies: Duration::from_secs(90 * 86_400),
        }
    }
}

/// What the start does where messages that were acknowledged cannot be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDamage {
    /// Keeps the damaged files aside, goes on with everything else, and alarms until a person has acknowledged it.
    GoOn,
    /// Does not start, and changes nothing.
    Refuse,
}
