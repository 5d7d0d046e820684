//! Stoker: HL7 v2 ADT in, FHIR R4 messages out, nothing lost between.
//!
//! # Layout
//!
//! First what everybody stands on, then the rooms in the order in which a message passes through them. Each imports only
//! rooms that stand above it, and no two files import each other, by however many steps; `tests/it/layout.rs` holds the
//! table of who may import whom.
//!
//! - [`units`]: durations and sizes, as a person writes them
//! - [`log_throttle`]: one log line in place of a flood
//! - [`work`]: what the work for one message costs, counted, and how much there may be
//! - [`metrics`]: counters and gauges for Prometheus
//! - [`tls`]: certificates and keys for those who listen and those who connect
//! - [`sqlite`]: how a database file is opened, brought to this version and copied
//! - [`http`]: the listener of every HTTP route, and who may use it
//!
//! - [`v2`]: the message as it was sent: header, index of segments and fields, text, time
//! - [`journal`]: every byte sequence that arrived, and what became of it, on disk
//! - [`mllp`]: frames, the listener, acknowledgements
//! - [`fhir`]: a JSON tree that borrows from the message, Bundles, ids
//! - [`mapping`]: `mappings/*.toml` compiled to a plan; v2 message and plan to Bundle
//! - [`outbound`]: the client of `$process-message`, and what its answers mean
//! - [`mailbox`]: the FHIR server for messages; speaks HTTP only and knows nothing of the engine
//! - [`engine`]: the one place where the stages meet; the order of the queue
//! - [`config`]: what a person typed
//! - [`server`]: the daemon: built, run, drained; and what it is asked over HTTP
//! - [`cli`]: the commands

pub mod units;
pub mod log_throttle;
pub mod work;
pub mod metrics;
pub mod tls;
pub mod sqlite;
pub mod http;
pub mod v2;
pub mod journal;
pub mod mllp;
pub mod fhir;
pub mod mapping;
pub mod outbound;
pub mod mailbox;
pub mod engine;
pub mod config;
pub mod server;
pub mod cli;
