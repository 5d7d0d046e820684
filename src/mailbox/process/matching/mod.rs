//! TODO

pub(super) mod targets;
