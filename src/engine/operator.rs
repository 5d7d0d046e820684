//! What a person decides about messages of the queue: to try them again, or to give them up; and to stop deliveries.
//!
//! The act is kept in the journal before anything is done. Each message is then decided on its own, by the state that it
//! has at that moment; those that cannot be are told with the reason, and the others go on.
//!
//! A message that is tried again keeps the order of its patient among those that are waiting: several go in the order of
//! their arrival, and behind what waits for the same patient already. It cannot be put before what was delivered
//! meanwhile; a receiver that keeps event times, as our mailbox does, answers it then and does not apply it.
//!
//! A message whose sender was answered with an error can be delivered after all; the sender is not told, and may have sent it
//! again. One that is not whole, or that cannot be mapped, is left as it is, with the remedy. The sender of a message that is
//! discarded is told so where it waits for the outcome.

use std::pin::pin;

use futures_util::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::control::Control;
use super::rules::SiteRules;
use crate::journal::{ACKNOWLEDGE, Act, Journal, PAUSE, Progress, RESUME, ReadError, Record, Seq, Status, StoreError};

/// Decisions that are on their way to the journal at a time, so that they share commits.
const TOGETHER: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorAction {
    Retry,
    Discard,
    /// To take copies out of the journal: changes nothing, and is kept as the others are.
    Export,
}

impl OperatorAction {
    /// As the command, and as the journal keeps it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Export => "export",
        }
    }

    fn progress(self, act: &Act) -> Option<Progress> {
        Some(match self {
            Self::Export => return None,
            Self::Retry => Progress::Requeued,
            Self::Discard => {
                let why = act.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                Progress::Skipped { reason: format!("discarded by {}{why}", act.who) }
            }
        })
    }
}

/// What stands between a retry and the budget that it gives, in the journal's name of the act.
const WITH_BUDGET: &str = " --budget ";

/// How the journal names an act: by the command, and for a retry the budget that a person gives its messages.
#[must_use]
pub fn command(action: OperatorAction, budget: Option<u64>) -> String {
    match (action, budget) {
        (OperatorAction::Retry, Some(steps)) => format!("{}{WITH_BUDGET}{steps}", action.as_str()),
        _ => action.as_str().to_owned(),
    }
}

/// The budget that a person gave a message with the last retry, if any: it holds until another decision.
pub async fn budget(journal: &Journal, seq: Seq) -> Option<u64> {
    let row = journal.row(seq).await.ok()??;
    let reader = journal.reader().clone();
    let steps = tokio::task::spawn_blocking(move || reader.steps(&row)).await.ok()?.ok()?;
    let act = steps.into_iter().rev().find_map(|step| step.act)?;
    act.command.split_once(WITH_BUDGET)?.1.parse().ok()
}

/// What became of a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The act's number in the journal.
    pub act: i64,
    pub done: u64,
    pub refused: Vec<Refused>,
}

/// A message that was left as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub seq: Seq,
    pub why: String,
}

/// Decides about `seqs` for the person that `act` names. `control` is that of the engine that runs on the journal, if one does,
/// `rules` are those that it goes by or would.
///
/// # Errors
/// When the journal cannot be written; some messages may have been decided by then.
pub async fn decide(
    journal: &Journal,
    control: Option<&Control>,
    rules: &SiteRules,
    decision: OperatorAction,
    act: Act,
    mut seqs: Vec<Seq>,
) -> Result<Decided, StoreError> {
    seqs.sort_unstable(); // in the order of their arrival
    seqs.dedup();
    let number = journal.note(act.clone()).await?;
    let Some(progress) = decision.progress(&act) else {
        return Ok(Decided { act: number, done: act.messages, ..Decided::default() });
    };
    // What has to be looked up first comes in its own time; what is written goes into the journal in the order of arrival.
    let prepared = seqs.clone().into_iter().map(|seq| {
        let record = Record::decision(seq, act.at, progress.clone());
        async move { (seq, prepare(journal, rules, decision, record).await) }
    });
    let records = stream::iter(prepared).buffered(TOGETHER).map(|(seq, prepared)| async move {
        let written = match prepared {
            Ok(record) => journal.record(record).await.map_err(Left::Journal),
            Err(left) => Err(left),
        };
        (seq, written)
    });
    let decided = collect(number, records.buffered(TOGETHER)).await?;
    if let (OperatorAction::Discard, Some(control)) = (decision, control)
        && !control.hurry(seqs).await
    {
        tracing::debug!("the engine has stopped; it will see what was discarded when it starts");
    }
    Ok(decided)
}

/// Stops deliveries, or lets them go on, for the person `who`; the act's number. A pause is kept, and holds over a restart
/// too.
///
/// # Errors
/// When the journal cannot be written; nothing has changed then.
pub async fn pause(
    journal: &Journal,
    control: Option<&Control>,
    pause: bool,
    who: String,
    reason: Option<String>,
) -> Result<i64, StoreError> {
    let command = if pause { PAUSE } else { RESUME }.to_owned();
    let act = Act { at: Timestamp::now(), who, command, selection: String::new(), reason, messages: 0 };
    let number = journal.note(act).await?;
    if let Some(control) = control
        && !control.pause(pause).await
    {
        tracing::debug!("the engine has stopped; it will see this when it starts");
    }
    Ok(number)
}

/// Why a message was left as it was.
enum Left {
    Unfit(String),
    Journal(StoreError),
}

impl From<StoreError> for Left {
    fn from(error: StoreError) -> Self {
        Self::Journal(error)
    }
}

/// What is to be written down, if the decision can be taken.
async fn prepare(
    journal: &Journal,
    rules: &SiteRules,
    decision: OperatorAction,
    mut record: Record,
) -> Result<Record, Left> {
    let seq = record.seq;
    let unreadable = |error: ReadError| StoreError::Io(error.to_string());
    match decision {
        OperatorAction::Retry => fit(journal, rules, seq).await?,
        OperatorAction::Discard => record.owes = owes(journal, rules, seq).await.map_err(unreadable)?,
        OperatorAction::Export => {}
    }
    Ok(record)
}

/// Whether a message can be delivered as it is; what is not there is the journal's to say.
async fn fit(journal: &Journal, rules: &SiteRules, seq: Seq) -> Result<(), Left> {
    let unreadable = |error: ReadError| StoreError::Io(error.to_string());
    let Some(row) = journal.row(seq).await.map_err(unreadable)? else { return Ok(()) };
    if !matches!(row.status, Status::Refused | Status::Skipped) {
        return Ok(());
    }
    let Some(raw) = journal.body(seq).await.map_err(unreadable)? else { return Ok(()) };
    let rules = rules.clone();
    let asked = tokio::task::spawn_blocking(move || rules.can_be_delivered(&row, &raw)).await;
    let broken = |_| Err(format!("message {seq} made the mapping break off: this is a bug; please report it"));
    asked.unwrap_or_else(broken).map_err(Left::Unfit)
}

/// Whether the sender of a message that still waits is to be told its outcome: that of a dead letter was told when it died.
pub(super) async fn owes(journal: &Journal, rules: &SiteRules, seq: Seq) -> Result<bool, ReadError> {
    if !rules.answers_anybody() {
        return Ok(false);
    }
    let Some(row) = journal.row(seq).await? else { return Ok(false) };
    if !row.status.waits() || !rules.answers(&row.listener) {
        return Ok(false);
    }
    Ok(journal.body(seq).await?.is_some_and(|raw| rules.owes(&row.listener, &raw)))
}

/// Takes down the alarm of all damage that was told before, for the person `who`; the act's number.
///
/// # Errors
/// When the journal cannot be written; the alarm stands then.
pub async fn acknowledge(journal: &Journal, who: String, reason: String) -> Result<i64, StoreError> {
    let (command, reason) = (ACKNOWLEDGE.to_owned(), Some(reason));
    journal.note(Act { at: Timestamp::now(), who, command, selection: String::new(), reason, messages: 0 }).await
}

async fn collect(act: i64, outcomes: impl Stream<Item = (Seq, Result<(), Left>)>) -> Result<Decided, StoreError> {
    let mut outcomes = pin!(outcomes);
    let mut decided = Decided { act, ..Decided::default() };
    while let Some((seq, outcome)) = outcomes.next().await {
        match outcome {
            Ok(()) => decided.done += 1,
            Err(Left::Unfit(why)) => decided.refused.push(Refused { seq, why }),
            Err(Left::Journal(
                why @ (StoreError::Unknown(_) | StoreError::NoBytes(_) | StoreError::Settled { .. }),
            )) => {
                decided.refused.push(Refused { seq, why: why.to_string() });
            }
            Err(Left::Journal(error)) => return Err(error),
        }
    }
    Ok(decided)
}
