//! Who may do what: each request needs the scopes of what it reads or does.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::failure::Failure;
use super::query::pairs;
use crate::http::auth::scope::Need;
use crate::http::auth::{Caller, Denied};
use crate::http::inside::Inside;
use crate::mailbox::Mailbox;

pub(super) async fn admit(State(mailbox): State<Mailbox>, request: Request, next: Next) -> Response {
    // What the mailbox can do is no secret, and clients read it before they have a token (SMART, FHIR R4 http 3.1.0.4).
    let own = request.extensions().get::<Inside>().is_some();
    if own || !mailbox.guard.is_on() || request.uri().path() == "/metadata" {
        return next.run(request).await;
    }
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let allowed = mailbox.guard.caller(header, Timestamp::now()).and_then(|caller| check(&caller, &request));
    match allowed {
        Ok(()) => next.run(request).await,
        Err(denied) => turn_away(&denied),
    }
}

fn check(caller: &Caller, request: &Request) -> Result<(), Denied> {
    let query = pairs(request.uri().query());
    let path = request.uri().path();
    for need in needs(request.method(), path, &query) {
        caller.may(&need)?;
    }
    let retrieves = request.method() != Method::POST || path.ends_with("/_search");
    if retrieves && (path == "/Bundle" || path.starts_with("/Bundle/")) {
        let destination = query.iter().find(|(name, _)| name.ends_with("destination-uri"));
        caller.may_retrieve(destination.map(|(_, uri)| uri.as_str()))?;
    }
    Ok(())
}

/// What the request does. Resources that come along (`_include`) are read too.
fn needs(method: &Method, path: &str, query: &[(String, String)]) -> Vec<Need> {
    match (method, path) {
        (&Method::POST, "/$process-message") => return vec![Need::ProcessMessage],
        (&Method::POST, "/Bundle") => return vec![Need::Publish],
        _ => {}
    }
    let kind = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let mut needs = vec![Need::Read(kind.to_owned())];
    for (name, value) in query {
        match name.as_str() {
            "_include" => needs.push(Need::Read("Patient".to_owned())),
            "_revinclude" => needs.push(Need::Read(value.split(':').next().unwrap_or_default().to_owned())),
            _ => {}
        }
    }
    needs
}

fn turn_away(denied: &Denied) -> Response {
    let (status, code, challenge) = match denied {
        Denied::NoToken => (401, "login", "Bearer realm=\"stoker\""),
        Denied::BadToken(_) => (401, "login", "Bearer realm=\"stoker\", error=\"invalid_token\""),
        Denied::Scope(_) | Denied::Destination => (403, "forbidden", "Bearer error=\"insufficient_scope\""),
    };
    let mut response = Failure::new(status, code, denied.to_string()).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_the_scopes_of_all_that_it_reads() {
        let query = [
            ("_include".to_owned(), "Encounter:patient".to_owned()),
            ("_revinclude".to_owned(), "Condition:encounter".to_owned()),
        ];
        let read = |kind: &str| Need::Read(kind.into());
        assert_eq!(needs(&Method::GET, "/Encounter", &query), [read("Encounter"), read("Patient"), read("Condition")]);
        assert_eq!(needs(&Method::POST, "/Encounter/_search", &query[..1]), [read("Encounter"), read("Patient")]);
        assert_eq!(needs(&Method::GET, "/Patient/1/_history/2", &[]), [read("Patient")]);
        assert_eq!(needs(&Method::POST, "/$process-message", &[]), [Need::ProcessMessage]);
        assert_eq!(needs(&Method::POST, "/Bundle", &[]), [Need::Publish]);
    }
}
