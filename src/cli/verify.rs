//! `stoker verify`: is what is stored whole?
//!
//! Exit code 0: nothing is wrong; 1: something is, and it is named with a remedy; 2: it could not be looked at.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::Configured;
use crate::cli::terminal::output;
use crate::journal::{self, Finding, OpenError, ReadError};
use crate::mailbox;

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A journal, a mailbox's data, or a backup of either; otherwise those of the configuration
    file: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

pub fn run(options: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let mut whole = true;
    match &options.file {
        Some(path) => whole &= either(path)?,
        None => {
            let config = options.configured.load()?;
            whole &= of_journal(config.existing_journal()?)??;
            if config.http.mailbox && config.mailbox.data.exists() {
                whole &= of_mailbox(&config.mailbox.data)?;
            }
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn either(path: &Path) -> anyhow::Result<bool> {
    match of_journal(path)? {
        Err(ReadError::Open(OpenError::NotAJournal { .. })) if mailbox::store::sqlite::is_one(path) => of_mailbox(path),
        other => Ok(other?),
    }
}

fn of_journal(path: &Path) -> anyhow::Result<Result<bool, ReadError>> {
    let verified = match journal::verify(path, |_, _| ()) {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error)),
    };
    let mut out = output::stdout();
    writeln!(out, "{}: {} messages, bytes of {}", path.display(), verified.messages, verified.bodies)?;
    if verified.unfiled > 0 {
        writeln!(out, "  {} more in its log, not in its tables yet; they come there by themselves", verified.unfiled)?;
    }
    for finding in &verified.findings {
        writeln!(out, "  {}\n    remedy: {}", words(finding), finding.remedy)?;
    }
    exposed(&mut out, &journal::exposed(path))?;
    let whole = verified.findings.is_empty();
    if whole {
        writeln!(out, "  nothing is wrong")?;
    }
    Ok(Ok(whole))
}

/// Who else may read it is said, and is no damage.
fn exposed(out: &mut impl Write, findings: &[String]) -> std::io::Result<()> {
    findings.iter().try_for_each(|finding| writeln!(out, "  {finding}"))
}

fn words(finding: &Finding) -> String {
    let named: Vec<String> = finding.messages.iter().map(ToString::to_string).collect();
    let named = named.join(", ");
    match finding.count {
        0 => finding.what.clone(),
        1 => format!("message {named} {}", finding.what),
        n => format!("{n} messages, each of which {}: {named}{}", finding.what, if n > 5 { " ..." } else { "" }),
    }
}

fn of_mailbox(path: &Path) -> anyhow::Result<bool> {
    let found = mailbox::store::sqlite::verify(path)
        .with_context(|| format!("the mailbox's data {} cannot be read", path.display()))?;
    let mut out = output::stdout();
    writeln!(out, "{}: a mailbox's data", path.display())?;
    for what in &found {
        writeln!(out, "  {what}")?;
    }
    exposed(&mut out, &mailbox::exposed(path))?;
    writeln!(
        out,
        "{}",
        match found.is_empty() {
            true => "  nothing is wrong",
            false => "    remedy: stop the program and restore a backup that stoker verify passes",
        }
    )?;
    Ok(found.is_empty())
}
