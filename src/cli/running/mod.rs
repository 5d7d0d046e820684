//! What a command has that runs until it is told to stop: a log, and signals.
//!
//! - [`logging`]: to stderr, as text or JSON
//! - [`signals`]: what stops it in order, and what does not

pub(super) mod logging;
pub(super) mod signals;
