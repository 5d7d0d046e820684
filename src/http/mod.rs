//! The listener of every HTTP route, and who may use it.
//!
//! In come connections, with TLS or without; out go requests of callers who are known to be allowed to make them, for the
//! routes that mailbox, server and metrics mount on it. It promises that the number of connections is bounded and that a slow
//! handshake keeps nobody else out; it refuses whoever has no token where one is asked for. It knows nothing of what the routes
//! do.
//!
//! - [`listener`]: accepts, up to a limit, and finishes TLS
//! - [`auth`]: bearer tokens, JWTs, scopes

pub mod auth;
pub mod listener;
