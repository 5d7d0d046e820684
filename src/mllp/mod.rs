//! MLLP (HL7 v2.5.1 appendix C): frames, the listener, acknowledgements.
//!
//! [`frame`] takes a byte stream apart, [`listener`] and its connections carry the pieces to the [`Intake`], which asks
//! the [`gate`] whether this is a message that we take, hands it to the journal, and has [`ack`] write the answer.
//!
//! The door decides who may connect; a frame holds one message or a batch of them.
//!
//! Promises: no positive ack before the bytes are on disk; whatever arrived is stored, unreadable frames too; acks leave
//! in the order of the messages; the number of connections, and what each may hold in memory, is bounded.
//!
//! [`client`] is the other side, for `stoker send`.

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
