//! Where an interrupted replay goes on.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::source::ReplayFiles;
use crate::cli::state_file;
use crate::journal::Seq;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayState {
    pub files: Vec<String>,
    pub to: String,
    /// Every message before this one is done with.
    pub next: Seq,
    /// Names the ids of a replay with ids of its own, so that it goes on with the same.
    pub run: Option<String>,
    #[serde(skip)]
    path: Option<PathBuf>,
}

impl ReplayState {
    /// The state of this replay as `path` has it, or that of one that begins; `from` has the last word.
    pub fn load(path: &Path, source: &ReplayFiles, to: &str, as_new: bool, from: Option<Seq>) -> anyhow::Result<Self> {
        let kept = source.names().is_some().then(|| path.to_owned());
        let run = as_new.then(|| Uuid::new_v4().to_string());
        let fresh = Self { files: source.names().unwrap_or_default(), to: to.to_owned(), next: 1, run, path: kept };
        let known = match &fresh.path {
            Some(path) => read(path)?,
            None => None,
        };
        let Some(known) = known else { return Ok(Self { next: from.unwrap_or(1), ..fresh }) };
        let same = known.files == fresh.files && known.to == fresh.to && known.run.is_some() == as_new;
        match (same, from) {
            (true, from) => Ok(Self { next: from.unwrap_or(known.next), run: known.run, ..fresh }),
            (false, Some(from)) => Ok(Self { next: from, ..fresh }),
            (false, None) => bail!(
                "{} keeps the place of another replay, of {} to {}, which ended before message {}: finish that one, name \
                 another file with --state, or begin with --from 1",
                path.display(),
                known.files.join(" "),
                known.to,
                known.next
            ),
        }
    }

    pub fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Puts the state on disk, whole or not at all.
    pub fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        state_file::write(path, self).with_context(|| format!("cannot keep the place in {}", path.display()))
    }

    /// The replay is through.
    pub fn remove(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Option<ReplayState>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let state = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a state of stoker replay; name another with --state", path.display()))?;
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_replay_goes_on_with_the_same_ids_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file) = (folder.path().join("state"), folder.path().join("a.hl7"));
        std::fs::write(&file, "MSH|").unwrap();
        let source = ReplayFiles::of(&[file]).unwrap();
        let load = |to: &str, as_new, from| ReplayState::load(&path, &source, to, as_new, from);
        let mut state = load("http://a", true, None).unwrap();
        assert_eq!(state.next, 1);
        state.next = 17;
        state.save().unwrap();
        let again = load("http://a", true, None).unwrap();
        assert_eq!((again.next, again.run), (17, state.run.clone()));
        assert_eq!(load("http://a", true, Some(3)).unwrap().next, 3);
        for (to, as_new) in [("http://b", true), ("http://a", false)] {
            let fault = load(to, as_new, None).unwrap_err().to_string();
            assert!(fault.contains("message 17") && fault.contains("--state"), "{fault}");
        }
        assert_eq!(load("http://b", false, Some(1)).unwrap().run, None);
        state.remove().unwrap();
        assert_eq!(load("http://b", false, None).unwrap().next, 1);
    }
}
