//! `stoker convert`: v2 files in, Bundles out, no network.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Configured;
use super::input::{self, Input, MAX_MESSAGE};
use super::report::{self, Report};
use crate::fhir::pretty;
use crate::mapping::{Context, Plan, convert};
use crate::v2::batch::{Found, Messages};

#[derive(Debug, Args)]
pub struct Options {
    /// Files with messages: one or many, in CR, LF or CRLF lines, MLLP captures, FHS/BHS batches; `-` is stdin
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Write indented JSON instead of one Bundle a line
    #[arg(long)]
    pretty: bool,
    /// Say on stderr what was left out or looked odd in each message
    #[arg(long)]
    warnings: bool,
    /// Write no Bundles, but how often each field was mapped or dropped, over all the files
    #[arg(long, conflicts_with_all = ["pretty", "warnings"])]
    report: bool,
    #[arg(long, value_enum, default_value_t, requires = "report")]
    report_format: report::Format,
    #[command(flatten)]
    configured: Configured,
}

/// What became of the messages so far.
#[derive(Debug, Default)]
struct Tally {
    converted: u64,
    failed: u64,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    let plan = Plan::load(&config.mapping, &config.identifiers)?;
    if options.report {
        return sum_up(&plan, options);
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut tally = Tally::default();
    for path in &options.files {
        match input::open(path) {
            Ok(reader) => file(path, reader, &plan, options, &mut tally, &mut out)?,
            Err(error) => {
                tally.failed += 1;
                eprintln!("{}: cannot be read: {error}", path.display());
            }
        }
    }
    out.flush()?;
    eprintln!("{} converted, {} failed", tally.converted, tally.failed);
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sum_up(plan: &Plan, options: &Options) -> anyhow::Result<ExitCode> {
    let report = Report::of(plan, |take| {
        let mut unreadable = 0;
        input::each(&options.files, |_, found| match found {
            Ok(found) => take(found.raw),
            Err(_) => unreadable += 1,
        });
        Ok(unreadable)
    })?;
    io::stdout().lock().write_all(report.write(options.report_format)?.as_bytes())?;
    Ok(if report.failed + report.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn file(
    path: &Path,
    reader: Input,
    plan: &Plan,
    options: &Options,
    tally: &mut Tally,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let before = (tally.converted, tally.failed);
    for found in Messages::new(reader, MAX_MESSAGE) {
        match found {
            Ok(found) => message(path, &found, plan, options, tally, out)?,
            Err(fault) => {
                tally.failed += 1;
                eprintln!("{}: {fault}", path.display());
            }
        }
    }
    if before == (tally.converted, tally.failed) {
        tally.failed += 1;
        eprintln!("{}: holds no message; a message starts with an MSH segment", path.display());
    }
    Ok(())
}

fn message(
    path: &Path,
    found: &Found,
    plan: &Plan,
    options: &Options,
    tally: &mut Tally,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let place = format!("{}: message {} (line {})", path.display(), found.number, found.line);
    let converted = match convert(plan, &found.raw, &Context::default()) {
        Ok(converted) => converted,
        Err(why) => {
            tally.failed += 1;
            eprintln!("{place}: {why}");
            return Ok(());
        }
    };
    tally.converted += 1;
    if options.warnings {
        for warning in &converted.warnings {
            eprintln!("{place}: {warning}");
        }
    }
    if options.pretty {
        out.write_all(pretty(&converted.body).as_bytes())?;
    } else {
        out.write_all(converted.body.as_bytes())?;
    }
    out.write_all(b"\n")?;
    Ok(())
}
