//! Messages in: `POST $process-message` to be processed, `POST Bundle` to be kept for its destinations.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body;
use super::failure::{FHIR_JSON, Failure};
use super::query::Params;
use crate::http::auth::Caller;
use crate::http::auth::scope::Need;
use crate::mailbox::budget::Room;
use crate::mailbox::json::Limits;
use crate::mailbox::mailbox::Effect;
use crate::mailbox::metrics::Disposition;
use crate::mailbox::process::parse::message::Message;
use crate::mailbox::process::{self, Answered, Reply, RequestContext, Rules};
use crate::mailbox::store::Transaction;
use crate::mailbox::store::model::StoreError;
use crate::mailbox::{Mailbox, callback};

pub(super) async fn process(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    given: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    caller.may(&Need::ProcessMessage)?;
    let asked = ProcessParams::parse(&given)?;
    let TakenMessage { message, _room } = take(&mailbox, &caller, body).await?;
    let manner = RequestContext { base: mailbox.base(&headers), respond_to: asked.respond_to(&mailbox, &message)? };
    let rules = Rules::from(&*mailbox.config);
    let reply = answer(&mailbox, move |tx| process::process(tx, &rules, &manner, &message)).await?;
    match reply {
        Reply::Refused(status, issue) => Err(Failure::of(status, issue.into())),
        _ if asked.asynchronous => Ok(StatusCode::ACCEPTED.into_response()),
        Reply::Response(body) => Ok((StatusCode::OK, [(header::CONTENT_TYPE, FHIR_JSON)], body).into_response()),
        Reply::Silently | Reply::Published => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Runs `work` in the next commit and counts what became of it.
async fn answer(
    mailbox: &Mailbox,
    work: impl FnMut(&mut dyn Transaction) -> Result<Effect<Answered>, StoreError> + Send + 'static,
) -> Result<Reply, Failure> {
    let done = match mailbox.transact(work) {
        Ok(waiting) => waiting.await,
        Err(error) => Err(error),
    };
    mailbox.counts.add(done.as_ref().map_or(Disposition::Failed, |answered| answered.outcome));
    mailbox.ring();
    Ok(done?.reply)
}

/// What the URL says besides the body (FHIR R4, operation process-message).
#[derive(Debug, Default)]
struct ProcessParams {
    asynchronous: bool,
    response_url: Option<String>,
}

impl ProcessParams {
    fn parse(given: &Params) -> Result<Self, Failure> {
        let mut asked = Self::default();
        for (name, value) in given.once(&[])? {
            match (name.as_str(), value.as_str()) {
                ("async", "true") => asked.asynchronous = true,
                ("async", "false") | ("_format", _) => {}
                ("response-url", _) => asked.response_url = Some(value.clone()),
                _ => {
                    let text = format!("$process-message takes async=true or false and response-url, not '{name}'");
                    return Err(Failure::new(400, "not-supported", text));
                }
            }
        }
        Ok(asked)
    }

    /// Where the answer goes: to response-url, else to the sender's endpoint where that is a URL that may be called.
    /// Else it waits in the log for its receiver.
    fn respond_to(&self, mailbox: &Mailbox, message: &Message) -> Result<Option<String>, Failure> {
        let hosts = &mailbox.config.response_hosts;
        match &self.response_url {
            _ if !self.asynchronous => Ok(None),
            Some(url) if callback::is_allowed(url, hosts) => Ok(Some(url.clone())),
            Some(_) => {
                let text = "answers are not sent to the host of this response-url: have it added to response_hosts";
                Err(Failure::new(403, "forbidden", text))
            }
            None => Ok(Some(message.header.source.clone()).filter(|url| callback::is_allowed(url, hosts))),
        }
    }
}

pub(super) async fn publish(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    caller.may(&Need::Publish)?;
    let TakenMessage { message, _room } = take(&mailbox, &caller, body).await?;
    if !crate::fhir::ids::is_id(&message.bundle_id) {
        return Err(Failure::new(400, "required", "a message is published under its Bundle.id: give it one"));
    }
    let location = format!("{}/Bundle/{}", mailbox.base(&headers), message.bundle_id);
    let limit = mailbox.config.work_limit;
    match answer(&mailbox, move |tx| process::publish(tx, limit, &message)).await? {
        Reply::Refused(status, issue) => Err(Failure::of(status, issue.into())),
        _ => Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response()),
    }
}

/// A message, and the room that it takes until it is answered.
struct TakenMessage {
    message: Message,
    _room: (Room, Room),
}

/// The message in a request's body, which comes from one of the caller's own sources.
async fn take(mailbox: &Mailbox, caller: &Caller, body: Body) -> Result<TakenMessage, Failure> {
    let (config, budget) = (&mailbox.config, &mailbox.budget);
    let limits = Limits { depth: config.depth_limit, values: config.value_limit };
    let taken = async {
        let (bytes, room) = body::read(budget, body, config.body_limit).await?;
        let (message, turn) = budget.parse(bytes.len(), move || parse(limits, bytes)).await?;
        let message = message?;
        caller.may_send_as(&message.header.source)?;
        Ok(TakenMessage { message, _room: (room, turn) })
    };
    let taken: Result<_, Failure> = taken.await;
    if let Err(failure) = &taken {
        mailbox.counts.add(if failure.is_ours() { Disposition::Failed } else { Disposition::Invalid });
    }
    taken
}

fn parse(limits: Limits, body: Vec<u8>) -> Result<Message, Failure> {
    let text = String::from_utf8(body).map_err(|_| Failure::new(400, "structure", "the body is not UTF-8"))?;
    Message::parse(text, limits).map_err(|issues| Failure::of(400, issues))
}
