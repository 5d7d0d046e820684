//! Reading and searching resources.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::{FHIR_JSON, Failure};
use crate::mailbox::Mailbox;
use crate::mailbox::canonical::{instant, write_resource};
use crate::mailbox::kind::Kind;
use crate::mailbox::search::params::{self, MAX_COUNT};
use crate::mailbox::store::{Page, Version};

fn kind(name: &str) -> Result<Kind, Failure> {
    Kind::from_name(name)
        .ok_or_else(|| Failure::new(404, "not-supported", format!("the mailbox holds no resources of type '{name}'")))
}

pub(super) async fn read(
    State(mailbox): State<Mailbox>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = kind(&name)?;
    let found = mailbox.read(move |reader| reader.current(kind, &id)).await?;
    one(&mailbox, &headers, kind, found)
}

pub(super) async fn vread(
    State(mailbox): State<Mailbox>,
    Path((name, id, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = kind(&name)?;
    let number: i64 = version.parse().unwrap_or(0);
    let found = mailbox.read(move |reader| reader.version(kind, &id, number)).await?;
    one(&mailbox, &headers, kind, found)
}

/// One version with its ETag; 304 when the client has it; 410 when it says that the resource was removed.
fn one(mailbox: &Mailbox, headers: &HeaderMap, kind: Kind, found: Option<Version>) -> Result<Response, Failure> {
    let found = found.ok_or_else(|| Failure::new(404, "not-found", format!("no such {}", kind.name())))?;
    if found.removed {
        return Err(Failure::new(410, "deleted", "this was removed; its _history has what it was"));
    }
    let etag = format!("W/\"{}\"", found.version);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*")) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let location = format!("{}/{}/{}/_history/{}", mailbox.base(headers), kind.name(), found.id, found.version);
    let modified = found.updated.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut body = String::new();
    append(&mut body, &found);
    let head = [
        (header::CONTENT_TYPE, FHIR_JSON.to_owned()),
        (header::ETAG, etag),
        (header::LAST_MODIFIED, modified),
        (header::CONTENT_LOCATION, location),
    ];
    Ok((head, body).into_response())
}

pub(super) async fn history(
    State(mailbox): State<Mailbox>,
    Path((name, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = kind(&name)?;
    let (mut count, mut below) = (params::DEFAULT_COUNT, i64::MAX);
    for (name, value) in pairs(query.as_deref()) {
        let bad =
            || Failure::new(400, "value", format!("'{name}' is not usable here: _count and _before take numbers"));
        match name.as_str() {
            "_count" => count = value.parse::<usize>().map_err(|_| bad())?.clamp(1, MAX_COUNT),
            "_before" => below = value.parse().map_err(|_| bad())?,
            "_format" | "_pretty" => {}
            _ => return Err(bad()),
        }
    }
    let asked = id.clone();
    let mut found = mailbox.read(move |reader| reader.history(kind, &asked, below, count + 1)).await?;
    if found.is_empty() && below == i64::MAX {
        return Err(Failure::new(404, "not-found", format!("no such {}", kind.name())));
    }
    let base = mailbox.base(&headers);
    let here = format!("{base}/{}/{id}/_history?_count={count}", kind.name());
    let mut bundle = BundleWriter::start("history", None);
    bundle.link("self", &here);
    if found.len() > count {
        found.truncate(count);
        bundle.link("next", &format!("{here}&_before={}", found[count - 1].version));
    }
    found.iter().for_each(|version| bundle.past(&base, version));
    Ok(bundle.finish())
}

pub(super) async fn search(
    State(mailbox): State<Mailbox>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let given = pairs(raw.as_deref());
    let wanted = params::parse(kind(&name)?, &given)?;
    let base = mailbox.base(&headers);
    let here = format!("{base}/{name}");
    if wanted.count_only {
        let query = wanted.query;
        let total = mailbox.read(move |reader| reader.count(&query)).await?;
        let mut bundle = BundleWriter::start("searchset", Some(total));
        bundle.link("self", &url(&here, &given, None));
        return Ok(bundle.finish());
    }
    let (count, first) = (wanted.query.count, wanted.query.after.is_none() && wanted.query.offset == 0);
    let (page, included) = mailbox.read(move |reader| with_included(reader, &wanted)).await?;
    let total = (page.next.is_none() && first && count > 0).then_some(page.found.len() as i64);
    let mut bundle = BundleWriter::start("searchset", total);
    bundle.link("self", &url(&here, &given, None));
    if let Some(next) = page.next {
        bundle.link("next", &url(&here, &given, Some(&format!("{}.{}", next.key, next.pk))));
    }
    page.found.iter().for_each(|(_, found)| bundle.found(&base, found, "match"));
    included.iter().for_each(|found| bundle.found(&base, found, "include"));
    Ok(bundle.finish())
}

/// A page and what `_include` and `_revinclude` add to it.
fn with_included(
    reader: &mut dyn crate::mailbox::store::Reader,
    wanted: &params::Search,
) -> Result<(Page, Vec<Version>), crate::mailbox::store::StoreError> {
    let page = reader.search(&wanted.query)?;
    let mut included = Vec::new();
    let numbers: Vec<_> = page.found.iter().map(|(pk, _)| *pk).collect();
    if wanted.include_patient {
        included.extend(reader.patients_of(&numbers)?);
    }
    for &kind in &wanted.revinclude {
        included.extend(reader.about_visits(kind, &numbers)?);
    }
    Ok((page, included))
}

/// The query's parameters, decoded.
fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    query.unwrap_or_default().split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// The search as a URL: the parameters that were used, with `cursor` for a next page.
fn url(here: &str, given: &[(String, String)], cursor: Option<&str>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let dropped: &[&str] = if cursor.is_some() { &["_cursor", "_offset"] } else { &[] };
    let mut parts: Vec<String> = given
        .iter()
        .filter(|(name, _)| !dropped.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    parts.extend(cursor.map(|cursor| format!("_cursor={cursor}")));
    if parts.is_empty() { here.to_owned() } else { format!("{here}?{}", parts.join("&")) }
}

fn append(out: &mut String, version: &Version) {
    write_resource(out, version.kind, &version.id, version.version, version.updated, &version.tail);
}

/// A searchset or history Bundle, written as text: the resources are stored as text and are only copied.
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
        self.links.push(format!(r#"{{"relation":"{relation}","url":{}}}"#, serde_json::Value::from(url)));
    }

    pub(super) fn found(&mut self, base: &str, version: &Version, mode: &str) {
        let mut entry = self.entry(base, version);
        entry.push_str(r#","resource":"#);
        append(&mut entry, version);
        entry.push_str(&format!(r#","search":{{"mode":"{mode}"}}}}"#));
        self.entries.push(entry);
    }

    fn past(&mut self, base: &str, version: &Version) {
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

    fn entry(&self, base: &str, version: &Version) -> String {
        let url = format!("{base}/{}/{}", version.kind.name(), version.id);
        format!(r#"{{"fullUrl":{}"#, serde_json::Value::from(url))
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
