//! The client of `$process-message`, and what its answers mean (FHIR R4 messaging 2.4.3).
//!
//! In comes a Bundle as JSON, out comes one [`Outcome`]: one attempt is one call of [`Client::deliver`], and the caller never looks
//! at a status. It promises that every answer has exactly one meaning, and remembers nothing about a message: order, attempts
//! and age are the engine's. [`client`] sends, [`answer`] reads what a receiver says, [`classify`] decides what that means, and
//! [`backoff`] when to try again; those three are pure. [`config`] is the destination as a person writes it.
//!
//! Refuses: to follow redirects (a message would go where nobody has configured it to), to read an answer of any size,
//! and to log a token.

mod config;
pub mod answer;
pub mod classify;
pub mod metadata;
pub mod backoff;
mod client;

pub use classify::Outcome;
pub use client::{BuildError, Client, Delivery};
pub use config::{DestinationConfig, OnAccepted, OnDeadLetter, Retry, Secret};
pub use metadata::Metadata;
