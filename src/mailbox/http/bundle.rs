//! Searchset and history Bundles, written as text: resources are stored as text and are only copied.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::failure::FHIR_JSON;
use crate::mailbox::canonical::{self, instant, write_resource};
use crate::mailbox::store::Version;

/// Appends a version as a resource.
pub(super) fn append(out: &mut String, version: &Version) {
    write_resource(out, version.kind, &version.id, version.version, version.updated, &version.tail);
}

/// A searchset or history Bundle in the making.
pub(super) struct BundleWriter {
    head: String,
    links: Vec<String>,
    entries: Vec<String>,
}

impl BundleWriter {
    pub(super) fn start(kind: &str, total: Option<i64>) -> Self {
        let id = uuid::Uuid::new_v4();
        let at = instant(jiff::Timestamp::now());
        let total = total.map(|total| format!(",\"total\":{total}")).unwrap_or_default();
        let head =
            format!(r#"{{"resourceType":"Bundle","id":"{id}","meta":{{"lastUpdated":"{at}"}},"type":"{kind}"{total}"#);
        Self { head, links: Vec::new(), entries: Vec::new() }
    }

    pub(super) fn link(&mut self, relation: &str, url: &str) {
        self.links.push(format!(r#"{{"relation":"{relation}","url":{}}}"#, Value::from(url)));
    }

    pub(super) fn found(&mut self, base: &str, version: &Version, mode: &str) {
        let mut entry = self.entry(base, version);
        entry.push_str(r#","resource":"#);
        append(&mut entry, version);
        entry.push_str(&format!(r#","search":{{"mode":"{mode}"}}}}"#));
        self.entries.push(entry);
    }

    /// A message as it is kept, byte for byte.
    pub(super) fn message(&mut self, url: &str, body: &str) {
        let url = Value::from(url);
        self.entries.push(format!(r#"{{"fullUrl":{url},"resource":{body},"search":{{"mode":"match"}}}}"#));
    }

    pub(super) fn past(&mut self, base: &str, version: &Version) {
        let mut entry = self.entry(base, version);
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
        self.entries.push(entry);
    }

    /// A resource that is made for this answer and stored nowhere.
    pub(super) fn made(&mut self, base: &str, resource: &Value) {
        let (name, id) = (&resource["resourceType"], &resource["id"]);
        let url = format!("{base}/{}/{}", name.as_str().unwrap_or_default(), id.as_str().unwrap_or_default());
        let (url, text) = (Value::from(url), canonical::text(resource));
        self.entries.push(format!(r#"{{"fullUrl":{url},"resource":{text},"search":{{"mode":"match"}}}}"#));
    }

    fn entry(&self, base: &str, version: &Version) -> String {
        let url = format!("{base}/{}/{}", version.kind.name(), version.id);
        format!(r#"{{"fullUrl":{}"#, Value::from(url))
    }

    pub(super) fn finish(self) -> Response {
        let mut body = self.head;
        for (name, items) in [("link", &self.links), ("entry", &self.entries)] {
            if !items.is_empty() {
                body.push_str(&format!(r#","{name}":[{}]"#, items.join(",")));
            }
        }
        body.push('}');
        ([(header::CONTENT_TYPE, FHIR_JSON)], body).into_response()
    }
}
