//! `stoker queue export`: messages as they were received, in the order in which they were.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::asked::DecisionRequest;
use super::place::JournalAccess;
use super::selection::Selection;
use crate::cli::terminal::output;
use crate::engine::operator::OperatorAction;
use crate::journal::Seq;

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    selection: Selection,
    /// Everything that the journal holds
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One file for all of them; otherwise to stdout
    #[arg(long, short, value_name = "FILE", conflicts_with = "dir")]
    output: Option<PathBuf>,
    /// A folder, with a file for each
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Why, for the record; without patient data
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who does it, for the record; otherwise the user of this shell
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

enum Target {
    One(Box<dyn Write>),
    Each(PathBuf),
}

pub fn run(place: &JournalAccess, options: &ExportArgs) -> anyhow::Result<ExitCode> {
    options.selection.must_say_which(options.all)?;
    let reader = place.reader()?;
    let mut found: Vec<(Seq, String)> = Vec::new();
    options.selection.each(&reader, &[], |row| {
        found.push((row.seq, row.event.unwrap_or_default()));
        Ok(())
    })?;
    found.sort_unstable();
    found.truncate(options.limit.unwrap_or(usize::MAX));
    if found.is_empty() {
        eprintln!("no message to export");
        return Ok(ExitCode::SUCCESS);
    }
    let mut target = target(options)?;
    record(place, options, found.iter().map(|(seq, _)| *seq).collect());
    let mut gone = 0;
    for (seq, event) in &found {
        match reader.body(*seq)? {
            Some(raw) => write(&mut target, *seq, event, &raw)?,
            None => gone += 1,
        }
    }
    if let Target::One(out) = &mut target {
        out.flush()?;
    }
    eprintln!("{} messages exported", found.len() - gone);
    if gone > 0 {
        eprintln!("{gone} were not: their bytes are no longer kept (journal.keep_bodies)");
    }
    Ok(if gone == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Who took patient data out, before it is taken. From a copy that cannot be written it is taken all the same.
fn record(place: &JournalAccess, options: &ExportArgs, seqs: Vec<Seq>) {
    let selection = options.selection.typed_with(options.all, options.limit);
    let asked = DecisionRequest {
        decision: OperatorAction::Export,
        selection,
        reason: options.reason.clone(),
        by: options.by.clone(),
        budget: None,
    };
    if let Err(why) = place.config().and_then(|config| asked.perform(place, &config, seqs)) {
        eprintln!("note: this export is not in stoker queue log: {why:#}");
    }
}

fn target(options: &ExportArgs) -> anyhow::Result<Target> {
    if let Some(dir) = &options.dir {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        return Ok(Target::Each(dir.clone()));
    }
    Ok(Target::One(match &options.output {
        Some(path) => Box::new(BufWriter::new(create(path)?)),
        None => Box::new(BufWriter::new(output::stdout())),
    }))
}

/// For the owner's eyes only: it is patient data. Nothing is written over.
fn create(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("cannot write a new file {}", path.display()))
}

/// Each message ends in CR, so that the next one's MSH begins a line.
fn write(target: &mut Target, seq: Seq, event: &str, raw: &[u8]) -> anyhow::Result<()> {
    let end: &[u8] = if raw.ends_with(b"\r") || raw.ends_with(b"\n") { b"" } else { b"\r" };
    match target {
        Target::One(out) => out.write_all(raw).and_then(|()| out.write_all(end)).context("cannot write messages"),
        Target::Each(dir) => {
            let path = dir.join(name(seq, event));
            let mut file = create(&path)?;
            file.write_all(raw)
                .and_then(|()| file.write_all(end))
                .with_context(|| format!("cannot write {}", path.display()))
        }
    }
}

/// Made of nothing that a sender wrote but letters and digits; sorts as the messages came.
fn name(seq: Seq, event: &str) -> String {
    let event: String = event.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let dash = if event.is_empty() { "" } else { "-" };
    format!("{seq:010}{dash}{event}.hl7")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_holds_nothing_that_leads_elsewhere() {
        assert_eq!(name(17, "A01"), "0000000017-A01.hl7");
        assert_eq!(name(17, "../../etc"), "0000000017-etc.hl7");
        assert_eq!(name(17, ""), "0000000017.hl7");
    }
}
