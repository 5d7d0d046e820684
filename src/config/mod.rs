//! What a person typed: one TOML file, in which each part belongs to the room that reads it. Without a file every key has its
//! default; `config.toml` shows them all.
//!
//! In comes the file; out goes a [`Config`] whose paths stand, and, to whoever is about to run it, everything that is wrong
//! with it at once. It promises that what [`check`](check::check) passes a start does not refuse, but for what another process
//! holds; and refuses keys that mean nothing.
//!
//! - [`file`](mod@file): the form; [`log`]: its `[log]`
//! - [`source`]: where it was read, and in which line a key stands
//! - [`paths`]: every path in it, taken from the file's folder
//! - `read`: from file to [`Config`]
//! - [`check`](mod@check): whether it can run

pub mod log;
pub mod source;
pub mod file;
pub mod paths;
mod read;
pub mod check;

pub use file::{Config, Http};
pub use log::{Log, LogFormat};
