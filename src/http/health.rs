//! `/health/live` and `/health/ready`, for those who watch a process: load balancers, container platforms, monitoring.
//!
//! Live: the process answers at all; where it does not, a restart may help. Ready: it would do what it is there for at this
//! moment, 200, or it would not, 503, with the reasons. What a person should look at although it goes on stands among
//! the warnings and changes no status. `/health` is `/health/ready` by its older name. Open to everybody, so no text here
//! says anything of a message.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

/// Who does not answer within this time is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a process would do its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why not. Empty: it would.
    pub reasons: Vec<HealthReason>,
    /// What to look at although it goes on.
    pub warnings: Vec<HealthReason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReason {
    /// `journal`, `disk`, `listener`, `destination`, ...
    pub what: &'static str,
    pub why: String,
}

impl HealthReason {
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let (status, word) = match self.reasons.is_empty() {
            true => (StatusCode::OK, "ready"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        };
        let body = json!({"status": word, "reasons": self.reasons, "warnings": self.warnings});
        (status, Json(body)).into_response()
    }
}

/// The routes; `ask` is asked each time.
pub fn routes<F>(ask: impl Fn() -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Readiness> + Send + 'static,
{
    let ready = move || {
        let asked = ask();
        async move {
            tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
                let why = format!("the process did not say how it is within {PATIENCE:?}");
                Readiness { reasons: vec![HealthReason::new("process", why)], ..Readiness::default() }
            })
        }
    };
    Router::new()
        .route("/health/live", get(|| async { Json(json!({"status": "live"})) }))
        .route("/health/ready", get(ready.clone()))
        .route("/health", get(ready))
}
