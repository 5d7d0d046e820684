//! Damage that was found, as people are told of it: an act of the program itself, which stands until a person has
//! acknowledged it, over restarts too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files;
use super::model::{Act, Seq};
use crate::sqlite::custody::aside;

/// The commands of acts that tell of damage, and that acknowledge all damage before.
pub const DAMAGE: &str = "damage";
pub const ACKNOWLEDGE: &str = "acknowledge";

/// What cannot be read any more although it was acknowledged, or can be read and not be filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Entries of the log are lost: so many messages, or outcomes of messages.
    Log { entries: u64, messages: Vec<(Seq, Seq)>, between: [Option<Timestamp>; 2], kept: Vec<PathBuf> },
    /// Entries of the log that the tables refuse.
    Aside { entries: u64, why: String },
    /// The tables were damaged, and written anew with what could be read.
    Tables { why: String, messages: u64, without_bytes: u64, kept: Vec<PathBuf> },
    /// The files were removed or replaced while they were in use, and what they held is in a copy.
    Gone { what: String, copy: PathBuf },
}

impl Damage {
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Log { entries, messages, between, .. } => {
                let mut what = format!(
                    "{entries} entries of the journal's log that were acknowledged cannot be read any more: messages, or \
                     what became of some"
                );
                if !messages.is_empty() {
                    write!(what, "; messages {} are lost", ranges(messages)).unwrap_or_default();
                }
                let [before, behind] = between.map(|time| time.map(|time| time.to_string()));
                let (before, behind) = (before.as_deref().unwrap_or("the beginning"), behind.as_deref());
                write!(what, ", received between {before} and {}", behind.unwrap_or("the end")).unwrap_or_default();
                what
            }
            Self::Aside { entries, why } => {
                format!("{entries} entries of the journal's log could not be filed and were put aside: {why}")
            }
            Self::Tables { why, messages, without_bytes, .. } => format!(
                "the journal's file was damaged ({why}) and was written anew with the {messages} messages that could be \
                 read, {without_bytes} of them without their bytes"
            ),
            Self::Gone { what, .. } => what.clone(),
        }
    }

    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Log { kept, .. } => format!(
                "let the sources send again what they sent in that time (what is known already is not delivered twice); \
                 {}",
                kept_as(kept)
            ),
            Self::Aside { .. } => {
                "they are in the table 'aside' of the journal, for the maker of this program; let the sources send again \
                 what is missing"
                    .to_owned()
            }
            Self::Tables { kept, .. } => format!(
                "let the sources send again what is missing, or take it from a backup: stoker queue export; {}",
                kept_as(kept)
            ),
            Self::Gone { copy, .. } => format!(
                "everything that was acknowledged is in {}: stop the program, move that to the journal's name, and start",
                copy.display()
            ),
        }
    }

    fn entries(&self) -> u64 {
        match self {
            Self::Log { entries, .. } | Self::Aside { entries, .. } => *entries,
            Self::Tables { messages, .. } => *messages,
            Self::Gone { .. } => 0,
        }
    }

    /// As it is kept.
    pub(super) fn act(&self, at: Timestamp) -> Act {
        Act {
            at,
            who: "stoker".into(),
            command: DAMAGE.into(),
            selection: self.what(),
            reason: Some(self.remedy()),
            messages: self.entries(),
        }
    }
}

fn ranges(messages: &[(Seq, Seq)]) -> String {
    const NAMED: usize = 8;
    let one = |(first, last): &(Seq, Seq)| if first == last { first.to_string() } else { format!("{first} to {last}") };
    let mut text = messages.iter().take(NAMED).map(one).collect::<Vec<_>>().join(", ");
    if messages.len() > NAMED {
        write!(text, " and {} more gaps (stoker verify names them)", messages.len() - NAMED).unwrap_or_default();
    }
    text
}

fn kept_as(kept: &[PathBuf]) -> String {
    let names: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
    format!("the damaged files are kept as {}", names.join(", "))
}

/// Copies these files aside, as far as they are there; under which names.
pub(super) fn keep_aside(paths: &[PathBuf]) -> std::io::Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for path in paths.iter().filter(|path| path.exists()) {
        let to = aside(path, "damaged");
        std::fs::copy(path, &to)?;
        crate::sqlite::private::tighten(&to)?;
        kept.push(to);
    }
    files::sync_folder(paths.first().map_or(Path::new("."), |path| path))?;
    Ok(kept)
}

#[cfg(test)]
mod tests;
