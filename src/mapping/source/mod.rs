//! TODO

pub(super) mod place;
pub mod file;
pub mod diagnostic;
pub mod config;
pub mod settings;
pub mod table;
pub(super) mod unknown_keys;
pub mod load;
