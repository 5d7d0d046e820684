//! Everything that goes wrong, as an HTTP status and an OperationOutcome.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

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
}

impl Failure {
    pub(super) fn new(status: u16, code: &'static str, text: impl Into<String>) -> Self {
        Self::of(status, vec![Issue::error(code, text)])
    }

    pub(super) fn of(status: u16, issues: Vec<Issue>) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), issues }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Closed => Self::new(503, "transient", error.to_string()),
            StoreError::Database(_) | StoreError::Damaged(_) => {
                throttled!(error, FAILED, %error, "a request to the mailbox failed");
                Self::new(500, "exception", error.to_string())
            }
        }
    }
}

impl From<BadSearch> for Failure {
    fn from(error: BadSearch) -> Self {
        let code = match error {
            BadSearch::Unknown { .. } => "not-supported",
            BadSearch::Value { .. } => "value",
        };
        Self::new(400, code, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = canonical::text(&operation_outcome(&self.issues));
        let mut response = (self.status, [(header::CONTENT_TYPE, FHIR_JSON)], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
