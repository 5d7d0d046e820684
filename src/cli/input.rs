//! Files of messages as the commands take them: by name, or `-` for stdin.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::v2::batch::{FoundMessage, Messages};

/// A message longer than this is not read into memory.
pub const MAX_MESSAGE: usize = 16 << 20;

pub type Input = BufReader<Box<dyn Read>>;

/// Opens a file, or stdin for `-`.
pub fn open(path: &Path) -> io::Result<Input> {
    let inner: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) };
    Ok(BufReader::with_capacity(1 << 16, inner))
}

/// Hands on every message of every file with the file it is from, and what is none with the reason, until it is told to
/// stop.
pub fn walk(
    files: &[PathBuf],
    mut take: impl FnMut(&Path, Result<FoundMessage, String>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for path in files {
        let mut some = false;
        match open(path) {
            Ok(file) => {
                for found in Messages::new(file, MAX_MESSAGE) {
                    some = true;
                    take(path, found.map_err(|fault| fault.to_string()))?;
                }
            }
            Err(error) => {
                some = true;
                take(path, Err(format!("cannot be read: {error}")))?;
            }
        }
        if !some {
            take(path, Err("holds no message; a message starts with an MSH segment".into()))?;
        }
    }
    ControlFlow::Continue(())
}

/// Hands on every message of every file with the file it is from; says on stderr what is none.
pub fn each(files: &[PathBuf], mut take: impl FnMut(&Path, Result<FoundMessage, Unreadable>)) {
    let (ControlFlow::Continue(()) | ControlFlow::Break(())) = walk(files, |path, found| {
        take(path, found.map_err(|what| said(path, &what)));
        ControlFlow::Continue(())
    });
}

/// A file or a piece of one that is no message; it has been told of.
#[derive(Debug)]
pub struct Unreadable;

fn said(path: &Path, what: &str) -> Unreadable {
    eprintln!("{}: {what}", path.display());
    Unreadable
}
