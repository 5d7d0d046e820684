//! Requests that this process makes of itself: the engine's deliveries into its own mailbox.
//!
//! They take no connection, so nobody can keep them out by holding connections, and need no token: no request from outside
//! can carry this mark, which is not among its bytes.

use axum::{Extension, Router};

/// Among a request's extensions: it was made in this process.
#[derive(Debug, Clone, Copy)]
pub struct Inside;

/// The routes as this process itself asks them, without a connection.
pub fn inside(routes: Router) -> Router {
    routes.layer(Extension(Inside))
}
