//! The listener of every HTTP route, and who may use it.
//!
//! In come connections, with TLS or without; out go requests of callers who are known to be allowed to make them, for the
//! routes that mailbox, server and metrics mount on it. It promises that the number of connections is bounded, that a slow
//! handshake keeps nobody else out, and that nobody can hold so many connections for so long that others are not answered; it
//! refuses whoever has no token where one is asked for. It knows nothing of what the routes do.
//!
//! - [`limits`]: how many connections, and for how long they may keep us waiting
//! - [`connection`]: one connection, and the place that it takes
//! - [`listener`]: accepts, sweeps, and stops
//! - [`health`]: what those who watch a process ask
//! - [`inside`]: requests that this process makes of itself
//! - [`hosts`]: by which names, and from which pages, routes without a token may be asked
//! - [`auth`]: bearer tokens, JWTs, scopes

pub mod limits;
mod connection;
pub mod listener;
pub mod health;
pub mod inside;
pub mod hosts;
pub mod auth;
