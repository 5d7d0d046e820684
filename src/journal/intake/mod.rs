//! TODO

pub(super) mod dedup;
pub(super) mod quota;
pub(super) mod queue;
pub(super) mod writer;
