//! The mailbox over HTTP: routes, negotiation, and every error as an OperationOutcome.
//!
//! In come requests; out go FHIR resources, message Bundles and pages of both. It promises that every refusal says in words what
//! would be taken, and that what changes something is answered when it is on disk. It refuses callers whom [`guard`] does not
//! know, and parameters that it does not know. In the order of a request:
//!
//! - [`origin`], [`guard`], [`negotiate`]: from where, who asks, and in which form
//! - [`query`], [`form`]: what the URL, or a form, says; [`body`]: what is sent, and how much of it is in memory
//! - [`messages`]: `$process-message` and publishing; [`log`]: what receivers poll
//! - [`resources`], [`persons`]: reading, searching, PIXm; [`bundle`]: pages; [`metadata`]: the CapabilityStatement
//! - [`failure`]: errors as OperationOutcomes

mod body;
mod bundle;
mod failure;
mod form;
mod guard;
mod log;
mod messages;
mod metadata;
mod negotiate;
mod origin;
mod persons;
mod query;
mod resources;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use percent_encoding::percent_decode_str;
use tower_http::compression::CompressionLayer;

use super::Mailbox;
use crate::http::hosts::Hosts;
use failure::Failure;

/// What each route is, relative to the base. The CapabilityStatement is held against this list by a test.
pub const ROUTES: [(&str, &str); 15] = [
    ("GET", "/metadata"),
    ("POST", "/$process-message"),
    ("POST", "/Bundle"),
    ("GET", "/Bundle"),
    ("POST", "/Bundle/_search"),
    ("GET", "/Bundle/{id}"),
    ("GET", "/Patient/$ihe-pix"),
    ("GET", "/Provenance"),
    ("POST", "/Provenance/_search"),
    ("GET", "/Provenance/{id}"),
    ("GET", "/{type}"),
    ("POST", "/{type}/_search"),
    ("GET", "/{type}/{id}"),
    ("GET", "/{type}/{id}/_history"),
    ("GET", "/{type}/{id}/_history/{version}"),
];

pub(super) fn router(mailbox: &Mailbox, hosts: Hosts) -> Router {
    Router::new()
        .route("/metadata", get(metadata::statement))
        .route("/$process-message", post(messages::process))
        .route("/Bundle", get(log::search).post(messages::publish))
        .route("/Bundle/_search", post(log::search))
        .route("/Bundle/{id}", get(log::read))
        .route("/Patient/$ihe-pix", get(persons::cross_reference))
        .route("/Provenance", get(persons::provenances))
        .route("/Provenance/_search", post(persons::provenances))
        .route("/Provenance/{id}", get(persons::provenance))
        .route("/{type}", get(resources::search))
        .route("/{type}/_search", post(resources::search))
        .route("/{type}/{id}", get(resources::read))
        .route("/{type}/{id}/_history", get(resources::history))
        .route("/{type}/{id}/_history/{version}", get(resources::vread))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(axum::middleware::from_fn_with_state(mailbox.clone(), guard::admit))
        .layer(axum::middleware::from_fn(negotiate::json_only))
        .layer(axum::middleware::from_fn(form::as_query))
        .layer(axum::middleware::from_fn(readable_path))
        .layer(axum::middleware::from_fn_with_state((mailbox.clone(), hosts), origin::known))
        .layer(CompressionLayer::new().gzip(true))
        .layer(axum::middleware::from_fn(body::drained))
        .with_state(mailbox.clone())
}

/// Refuses, in words, a path whose escapes are no text: none of the routes could read it.
async fn readable_path(request: Request, next: Next) -> Response {
    if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        return Failure::new(400, "value", "the path is not UTF-8 when its percent signs are decoded").into_response();
    }
    next.run(request).await
}

async fn no_route(uri: Uri) -> Failure {
    Failure::new(404, "not-found", format!("the mailbox has nothing at {}; see metadata", uri.path()))
}

async fn no_method() -> Failure {
    Failure::new(405, "not-supported", "this can only be read; resources are changed by messages to $process-message")
}

impl Mailbox {
    /// The base URL as the client knows it.
    fn base(&self, headers: &HeaderMap) -> String {
        if let Some(base) = &self.config.base {
            return base.trim_end_matches('/').to_owned();
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/fhir", host.unwrap_or("localhost"))
    }
}
