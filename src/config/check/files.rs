//! What stands where the paths lead: no file is two things, nothing is left behind by an upgrade, and a journal begins
//! only where none can have been.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::findings::{Collector, spoken};
use crate::config::file::Config;
use crate::config::paths::{self, left_behind};
use crate::{journal, mailbox};

/// What SQLite and the journal keep beside their files.
const BESIDE_JOURNAL: &[&str] = &["", "-wal", "-shm", "-journal", "-log0", "-log1", ".lock"];
const BESIDE_MAILBOX: &[&str] = &["", "-wal", "-shm", "-journal"];

const JOURNAL: &str = "journal.path";
const MAILBOX: &str = "mailbox.data";

pub fn check(found: &mut Collector<'_>) {
    let mut paths = found.config.clone();
    let paths: Vec<(String, PathBuf)> =
        paths::all(&mut paths).into_iter().map(|(key, path)| (key, path.clone())).collect();
    for (key, path) in &paths {
        shape(found, key, path);
    }
    apart(found, &paths);
    exposed(found);
    journal(found);
}

/// What can be said of a path by itself.
fn shape(found: &mut Collector<'_>, key: &str, path: &Path) {
    if path.as_os_str().is_empty() {
        return found.fault(key, "is empty; write a path, or leave the key out");
    }
    let typed = found.config.source.from_here(key).unwrap_or(path);
    if typed.starts_with("~") {
        return found
            .fault(key, format_args!("{} is taken as it stands; write the folder in place of ~", typed.display()));
    }
    let stored = [JOURNAL, MAILBOX].contains(&key);
    if stored && path.is_dir() {
        let inside = path.join(if key == JOURNAL { "journal.db" } else { "mailbox.db" });
        found.fault(key, format_args!("{} is a folder; write the file, as {}", path.display(), inside.display()));
    }
    let in_the_way = path.ancestors().skip(1).find(|above| above.exists()).filter(|above| !above.is_dir());
    if let Some(file) = in_the_way.filter(|_| stored) {
        found.fault(key, format_args!("{} cannot be made: {} is no folder", path.display(), file.display()));
    }
    let left_on_purpose = key == MAILBOX && found.config.new_journal;
    if key != JOURNAL
        && !left_on_purpose
        && let Some(old) = left_behind(found.config, key, path)
    {
        found.fault(key, elsewhere(path, &old, key));
    }
}

fn elsewhere(now: &Path, old: &Path, key: &str) -> String {
    format!(
        "there is nothing at {}, and {} is there, where relative paths led before they were taken from the \
         configuration's folder; write {key} = {:?}, or move it",
        now.display(),
        old.display(),
        old.display().to_string()
    )
}

/// Where a path leads in the end, and what is there.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Place {
    /// By device and inode: a hard link is the same file.
    File(u64, u64),
    /// Nothing yet, at this path without symbolic links.
    Nothing(PathBuf),
}

impl Place {
    fn of(path: &Path) -> Self {
        #[cfg(unix)]
        if let Ok(data) = std::fs::metadata(path) {
            use std::os::unix::fs::MetadataExt as _;
            return Self::File(data.dev(), data.ino());
        }
        Self::Nothing(end(path, 16))
    }
}

/// Follows symbolic links, also one that leads to nothing yet, but not for ever.
fn end(path: &Path, links: u8) -> PathBuf {
    if let Ok(there) = std::fs::canonicalize(path) {
        return there;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(target) = std::fs::read_link(path)
        && links > 0
    {
        return end(&folder.join(target), links - 1);
    }
    let folder = std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder));
    folder.unwrap_or_default().join(path.file_name().unwrap_or_default())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The places of a database: where its path leads, and what SQLite keeps beside that.
fn places(path: &Path, suffixes: &[&str]) -> BTreeSet<Place> {
    let real = end(path, 16);
    suffixes.iter().flat_map(|suffix| [Place::of(&beside(path, suffix)), Place::of(&beside(&real, suffix))]).collect()
}

/// What is written stands in a file of its own.
fn apart(found: &mut Collector<'_>, paths: &[(String, PathBuf)]) {
    let config = found.config;
    let written = [
        (JOURNAL, places(&config.journal.path, BESIDE_JOURNAL)),
        (MAILBOX, places(&config.mailbox.data, BESIDE_MAILBOX)),
    ];
    let read = paths.iter().filter(|(key, _)| ![JOURNAL, MAILBOX].contains(&key.as_str()));
    let own = config.source.file.iter().map(|file| ("the configuration file".to_owned(), file.clone()));
    let own_key = |key: &str| if key.starts_with("the ") { key.to_owned() } else { spoken(config, key) };
    if !written[0].1.is_disjoint(&written[1].1) {
        let (mailbox, journal) = (config.mailbox.data.display(), config.journal.path.display());
        let text = format_args!("{mailbox} and the journal {journal} are one file; give each a file of its own");
        found.fault(MAILBOX, text);
    }
    for (other, path) in read.cloned().chain(own) {
        for (key, places) in &written {
            if places.contains(&Place::of(&path)) {
                let text =
                    format_args!("its file is {} too, which it would overwrite; choose another", own_key(&other));
                found.fault(*key, text);
            }
        }
    }
}

/// Messages and keys are nobody else's to read. The files are tightened when they are opened; a folder that was there before
/// is its owner's to change.
fn exposed(found: &mut Collector<'_>) {
    let config = found.config;
    let journal = journal::exposed(&config.journal.path).into_iter().map(|text| (JOURNAL, text));
    let mailbox = if config.http.mailbox { mailbox::exposed(&config.mailbox.data) } else { Vec::new() };
    let mut told = BTreeSet::new();
    for (key, text) in journal.chain(mailbox.into_iter().map(|text| (MAILBOX, text))) {
        if told.insert(text.clone()) {
            found.warn(key, text); // their folder is one, mostly
        }
    }
}

/// A journal that is not there is made by the first start in a new folder, and nowhere else.
fn journal(found: &mut Collector<'_>) {
    let config = found.config;
    let path = &config.journal.path;
    if journal::exists(path) || config.new_journal || found.is_at_fault(JOURNAL) {
        return;
    }
    let anew = "to begin a new one all the same: stoker serve --new-journal";
    if let Some(old) = left_behind(config, JOURNAL, path) {
        found.fault(JOURNAL, format_args!("{}; {anew}", elsewhere(path, &old, JOURNAL)));
    } else if let Some(file) = trace(path) {
        let (path, file) = (path.display(), file.display());
        let text = format_args!(
            "there is no journal at {path}, and its folder is not new: {file} is there. Write journal.path as it is \
             meant, or put the journal back; {anew}"
        );
        found.fault(JOURNAL, text);
    }
}

/// What tells that a journal's folder has been in use: a journal of another name, or the log of one.
fn trace(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut names: Vec<OsString> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    let tells = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with("-log0") || name.ends_with("-log1") || journal::is_one(path)
    };
    names.into_iter().map(|name| folder.join(name)).find(tells)
}

/// Whether the first start of a new folder is about to make the journal.
#[must_use]
pub fn begins(config: &Config) -> bool {
    !journal::exists(&config.journal.path)
}
