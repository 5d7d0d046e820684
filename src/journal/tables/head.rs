//! How far the tables have come, told to the feed after each filing, with what it needs to know of the latest messages.
//!
//! A feed that keeps up gets all of its news from here. Of what came since it listened last only so much is held; one that
//! has fallen behind further reads the tables, and so does one that comes while something has become of a message that it
//! has not heard of yet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal::model::{Queued, Seq, Status};

/// So many messages are held for the feed: one of its pages.
pub const HELD: usize = 2_048;

/// What the tables have, and what of it the feed has not heard.
#[derive(Debug, Default)]
pub struct Head {
    pub newest: Seq,
    unheard: Mutex<Unheard>,
}

/// What has come since the feed listened last.
#[derive(Debug, Default)]
pub struct Unheard {
    /// Who knows everything up to here finds the rest in `queued`; else it is in the tables only.
    pub after: Seq,
    pub queued: Vec<Queued>,
    /// With the status that they had before.
    pub requeued: Vec<(Seq, Status)>,
    pub discarded: Vec<Seq>,
}

impl Head {
    pub fn at(newest: Seq) -> Self {
        Self { newest, unheard: Mutex::new(Unheard { after: newest, ..Unheard::default() }) }
    }

    /// These were filed, up to `newest`, and wait.
    pub fn queue(&mut self, newest: Seq, queued: Vec<Queued>) {
        self.newest = newest;
        let mut unheard = self.lock();
        unheard.queued.extend(queued);
        if unheard.queued.len() > HELD {
            unheard.leave_to_the_tables(newest);
        }
    }

    /// Something has become of messages, of this one at the latest.
    pub fn change(&self, latest: Seq) {
        let newest = self.newest;
        let mut unheard = self.lock();
        if latest > unheard.after {
            unheard.leave_to_the_tables(newest);
        }
    }

    /// The tables have messages up to here, of which nothing else is known.
    pub fn skip_to(&mut self, newest: Seq) {
        self.newest = newest;
        self.lock().leave_to_the_tables(newest);
    }

    pub fn requeue(&self, seqs: &[(Seq, Status)]) {
        self.lock().requeued.extend_from_slice(seqs);
    }

    pub fn discard(&self, seqs: &[Seq]) {
        self.lock().discarded.extend_from_slice(seqs);
    }

    pub fn take(&self) -> Unheard {
        std::mem::replace(&mut *self.lock(), Unheard { after: self.newest, ..Unheard::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unheard {
    fn leave_to_the_tables(&mut self, newest: Seq) {
        (self.after, self.queued) = (newest, Vec::new());
    }
}
