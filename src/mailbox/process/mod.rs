//! What a message does, in five stages: one that needs no store, and four over one transaction.
//!
//! ```text
//!  text ── parse ──▶ Message ── receive ──▶ Listed ── matching ──▶ Matched ── apply ──▶ Applied ── respond ──▶ Answered
//!          (no store)           (duplicate? its              (which resources)  (the event)       (or what halted it)
//!                                place in the list)
//! ```
//!
//! In comes a request's text; out goes an answer, and what the message changed is in the transaction, to be kept or undone
//! ([`Effect`]). It promises that a message is applied whole or not at all, that a duplicate gets the first answer byte for
//! byte, that refusals come before writes or are undone with them, and that a message takes no more steps than the rules allow,
//! whatever it says. It knows no HTTP.
//!
//! - [`parse`]: done on the threads of those who ask; [`rules`]: what decides besides the message
//! - [`receive`], [`memory`]: what came before, and what is remembered
//! - [`matching`], [`apply`], [`respond`]: the stages that run on the writer's thread, for whom all others wait
//! - [`halt`]: why they stop; [`stored`], [`merge`]: what is read from a stored resource, and what an incoming one changes in it

pub(super) mod stored;
pub(super) mod halt;
pub mod merge;
pub mod rules;
pub mod parse;
mod receive;
mod memory;
mod matching;
mod apply;
pub mod respond;
#[cfg(test)]
mod growth;

use super::mailbox::Effect;
use super::store::Transaction;
use super::store::model::StoreError;
use parse::message::Message;
use receive::{Listed, Received};

pub(super) use receive::publish;
pub use respond::{Answered, Reply};
pub use rules::{RequestContext, Rules};

/// Processes one message and answers it.
///
/// # Errors
/// When the store fails; the caller undoes everything then.
pub(super) fn process(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
    message: &Message,
) -> Result<Effect<Answered>, StoreError> {
    tx.allow(rules.work_limit);
    match stages(tx, rules, context, message) {
        Err(StoreError::TooCostly) => Ok(Effect::Undo(Answered::too_costly())),
        done => done,
    }
}

fn stages(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
    message: &Message,
) -> Result<Effect<Answered>, StoreError> {
    let Listed { seq, refused_before } = match receive::receive(tx, rules, context, message)? {
        Received::Answered(answered) => return Ok(answered),
        Received::Listed(listed) => listed,
    };
    let matched = matching::find(tx, rules, message);
    let applied = matched.and_then(|matched| apply::apply(tx, rules, message, matched, seq));
    respond::respond(tx, rules, context, message, applied, refused_before)
}
