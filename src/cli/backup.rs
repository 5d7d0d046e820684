//! `stoker backup`: a copy of the journal, and of the mailbox's data, of one moment, while the daemon runs. What the daemon
//! acknowledged before is in it, also what is not in the journal's tables yet.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::Configured;
use crate::journal::{self, Reader};
use crate::sqlite::backup::{self, CopyError};

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// A new file for the copy of the journal
    file: PathBuf,
    /// A new file for a copy of the mailbox's data
    #[arg(long, value_name = "FILE")]
    mailbox: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

pub fn run(options: &BackupArgs) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    Reader::open(config.existing_journal()?)?; // is it one at all, and of a version that we know?
    copy("journal", &config.journal.path, &options.file, |from, to, told| journal::backup(from, to, told))?;
    if let Some(file) = &options.mailbox {
        copy("mailbox", &config.mailbox.data, file, |from, to, told| backup::copy(from, to, told))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn copy(
    what: &str,
    from: &Path,
    to: &Path,
    copy: impl FnOnce(&Path, &Path, &dyn Fn(u64, u64)) -> Result<(), CopyError>,
) -> anyhow::Result<()> {
    let bar = bar(what);
    let copied = copy(from, to, &|done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    copied?;
    let size = std::fs::metadata(to).map_or(0, |data| data.len());
    eprintln!("{what}: {} copied to {}, {size} bytes, checked", from.display(), to.display());
    Ok(())
}

/// A bar in pages on a terminal, and nothing elsewhere.
fn bar(what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent}% {eta} left");
    ProgressBar::new(0).with_prefix(what.to_owned()).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
