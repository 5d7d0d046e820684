//! `stoker queue` alone: the first look, and what to type next.

use std::io::Write;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};

use super::acknowledge;
use super::listeners;
use super::place::JournalAccess;
use crate::cli::terminal::columns::plain;
use crate::cli::terminal::moment;
use crate::cli::terminal::output;
use crate::config::Config;
use crate::journal::{Act, Overview, Status, held};
use crate::outbound::OnDeadLetter;
use crate::server::admin::Standing;

/// How long ago messages may have been refused that are told of.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// So much damage is told in full.
const ALARMS: usize = 3;

pub fn run(place: &JournalAccess) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    let reader = super::place::reader(&config)?;
    let (overview, pause) = (reader.overview()?, reader.pause()?);
    let (damages, alarms) = reader.alarms(ALARMS)?;
    let mut out = output::stdout();
    for line in acknowledge::lines(damages, &alarms) {
        writeln!(out, "{line}")?;
    }
    if damages > 0 {
        writeln!(out, "           when it has been dealt with: stoker queue acknowledge --reason TEXT")?;
    }
    for line in counts(&overview) {
        writeln!(out, "{line}")?;
    }
    let standing = standing(place, &config);
    for line in daemon(&standing) {
        writeln!(out, "{line}")?;
    }
    if let Some(line) = holding(&config, &overview, &standing) {
        writeln!(out, "{line}")?;
    }
    if let Some(pause) = pause {
        writeln!(out, "{}", paused(&pause.act))?;
    }
    let since = Timestamp::now() - LATELY;
    let running =
        if let DaemonStanding::Answers(_, standing) = &standing { Some(&standing.listeners[..]) } else { None };
    for line in listeners::lines(&config.listeners, running, &reader.sources(since)?) {
        writeln!(out, "{line}")?;
    }
    for line in reasons(&overview) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn counts(overview: &Overview) -> Vec<String> {
    let backlog = overview.backlog;
    let last = |time: Option<_>| time.map_or_else(|| "never".to_owned(), moment::ago);
    let oldest = backlog.oldest.map(|oldest| format!(", the oldest received {}", moment::ago(oldest)));
    vec![
        format!("waiting    {}, of which {} retrying{}", backlog.waiting, backlog.retrying, oldest.unwrap_or_default()),
        format!("dead       {}", backlog.dead),
        format!("skipped    {}", overview.skipped),
        format!("refused    {}", overview.refused),
        format!("in all     {}", overview.messages),
        format!("received   last {}", last(overview.last_received)),
        format!("delivered  last {}", last(overview.last_delivered)),
    ]
}

/// What the daemon says that holds the journal.
enum DaemonStanding {
    None,
    /// Which process it is, in words, and what it says.
    Answers(String, Standing),
    Silent(String, anyhow::Error),
}

fn standing(place: &JournalAccess, config: &Config) -> DaemonStanding {
    let Some(holder) = held(&config.journal.path) else { return DaemonStanding::None };
    let asked = place.daemon(config).and_then(|remote| super::place::wait(async move { remote.standing().await }));
    match asked {
        Ok(standing) => DaemonStanding::Answers(holder, standing),
        Err(why) => DaemonStanding::Silent(holder, why),
    }
}

fn daemon(standing: &DaemonStanding) -> Vec<String> {
    match standing {
        DaemonStanding::None => vec!["daemon     none holds this journal".to_owned()],
        DaemonStanding::Answers(holder, standing) => vec![
            format!("daemon     running{holder}: {} under way", standing.under_way),
            format!("delivery   {}", delivery(standing)),
        ],
        DaemonStanding::Silent(holder, why) => vec![format!("daemon     running{holder}, and not asked: {why:#}")],
    }
}

/// Dead letters that hold back others, where the site wants that.
fn holding(config: &Config, overview: &Overview, standing: &DaemonStanding) -> Option<String> {
    let letters = match standing {
        DaemonStanding::Answers(_, standing) => standing.holding as u64,
        _ if config.destination.on_dead_letter == OnDeadLetter::Hold => overview.backlog.dead,
        _ => 0,
    };
    (letters > 0).then(|| {
        format!(
            "held back  the later messages of {letters} dead letters wait for a person; stoker queue list --status \
             received shows by which, retry or discard those"
        )
    })
}

fn delivery(standing: &Standing) -> String {
    match &standing.outage {
        None => "the destination takes messages".to_owned(),
        Some(outage) => {
            let what = if outage.held { "is held until this is mended" } else { "is down" };
            let seconds = i64::try_from(outage.seconds).unwrap_or(i64::MAX);
            format!("the destination {what}, for {}: {}", moment::span(seconds), plain(&outage.reason))
        }
    }
}

fn paused(pause: &Act) -> String {
    let reason = pause.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("paused     by {}, {}{reason}; stoker queue resume lets deliveries go on", pause.who, moment::ago(pause.at))
}

fn reasons(overview: &Overview) -> Vec<String> {
    if overview.reasons.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    for reason in &overview.reasons {
        lines.push(format!(
            "{:>7} {:8}  {}  (see: stoker queue show {})",
            reason.messages,
            reason.status.as_str(),
            plain(&reason.reason),
            reason.first
        ));
    }
    if overview.reasons.iter().any(|reason| reason.status == Status::Dead) {
        lines.push("\nwhen the cause is mended: stoker queue retry --status dead".to_owned());
    }
    lines
}
