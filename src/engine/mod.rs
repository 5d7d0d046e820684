//! (being written)

pub mod queue;
pub mod circuit;
pub mod keys;
pub mod gate;
