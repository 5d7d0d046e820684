//! `stoker convert`: v2 files in, Bundles out, no network.
//!
//! The files may be of any length: they are read as streams, converted by all cores, and what comes out keeps the order
//! of what went in, on stdout as on stderr.

mod progress;
mod stream;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::report::Report;
use super::{Configured, input, report};
use crate::cli::terminal::output;
use crate::fhir::pretty;
use crate::mapping::{Context, Plan, convert};
use crate::v2::batch::FoundMessage;
use progress::Progress;
use stream::Batch;

#[derive(Debug, Args)]
pub struct ConvertArgs {
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

/// What a batch of messages came to.
#[derive(Debug, Default)]
struct ConvertedBatch {
    bundles: String,
    said: String,
    converted: u64,
    failed: u64,
    read: u64,
}

pub fn run(options: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    let plan = Plan::load(&config.mapping, &config.identifiers)?;
    if options.report {
        return sum_up(&plan, options);
    }
    let mut progress = Progress::of(&options.files);
    let (mut converted, mut failed) = (0, 0);
    // Batches are large, and nothing is gained by gathering them once more.
    let mut out = output::stdout();
    let ended = stream::through(
        &options.files,
        |batch| batch_of(&plan, options, &batch),
        |done: ConvertedBatch| {
            progress.say(&done.said);
            converted += done.converted;
            failed += done.failed;
            progress.at(done.read, converted, failed);
            match out.write_all(done.bundles.as_bytes()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        },
    );
    let ended = match ended {
        ControlFlow::Continue(()) => out.flush(),
        ControlFlow::Break(error) => Err(error),
    };
    match ended {
        // `| head` has had enough, and that is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        ended => ended?,
    }
    progress.finish(converted, failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sum_up(plan: &Plan, options: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let report = Report::of(plan, |take| {
        let mut unreadable = 0;
        input::each(&options.files, |_, found| match found {
            Ok(found) => take(found.raw),
            Err(_) => unreadable += 1,
        });
        Ok(unreadable)
    })?;
    output::stdout().write_all(report.write(options.report_format)?.as_bytes())?;
    Ok(if report.failed + report.unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn batch_of(plan: &Plan, options: &ConvertArgs, batch: &Batch) -> ConvertedBatch {
    let mut done = ConvertedBatch { read: batch.read, ..ConvertedBatch::default() };
    for item in &batch.items {
        let Err(what) = item.as_ref().map(|found| message(batch, found, plan, options, &mut done)) else { continue };
        done.failed += 1;
        say(&mut done.said, format_args!("{}: {what}", batch.path.display()));
    }
    done
}

fn message(batch: &Batch, found: &FoundMessage, plan: &Plan, options: &ConvertArgs, done: &mut ConvertedBatch) {
    let place = || format!("{}: message {} (line {})", batch.path.display(), found.number, found.line);
    let converted = match convert(plan, &found.raw, &Context::default()) {
        Ok(converted) => converted,
        Err(why) => {
            done.failed += 1;
            say(&mut done.said, format_args!("{}: {why}", place()));
            return;
        }
    };
    done.converted += 1;
    if options.warnings {
        for warning in &converted.warnings {
            say(&mut done.said, format_args!("{}: {warning}", place()));
        }
    }
    if options.pretty {
        done.bundles.push_str(&pretty(&converted.body));
    } else {
        done.bundles.push_str(&converted.body);
    }
    done.bundles.push('\n');
}

fn say(said: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    writeln!(said, "{what}").unwrap_or_default();
}
