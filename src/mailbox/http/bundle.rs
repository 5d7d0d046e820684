//! Searchset and history Bundles, written as text: resources are stored as text and are only copied.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body::Pieces;
use super::failure::{FHIR_JSON, Failure};
use crate::mailbox::budget::Budget;
use crate::mailbox::canonical::{self, instant, write_resource};
use crate::mailbox::store::Version;

/// Appends a version as a resource.
pub(super) fn append(out: &mut String, version: &Version) {
    write_resource(out, version.kind, &version.id, version.version, version.updated, &version.tail);
}

/// A searchset or history Bundle in the making. Links come before entries.
pub(super) struct BundleWriter {
    /// The text so far, in parts: a message is one of its own, and not copied.
    texts: Vec<String>,
    links: usize,
    entries: usize,
}

impl BundleWriter {
    pub(super) fn start(kind: &str, total: Option<i64>) -> Self {
        let id = uuid::Uuid::new_v4();
        let at = instant(jiff::Timestamp::now());
        let total = total.map(|total| format!(",\"total\":{total}")).unwrap_or_default();
        let head =
            format!(r#"{{"resourceType":"Bundle","id":"{id}","meta":{{"lastUpdated":"{at}"}},"type":"{kind}"{total}"#);
        Self { texts: vec![head], links: 0, entries: 0 }
    }

    pub(super) fn link(&mut self, relation: &str, url: &str) {
        let before = if self.links == 0 { r#","link":["# } else { "," };
        self.texts.push(format!(r#"{before}{{"relation":"{relation}","url":{}}}"#, Value::from(url)));
        self.links += 1;
    }

    pub(super) fn found(&mut self, base: &str, version: &Version, mode: &str) {
        let mut entry = self.entry(&url_of(base, version));
        entry.push_str(r#","resource":"#);
        append(&mut entry, version);
        entry.push_str(&format!(r#","search":{{"mode":"{mode}"}}}}"#));
        self.texts.push(entry);
    }

    /// A message as it is kept, byte for byte.
    pub(super) fn message(&mut self, url: &str, body: String) {
        let entry = self.entry(url) + r#","resource":"#;
        self.texts.extend([entry, body, MATCH.to_owned()]);
    }

    pub(super) fn past(&mut self, base: &str, version: &Version) {
        let mut entry = self.entry(&url_of(base, version));
        let name = version.kind.name();
        let (method, path, status) = match (version.removed, version.version) {
            (true, _) => ("DELETE", format!("{name}/{}", version.id), "204"),
            (false, 1) => ("POST", name.to_owned(), "201"),
            _ => ("PUT", format!("{name}/{}", version.id), "200"),
        };
        if !version.removed {
            entry.push_str(r#","resource":"#);
            append(&mut entry, version);
        }
        let (etag, at) = (version.version, instant(version.updated));
        entry.push_str(&format!(r#","request":{{"method":"{method}","url":"{path}"}}"#));
        entry
            .push_str(&format!(r#","response":{{"status":"{status}","etag":"W/\"{etag}\"","lastModified":"{at}"}}}}"#));
        self.texts.push(entry);
    }

    /// A resource that is made for this answer and stored nowhere.
    pub(super) fn made(&mut self, base: &str, resource: &Value) {
        let (name, id) = (&resource["resourceType"], &resource["id"]);
        let url = format!("{base}/{}/{}", name.as_str().unwrap_or_default(), id.as_str().unwrap_or_default());
        self.message(&url, canonical::text(resource));
    }

    /// Begins an entry.
    fn entry(&mut self, url: &str) -> String {
        let (links, before) = match (self.links, self.entries) {
            (0, 0) => ("", r#","entry":["#),
            (_, 0) => ("]", r#","entry":["#),
            _ => ("", ","),
        };
        self.entries += 1;
        format!(r#"{links}{before}{{"fullUrl":{}"#, Value::from(url))
    }

    /// # Errors
    /// A [`Failure`] when there is no room for it for a while.
    pub(super) async fn finish(mut self, budget: &Budget) -> Result<Response, Failure> {
        self.texts.push(if self.links + self.entries > 0 { "]}" } else { "}" }.to_owned());
        Ok(([(header::CONTENT_TYPE, FHIR_JSON)], Pieces::body(budget, self.texts).await?).into_response())
    }
}

const MATCH: &str = r#","search":{"mode":"match"}}"#;

fn url_of(base: &str, version: &Version) -> String {
    format!("{base}/{}/{}", version.kind.name(), version.id)
}
