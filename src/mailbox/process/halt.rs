//! Why processing stops.

use crate::mailbox::outcome::Issue;
use crate::mailbox::store::model::StoreError;

/// Why processing stops.
#[derive(Debug)]
pub enum Halt {
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
