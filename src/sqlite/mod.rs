//! TODO

pub mod backup;
