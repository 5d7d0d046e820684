//! The daemon's side of `/admin/queue`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;

use super::secret::{self, LocalSecret};
use super::{
    Acknowledge, Kept, ListenerStanding, Order, Outage, Pause, Refusal, Standing, TurnedAway, Waiting, name_of,
};
use crate::engine::Control;
use crate::engine::control::{ListenerState, WaitReason};
use crate::engine::operator::{self, Decided};
use crate::http::auth::AuthError;
use crate::http::auth::scope::Need;
use crate::http::auth::{self, Authenticator};
use crate::http::auth::{Caller, Denied};
use crate::journal::{Act, Journal, Seq};

/// The numbers of some three million messages.
const LARGEST_ORDER: usize = 32 << 20;

/// What the routes work on. Does not keep the journal open: whoever owns it drops it last.
#[derive(Clone)]
pub struct Admin {
    journal: Journal,
    name: Arc<str>,
    control: Control,
    guard: Arc<Authenticator>,
    secret: LocalSecret,
}

/// Why the queue cannot be changed over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("{path} cannot be written ({reason}): by its contents stoker queue shows that it may change the queue")]
    Secret { path: PathBuf, reason: String },
}

impl Admin {
    /// Writes a new secret beside the journal.
    ///
    /// # Errors
    /// When the tokens of the configuration cannot be used, or the secret cannot be written.
    pub fn new(
        journal: Journal,
        path: &std::path::Path,
        control: Control,
        auth: &auth::AuthConfig,
    ) -> Result<Self, AdminError> {
        let fault = |error: std::io::Error| AdminError::Secret { path: secret::place(path), reason: error.to_string() };
        let secret = LocalSecret::create(path).map_err(fault)?;
        Ok(Self { journal, name: name_of(path).into(), control, guard: Arc::new(Authenticator::new(auth)?), secret })
    }

    fn is_meant(&self, journal: &str) -> Result<(), Failure> {
        if journal == &*self.name {
            return Ok(());
        }
        Err(Failure(StatusCode::CONFLICT, format!("this daemon's journal is {}, not {journal}", self.name)))
    }
}

pub fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/admin/queue", get(standing).post(order))
        .route("/admin/queue/delivery", post(delivery))
        .route("/admin/queue/damage", post(damage))
        .route("/admin/queue/{seq}", get(waiting))
        .layer(axum::middleware::from_fn_with_state(admin.clone(), admit))
        .layer(DefaultBodyLimit::max(LARGEST_ORDER))
        .with_state(admin)
}

struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(Refusal { error: self.1 })).into_response()
    }
}

/// Who asks, by the token; nobody's name where none is asked for.
#[derive(Clone)]
struct CallerName(Option<String>);

async fn admit(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known = if header.and_then(auth::bearer).is_some_and(|shown| admin.secret.is(shown)) {
        CallerName(None)
    } else {
        match admin.guard.caller(header, Timestamp::now()).and_then(allowed) {
            Ok(caller) => CallerName(Some(caller.name)),
            Err(denied) => return turned_away(&denied),
        }
    };
    request.extensions_mut().insert(known);
    next.run(request).await
}

fn allowed(caller: Caller) -> Result<Caller, Denied> {
    caller.may(&Need::Admin)?;
    Ok(caller)
}

fn turned_away(denied: &Denied) -> Response {
    let (status, challenge) = match denied {
        Denied::NoToken => (StatusCode::UNAUTHORIZED, "Bearer realm=\"stoker\""),
        Denied::BadToken(_) => (StatusCode::UNAUTHORIZED, "Bearer realm=\"stoker\", error=\"invalid_token\""),
        _ => (StatusCode::FORBIDDEN, "Bearer error=\"insufficient_scope\""),
    };
    let text = format!(
        "{denied}. The queue takes a token of scope admin (mailbox.auth.tokens), or the secret that the daemon writes into \
         its data folder, which stoker queue reads there"
    );
    let mut response = Failure(status, text).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

async fn standing(State(admin): State<Admin>) -> Result<Json<Standing>, Failure> {
    let state = admin.control.state().await.ok_or_else(stopped)?;
    Ok(Json(Standing {
        journal: admin.name.to_string(),
        queued: state.queued,
        under_way: state.under_way,
        put_off: state.put_off,
        holding: state.holding,
        paused: state.paused,
        outage: state.outage.map(|outage| Outage {
            seconds: Instant::now().saturating_duration_since(outage.since).as_secs(),
            held: outage.held,
            reason: outage.reason,
        }),
        listeners: admin.control.listeners().into_iter().map(listener).collect(),
    }))
}

fn listener(state: ListenerState) -> ListenerStanding {
    let turned_away = state.turned_away.into_iter().map(|peer| TurnedAway {
        peer: peer.peer,
        connections: peer.connections,
        seconds: u64::try_from(Timestamp::now().duration_since(peer.last).as_secs()).unwrap_or(0),
        reason: peer.reason,
    });
    ListenerStanding {
        name: state.name,
        address: state.address,
        connections: state.connections,
        connections_refused: state.connections_refused,
        turned_away: turned_away.collect(),
    }
}

async fn waiting(State(admin): State<Admin>, Path(seq): Path<Seq>) -> Result<Json<Waiting>, Failure> {
    let why = admin.control.why(seq).await.ok_or_else(stopped)?;
    Ok(Json(Waiting { journal: admin.name.to_string(), why: words(&why) }))
}

async fn order(
    State(admin): State<Admin>,
    axum::Extension(CallerName(name)): axum::Extension<CallerName>,
    Json(order): Json<Order>,
) -> Result<Json<Decided>, Failure> {
    admin.is_meant(&order.journal)?;
    let act = Act {
        at: Timestamp::now(),
        who: person(name, order.who),
        command: operator::command(order.decision, order.budget),
        selection: order.selection,
        reason: order.reason,
        messages: order.seqs.len() as u64,
    };
    let command = order.decision.as_str();
    let rules = admin.control.rules();
    match operator::decide(&admin.journal, Some(&admin.control), rules, order.decision, act, order.seqs).await {
        Ok(decided) => {
            tracing::info!(act = decided.act, command, messages = decided.done, "a person worked on the queue");
            Ok(Json(decided))
        }
        Err(error) => Err(Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

async fn delivery(
    State(admin): State<Admin>,
    axum::Extension(CallerName(name)): axum::Extension<CallerName>,
    Json(pause): Json<Pause>,
) -> Result<Json<Kept>, Failure> {
    admin.is_meant(&pause.journal)?;
    let who = person(name, pause.who);
    let done = operator::pause(&admin.journal, Some(&admin.control), pause.pause, who, pause.reason).await;
    done.map(|act| Json(Kept { act })).map_err(|error| Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

async fn damage(
    State(admin): State<Admin>,
    axum::Extension(CallerName(name)): axum::Extension<CallerName>,
    Json(seen): Json<Acknowledge>,
) -> Result<Json<Kept>, Failure> {
    admin.is_meant(&seen.journal)?;
    let done = operator::acknowledge(&admin.journal, person(name, seen.who), seen.reason).await;
    done.map(|act| Json(Kept { act })).map_err(|error| Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

/// By the name of the token first, which cannot be made up.
fn person(known: Option<String>, said: String) -> String {
    match known {
        Some(name) => format!("{name} ({said})"),
        None => said,
    }
}

fn stopped() -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping".to_owned())
}

fn words(why: &WaitReason) -> String {
    match why {
        WaitReason::UnderWay => "it is being delivered now".to_owned(),
        WaitReason::Behind(before) => {
            let before: Vec<String> = before.iter().map(ToString::to_string).collect();
            format!("it stands behind {} of the same patient or visit", before.join(", "))
        }
        WaitReason::HeldBy(letters) => {
            let letters: Vec<String> = letters.iter().map(ToString::to_string).collect();
            format!("dead letters of the same patient or visit hold it: {}; retry or discard them", letters.join(", "))
        }
        WaitReason::GivenUp => "it is dead and holds the later messages of its patient: retry or discard it".to_owned(),
        WaitReason::PutOff { after } => format!("it is tried again in {} s", after.as_secs()),
        WaitReason::Paused => "a person has paused deliveries".to_owned(),
        WaitReason::Outage(outage) if outage.held => format!("the destination is held: {}", outage.reason),
        WaitReason::Outage(outage) => format!("the destination is down: {}", outage.reason),
        WaitReason::Next => "it is next, as soon as there is a place".to_owned(),
        WaitReason::NotQueued => "the queue does not know it: done, or not yet read from the journal".to_owned(),
    }
}
