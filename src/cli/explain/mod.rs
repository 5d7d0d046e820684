//! `stoker explain`: one message and where each of its fields went, as a table, as JSON, or as a page for a browser.

mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::Configured;
use super::input::{self, MAX_MESSAGE};
use super::terminal::{columns, output};
use crate::fhir::pretty;
use crate::mapping::explain::page;
use crate::mapping::{Context, Explanation, Plan, explain};
use crate::v2::batch::{FoundMessage, Messages};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A file with messages, in CR, LF or CRLF lines, an MLLP capture or a batch; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which message of the file, from 1
    #[arg(long, short, default_value_t = 1, value_name = "N")]
    message: u64,
    #[arg(long, short, value_enum, default_value_t)]
    format: Format,
    /// Write to a file instead of stdout
    #[arg(long, short, value_name = "OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    #[default]
    Table,
    /// For programs
    Json,
    /// A page that needs nothing but itself: the message beside its Bundle
    Html,
}

pub fn run(options: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    let plan = Plan::load(&config.mapping, &config.identifiers)?;
    let found = find(&options.file, options.message)?;
    let explanation = explain(&plan, &found.raw, &Context::default());
    let text = write(&explanation, options)?;
    match &options.out {
        Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => output::stdout().write_all(text.as_bytes())?,
    }
    Ok(if explanation.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(explanation: &Explanation, options: &ExplainArgs) -> anyhow::Result<String> {
    Ok(match options.format {
        Format::Table => {
            let to_file = options.out.is_some();
            table::write(explanation, columns::screen(), !to_file && columns::coloured(output::stdout().is_terminal()))
        }
        Format::Json => pretty(&explanation.to_json()?) + "\n",
        Format::Html => page::write(explanation),
    })
}

/// The message of a file by its number.
fn find(path: &Path, number: u64) -> anyhow::Result<FoundMessage> {
    let file = input::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut count = 0;
    for found in Messages::new(file, MAX_MESSAGE) {
        match found {
            Ok(found) if found.number == number => return Ok(found),
            Ok(found) => count = found.number,
            Err(fault) => eprintln!("{}: {fault}", path.display()),
        }
    }
    match count {
        0 => anyhow::bail!("{}: holds no message; a message starts with an MSH segment", path.display()),
        1 => anyhow::bail!("{}: there is no message {number}; it holds one", path.display()),
        n => anyhow::bail!("{}: there is no message {number}; it holds {n}", path.display()),
    }
}
