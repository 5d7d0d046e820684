//! `POST [type]/_search`: a search whose parameters come as a form, which keeps them out of the logs of proxies.
//!
//! The form is put into the request's own query before anything else looks at it, so that what is asked for, and what a
//! token must allow, is decided in one place.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;

/// Far more than any search needs.
const LARGEST: usize = 64 << 10;

pub(super) async fn as_query(request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !request.uri().path().ends_with("/_search") {
        return next.run(request).await;
    }
    match merged(request).await {
        Ok(request) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

async fn merged(request: Request) -> Result<Request, Failure> {
    let (mut head, body) = request.into_parts();
    let kind = head.headers.remove(header::CONTENT_TYPE);
    let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_form = kind.split(';').next().is_some_and(|name| name.trim() == "application/x-www-form-urlencoded");
    if !is_form && !kind.is_empty() {
        let text = "a search is sent as application/x-www-form-urlencoded";
        return Err(Failure::new(415, "not-supported", text));
    }
    let form = to_bytes(body, LARGEST).await.map_err(|_| Failure::new(413, "too-long", "the form is too large"))?;
    let form = std::str::from_utf8(&form).unwrap_or_default().trim();
    let given = head.uri.query().unwrap_or_default();
    let query = [given, form].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
    let whole = format!("{}?{query}", head.uri.path());
    head.uri = Uri::try_from(whole)
        .map_err(|_| Failure::new(400, "structure", "the form is not application/x-www-form-urlencoded"))?;
    Ok(Request::from_parts(head, Body::empty()))
}
