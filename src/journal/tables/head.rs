//! How far the tables have come, told to the feed after each filing.

use std::sync::{Mutex, PoisonError};

use crate::journal::model::{Seq, Status};

/// How far the journal goes, told after each filing.
#[derive(Debug, Default)]
pub struct Head {
    pub newest: Seq,
    again: Mutex<Vec<(Seq, Status)>>,
    discarded: Mutex<Vec<Seq>>,
}

impl Head {
    pub fn at(newest: Seq) -> Self {
        Self { newest, ..Self::default() }
    }

    pub fn discard(&self, seqs: &[Seq]) {
        self.discarded.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(seqs);
    }

    pub fn take_discarded(&self) -> Vec<Seq> {
        std::mem::take(&mut *self.discarded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn requeue(&self, seqs: &[(Seq, Status)]) {
        self.again.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(seqs);
    }

    pub fn take(&self) -> Vec<(Seq, Status)> {
        std::mem::take(&mut *self.again.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
