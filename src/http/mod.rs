//! TODO

pub mod auth;
pub mod listener;
