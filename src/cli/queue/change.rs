//! `stoker queue retry` and `discard`: says what it is about to do, asks, does it, and says what was done.

use std::collections::HashSet;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::asked::DecisionRequest;
use super::list;
use super::place::JournalAccess;
use super::selection::Selection;
use crate::engine::operator::{Decided, OperatorAction};
use crate::journal::{Journal, Key, KeyKind, Reader, Seq, Status};

/// Shown before it is asked.
const SHOWN: usize = 8;

/// So many are looked at for a later delivery of the same patient; each costs a search.
const LOOKED_AT: usize = 500;

#[derive(Debug, Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    selection: Selection,
    /// Every message that it applies to
    #[arg(long)]
    all: bool,
    /// At most so many, the oldest
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say what would be done
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Why, for the record; without patient data
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who does it, for the record; otherwise the user of this shell
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

#[derive(Debug, Args)]
pub struct RetryArgs {
    #[command(flatten)]
    pub change: ChangeArgs,
    /// How many steps of work mapping each of them may take, in place of mapping.budget; for a message that was given up
    /// because it needs more
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,
}

/// The messages that are meant, the oldest first.
struct Meant {
    messages: Vec<(Seq, Status)>,
    patients: usize,
}

pub fn run(
    place: &JournalAccess,
    decision: OperatorAction,
    options: &ChangeArgs,
    budget: Option<u64>,
) -> anyhow::Result<ExitCode> {
    options.selection.must_say_which(options.all)?;
    let config = place.config()?;
    if !options.dry_run && super::place::left(&config)? > 0 {
        drop(Journal::open(&config.journal)?); // files it
    }
    let reader = super::place::reader(&config)?;
    let meant = meant(decision, options, &reader)?;
    if meant.messages.is_empty() {
        eprintln!("no message to {}", decision.as_str());
        return Ok(ExitCode::SUCCESS);
    }
    preview(decision, &meant, &reader)?;
    if options.dry_run || !agreed(options)? {
        eprintln!("nothing was done");
        return Ok(ExitCode::SUCCESS);
    }
    let asked = DecisionRequest {
        decision,
        selection: options.selection.typed_with(options.all, options.limit),
        reason: options.reason.clone(),
        budget,
        by: options.by.clone(),
    };
    let decided = asked.perform(place, &config, meant.messages.iter().map(|(seq, _)| *seq).collect())?;
    report(decision, &decided);
    Ok(if decided.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a decision is about when no status is named.
fn usual(decision: OperatorAction) -> &'static [Status] {
    match decision {
        OperatorAction::Retry => &[Status::Dead, Status::Retrying],
        OperatorAction::Discard => &[Status::Dead, Status::Retrying, Status::Received],
        OperatorAction::Export => &[],
    }
}

fn meant(decision: OperatorAction, options: &ChangeArgs, reader: &Reader) -> anyhow::Result<Meant> {
    let mut found: Vec<(Seq, Status, Option<u64>)> = Vec::new();
    options.selection.each(reader, usual(decision), |row| {
        let of_patient: Vec<Key> = row.keys.iter().filter(|key| key.kind == KeyKind::Patient).cloned().collect();
        found.push((row.seq, row.status, Key::lanes(&of_patient).first().copied()));
        Ok(())
    })?;
    found.sort_unstable_by_key(|(seq, ..)| *seq);
    found.dedup_by_key(|(seq, ..)| *seq);
    found.truncate(options.limit.unwrap_or(usize::MAX));
    let patients: HashSet<u64> = found.iter().filter_map(|(.., patient)| *patient).collect();
    let messages = found.into_iter().map(|(seq, status, _)| (seq, status)).collect();
    Ok(Meant { messages, patients: patients.len() })
}

fn preview(decision: OperatorAction, meant: &Meant, reader: &Reader) -> anyhow::Result<()> {
    let (messages, patients) = (meant.messages.len(), meant.patients);
    eprintln!("{} {}, of {}:", decision.as_str(), counted(messages, "message"), counted(patients, "patient"));
    let mut rows = Vec::new();
    for (seq, _) in meant.messages.iter().take(SHOWN) {
        rows.extend(reader.row(*seq)?);
    }
    list::lines(&rows, &[]).iter().for_each(|line| eprintln!("  {line}"));
    if messages > rows.len() {
        eprintln!("  and {} more", messages - rows.len());
    }
    if decision == OperatorAction::Retry {
        warn(meant, reader)?;
    }
    Ok(())
}

/// What a person may not have thought of.
fn warn(meant: &Meant, reader: &Reader) -> anyhow::Result<()> {
    let of = |status: Status| meant.messages.iter().filter(|(_, s)| *s == status).count();
    if of(Status::Delivered) > 0 {
        eprintln!(
            "note: {} delivered already and will be sent again under the same ids, which a receiver that remembers \
             messages answers as the first time",
            were(of(Status::Delivered))
        );
    }
    if of(Status::Refused) > 0 {
        eprintln!(
            "note: {} refused when it came: its sender was told so with an error and may have sent it again, mended. A retry \
             delivers it as it is and tells the sender nothing; one that is no whole message, or that cannot be mapped, is \
             left as it is",
            were(of(Status::Refused))
        );
    }
    if of(Status::Skipped) > 0 {
        eprintln!(
            "note: {} not to be delivered, by the listener's rules or a person's decision; a retry delivers it all the same, \
             where it can be mapped",
            were(of(Status::Skipped))
        );
    }
    let looked_at = meant.messages.iter().filter(|(_, status)| *status != Status::Delivered).take(LOOKED_AT);
    let mut overtaken = Vec::new();
    for (seq, _) in looked_at {
        let row = reader.row(*seq)?;
        if let Some(later) = row.map(|row| reader.overtaken_by(&row)).transpose()?.flatten() {
            overtaken.push((*seq, later));
        }
    }
    if let Some((seq, later)) = overtaken.first() {
        let least = if meant.messages.len() > LOOKED_AT { "at least " } else { "" };
        eprintln!(
            "note: for {least}{} a later message of the same patient or visit was delivered already ({seq}: {later}). \
             The order of those two cannot be restored: Stoker's mailbox does not let an older message overwrite newer \
             data, another receiver may",
            counted(overtaken.len(), "message")
        );
    }
    Ok(())
}

fn agreed(options: &ChangeArgs) -> anyhow::Result<bool> {
    if options.yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        bail!("nothing was done: there is no terminal to ask at; say --yes to do it, or --dry-run to look");
    }
    eprint!("go on? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn report(decision: OperatorAction, decided: &Decided) {
    let done = match decision {
        OperatorAction::Retry => "queued again",
        OperatorAction::Discard => "discarded",
        OperatorAction::Export => "exported",
    };
    eprintln!("{} {done}; act {} in stoker queue log", counted(decided.done, "message"), decided.act);
    for refused in decided.refused.iter().take(SHOWN) {
        eprintln!("  {}", refused.why);
    }
    if decided.refused.len() > SHOWN {
        eprintln!("  and {} more that were left as they are", decided.refused.len() - SHOWN);
    }
}

fn counted(n: impl std::fmt::Display, what: &str) -> String {
    let n = n.to_string();
    if n == "1" { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn were(n: usize) -> String {
    if n == 1 { "1 message was".to_owned() } else { format!("{n} messages were") }
}
