//! What a stored resource says of itself.

use crate::mailbox::canonical;
use crate::mailbox::json::Object;
use crate::mailbox::store::model::{StoreError, StoredResource};

/// Whether a stored Patient says that another one replaced it.
pub fn was_replaced(row: &StoredResource) -> bool {
    row.tail.0.contains(r#""type":"replaced-by""#)
}

/// A stored resource as JSON, of the text that [`Tail::whole`](crate::mailbox::canonical::Tail::whole) gives.
pub fn content(whole: &str) -> Result<Object<'_>, StoreError> {
    canonical::read(whole).ok_or(StoreError::Damaged("a resource's text"))
}
