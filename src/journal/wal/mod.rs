//! TODO

pub(super) mod entry;
pub(super) mod chunk;
pub(super) mod log;
