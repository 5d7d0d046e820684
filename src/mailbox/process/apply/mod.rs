//! TODO

pub(super) mod localize;
pub(super) mod identifiers;
pub(super) mod identity;
pub(super) mod link;
pub(super) mod moves;
pub(super) mod notify;
pub(super) mod snapshot;
pub(super) mod work;
