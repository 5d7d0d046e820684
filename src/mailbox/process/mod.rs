//! What a message does, by its event, as a function over one transaction.
//!
//! - [`message`]: the Bundle taken apart, checked
//! - [`targets`]: which stored resource each entry means
//! - [`notify`]: `admin-notify` and `clinical-notify`
//! - [`link`]: `patient-link` and `patient-unlink`
//! - [`merge`]: what an incoming resource changes in the stored one
//! - [`references`]: from the message's own URLs to those of the mailbox
//! - [`response`]: the answer
//!
//! Refusals come before writes or are undone with them: a message is applied whole or not at all.

pub mod merge;
pub mod message;
mod link;
mod notify;
mod references;
pub mod response;
mod targets;

pub use targets::is_id;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Step;
use super::config::{Config, Snapshot, UnknownEvents};
use super::outcome::Issue;
use super::store::{Answer, Parcel, Seq, StoreError, Transaction};
use message::Message;
use response::{Code, Response};

/// What of the configuration decides about messages.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub snapshot: Snapshot,
    pub unknown_events: UnknownEvents,
    pub memory: Duration,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        Self { snapshot: config.snapshot, unknown_events: config.unknown_events, memory: config.reliable_cache }
    }
}

/// How a message is answered.
#[derive(Debug)]
pub enum Answered {
    /// 200 with this response Bundle.
    Response(String),
    /// The HTTP status and an OperationOutcome with this issue; nothing was written.
    Refused(u16, Issue),
}

/// Why processing stops.
#[derive(Debug)]
enum Halt {
    Store(StoreError),
    /// Answered 200 with a fatal-error: a message that was understood and cannot be applied.
    Fatal(Issue),
    /// Answered with an HTTP status.
    Refused(u16, Issue),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Processes one message and answers it.
///
/// # Errors
/// When the store fails; the caller undoes everything then.
pub(super) fn process(
    tx: &mut dyn Transaction,
    rules: Rules,
    base: &str,
    message: &Message,
) -> Result<Step<Answered>, StoreError> {
    let earlier = remembered(tx, rules, message)?;
    if let Some(answer) = earlier.as_ref().filter(|answer| answer.accepted) {
        return Ok(Step::Undo(Answered::Response(answer.body.clone())));
    }
    if !message.bundle_id.is_empty() && tx.bundle_reused(&message.source, &message.bundle_id, &message.message_id)? {
        let text = "this Bundle.id came before with another MessageHeader.id: give each message a Bundle.id of its own";
        return Ok(Step::Undo(Answered::Refused(409, Issue::error("duplicate", text).at("Bundle.id"))));
    }
    tx.mark()?;
    let seq = tx.append(&parcel(message))?;
    match apply(tx, rules, message, seq) {
        Ok(issues) => {
            let response = response::build(message, Code::Ok, &issues, tx.now(), base);
            keep(tx, message, &response, true)?;
            Ok(Step::Keep(Answered::Response(response.body)))
        }
        Err(Halt::Store(error)) => Err(error),
        Err(Halt::Refused(status, issue)) => Ok(Step::Undo(Answered::Refused(status, issue))),
        Err(Halt::Fatal(issue)) => {
            tx.undo_to_mark()?;
            refuse(tx, base, message, issue, earlier)
        }
    }
}

/// The answer this very message got before: same sender, same message id, same Bundle id.
fn remembered(tx: &mut dyn Transaction, rules: Rules, message: &Message) -> Result<Option<Answer>, StoreError> {
    let memory = SignedDuration::try_from(rules.memory).unwrap_or(SignedDuration::MAX);
    let not_before = tx.now().checked_sub(memory).unwrap_or(Timestamp::MIN);
    let found = tx.answer(&message.source, &message.message_id, not_before)?;
    Ok(found.filter(|answer| answer.bundle_id == message.bundle_id))
}

/// A refused message changed nothing, so its duplicate is tried again: the visit it asked for may exist by now. Only
/// when it is refused again it gets the first answer.
fn refuse(
    tx: &mut dyn Transaction,
    base: &str,
    message: &Message,
    issue: Issue,
    earlier: Option<Answer>,
) -> Result<Step<Answered>, StoreError> {
    if let Some(earlier) = earlier {
        return Ok(Step::Undo(Answered::Response(earlier.body)));
    }
    let response = response::build(message, Code::FatalError, &[issue], tx.now(), base);
    keep(tx, message, &response, false)?;
    Ok(Step::Keep(Answered::Response(response.body)))
}

fn parcel(message: &Message) -> Parcel<'_> {
    Parcel {
        bundle_id: &message.bundle_id,
        message_id: &message.message_id,
        source: &message.source,
        destinations: &message.destinations,
        event: &message.event_code,
        control: message.control.as_ref(),
        answers: None,
        body: &message.body,
    }
}

/// Puts the answer into the log, where its receiver can retrieve it, and remembers it for duplicates.
fn keep(tx: &mut dyn Transaction, message: &Message, response: &Response, accepted: bool) -> Result<(), StoreError> {
    let seq = tx.append(&Parcel {
        bundle_id: &response.bundle_id,
        message_id: &response.message_id,
        source: &response.source,
        destinations: std::slice::from_ref(&message.source),
        event: &message.event_code,
        control: None,
        answers: Some(&message.message_id),
        body: &response.body,
    })?;
    tx.remember(&parcel(message), accepted, seq)
}

fn apply(tx: &mut dyn Transaction, rules: Rules, message: &Message, seq: Seq) -> Result<Vec<Issue>, Halt> {
    match message.event_code.as_str() {
        "admin-notify" => notify::admin(tx, message),
        "clinical-notify" => notify::clinical(tx, rules, message),
        "patient-link" => link::link(tx, message, seq),
        "patient-unlink" => link::unlink(tx, message, seq),
        _ if rules.unknown_events == UnknownEvents::Store => {
            Ok(vec![Issue::information("kept for its destinations; no resource was touched")])
        }
        other => {
            let text = format!("the mailbox has no rule for the event '{other}'");
            Err(Halt::Fatal(Issue::error("not-supported", text).at("Bundle.entry[0].resource.eventCoding")))
        }
    }
}
