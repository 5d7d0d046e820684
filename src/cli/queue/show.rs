//! `stoker queue show`: everything about one message.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::list;
use super::place::JournalAccess;
use super::selection::Selection;
use crate::cli::terminal::columns::plain;
use crate::cli::terminal::moment;
use crate::cli::terminal::output;
use crate::config::Config;
use crate::journal::{KeyKind, Reader, Row, Status, StatusChange, held};
use crate::v2::Header;
use crate::v2::inbound::Reading;

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    selection: Selection,
    /// One JSON object, for programs
    #[arg(long)]
    json: bool,
}

/// All that there is to say.
struct MessageReport {
    row: Row,
    steps: Vec<StatusChange>,
    waits: Option<String>,
    raw: Option<Bytes>,
}

pub fn run(place: &JournalAccess, options: &ShowArgs) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    let reader = super::place::reader(&config)?;
    let (mut rows, more) = options.selection.newest(&reader, 10)?;
    let row = match rows.len() {
        0 => bail!("no such message; stoker queue list finds messages"),
        1 => rows.remove(0),
        n => {
            list::lines(&rows, &[]).iter().for_each(|line| eprintln!("{line}"));
            bail!("these are {n}{}; show one of them by its number", if more { " and more" } else { "" });
        }
    };
    let found = MessageReport {
        steps: reader.steps(&row)?,
        waits: waits(place, &config, &reader, &row)?,
        raw: reader.body(row.seq)?,
        row,
    };
    let mut out = output::stdout();
    if options.json {
        writeln!(out, "{}", object(&found))?;
    } else {
        page(&found).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The daemon knows best; the file tells the order, and the time of the next attempt.
fn waits(place: &JournalAccess, config: &Config, reader: &Reader, row: &Row) -> anyhow::Result<Option<String>> {
    if !row.status.waits() {
        return Ok(None);
    }
    let running = held(&config.journal.path).is_some();
    if running
        && let Ok(remote) = place.daemon(config)
        && let Ok(why) = super::place::wait(async move { remote.why(row.seq).await })
    {
        return Ok(Some(why));
    }
    let held = list::holders(config, reader, std::slice::from_ref(row))?;
    if let Some(held) = held.first().filter(|held| !held.dead.is_empty()).and_then(list::held_by) {
        return Ok(Some(format!("it is {held} of the same patient or visit; retry or discard that")));
    }
    let ahead: Vec<String> = reader.ahead(row)?.iter().map(ToString::to_string).collect();
    Ok(Some(match (ahead.is_empty(), row.due, running) {
        (false, _, _) => format!("it stands behind {} of the same patient or visit", ahead.join(", ")),
        (true, _, false) => {
            "no daemon delivers from this journal now; it is among the first when one starts".to_owned()
        }
        (true, Some(due), true) => format!("it is tried again at {}", moment::show(due)),
        (true, None, true) => "the daemon does not say; it is the first of its patient and visit".to_owned(),
    }))
}

fn page(found: &MessageReport) -> Vec<String> {
    let mut lines = vec![format!("message {}", found.row.seq)];
    lines.extend(facts(&found.row).into_iter().map(|(name, value)| format!("  {name:<12} {}", plain(&value))));
    if let Some(waits) = &found.waits {
        lines.push(format!("  {:<12} {}", "waits", plain(waits)));
    }
    lines.push(String::new());
    lines.push("what became of it".to_owned());
    lines.push(format!("  {}  received from {}", moment::show(found.row.received), plain(&found.row.peer)));
    let mut attempt = 0;
    for step in &found.steps {
        attempt += u32::from(step.sent);
        lines.extend(told(step, attempt));
    }
    lines.push(String::new());
    match &found.raw {
        Some(raw) => lines.extend(text(raw).split(['\r', '\n']).filter(|line| !line.is_empty()).map(plain)),
        None => lines.push("its bytes are no longer kept (journal.keep_bodies)".to_owned()),
    }
    lines
}

fn facts(row: &Row) -> Vec<(&'static str, String)> {
    let mut facts = vec![("control id", row.control_id.clone())];
    facts.extend(row.event.clone().map(|event| ("event", event)));
    facts.push(("sender", row.sender.clone()));
    facts.push(("source", row.listener.clone()));
    for key in &row.keys {
        let name = match key.kind {
            KeyKind::Patient => "patient",
            KeyKind::Visit => "visit",
            KeyKind::Location => "location",
        };
        facts.push((name, key.value.trim_start_matches('|').to_owned()));
    }
    facts.push(("received", format!("{} ({})", moment::show(row.received), moment::ago(row.received))));
    facts.push(("size", format!("{} bytes", row.size)));
    let since = format!("{} since {} ({})", row.status, moment::show(row.changed), moment::ago(row.changed));
    facts.push(("status", since));
    facts.extend(row.reason.clone().map(|reason| ("why", reason)));
    facts.extend(row.due.filter(|due| *due > Timestamp::now()).map(|due| ("tried again", moment::show(due))));
    facts.push(("attempts", row.attempts.to_string()));
    facts.extend(row.plan.clone().map(|plan| ("plan", plan)));
    facts.extend(row.bundle.map(|id| ("bundle", id.to_string())));
    facts
}

fn told(step: &StatusChange, attempt: u32) -> Vec<String> {
    let what = match (&step.act, step.sent, step.status) {
        (Some(act), _, Status::Received) => format!("queued again by {}", act.who),
        (None, false, Status::Received) => "queued again".to_owned(),
        (_, true, status) => format!("attempt {attempt}: {status}"),
        (_, false, status) => status.to_string(),
    };
    let why = step.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut lines = vec![format!("  {}  {}", moment::show(step.at), plain(&(what + &why)))];
    if let Some(detail) = &step.detail {
        lines.push(format!("  {:19}  it said: {}", "", plain(detail)));
    }
    lines
}

/// As the sender meant it, by its character set; byte by byte where that is not possible.
fn text(raw: &[u8]) -> String {
    let decoded = Reading::default().decode(raw, Header::peek(raw).ok().as_ref()).map(std::borrow::Cow::into_owned);
    decoded.unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned())
}

fn object(found: &MessageReport) -> serde_json::Value {
    let mut object = list::object(&found.row);
    let steps: Vec<_> = found
        .steps
        .iter()
        .map(|step| {
            json!({"at": step.at.to_string(), "status": step.status.as_str(), "reason": step.reason, "detail": step.detail,
                "attempt": step.sent, "by": step.act.as_ref().map(|act| &act.who)})
        })
        .collect();
    object["steps"] = steps.into();
    object["waits_for"] = found.waits.clone().into();
    object["message"] = found.raw.as_deref().map(text).into();
    object
}
