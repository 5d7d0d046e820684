//! `stoker diff`: what changed mappings do to a corpus, message by message and in sum, before anyone deploys them.
//!
//! As `diff` does, it exits with 0 when nothing differs, 1 when something does, 2 when it could not tell.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::terminal::columns::{self, head, pad};
use super::terminal::output;
use super::{Configured, input};
use crate::config::Config;
use crate::fhir::compare::{Change, ChangeKind, bundles};
use crate::mapping::{Context, ConvertError, Converted, Plan, convert};
use crate::v2::batch::FoundMessage;

#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Files with messages: one or many, in CR, LF or CRLF lines, MLLP captures, FHS/BHS batches; `-` is stdin
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The changed mappings: a whole folder of them (with events.toml), else an overlay on the current ones
    #[arg(long, value_name = "DIR", required_unless_present = "to")]
    mappings: Option<PathBuf>,
    /// A whole configuration to compare with
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// How many messages to show at most
    #[arg(long, default_value_t = 50, value_name = "N")]
    show: u64,
    /// Only the sum
    #[arg(long, short)]
    summary: bool,
    #[arg(long, short, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    configured: Configured,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Table,
    /// One line for each message that differs, and one with the sum
    Json,
}

/// What the comparison came to over all messages.
#[derive(Debug, Default, Serialize)]
struct Sum {
    messages: u64,
    unchanged: u64,
    changed: u64,
    /// Mapped by one side only.
    maps_now: u64,
    fails_now: u64,
    /// Mapped by neither.
    fail: u64,
    unreadable: u64,
    /// By element: in how many messages it came, went, changed.
    elements: BTreeMap<String, Counts>,
    reasons: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    added: u64,
    removed: u64,
    changed: u64,
}

/// One message on both sides.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
enum DiffOutcome {
    Changed { changes: Vec<Change> },
    MapsNow,
    FailsNow { why: String },
}

#[derive(Debug, Serialize)]
struct Shown<'s> {
    file: String,
    message: u64,
    line: u64,
    event: &'s str,
    control_id: &'s str,
    #[serde(flatten)]
    outcome: &'s DiffOutcome,
}

pub fn run(options: &DiffArgs) -> anyhow::Result<ExitCode> {
    let config = options.configured.load()?;
    let old = Plan::load(&config.mapping, &config.identifiers)?;
    let changed = other(options, config)?;
    let new = Plan::load(&changed.mapping, &changed.identifiers)?;
    let mut diff = Diff { old, new, options, sum: Sum::default(), shown: 0, out: BufWriter::new(output::stdout()) };
    let mut failed = None;
    input::each(&options.files, |path, found| match found {
        Ok(found) if failed.is_none() => failed = diff.message(path, &found).err(),
        Ok(_) => {}
        Err(_) => diff.sum.unreadable += 1,
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    diff.finish()
}

/// The configuration with the change that is asked about.
fn other(options: &DiffArgs, current: Config) -> anyhow::Result<Config> {
    let mut config = match &options.to {
        Some(path) => Config::read(path)?,
        None => current,
    };
    if let Some(dir) = &options.mappings {
        if dir.join("events.toml").exists() && dir.join("datatypes.toml").exists() {
            config.mapping.dir = Some(dir.clone());
        } else {
            config.mapping.overlays.insert(0, dir.clone());
        }
    }
    Ok(config)
}

struct Diff<'o, W: Write> {
    old: Plan,
    new: Plan,
    options: &'o DiffArgs,
    sum: Sum,
    shown: u64,
    out: W,
}

impl<W: Write> Diff<'_, W> {
    fn message(&mut self, path: &Path, found: &FoundMessage) -> io::Result<()> {
        let context = Context::default();
        let (old, new) = (convert(&self.old, &found.raw, &context), convert(&self.new, &found.raw, &context));
        self.sum.messages += 1;
        let Some(outcome) = self.compare(&old, &new) else { return Ok(()) };
        if self.options.summary {
            return Ok(());
        }
        self.shown += 1;
        if self.shown > self.options.show {
            return Ok(());
        }
        let (event, control_id) = match new.as_ref().or(old.as_ref()) {
            Ok(converted) => (converted.event.as_str(), converted.control_id.as_str()),
            Err(_) => ("", ""),
        };
        let file = path.display().to_string();
        let shown = Shown { file, message: found.number, line: found.line, event, control_id, outcome: &outcome };
        match self.options.format {
            Format::Json => writeln!(self.out, "{}", serde_json::to_string(&shown)?),
            Format::Table => self.show(&shown),
        }
    }

    /// Counts, and says what differs if anything does.
    fn compare(
        &mut self,
        old: &Result<Converted, ConvertError>,
        new: &Result<Converted, ConvertError>,
    ) -> Option<DiffOutcome> {
        match (old, new) {
            (Ok(old), Ok(new)) if old.body == new.body => self.sum.unchanged += 1,
            (Ok(old), Ok(new)) => {
                self.sum.changed += 1;
                let changes = bundles(&old.body, &new.body);
                self.sum.count(&changes);
                return Some(DiffOutcome::Changed { changes });
            }
            (Err(_), Ok(_)) => {
                self.sum.maps_now += 1;
                return Some(DiffOutcome::MapsNow);
            }
            (Ok(_), Err(why)) => {
                self.sum.fails_now += 1;
                *self.sum.reasons.entry(why.to_string()).or_default() += 1;
                return Some(DiffOutcome::FailsNow { why: why.to_string() });
            }
            (Err(_), Err(_)) => self.sum.fail += 1,
        }
        None
    }

    fn show(&mut self, shown: &Shown<'_>) -> io::Result<()> {
        let width = columns::screen();
        let title = format!(
            "{}: message {} (line {}) {} {}",
            shown.file,
            shown.message,
            shown.line,
            shown.event,
            head(shown.control_id, 40)
        );
        writeln!(self.out, "{}", title.trim_end())?;
        match shown.outcome {
            DiffOutcome::MapsNow => writeln!(self.out, "    is mapped now"),
            DiffOutcome::FailsNow { why } => writeln!(self.out, "    is mapped no longer: {}", head(why, width - 26)),
            DiffOutcome::Changed { changes } => {
                changes.iter().try_for_each(|change| self.change(change, changes, width))
            }
        }?;
        writeln!(self.out)
    }

    /// `~ Patient.gender  female -> unknown`, below one another where that is too long.
    fn change(&mut self, change: &Change, all: &[Change], width: usize) -> io::Result<()> {
        let sign = match change.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        let several = all.iter().any(|other| other.resource == change.resource && other.number != change.number);
        let number = if several { format!("#{}", change.number) } else { String::new() };
        let dot = if change.path.is_empty() { "" } else { "." };
        let name = columns::ends(&format!("{}{number}{dot}{}", change.resource, change.path), 60);
        let value = match (&change.old, &change.new) {
            _ if change.path.is_empty() => String::from("the resource"),
            (Some(old), Some(new)) => {
                let (old, new) = (columns::plain(old), columns::plain(new));
                if old.chars().count() + new.chars().count() + 74 > width {
                    writeln!(self.out, "  {sign} {name}")?;
                    writeln!(self.out, "        {}", head(&old, width - 8))?;
                    return writeln!(self.out, "     -> {}", head(&new, width - 8));
                }
                format!("{old} -> {new}")
            }
            (Some(one), None) | (None, Some(one)) => head(one, width.saturating_sub(66)),
            (None, None) => String::new(),
        };
        writeln!(self.out, "  {sign} {} {}", pad(&name, 60), value)
    }

    fn finish(mut self) -> anyhow::Result<ExitCode> {
        if self.options.format == Format::Json {
            writeln!(self.out, "{}", serde_json::json!({ "sum": self.sum }))?;
        } else {
            if !self.options.summary && self.shown > self.options.show {
                let more = self.shown - self.options.show;
                writeln!(self.out, "and {more} messages more that differ (--show N shows more)\n")?;
            }
            self.write_sum()?;
        }
        self.out.flush()?;
        let sum = &self.sum;
        Ok(match (sum.unreadable, sum.changed + sum.maps_now + sum.fails_now) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(1),
            _ => ExitCode::from(2),
        })
    }

    fn write_sum(&mut self) -> io::Result<()> {
        let sum = &self.sum;
        let mut text = format!("{} messages: {} the same, {} changed", sum.messages, sum.unchanged, sum.changed);
        for (count, what) in [
            (sum.maps_now, "mapped only now"),
            (sum.fails_now, "mapped no longer"),
            (sum.fail, "mapped by neither"),
            (sum.unreadable, "unreadable"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        writeln!(self.out, "{text}")?;
        for (reason, count) in &sum.reasons {
            writeln!(self.out, "{count:>9}  {reason}")?;
        }
        if !sum.elements.is_empty() {
            writeln!(self.out, "\n    added  removed  changed  element, by messages")?;
        }
        let mut elements: Vec<_> = sum.elements.iter().collect();
        elements.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.added + counts.removed + counts.changed));
        for (element, counts) in elements {
            let [added, removed, changed] = [counts.added, counts.removed, counts.changed]
                .map(|count| if count == 0 { String::from("-") } else { count.to_string() });
            writeln!(self.out, "{added:>9}{removed:>9}{changed:>9}  {element}")?;
        }
        Ok(())
    }
}

impl Sum {
    /// Each element once for a message, however many of its items differ.
    fn count(&mut self, changes: &[Change]) {
        let mut told: Vec<(String, ChangeKind)> =
            changes.iter().map(|change| (change.element(), change.kind)).collect();
        told.sort_unstable();
        told.dedup();
        for (element, kind) in told {
            let counts = self.elements.entry(element).or_default();
            match kind {
                ChangeKind::Added => counts.added += 1,
                ChangeKind::Removed => counts.removed += 1,
                ChangeKind::Changed => counts.changed += 1,
            }
        }
    }
}
