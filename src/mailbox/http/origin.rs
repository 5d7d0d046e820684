//! Whether a request that shows no token may be answered: its host is ours, and so is the page it comes from.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;
use crate::http::hosts::Hosts;
use crate::mailbox::Mailbox;

pub(super) async fn known(State((mailbox, hosts)): State<(Mailbox, Hosts)>, request: Request, next: Next) -> Response {
    let asks_for_a_token = mailbox.guard.is_on() && request.uri().path() != "/metadata";
    match hosts.check(&request) {
        Err(foreign) if !asks_for_a_token => Failure::new(403, "forbidden", foreign.to_string()).into_response(),
        _ => next.run(request).await,
    }
}
