//! The first stage: a body becomes a [`message::Message`], without the store.
//!
//! In comes text; out goes a message whose header, entries, references and conditions are known and checked, or an issue that
//! names the place. It promises that what it lets through can be applied as far as the text alone can tell, and it is done on the
//! threads of those who ask, never on the writer's. It refuses what is no message, what FHIR forbids, and references that mean
//! nothing.
//!
//! - [`strict`]: JSON as FHIR has it
//! - [`header`]: who says what to whom
//! - [`message`]: the Bundle taken apart
//! - [`references`]: which entry each reference means, by their [`urls`]
//! - [`template`]: an entry as text, ready to be stored
//! - [`validity`]: types, cardinalities, invariants

pub mod header;
pub mod message;
pub(super) mod references;
pub(super) mod strict;
pub(super) mod template;
mod urls;
pub mod validity;
