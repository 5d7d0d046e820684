//! `stoker queue log`: what people did.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::place::JournalAccess;
use super::table;
use crate::cli::terminal::moment;
use crate::cli::terminal::output;
use crate::journal::Noted;

#[derive(Debug, Args)]
pub struct LogArgs {
    /// At most so many, the latest
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// One JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

pub fn run(place: &JournalAccess, options: &LogArgs) -> anyhow::Result<ExitCode> {
    let acts = place.reader()?.acts(options.limit)?;
    let mut out = output::stdout();
    if options.json {
        for Noted { id, act } in &acts {
            let line = json!({"id": id, "at": act.at.to_string(), "who": act.who, "command": act.command,
                "selection": act.selection, "reason": act.reason, "messages": act.messages});
            writeln!(out, "{line}")?;
        }
    } else if acts.is_empty() {
        eprintln!("nobody has worked on the queue by hand");
    } else {
        let cells: Vec<[String; 6]> = acts.iter().map(cells).collect();
        for line in table::lines(["when", "who", "command", "messages", "selection", "why"], &cells) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cells(noted: &Noted) -> [String; 6] {
    let act = &noted.act;
    [
        moment::show(act.at),
        act.who.clone(),
        act.command.clone(),
        act.messages.to_string(),
        act.selection.clone(),
        act.reason.clone().unwrap_or_default(),
    ]
}
