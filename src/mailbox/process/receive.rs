//! The second stage: whether a message came before, and its place in the list.
//!
//! In comes a parsed message; out goes its place, or the answer it has already. It promises that a duplicate of an accepted
//! message is answered as the first was and changes nothing. It refuses a Bundle.id that came with another message.

use super::memory;
use super::parse::message::Message;
use super::respond::{Answered, Reply, reply};
use super::rules::{RequestContext, Rules};
use crate::mailbox::mailbox::Effect;
use crate::mailbox::metrics::Disposition;
use crate::mailbox::outcome::Issue;
use crate::mailbox::store::model::{Seq, StoreError};
use crate::mailbox::store::{Answer, BundleUse, Transaction};

pub enum Received {
    /// There is nothing left to do.
    Answered(Effect<Answered>),
    /// To be processed.
    Listed(Listed),
}

/// A message that has its place in the list.
pub struct Listed {
    pub seq: Seq,
    /// It came before and was refused: it is tried again, and answered the same when it is refused again.
    pub refused_before: Option<Answer>,
}

pub fn receive(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
    message: &Message,
) -> Result<Received, StoreError> {
    let earlier = memory::answer_to(tx, rules, message)?;
    if let Some(answer) = earlier.as_ref().filter(|answer| answer.accepted) {
        return again(tx, context, message, answer).map(Received::Answered);
    }
    let used = bundle_use(tx, message)?;
    if used.as_ref().is_some_and(|earlier| earlier.message_id != message.header.id) {
        return Ok(Received::Answered(Effect::Undo(Answered::refused(409, bundle_id_taken()))));
    }
    let seq = match used.filter(|earlier| earlier.body == message.body) {
        // It is in the list already: published before, or its answer is forgotten.
        Some(earlier) => earlier.seq,
        None => tx.append(&memory::listing(message))?,
    };
    Ok(Received::Listed(Listed { seq, refused_before: earlier }))
}

/// Lists a message for its destinations without processing it.
///
/// # Errors
/// When the store fails.
pub fn publish(tx: &mut dyn Transaction, work_limit: u64, message: &Message) -> Result<Effect<Answered>, StoreError> {
    tx.allow(work_limit);
    match bundle_use(tx, message)? {
        Some(earlier) if earlier.body == message.body => {
            Ok(Effect::Undo(Answered { reply: Reply::Published, outcome: Disposition::Duplicate }))
        }
        Some(_) => Ok(Effect::Undo(Answered::refused(409, bundle_id_taken()))),
        None => {
            tx.append(&memory::listing(message))?;
            Ok(Effect::Keep(Answered { reply: Reply::Published, outcome: Disposition::Kept }))
        }
    }
}

/// A duplicate: the first answer again, sent again where it is to be sent.
fn again(
    tx: &mut dyn Transaction,
    context: &RequestContext,
    message: &Message,
    answer: &Answer,
) -> Result<Effect<Answered>, StoreError> {
    if let Some(url) = context.respond_to.as_ref().filter(|_| message.header.wanted.wants(false)) {
        tx.put_errand(answer.response, url)?;
    }
    let reply = reply(message, answer.body.clone(), false);
    Ok(Effect::Keep(Answered { reply, outcome: Disposition::Duplicate }))
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
