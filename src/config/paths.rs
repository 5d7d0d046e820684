//! Every path of the configuration. A relative one is taken from the folder of the configuration file, so that it means
//! the same from wherever a command is started; without a file, from the current folder.

use std::path::{Path, PathBuf};

use super::file::Config;
use crate::journal;
use crate::tls::TlsConfig;

/// A key, and the path that stands there.
pub type PathKey<'c> = (String, &'c mut PathBuf);

/// Makes relative paths those below the configuration's folder, and keeps what was typed.
pub fn settle(config: &mut Config) {
    let folder = config.source.folder().to_owned();
    let mut typed = Vec::new();
    for (key, path) in all(config) {
        if path.is_relative() && !path.as_os_str().is_empty() {
            typed.push((key, path.clone()));
            *path = folder.join(&path);
        }
    }
    config.source.typed = typed;
}

/// All of them, each with its key.
pub fn all(config: &mut Config) -> Vec<PathKey<'_>> {
    let mut found: Vec<PathKey<'_>> =
        vec![("journal.path".into(), &mut config.journal.path), ("mailbox.data".into(), &mut config.mailbox.data)];
    for (n, listener) in config.listeners.iter_mut().enumerate() {
        of_tls(&format!("listener.{n}.tls"), listener.tls.as_mut(), &mut found);
    }
    of_tls("http.tls", config.http.tls.as_mut(), &mut found);
    of_tls("mailbox.tls", config.mailbox.tls.as_mut(), &mut found);
    let mapping = &mut config.mapping;
    found.extend(mapping.dir.as_mut().map(|dir| ("mapping.dir".to_owned(), dir)));
    found.extend(mapping.overlays.iter_mut().enumerate().map(|(n, path)| (format!("mapping.overlays.{n}"), path)));
    let destination = &mut config.destination;
    let files = [
        ("token_file", &mut destination.token_file),
        ("ca_file", &mut destination.ca_file),
        ("identity_file", &mut destination.identity_file),
    ];
    for (key, path) in files {
        found.extend(path.as_mut().map(|path| (format!("destination.{key}"), path)));
    }
    found.extend(config.mailbox.auth.jwt.as_mut().map(|jwt| ("mailbox.auth.jwt.keys".to_owned(), &mut jwt.keys)));
    found
}

fn of_tls<'c>(table: &str, tls: Option<&'c mut TlsConfig>, found: &mut Vec<PathKey<'c>>) {
    let Some(tls) = tls else { return };
    found.push((format!("{table}.certificate"), &mut tls.certificate));
    found.push((format!("{table}.key"), &mut tls.key));
    found.extend(tls.client_ca.as_mut().map(|path| (format!("{table}.client_ca"), path)));
}

/// Why a command has no journal to work on.
#[derive(Debug, thiserror::Error)]
#[error("there is no journal at {path}{elsewhere}")]
pub struct NoJournal {
    path: PathBuf,
    elsewhere: String,
}

impl Config {
    /// The journal, which must be there: only `serve` makes one.
    ///
    /// # Errors
    /// [`NoJournal`], which names the place where earlier versions kept one, if one is there.
    pub fn existing_journal(&self) -> Result<&Path, NoJournal> {
        let path = &self.journal.path;
        if journal::exists(path) {
            return Ok(path);
        }
        let elsewhere = match left_behind(self, "journal.path", path) {
            Some(old) => format!(
                "; there is one at {}, where relative paths led before they were taken from the configuration's folder: \
                 write journal.path as it is meant",
                old.display()
            ),
            None => "; name its configuration with --config. The first stoker serve makes one".to_owned(),
        };
        Err(NoJournal { path: path.clone(), elsewhere })
    }
}

/// What stands where a relative path led before, in the current folder, when nothing stands where it leads now.
#[must_use]
pub fn left_behind(config: &Config, key: &str, now: &Path) -> Option<PathBuf> {
    let old = config.source.from_here(key)?;
    let found = !now.exists() && old.exists();
    found.then(|| std::path::absolute(old).unwrap_or_else(|_| old.to_owned()))
}
