//! Whether files that are held open are still the ones that their names lead to.
//!
//! A file that was removed or replaced can be written and read by who has it open, and is gone with the process: nothing
//! that is written to it is safe. A file is known by its device and inode.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::private;

/// How often it is looked, at the most.
const EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Custody {
    files: Vec<(PathBuf, Option<(u64, u64)>)>,
    looked: Option<Instant>,
    fault: Option<String>,
}

impl Custody {
    /// Of the files that these names lead to now; one that is not there yet is taken into custody when it is.
    #[must_use]
    pub fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let files = paths.into_iter().map(|path| (identity(&path), path)).map(|(id, path)| (path, id)).collect();
        Self { files, looked: None, fault: None }
    }

    /// Of a database's files.
    #[must_use]
    pub fn of_database(path: &Path) -> Self {
        Self::of(["", "-wal", "-shm"].map(|suffix| private::beside(path, suffix)))
    }

    /// What is wrong, looked at now and then.
    pub fn look(&mut self) -> Option<&str> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= EVERY) {
            self.look_now();
        }
        self.fault.as_deref()
    }

    /// What is wrong, looked at now.
    pub fn look_now(&mut self) -> Option<&str> {
        self.looked = Some(Instant::now());
        let told = self.files.iter_mut().find_map(|(path, known)| tell(path, known));
        self.fault = told;
        self.fault.as_deref()
    }

    /// Whether this name leads to the file that it led to.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        self.files.iter().any(|(name, known)| name == path && known.is_some() && *known == identity(path))
    }
}

/// Writes everything that a connection reads to a new file, whatever has become of the names of those that it has open. The
/// copy appears under its name when it is complete and on disk.
///
/// # Errors
/// When it cannot be written.
pub fn copy_out(connection: &Connection, to: &Path) -> Result<(), CopyOutError> {
    let part = private::beside(to, ".part");
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private::folder(folder)?;
    let file = private::options().write(true).create(true).truncate(true).open(&part)?;
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy().as_ref()])?;
    file.sync_all()?;
    std::fs::rename(&part, to)?;
    Ok(File::open(folder)?.sync_all()?)
}

/// Why what files held could not be copied out.
#[derive(Debug, thiserror::Error)]
pub enum CopyOutError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// The name under which a file is kept aside that was found damaged, or the copy of one that is gone.
#[must_use]
pub fn aside(path: &Path, what: &str) -> PathBuf {
    let stamp = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%S").to_string();
    let name = |n: u32| {
        let more = if n > 0 { format!("-{n}") } else { String::new() };
        private::beside(path, &format!(".{what}-{stamp}{more}"))
    };
    (0..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0))
}

fn tell(path: &Path, known: &mut Option<(u64, u64)>) -> Option<String> {
    match (&known, identity(path)) {
        (Some(_), None) => Some(format!("{} was removed while this program holds it open", path.display())),
        (Some(before), Some(now)) if *before != now => {
            Some(format!("{} was replaced while this program holds another file of that name open", path.display()))
        }
        (None, now) => {
            *known = now;
            None
        }
        _ => None,
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_removed_or_replaced_is_told_and_one_that_comes_back_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, aside) = (folder.path().join("one"), folder.path().join("aside"));
        std::fs::write(&one, "1").unwrap();
        let mut custody = Custody::of([one.clone(), folder.path().join("later")]);
        assert_eq!(custody.look_now(), None);
        std::fs::rename(&one, &aside).unwrap();
        assert!(custody.look_now().unwrap().contains("removed"));
        std::fs::write(&one, "2").unwrap();
        assert!(custody.look_now().unwrap().contains("replaced") && !custody.has(&one));
        std::fs::rename(&aside, &one).unwrap();
        assert!(custody.look_now().is_none() && custody.has(&one));
    }
}
