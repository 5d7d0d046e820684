//! What a message does, by its event, as a function over one transaction.
//!
//! - [`message`]: the Bundle taken apart; [`header`]: its MessageHeader; [`strict`] and [`validity`]: what is checked
//!   before
//! - [`targets`]: which stored resource each entry means
//! - [`notify`]: `admin-notify` and `clinical-notify`; [`link`]: `patient-link` and `patient-unlink`
//! - [`work`]: the message at work; [`merge`]: what an incoming resource changes in the stored one
//! - [`identity`]: numbers; [`snapshot`]: clinical resources; [`moves`]: visits that change patient or merge
//! - [`references`], [`template`]: from the message's own URLs to those of the mailbox
//! - [`response`]: the answer
//!
//! Refusals come before writes or are undone with them: a message is applied whole or not at all.

pub(super) mod stored;
pub(super) mod halt;
mod matching;
pub mod parse;
pub mod respond;
mod apply;
pub mod merge;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::config::{MailboxConfig, Snapshot, UnknownEvents};
use super::mailbox::Effect;
use super::metrics::Disposition;
use super::outcome::{Issue, Severity};
use super::store::model::{Seq, StoreError};
use super::store::{Answer, BundleUse, Compressed, NewMessage, Transaction};
use halt::Halt;
use parse::message::Message;
use respond::response::{Code, Response};

/// What of the configuration decides about messages.
#[derive(Debug, Clone)]
pub struct Rules {
    pub snapshot: Snapshot,
    pub unknown_events: UnknownEvents,
    pub memory: Duration,
    pub memory_size: u64,
    /// Endpoints for which messages are processed; empty: all.
    pub served: Vec<String>,
}

impl From<&MailboxConfig> for Rules {
    fn from(config: &MailboxConfig) -> Self {
        Self {
            snapshot: config.snapshot,
            unknown_events: config.unknown_events,
            memory: config.reliable_cache,
            memory_size: config.reliable_cache_size,
            served: config.destinations.clone(),
        }
    }
}

/// How a message came: what the URL said besides the body.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// Our base URL, which names the mailbox where the sender addressed no destination.
    pub base: String,
    /// Where the answer is to be sent.
    pub respond_to: Option<String>,
}

/// How a message is answered, and what became of it.
#[derive(Debug)]
pub struct Answered {
    pub reply: Reply,
    pub outcome: Disposition,
}

#[derive(Debug)]
pub enum Reply {
    /// 200 with this response Bundle.
    Response(String),
    /// 204: done, and the sender did not want to hear of it.
    Silently,
    /// 201: published under this Bundle.id, for the first time or again.
    Published,
    /// The HTTP status and an OperationOutcome with this issue; nothing was written.
    Refused(u16, Issue),
}

impl Answered {
    fn refused(status: u16, issue: Issue) -> Self {
        Self { reply: Reply::Refused(status, issue), outcome: Disposition::Refused }
    }
}

/// Processes one message and answers it.
///
/// # Errors
/// When the store fails; the caller undoes everything then.
pub(super) fn process(
    tx: &mut dyn Transaction,
    rules: &Rules,
    manner: &RequestContext,
    message: &Message,
) -> Result<Effect<Answered>, StoreError> {
    let earlier = remembered(tx, rules, message)?;
    if let Some(answer) = earlier.as_ref().filter(|answer| answer.accepted) {
        return again(tx, manner, message, answer);
    }
    let used = bundle_use(tx, message)?;
    if used.as_ref().is_some_and(|earlier| earlier.message_id != message.header.id) {
        return Ok(Effect::Undo(Answered::refused(409, bundle_id_taken())));
    }
    let seq = match used.filter(|earlier| earlier.body == message.body) {
        // It is in the log already: published before, or its answer is forgotten.
        Some(earlier) => earlier.seq,
        None => tx.append(&parcel(message))?,
    };
    match apply(tx, rules, message, seq) {
        Ok(Applied { issues, kept }) => {
            let response = respond::response::build(message, Code::Ok, &issues, tx.now(), &manner.base);
            keep(tx, rules, manner, message, &response, true)?;
            let late = issues.iter().any(|issue| issue.severity == Severity::Warning && issue.code == "conflict");
            let outcome = match (kept, late) {
                (true, _) => Disposition::Kept,
                (false, true) => Disposition::Late,
                (false, false) => Disposition::Applied,
            };
            Ok(Effect::Keep(Answered { reply: said(message, response.body, false), outcome }))
        }
        Err(Halt::Store(error)) => Err(error),
        Err(Halt::Refused(status, issue)) => Ok(Effect::Undo(Answered::refused(status, issue))),
        Err(Halt::Fatal(issue)) => {
            tx.undo()?;
            refuse(tx, rules, manner, message, issue, earlier)
        }
    }
}

/// Keeps a message for its destinations without processing it.
///
/// # Errors
/// When the store fails.
pub(super) fn publish(tx: &mut dyn Transaction, message: &Message) -> Result<Effect<Answered>, StoreError> {
    match bundle_use(tx, message)? {
        Some(earlier) if earlier.body == message.body => {
            Ok(Effect::Undo(Answered { reply: Reply::Published, outcome: Disposition::Duplicate }))
        }
        Some(_) => Ok(Effect::Undo(Answered::refused(409, bundle_id_taken()))),
        None => {
            tx.append(&parcel(message))?;
            Ok(Effect::Keep(Answered { reply: Reply::Published, outcome: Disposition::Kept }))
        }
    }
}

/// What the sender used this message's Bundle.id for before.
fn bundle_use(tx: &mut dyn Transaction, message: &Message) -> Result<Option<BundleUse>, StoreError> {
    if message.bundle_id.is_empty() {
        return Ok(None);
    }
    tx.bundle_use(&message.header.source, &message.bundle_id)
}

fn bundle_id_taken() -> Issue {
    let text = "this Bundle.id came before with another message: give each message a Bundle.id of its own";
    Issue::error("duplicate", text).at("Bundle.id")
}

/// A duplicate: the first answer again, sent again where it is to be sent.
fn again(
    tx: &mut dyn Transaction,
    manner: &RequestContext,
    message: &Message,
    answer: &Answer,
) -> Result<Effect<Answered>, StoreError> {
    if let Some(url) = manner.respond_to.as_ref().filter(|_| message.header.wanted.wants(false)) {
        tx.put_errand(answer.response, url)?;
    }
    Ok(Effect::Keep(Answered { reply: said(message, answer.body.clone(), false), outcome: Disposition::Duplicate }))
}

/// The answer, if the sender wants to hear it. An error is not kept quiet: 204 would say that all was well.
fn said(message: &Message, body: String, error: bool) -> Reply {
    if message.header.wanted.wants(error) || error { Reply::Response(body) } else { Reply::Silently }
}

/// The answer this very message got before: same sender, same message id, same Bundle id.
fn remembered(tx: &mut dyn Transaction, rules: &Rules, message: &Message) -> Result<Option<Answer>, StoreError> {
    let found = tx.answer(&message.header.source, &message.header.id, memory_start(tx, rules))?;
    Ok(found.filter(|answer| answer.bundle_id == message.bundle_id))
}

/// The time from which answers are remembered.
fn memory_start(tx: &dyn Transaction, rules: &Rules) -> Timestamp {
    let memory = SignedDuration::try_from(rules.memory).unwrap_or(SignedDuration::MAX);
    tx.now().checked_sub(memory).unwrap_or(Timestamp::MIN)
}

/// A refused message changed nothing, so its duplicate is tried again: the visit it asked for may exist by now. Only
/// when it is refused again it gets the first answer.
fn refuse(
    tx: &mut dyn Transaction,
    rules: &Rules,
    manner: &RequestContext,
    message: &Message,
    issue: Issue,
    earlier: Option<Answer>,
) -> Result<Effect<Answered>, StoreError> {
    if let Some(earlier) = earlier {
        let reply = said(message, earlier.body, true);
        return Ok(Effect::Undo(Answered { reply, outcome: Disposition::Refused }));
    }
    let response = respond::response::build(message, Code::FatalError, &[issue], tx.now(), &manner.base);
    keep(tx, rules, manner, message, &response, false)?;
    Ok(Effect::Keep(Answered { reply: said(message, response.body, true), outcome: Disposition::Refused }))
}

fn parcel(message: &Message) -> NewMessage<'_> {
    NewMessage {
        bundle_id: &message.bundle_id,
        message_id: &message.header.id,
        source: &message.header.source,
        destinations: &message.header.destinations,
        event: &message.header.event_token,
        control: message.control.as_ref(),
        body: &message.packed,
    }
}

/// How many messages go by before old answers are looked for. Prime, so that no pattern of a sender's keeps it from
/// being met.
const FORGET_EVERY: Seq = 61;

/// Puts the answer into the log, where its receiver can retrieve it, and remembers it for duplicates.
fn keep(
    tx: &mut dyn Transaction,
    rules: &Rules,
    manner: &RequestContext,
    message: &Message,
    response: &Response,
    accepted: bool,
) -> Result<(), StoreError> {
    let wanted = message.header.wanted.wants(!accepted);
    let seq = tx.append(&NewMessage {
        bundle_id: &response.bundle_id,
        message_id: &response.message_id,
        source: &response.source,
        destinations: if wanted { std::slice::from_ref(&message.header.source) } else { &[] },
        event: &message.header.event_token,
        control: None,
        body: &Compressed::of(&response.body),
    })?;
    if let Some(url) = manner.respond_to.as_ref().filter(|_| wanted) {
        tx.put_errand(seq, url)?;
    }
    tx.remember(&parcel(message), accepted, seq)?;
    if seq % FORGET_EVERY == 0 {
        tx.forget(memory_start(tx, rules), rules.memory_size)?;
    }
    Ok(())
}

/// What applying a message came to.
struct Applied {
    issues: Vec<Issue>,
    /// Kept for its destinations, without being processed.
    kept: bool,
}

fn apply(tx: &mut dyn Transaction, rules: &Rules, message: &Message, seq: Seq) -> Result<Applied, Halt> {
    let kept = |why: &str| {
        Ok(Applied { issues: vec![Issue::information(format!("kept for its destinations: {why}"))], kept: true })
    };
    let served = |destination: &String| rules.served.contains(destination);
    if message.header.is_answer {
        return kept("it is the answer to another message");
    }
    if !rules.served.is_empty() && !message.header.destinations.iter().any(served) {
        return kept("this mailbox processes for none of them");
    }
    let issues = match message.header.event_code.as_str() {
        "admin-notify" => apply::notify::admin(tx, message)?,
        "clinical-notify" => apply::notify::clinical(tx, rules.snapshot, message)?,
        "patient-link" => apply::link::link(tx, message, seq)?,
        "patient-unlink" => apply::link::unlink(tx, message, seq)?,
        _ if rules.unknown_events == UnknownEvents::Store => {
            return kept("no rule for its event, no resource was touched");
        }
        other => {
            let text = format!("the mailbox has no rule for the event '{other}'");
            return Err(Halt::Fatal(Issue::error("not-supported", text).at("Bundle.entry[0].resource.eventCoding")));
        }
    };
    Ok(Applied { issues, kept: false })
}
