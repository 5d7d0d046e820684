//! Files and folders that only their owner may read: what is in them is patient data.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// For a file that is made where there is none.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// What may stand beside a database of SQLite, with its own name.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// Makes a database's file where there is none, and takes from others the right to read it and what stands beside it. SQLite
/// gives the files that it makes beside it the same mode.
///
/// # Errors
/// When the file cannot be made. One that belongs to somebody else keeps its mode.
pub fn database(path: &Path) -> io::Result<()> {
    options().read(true).write(true).create(true).truncate(false).open(path)?;
    BESIDE.iter().try_for_each(|suffix| tighten(&beside(path, suffix)))
}

/// Takes from others the right to read a file, if there is one.
///
/// # Errors
/// When it cannot be looked at.
pub fn tighten(path: &Path) -> io::Result<()> {
    match exposed(path) {
        Ok(Some(mode)) => match std::fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()), // another owner: check and verify say it
            done => done,
        },
        Ok(None) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder where there is none, with those above it.
///
/// # Errors
/// When it cannot be made.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The mode of a file or folder that others than its owner may read or write.
///
/// # Errors
/// When it cannot be looked at.
pub fn exposed(path: &Path) -> io::Result<Option<u32>> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Those of a database's files, and the folder that they are in, which others than their owner may read or write, in words.
#[must_use]
pub fn findings(path: &Path, others: &[&str]) -> Vec<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = BESIDE.iter().chain(others).map(|suffix| beside(path, suffix));
    let all = files.map(|file| (file, 0o600)).chain([(folder.to_path_buf(), 0o700)]);
    let open = all.filter_map(|(path, wanted)| Some((exposed(&path).ok()??, path, wanted)));
    open.map(|(mode, path, wanted)| {
        let path = path.display();
        format!("{path} has the mode {mode:o}: others on this machine may read messages; chmod {wanted:o} {path}")
    })
    .collect()
}

/// A name with something behind it.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
