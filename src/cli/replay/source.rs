//! The files of a replay: named, found in folders, or stdin.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cli::input::{self, MAX_MESSAGE};
use crate::v2::batch::Messages;

/// Files in the order in which they are replayed.
#[derive(Debug, Clone)]
pub struct ReplayFiles {
    files: Vec<PathBuf>,
}

impl ReplayFiles {
    /// A folder stands for the files in it that hold messages, by name; names that begin with a dot are left out. A file
    /// that is named itself is read whatever it holds.
    ///
    /// # Errors
    /// When a file is not there, or a folder holds none.
    pub fn of(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let inside = folder(path).with_context(|| format!("cannot read {}", path.display()))?;
                let (inside, others): (Vec<_>, Vec<_>) = inside.into_iter().partition(|file| may_hold_messages(file));
                if inside.is_empty() {
                    bail!("{} holds no file with a message; a message starts with an MSH segment", path.display());
                }
                if let Some(first) = others.first() {
                    eprintln!(
                        "{}: files without a message, left out: {} ({} ...)",
                        path.display(),
                        others.len(),
                        first.display()
                    );
                }
                files.extend(inside);
            } else if path.as_os_str() == "-" || path.exists() {
                files.push(path.clone());
            } else {
                bail!("{} does not exist", path.display());
            }
        }
        Ok(Self { files })
    }

    /// The names by which an interrupted replay is known again; `None` where the messages cannot be read twice.
    pub fn names(&self) -> Option<Vec<String>> {
        if self.files.iter().any(|file| file.as_os_str() == "-") {
            return None;
        }
        let name = |file: &PathBuf| std::fs::canonicalize(file).unwrap_or_else(|_| file.clone()).display().to_string();
        Some(self.files.iter().map(name).collect())
    }

    /// How many messages there are; `None` for stdin.
    pub fn count(&self) -> Option<u64> {
        self.names()?;
        let messages = |file: &PathBuf| {
            let found = input::open(file).map(|reader| Messages::new(reader, MAX_MESSAGE));
            found.map_or(0, |found| found.filter(Result::is_ok).count() as u64)
        };
        Some(self.files.iter().map(messages).sum())
    }

    /// Hands on each message until it is told to end; `None` for what is none, which has been said on stderr.
    pub fn each(&self, mut take: impl FnMut(Option<(String, Vec<u8>)>) -> bool) {
        for file in &self.files {
            let reader = match input::open(file) {
                Ok(reader) => reader,
                Err(error) => {
                    eprintln!("{}: cannot be read: {error}", file.display());
                    if take(None) { continue } else { return }
                }
            };
            for found in Messages::new(reader, MAX_MESSAGE) {
                let found = found.map(|found| {
                    let place = format!("{}: message {} (line {})", file.display(), found.number, found.line);
                    (place, found.on_the_wire())
                });
                if let Err(fault) = &found {
                    eprintln!("{}: {fault}", file.display());
                }
                if !take(found.ok()) {
                    return;
                }
            }
        }
    }
}

/// Where a file that begins otherwise is taken to hold none.
const BEGINNING: u64 = 64 << 10;

/// By its first bytes. One that cannot be read is told of when it is its turn.
fn may_hold_messages(path: &Path) -> bool {
    let Ok(reader) = input::open(path) else { return true };
    Messages::new(reader.take(BEGINNING), MAX_MESSAGE).any(|found| found.is_ok())
}

fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
