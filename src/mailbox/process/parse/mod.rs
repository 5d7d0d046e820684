//! TODO

pub mod header;
pub mod message;
pub(super) mod references;
pub(super) mod strict;
pub(super) mod template;
pub mod validity;
