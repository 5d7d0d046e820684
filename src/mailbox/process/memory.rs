//! What the mailbox remembers of a message: its place in the list that receivers retrieve, and the answer it got.

use jiff::{SignedDuration, Timestamp};

use super::parse::message::Message;
use super::respond::response::Response;
use super::rules::{RequestContext, Rules};
use crate::mailbox::store::model::{Seq, StoreError};
use crate::mailbox::store::{Answer, Compressed, NewMessage, Transaction};

/// How many messages go by before old answers are looked for. Prime, so that no pattern of a sender's keeps it from
/// being met.
const FORGET_EVERY: Seq = 61;

/// The answer this very message got before: same sender, same message id, same Bundle id.
pub fn answer_to(tx: &mut dyn Transaction, rules: &Rules, message: &Message) -> Result<Option<Answer>, StoreError> {
    let found = tx.answer(&message.header.source, &message.header.id, start(tx, rules))?;
    Ok(found.filter(|answer| answer.bundle_id == message.bundle_id))
}

/// The time from which answers are remembered.
fn start(tx: &dyn Transaction, rules: &Rules) -> Timestamp {
    let memory = SignedDuration::try_from(rules.memory).unwrap_or(SignedDuration::MAX);
    tx.now().checked_sub(memory).unwrap_or(Timestamp::MIN)
}

/// A message as it is listed for its destinations.
pub fn listing(message: &Message) -> NewMessage<'_> {
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

/// Lists the answer, where its receiver can retrieve it, and remembers it for duplicates.
pub fn keep(
    tx: &mut dyn Transaction,
    rules: &Rules,
    context: &RequestContext,
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
    if let Some(url) = context.respond_to.as_ref().filter(|_| wanted) {
        tx.put_errand(seq, url)?;
    }
    tx.remember(&listing(message), accepted, seq)?;
    if seq % FORGET_EVERY == 0 {
        tx.forget(start(tx, rules), rules.memory_size)?;
    }
    Ok(())
}
