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

pub mod config;
mod network;
mod door;
pub mod counters;
pub mod frame;
pub mod gate;
mod wide;
mod check;
mod err;
pub mod ack;
pub mod intake;
mod batch;
mod pending;
mod lines;
mod reader;
mod connection;
pub mod listener;
pub mod reply;
pub mod client;

pub use client::{Client, ClientError};
pub use config::Config;
pub use counters::Counters;
pub use intake::{Intake, wants_outcome};
pub use listener::run;
pub use network::Network;
pub use reply::Ack;
