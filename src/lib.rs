//! Stoker: HL7 v2 ADT in, FHIR R4 messages out, nothing lost between.
//!
//! # Layout
//!
//! Modules in the order in which a message passes through them; none imports one that stands below it, and
//! `tests/it/layout.rs` holds the table of who may import whom.
//!
//! - [`v2`]: the message as it was sent: header, index of segments and fields, text, time
//! - [`journal`]: every byte sequence that arrived, and what became of it, on disk
//! - [`mllp`]: frames, the listener, acknowledgements
//! - [`fhir`]: a JSON tree that borrows from the message, Bundles, ids
//! - [`mapping`]: `mappings/*.toml` compiled to a plan; v2 message and plan to Bundle
//! - [`outbound`]: the client of `$process-message`, and what its answers mean
//! - [`engine`]: the one place where the stages meet; the order of the queue
//! - [`mailbox`]: the FHIR server for messages; speaks HTTP only and knows nothing of the engine
//! - [`metrics`]: counters and gauges for Prometheus
//! - [`snapshot`]: a SQLite file copied whole and checked while it is written
//! - [`quiet`]: one log line in place of a flood
//! - [`tls`]: certificates and keys for those who listen and those who connect
//! - [`config`], [`cli`]: what a person typed, and the commands

pub mod snapshot;
pub mod v2;
pub mod journal;
pub mod mllp;
pub mod fhir;
pub mod mapping;
pub mod outbound;
pub mod engine;
pub mod mailbox;
pub mod metrics;
pub mod quiet;
pub mod tls;
pub mod config;
pub mod cli;
