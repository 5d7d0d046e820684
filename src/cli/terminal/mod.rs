//! TODO

pub(super) mod columns;
pub(super) mod moment;
