//! TODO

pub mod frame;
pub(super) mod utf16;
pub(super) mod reader;
