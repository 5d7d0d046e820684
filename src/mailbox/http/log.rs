//! Messages out: `GET Bundle` reads the log of a destination from any place on, and waits for more when asked to.
//!
//! `_offset` counts the messages that match, from 0; the list only grows at its end, so a reader that remembers how many
//! it has read misses nothing and reads nothing twice. A page with more behind it has a next link.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::body::Pieces;
use super::bundle::BundleWriter;
use super::failure::{FHIR_JSON, Failure};
use super::query::{Params, twice, url_at};
use crate::http::auth::Caller;
use crate::mailbox::Mailbox;
use crate::mailbox::budget::Room;
use crate::mailbox::search::Prefix;
use crate::mailbox::search::params::{self, BadSearch};
use crate::mailbox::store::{LoggedMessage, MessagePage, MessageQuery, Name, Unanswerable, Which};

/// Messages on a page when the client names no number, and the most it can ask for.
const DEFAULT_COUNT: usize = 50;
const MAX_COUNT: usize = 1000;
/// The longest that a client can ask to wait.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Messages come in groups; a waiting reader is answered once for the group.
const GATHER: Duration = Duration::from_millis(5);

/// The search parameters of Bundle, as the CapabilityStatement lists them.
pub(super) const PARAMETERS: [(&str, &str); 4] =
    [("_id", "token"), ("_lastUpdated", "date"), ("identifier", "token"), ("message", "reference")];

/// A message for another destination is not there: nobody learns from the answer that it is.
pub(super) async fn read(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    given: Params,
) -> Result<Response, Failure> {
    if let Some((name, _)) = given.once(&[])?.iter().find(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty")) {
        return Err(Failure::new(400, "not-supported", format!("a Bundle is read by its id, without '{name}'")));
    }
    let query = MessageQuery {
        which: Which::Named { name: Name::BundleId(id), destination: None },
        received: Vec::new(),
        offset: 0,
        count: 1,
    };
    let (mut page, _turn) = find(&mailbox, &caller, query).await?;
    let message = page.found.pop().ok_or_else(|| Failure::new(404, "not-found", "no such Bundle"))?;
    let body = Pieces::body(&mailbox.budget, vec![message.body]).await?;
    Ok(([(header::CONTENT_TYPE, FHIR_JSON)], body).into_response())
}

pub(super) async fn search(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    given: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let asked = LogQuery::parse(&given)?;
    let (page, _turn) = wait(&mailbox, &caller, &asked).await?;
    let (base, offset) = (mailbox.base(&headers), asked.query.offset);
    let here = format!("{base}/Bundle");
    let mut bundle = BundleWriter::start("searchset", Some(page.total));
    bundle.link("self", &url_at(&here, &given, Some(offset)));
    if asked.count_only {
        return bundle.finish(&mailbox.budget).await;
    }
    let read = offset.saturating_add(page.found.len());
    if !page.found.is_empty() && i64::try_from(read).is_ok_and(|read| read < page.total) {
        bundle.link("next", &url_at(&here, &given, Some(read)));
    }
    page.found.into_iter().for_each(|message| bundle.message(&full_url(&base, &message), message.body));
    bundle.finish(&mailbox.budget).await
}

fn full_url(base: &str, message: &LoggedMessage) -> String {
    if message.bundle_id.is_empty() {
        // The sender gave no id, and the message is not altered; the number in the log stands in.
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &message.seq.to_be_bytes());
        return format!("urn:uuid:{id}");
    }
    format!("{base}/Bundle/{}", message.bundle_id)
}

/// What a reader of the log asks for.
struct LogQuery {
    query: MessageQuery,
    wait: Duration,
    count_only: bool,
}

impl LogQuery {
    fn parse(given: &Params) -> Result<Self, Failure> {
        let (mut destination, mut event, mut name) = (None, None, None);
        let mut asked = Self {
            query: MessageQuery { which: Which::All, received: Vec::new(), offset: 0, count: DEFAULT_COUNT },
            wait: Duration::ZERO,
            count_only: false,
        };
        // A time may be given as a range, from and up to.
        for (key, value) in given.once(&["_lastUpdated"])?.iter().filter(|(_, value)| !value.is_empty()) {
            match key.as_str() {
                "message.destination-uri" | "message:MessageHeader.destination-uri" => {
                    set(&mut destination, key, value.clone())?;
                }
                "event" | "message.event" | "message:MessageHeader.event" => set(&mut event, key, value.clone())?,
                "_id" => set(&mut name, key, Name::BundleId(value.clone()))?,
                "identifier" => set(&mut name, key, identifier(value)?)?,
                "message.response-id" => set(&mut name, key, Name::AnswerTo(value.clone()))?,
                "_lastUpdated" => asked.received.extend(time(value)?),
                _ => asked.control(key, value)?,
            }
        }
        asked.query.which = match (name, destination, event) {
            (Some(name), destination, None) => Which::Named { name, destination },
            (None, Some(destination), event) => Which::List { destination, event },
            (None, None, None) => Which::All,
            _ => {
                let text =
                    "event goes with message.destination-uri, and not with _id, identifier or message.response-id";
                return Err(Failure::new(400, "not-supported", text));
            }
        };
        Ok(asked)
    }

    /// Parameters that shape the answer.
    fn control(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let number = || value.parse::<usize>().map_err(|_| bad(key, "write a whole number, 0 or more"));
        match key {
            "_offset" => self.query.offset = number()?,
            "_count" => self.query.count = number()?.min(MAX_COUNT),
            "_wait" => self.wait = Duration::from_secs(number()? as u64).min(MAX_WAIT),
            "_summary" if value == "count" => self.count_only = true,
            "_summary" if value == "false" => {}
            "_format" | "_pretty" => {}
            _ => {
                let text = format!(
                    "Bundle has no search parameter '{key}' here; known are message.destination-uri, event, identifier, \
                     message.response-id, _id, _lastUpdated, _offset, _count, _wait and _summary=count"
                );
                return Err(Failure::new(400, "not-supported", text));
            }
        }
        Ok(())
    }
}

impl std::ops::Deref for LogQuery {
    type Target = MessageQuery;

    fn deref(&self) -> &MessageQuery {
        &self.query
    }
}

impl std::ops::DerefMut for LogQuery {
    fn deref_mut(&mut self) -> &mut MessageQuery {
        &mut self.query
    }
}

/// Two names of one parameter are one parameter given twice.
fn set<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<(), Failure> {
    match slot.replace(value) {
        Some(_) => Err(twice(key)),
        None => Ok(()),
    }
}

fn bad(name: &str, remedy: &'static str) -> Failure {
    BadSearch::Value { name: name.into(), remedy }.into()
}

/// A control id names a message and not a person, so it may come without its system.
fn identifier(value: &str) -> Result<Name, Failure> {
    if !value.contains('|') {
        return Ok(Name::Identifier { system: None, value: value.to_owned() });
    }
    let found = params::token(value).ok_or_else(|| bad("identifier", "write system|value or value"))?;
    Ok(Name::Identifier { system: Some(found.system), value: found.value })
}

fn time(value: &str) -> Result<Option<crate::mailbox::search::Comparison>, Failure> {
    let found = params::comparison("_lastUpdated", value)?;
    if found.prefix == Prefix::Ne {
        return Err(bad("_lastUpdated", "a log is read from a time on, or up to one: use ge, gt, le or lt"));
    }
    Ok(Some(found))
}

/// A page, and the turn in which it is read, to be held until there is room for it as an answer.
async fn find(mailbox: &Mailbox, caller: &Caller, query: MessageQuery) -> Result<(MessagePage, Room), Failure> {
    let turn = mailbox.budget.page().await?;
    let found = mailbox.read(caller, move |reader| reader.messages(&query)).await?;
    let page = found.map_err(|fault| {
        let code = if fault == Unanswerable::AmbiguousEvent { "value" } else { "too-costly" };
        Failure::new(400, code, fault.to_string())
    })?;
    Ok((page, turn))
}

/// The page, or what has come by the end of the wait.
async fn wait(mailbox: &Mailbox, caller: &Caller, asked: &LogQuery) -> Result<(MessagePage, Room), Failure> {
    let end = tokio::time::Instant::now() + asked.wait;
    let mut bell = mailbox.bell();
    loop {
        bell.mark_unchanged();
        let (page, turn) = find(mailbox, caller, asked.query.clone()).await?;
        let heard = asked.wait.is_zero() || !page.found.is_empty() || asked.query.count == 0;
        if heard {
            return Ok((page, turn));
        }
        drop(turn);
        let _waiting = mailbox.counts.wait();
        tokio::select! {
            () = mailbox.closing.cancelled() => return Ok((page, None)),
            () = tokio::time::sleep_until(end) => return Ok((page, None)),
            _ = bell.changed() => tokio::time::sleep(GATHER).await,
        }
    }
}
