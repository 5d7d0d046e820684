//! Dead letters that hold back what comes after them, where the site wants that.
//!
//! A message that was given up keeps its lanes, and the later messages of its patient and visit wait until a person has
//! sent it again or discarded it. After a restart the journal's dead letters take their lanes again before anything else.

use std::collections::HashMap;

use super::queue::Ticket;
use crate::journal::Seq;

#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    /// `None`: known, and not yet the first in all its lanes.
    held: HashMap<Seq, Option<Ticket>>,
}

/// What a person has decided about a dead letter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DeadLetter {
    /// It held its lanes.
    Held(Ticket),
    /// It was one, and still waits for its turn.
    Behind,
    No,
}

impl DeadLetters {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.held.contains_key(&seq)
    }

    /// Of a time before this start; it stands in its lanes.
    pub(super) fn expect(&mut self, seq: Seq) {
        self.held.insert(seq, None);
    }

    pub(super) fn hold(&mut self, ticket: Ticket) {
        self.held.insert(ticket.seq, Some(ticket));
    }

    /// Keeps a ticket whose turn it is if it is a dead letter's; else gives it back.
    pub(super) fn keep(&mut self, ticket: Ticket) -> Option<Ticket> {
        match self.held.get_mut(&ticket.seq) {
            Some(place) => {
                *place = Some(ticket);
                None
            }
            None => Some(ticket),
        }
    }

    pub(super) fn release(&mut self, seq: Seq) -> DeadLetter {
        match self.held.remove(&seq) {
            Some(Some(ticket)) => DeadLetter::Held(ticket),
            Some(None) => DeadLetter::Behind,
            None => DeadLetter::No,
        }
    }
}
