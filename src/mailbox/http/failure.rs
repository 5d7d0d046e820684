//! Everything that goes wrong, as an HTTP status and an OperationOutcome.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::auth::Denied;
use crate::log_throttle::{LogThrottle, throttled};
use crate::mailbox::canonical;
use crate::mailbox::outcome::{Issue, operation_outcome};
use crate::mailbox::search::params::BadSearch;
use crate::mailbox::store::model::StoreError;

pub(super) const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

static FAILED: LogThrottle = LogThrottle::minutely();

#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    issues: Vec<Issue>,
    /// What is asked for (RFC 6750), of whoever may not come in as he is.
    challenge: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(status: u16, code: &'static str, text: impl Into<String>) -> Self {
        Self::of(status, vec![Issue::error(code, text)])
    }

    /// Whether it is no fault of whoever asked.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    pub(super) fn of(status: u16, issues: Vec<Issue>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, issues, challenge: None }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Closed | StoreError::Gone(_) => {
                Self::new(503, "transient", error.to_string())
            }
            StoreError::Denied(denied) => denied.into(),
            StoreError::TooCostly => Self::new(422, "too-costly", error.to_string()),
            StoreError::Database(_) | StoreError::Damaged(_) => {
                throttled!(error, FAILED, %error, "a request to the mailbox failed");
                Self::new(500, "exception", error.to_string())
            }
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let (status, code, challenge) = match denied {
            Denied::NoToken => (401, "login", "Bearer realm=\"stoker\""),
            Denied::BadToken(_) => (401, "login", "Bearer realm=\"stoker\", error=\"invalid_token\""),
            Denied::Scope(_) | Denied::Destination | Denied::Bound(_) | Denied::Source => {
                (403, "forbidden", "Bearer error=\"insufficient_scope\"")
            }
        };
        Self { challenge: Some(challenge), ..Self::new(status, code, denied.to_string()) }
    }
}

impl From<BadSearch> for Failure {
    fn from(error: BadSearch) -> Self {
        let code = match error {
            BadSearch::Unknown { .. } => "not-supported",
            BadSearch::TooMany => "too-costly",
            BadSearch::Value { .. } | BadSearch::Twice(_) => "value",
        };
        Self::new(400, code, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = canonical::text(&operation_outcome(&self.issues));
        let mut response = (self.status, [(header::CONTENT_TYPE, FHIR_JSON)], body).into_response();
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
