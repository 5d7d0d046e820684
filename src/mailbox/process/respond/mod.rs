//! TODO

pub mod response;
