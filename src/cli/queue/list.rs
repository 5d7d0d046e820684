//! `stoker queue list`

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::place::JournalAccess;
use super::selection::Selection;
use super::table;
use crate::cli::terminal::moment;
use crate::cli::terminal::output;
use crate::config::Config;
use crate::journal::{Holders, KeyKind, Reader, Row, Seq};
use crate::outbound::OnDeadLetter;

/// So many are looked at for what they wait for; each costs a search.
const LOOKED_AT: usize = 500;

/// How many are named that a message waits for.
const NAMED: usize = 3;

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    selection: Selection,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// One JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

pub fn run(place: &JournalAccess, options: &ListArgs) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    let reader = super::place::reader(&config)?;
    let (rows, more) = options.selection.newest(&reader, options.limit)?;
    let held = holders(&config, &reader, &rows)?;
    let mut out = output::stdout();
    if options.json {
        for (n, row) in rows.iter().enumerate() {
            let mut object = object(row);
            object["held_by"] = held.get(n).map(|held| &held.dead[..]).into();
            object["behind"] = held.get(n).map(|held| &held.waiting[..]).into();
            writeln!(out, "{object}")?;
        }
    } else if !rows.is_empty() {
        for line in lines(&rows, &held) {
            writeln!(out, "{line}")?;
        }
    }
    if more {
        eprintln!("and more; --limit shows more of them");
    } else if rows.is_empty() {
        eprintln!("no message");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the first of `rows` wait for.
pub fn holders(config: &Config, reader: &Reader, rows: &[Row]) -> anyhow::Result<Vec<Holders>> {
    let hold = config.destination.on_dead_letter == OnDeadLetter::Hold;
    Ok(reader.holders(&rows[..rows.len().min(LOOKED_AT)], hold)?)
}

/// `held by dead letter 17`, `behind 4711`
pub fn held_by(held: &Holders) -> Option<String> {
    let named = |seqs: &[Seq]| {
        let named: Vec<String> = seqs.iter().take(NAMED).map(ToString::to_string).collect();
        if seqs.len() > NAMED { named.join(", ") + " and more" } else { named.join(", ") }
    };
    match (&held.dead[..], &held.waiting[..]) {
        ([], []) => None,
        ([], waiting) => Some(format!("behind {}", named(waiting))),
        ([dead], _) => Some(format!("held by dead letter {dead}")),
        (dead, _) => Some(format!("held by dead letters {}", named(dead))),
    }
}

/// The table of `rows`, its heading first; with what the first of them wait for.
pub fn lines(rows: &[Row], held: &[Holders]) -> Vec<String> {
    let heading = ["number", "received", "event", "control id", "patient", "visit", "source", "status", "tries", "why"];
    let held = held.iter().map(Some).chain(std::iter::repeat(None));
    let cells: Vec<[String; 10]> =
        rows.iter().zip(held).map(|(row, held)| cells(row, held.and_then(held_by))).collect();
    table::lines(heading, &cells)
}

fn cells(row: &Row, held: Option<String>) -> [String; 10] {
    [
        row.seq.to_string(),
        moment::show(row.received),
        row.event.clone().unwrap_or_else(|| "-".to_owned()),
        or_dash(&row.control_id),
        first(row, KeyKind::Patient),
        first(row, KeyKind::Visit),
        row.listener.clone(),
        row.status.to_string(),
        row.attempts.to_string(),
        held.into_iter().chain(row.reason.clone()).collect::<Vec<_>>().join("; "),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// The first number of its kind, without its authority, and how many there are besides.
fn first(row: &Row, kind: KeyKind) -> String {
    let of_kind: Vec<&str> = row.keys.iter().filter(|key| key.kind == kind).map(|key| key.value.as_str()).collect();
    let bare = |value: &str| value.split_once('|').map_or(value, |(_, bare)| bare).to_owned();
    match of_kind[..] {
        [] => "-".to_owned(),
        [one] => bare(one),
        [one, ..] => format!("{} +{}", bare(one), of_kind.len() - 1),
    }
}

/// A row for programs; times in UTC.
pub fn object(row: &Row) -> Value {
    let of = |kind: KeyKind| -> Vec<&str> {
        row.keys.iter().filter(|key| key.kind == kind).map(|key| key.value.as_str()).collect()
    };
    json!({
        "seq": row.seq,
        "received": row.received.to_string(),
        "event": row.event,
        "control_id": row.control_id,
        "patients": of(KeyKind::Patient),
        "visits": of(KeyKind::Visit),
        "locations": of(KeyKind::Location),
        "source": row.listener,
        "peer": row.peer,
        "sender": row.sender,
        "size": row.size,
        "status": row.status.as_str(),
        "reason": row.reason,
        "detail": row.detail,
        "attempts": row.attempts,
        "first_attempt": row.tried.map(|at| at.to_string()),
        "due": row.due.map(|at| at.to_string()),
        "changed": row.changed.to_string(),
        "plan": row.plan,
        "bundle": row.bundle.map(|id| id.to_string()),
    })
}
