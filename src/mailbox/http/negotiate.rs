//! JSON only: who asks for XML, or sends it, is told so.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::failure::Failure;

pub(super) async fn json_only(request: Request, next: Next) -> Response {
    let format = request.uri().query().and_then(format_parameter);
    if !format.map_or_else(|| accepts_json(request.headers()), |format| is_json(&format)) {
        return Failure::new(406, "not-supported", "the mailbox writes JSON only: ask for application/fhir+json")
            .into_response();
    }
    let sent = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if request.method() == axum::http::Method::POST && !sent.is_none_or(is_json) {
        return Failure::new(415, "not-supported", "the mailbox reads JSON only: send application/fhir+json")
            .into_response();
    }
    if request.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Failure::new(415, "not-supported", "the mailbox reads bodies as they are: send no Content-Encoding")
            .into_response();
    }
    next.run(request).await
}

/// `_format` overrides Accept (FHIR R4 http 3.1.0.1.11). Not read as a form: in `application/fhir+json` the plus is one.
fn format_parameter(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("_format="))?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let mut asked = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    asked.peek().is_none() || asked.flat_map(|value| value.split(',')).any(is_json)
}

fn is_json(media_type: &str) -> bool {
    let name = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // A plus sign in a URL's query often arrives as a space.
    matches!(
        name.as_str(),
        "application/fhir+json"
            | "application/fhir json"
            | "application/json"
            | "text/json"
            | "json"
            | "*/*"
            | "application/*"
    )
}
