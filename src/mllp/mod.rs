//! MLLP (HL7 v2.5.1 appendix C): frames, the listener, acknowledgements.
//!
//! In come connections of senders; out go messages into the journal's queue, and acks. It promises no positive ack before the bytes
//! are on disk; that whatever arrived is stored, unreadable frames too; that acks leave in the order of the messages; and that the
//! number of connections, and what each may hold in memory, is bounded. It refuses senders who are not allowed, and messages that the
//! [`validator`] does not take. It knows frames and MSH, not events.
//!
//! In the order of a message:
//! - [`connection`]: who may connect; what of a connection is under way
//! - [`wire`]: bytes to frames
//! - [`intake`]: a frame judged and put into the journal's queue; a frame holds one message or a batch of them
//! - [`memory`]: how much of it all frames in progress may take
//! - [`validator`]: what the intake asks: is this one that we take?
//! - [`ack`]: the answer
//! - [`connections`], [`counters`], `turned_away`, [`complaints`]: who is connected, what was counted, who was not let in, what
//!   the log is told of; [`config`]: what a person can set
//! - [`client`]: the other side, for `stoker send`

pub mod wire;
pub mod validator;
pub mod memory;
mod complaints;
mod connections;
pub mod config;
mod turned_away;
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
pub use intake::{Intake, kept_in_part, wants_outcome};
pub use memory::{FrameMemory, MllpConfig};
pub use turned_away::TurnedAwayPeer;
