//! TODO

pub mod admin;
pub mod daemon;
pub mod limits;
