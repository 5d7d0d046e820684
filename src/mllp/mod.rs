//! MLLP (HL7 v2.5.1 appendix C): frames, the listener, acknowledgements.
//!
//! In come TCP or TLS connections; out go messages into the journal's queue, each taken apart and judged, and one
//! acknowledgement for each back to its sender. It promises: no positive ack before the bytes are on disk; whatever arrived is
//! stored, unreadable frames too; acks leave in the order of the messages; the number of connections, and what each may hold in
//! memory, is bounded. It refuses peers that may not connect, frames that are too long, and what its validator refuses.
//!
//! In the order of a message:
//!
//! - [`connection`]: accepts peers that may connect, and serves each; [`config`] says who and how many
//! - [`wire`]: takes the byte stream apart into frames
//! - [`intake`]: judges a frame, puts it into the journal's queue, and answers once it is on disk
//! - [`validator`]: the question whether a message is taken, which the engine answers from its mapping plan
//! - [`ack`]: writes the acknowledgement
//! - [`connections`]: those that are open, for the application acknowledgements that are sent later
//! - [`counters`]: what a listener has seen
//!
//! [`client`] is the other side, for `stoker send` and for return addresses.

pub mod wire;
pub mod validator;
mod connections;
pub mod config;
pub mod counters;
pub mod ack;
pub mod intake;
mod connection;
pub mod client;

pub use ack::reply::Ack;
pub use client::{Client, ClientError};
pub use config::ListenerConfig;
pub use connection::listener::run;
pub use connection::network::Network;
pub use counters::Counters;
pub use intake::{Intake, wants_outcome};
