//! Who asks. What that one may do is decided where something is done: by the store for whom it reads ([`Store::read`]), and by
//! the handler of a message as whom it is sent.
//!
//! [`Store::read`]: crate::mailbox::store::Store::read

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::failure::Failure;
use crate::http::auth::Caller;
use crate::http::inside::Inside;
use crate::mailbox::Mailbox;

/// Gives the request its [`Caller`], without whom no handler can read.
pub(super) async fn admit(State(mailbox): State<Mailbox>, mut request: Request, next: Next) -> Response {
    // What the mailbox can do is no secret, and clients read it before they have a token (SMART, FHIR R4 http 3.1.0.4).
    let own = request.extensions().get::<Inside>().is_some();
    let caller = if own || !mailbox.guard.is_on() || request.uri().path() == "/metadata" {
        Ok(Caller::anyone())
    } else {
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        mailbox.guard.caller(header, Timestamp::now())
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => Failure::from(denied).into_response(),
    }
}
