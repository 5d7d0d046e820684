//! The files beside the journal's own: how they are called, and who may write them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::error::OpenError;
use crate::sqlite::custody::Custody;
use crate::sqlite::private;

/// Held while this process may write. The operating system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// SQLite's own lock would shut out readers too, so the writer's claim is a lock on a file beside it.
    pub fn take(journal: &Path) -> Result<Self, OpenError> {
        let fault = |error: std::io::Error| OpenError::NotWritable { path: journal.into(), reason: error.to_string() };
        if let Some(folder) = journal.parent().filter(|p| !p.as_os_str().is_empty()) {
            private::folder(folder).map_err(fault)?;
        }
        let path = beside(journal, ".lock");
        let mut file = private().read(true).write(true).create(true).truncate(false).open(path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { path: journal.into(), holder: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
        // The number is for the message above; a lock without it is as good.
        file.set_len(0).and_then(|()| file.rewind()).map_err(fault)?;
        write!(file, "{}", std::process::id()).map_err(fault)?;
        Ok(Self { _file: file })
    }
}

/// Which process writes the journal now, by its number if that is known; `None` when none does.
#[must_use]
pub fn held(journal: &Path) -> Option<String> {
    let mut file = File::open(beside(journal, ".lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
        _ => None,
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() => format!(" (pid {})", pid.trim()),
        _ => String::new(),
    }
}

/// The end of the name under which a journal waits that was written anew and that the next opening puts in its place.
pub const SALVAGED: &str = ".salvaged";

/// Whether a journal is there, also one that a crash kept from its place.
#[must_use]
pub fn exists(journal: &Path) -> bool {
    journal.exists() || beside(journal, SALVAGED).exists()
}

/// The files that the journal holds open, as they stand under their names now.
pub fn custody(journal: &Path) -> Custody {
    Custody::of(["", "-wal", "-shm", "-log0", "-log1"].map(|suffix| beside(journal, suffix)))
}

/// The journal's files, and their folder, that others on this machine may read, in words.
#[must_use]
pub fn exposed(journal: &Path) -> Vec<String> {
    private::findings(journal, &["-log0", "-log1"])
}

/// For files that only their owner may read.
pub fn private() -> OpenOptions {
    private::options()
}

pub fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes the names of new files in the journal's folder outlive a power cut.
pub fn sync_folder(journal: &Path) -> std::io::Result<()> {
    let folder = journal.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
