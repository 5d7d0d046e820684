//! What a poller remembers: how many messages of which list it has read, and how long its output was then.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::cli::state_file;
use crate::cli::terminal::output;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollState {
    /// The URL of the list, without offset and count.
    pub list: String,
    /// Messages read.
    pub offset: u64,
    /// Bytes of the output file that hold them; absent on stdout.
    pub bytes: Option<u64>,
    #[serde(skip)]
    path: PathBuf,
}

impl PollState {
    /// The state that `path` holds; `offset` has the last word.
    pub fn load(path: &Path, list: &str, offset: Option<u64>) -> anyhow::Result<Self> {
        let fresh = |offset| Self { list: list.to_owned(), offset, bytes: None, path: path.to_owned() };
        if let Some(offset) = offset {
            return Ok(fresh(offset));
        }
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fresh(0)),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a state of stoker poll; name another with --state", path.display()))?;
        if state.list != list {
            bail!("{} counts messages of {}; name another file with --state", path.display(), state.list);
        }
        Ok(Self { path: path.to_owned(), ..state })
    }

    /// Puts the state on disk, whole or not at all.
    pub fn save(&self) -> anyhow::Result<()> {
        state_file::write(&self.path, self)
            .with_context(|| format!("cannot keep the offset in {}", self.path.display()))
    }
}

/// Where messages go.
pub enum Output {
    Stdout(io::BufWriter<output::Stdout>),
    File(io::BufWriter<File>),
}

impl Output {
    /// Opens `path` behind what `state` counts: what an interrupted run wrote later is cut off.
    pub fn open(path: Option<&Path>, state: &mut PollState) -> anyhow::Result<Self> {
        let Some(path) = path else {
            state.bytes = None;
            return Ok(Self::Stdout(io::BufWriter::new(output::stdout())));
        };
        let open = || {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            if let Some(bytes) = state.bytes.filter(|_| state.offset > 0) {
                file.set_len(bytes)?;
            }
            file.seek(SeekFrom::End(0))?;
            Ok::<_, io::Error>(file)
        };
        let file = open().with_context(|| format!("cannot write to {}", path.display()))?;
        Ok(Self::File(io::BufWriter::new(file)))
    }

    /// Makes sure of what was written, and tells how long the file is now.
    pub fn settle(&mut self) -> io::Result<Option<u64>> {
        self.flush()?;
        match self {
            Self::Stdout(_) => Ok(None),
            Self::File(writer) => {
                let file = writer.get_mut();
                file.sync_data()?;
                file.stream_position().map(Some)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(writer) => writer.write(bytes),
            Self::File(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(writer) => writer.flush(),
            Self::File(writer) => writer.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_run_wrote_too_much_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lines) = (folder.path().join("state"), folder.path().join("lines"));
        let mut state = PollState::load(&path, "list", None).unwrap();
        let mut output = Output::open(Some(&lines), &mut state).unwrap();
        output.write_all(b"one\n").unwrap();
        (state.offset, state.bytes) = (1, output.settle().unwrap());
        state.save().unwrap();
        output.write_all(b"two, without a state\n").unwrap();
        output.settle().unwrap();

        let mut state = PollState::load(&path, "list", None).unwrap();
        assert_eq!(state.offset, 1);
        let mut output = Output::open(Some(&lines), &mut state).unwrap();
        output.write_all(b"two\n").unwrap();
        assert_eq!(output.settle().unwrap(), Some(8));
        assert_eq!(std::fs::read_to_string(&lines).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn the_state_of_another_list_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        PollState::load(&path, "one", Some(7)).unwrap().save().unwrap();
        assert_eq!(PollState::load(&path, "one", None).unwrap().offset, 7);
        assert!(PollState::load(&path, "two", None).unwrap_err().to_string().contains("--state"));
        std::fs::write(&path, "?").unwrap();
        assert!(PollState::load(&path, "one", None).is_err());
        assert_eq!(PollState::load(&path, "one", Some(3)).unwrap().offset, 3);
    }
}
