//! `stoker queue acknowledge`: a person has seen the damage that was told, and takes the alarm down.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::asked;
use super::place::{JournalAccess, JournalWriter};
use crate::cli::terminal::columns::plain;
use crate::cli::terminal::{moment, output};
use crate::engine::operator;
use crate::journal::Noted;
use crate::server::admin::Acknowledge;

/// So many are told.
const TOLD: usize = 5;

#[derive(Debug, Args)]
pub struct AcknowledgeArgs {
    /// What was done about it, for the record; without patient data
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who does it, for the record; otherwise the user of this shell
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub fn run(place: &JournalAccess, options: &AcknowledgeArgs) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    let (count, alarms) = super::place::reader(&config)?.alarms(TOLD)?;
    if count == 0 {
        eprintln!("no damage is waiting to be acknowledged");
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::stdout();
    for line in lines(count, &alarms) {
        writeln!(out, "{line}")?;
    }
    let who = options.by.clone().unwrap_or_else(asked::user);
    let reason = options.reason.clone();
    let act = match place.writer(&config)? {
        JournalWriter::Daemon(remote, holder) => {
            let asked = Acknowledge { journal: remote.journal().to_owned(), who, reason };
            holder.wait(async move { remote.acknowledge(&asked).await })?.act
        }
        JournalWriter::Here(journal) => {
            super::place::wait(async move { Ok(operator::acknowledge(&journal, who, reason).await?) })?
        }
    };
    eprintln!("acknowledged; act {act} in stoker queue log");
    Ok(ExitCode::SUCCESS)
}

/// What was found, and what to do.
pub fn lines(count: u64, alarms: &[Noted]) -> Vec<String> {
    let mut lines = Vec::new();
    for Noted { act, .. } in alarms {
        lines.push(format!("DAMAGE     {}: {}", moment::ago(act.at), plain(&act.selection)));
        if let Some(remedy) = &act.reason {
            lines.push(format!("           remedy: {}", plain(remedy)));
        }
    }
    let more = count.saturating_sub(alarms.len() as u64);
    if more > 0 {
        lines.push(format!("           and {more} times more; stoker queue log tells all"));
    }
    lines
}
