//! `POST $process-message`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::failure::{FHIR_JSON, Failure};
use crate::mailbox::Mailbox;
use crate::mailbox::process::message::Message;
use crate::mailbox::process::{self, Answered, Rules};

pub(super) async fn process(
    State(mailbox): State<Mailbox>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let message = take(body)?;
    let (rules, base) = (Rules::from(&*mailbox.config), mailbox.base(&headers));
    let answered = mailbox.transact(move |tx| process::process(tx, rules, &base, &message))?.await?;
    match answered {
        Answered::Response(body) => Ok((StatusCode::OK, [(header::CONTENT_TYPE, FHIR_JSON)], body).into_response()),
        Answered::Refused(status, issue) => Err(Failure::of(status, issue)),
    }
}

/// The message in a request's body.
pub(super) fn take(body: Result<Bytes, BytesRejection>) -> Result<Message, Failure> {
    let body = body.map_err(|fault| {
        let status = fault.status().as_u16();
        let code = if status == 413 { "too-long" } else { "structure" };
        Failure::new(status, code, "the body could not be read, or is larger than the mailbox takes")
    })?;
    let text = String::from_utf8(body.into()).map_err(|_| Failure::new(400, "structure", "the body is not UTF-8"))?;
    Message::parse(text).map_err(|issue| Failure::of(400, issue))
}
