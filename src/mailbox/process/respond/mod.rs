//! The last stage: the answer, a message of its own or an OperationOutcome.
//!
//! In come the message and what became of it; out goes the text that is sent, kept for its sender and told again to a
//! duplicate. It promises that the same message gets the same answer, byte for byte, and keeps no error quiet: 204 would say
//! that all was well.

pub mod response;

use super::apply::Applied;
use super::halt::Halt;
use super::memory;
use super::parse::message::Message;
use super::rules::{RequestContext, Rules};
use crate::mailbox::mailbox::Effect;
use crate::mailbox::metrics::Disposition;
use crate::mailbox::outcome::{Issue, Severity};
use crate::mailbox::store::model::StoreError;
use crate::mailbox::store::{Answer, Transaction};
use response::Code;

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
    pub fn refused(status: u16, issue: Issue) -> Self {
        Self { reply: Reply::Refused(status, issue), outcome: Disposition::Refused }
    }

    /// A message that takes more work than one may, while all others wait.
    pub fn too_costly() -> Self {
        Self::refused(422, Issue::error("too-costly", StoreError::TooCostly.to_string()).at("Bundle"))
    }
}

/// Answers a message that was applied, or could not be. `refused_before` is the answer that it got when it came before.
///
/// # Errors
/// When the store fails; the caller undoes everything then.
pub fn respond(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
    message: &Message,
    applied: Result<Applied, Halt>,
    refused_before: Option<Answer>,
) -> Result<Effect<Answered>, StoreError> {
    match applied {
        Ok(applied) => accept(tx, rules, context, message, &applied),
        Err(Halt::Store(error)) => Err(error),
        Err(Halt::Refused(status, issue)) => Ok(Effect::Undo(Answered::refused(status, issue))),
        Err(Halt::Fatal(issue)) => {
            tx.undo()?;
            refuse(tx, rules, context, message, issue, refused_before)
        }
    }
}

fn accept(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
    message: &Message,
    Applied { issues, kept }: &Applied,
) -> Result<Effect<Answered>, StoreError> {
    let response = response::build(message, Code::Ok, issues, tx.now(), &context.base);
    memory::keep(tx, rules, context, message, &response, true)?;
    let late = issues.iter().any(|issue| issue.severity == Severity::Warning && issue.code == "conflict");
    let outcome = match (kept, late) {
        (true, _) => Disposition::Kept,
        (false, true) => Disposition::Late,
        (false, false) => Disposition::Applied,
    };
    Ok(Effect::Keep(Answered { reply: reply(message, response.body, false), outcome }))
}

/// A refused message changed nothing, so its duplicate is tried again: the visit it asked for may exist by now. Only
/// when it is refused again it gets the first answer.
fn refuse(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
    message: &Message,
    issue: Issue,
    refused_before: Option<Answer>,
) -> Result<Effect<Answered>, StoreError> {
    if let Some(earlier) = refused_before {
        let reply = reply(message, earlier.body, true);
        return Ok(Effect::Undo(Answered { reply, outcome: Disposition::Refused }));
    }
    let response = response::build(message, Code::FatalError, &[issue], tx.now(), &context.base);
    memory::keep(tx, rules, context, message, &response, false)?;
    Ok(Effect::Keep(Answered { reply: reply(message, response.body, true), outcome: Disposition::Refused }))
}

/// The answer, if the sender wants to hear it. An error is not kept quiet: 204 would say that all was well.
pub fn reply(message: &Message, body: String, error: bool) -> Reply {
    if message.header.wanted.wants(error) || error { Reply::Response(body) } else { Reply::Silently }
}
