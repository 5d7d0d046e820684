//! Reading and searching resources.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::Pieces;
use super::bundle::{self, BundleWriter};
use super::failure::{FHIR_JSON, Failure};
use super::query::{Params, url};
use crate::fhir::ids::is_id;
use crate::http::auth::Caller;
use crate::mailbox::Mailbox;
use crate::mailbox::resource_type::ResourceType;
use crate::mailbox::search::params::{self, MAX_COUNT};
use crate::mailbox::store::{PAGE_BYTES, ResourcePage, Version};

fn kind(name: &str) -> Result<ResourceType, Failure> {
    ResourceType::from_name(name)
        .ok_or_else(|| Failure::new(404, "not-supported", format!("the mailbox holds no resources of type '{name}'")))
}

pub(super) async fn read(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = kind(&name)?;
    let found = mailbox.read(&caller, move |reader| reader.current(kind, &id)).await?;
    one(&mailbox, &headers, kind, found).await
}

pub(super) async fn vread(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    Path((name, id, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = kind(&name)?;
    let number: i64 = version.parse().unwrap_or(0);
    let found = mailbox.read(&caller, move |reader| reader.version(kind, &id, number)).await?;
    one(&mailbox, &headers, kind, found).await
}

/// One version with its ETag; 304 when the client has it; 410 when it says that the resource was removed.
async fn one(
    mailbox: &Mailbox,
    headers: &HeaderMap,
    kind: ResourceType,
    found: Option<Version>,
) -> Result<Response, Failure> {
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
    bundle::append(&mut body, &found);
    let body = Pieces::body(&mailbox.budget, vec![body]).await?;
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
    Extension(caller): Extension<Caller>,
    Path((name, id)): Path<(String, String)>,
    given: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let kind = kind(&name)?;
    let (mut count, mut below) = (params::DEFAULT_COUNT, i64::MAX);
    for (name, value) in given.once(&[])? {
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
    let _turn = mailbox.budget.page().await?;
    let (found, more) = mailbox.read(&caller, move |reader| reader.history(kind, &asked, below, count)).await?;
    // What is no id goes into no link.
    if found.is_empty() && (below == i64::MAX || !is_id(&id)) {
        return Err(Failure::new(404, "not-found", format!("no such {}", kind.name())));
    }
    let base = mailbox.base(&headers);
    let here = format!("{base}/{}/{id}/_history?_count={count}", kind.name());
    let mut bundle = BundleWriter::start("history", None);
    bundle.link("self", &here);
    if let Some(last) = found.last().filter(|_| more) {
        bundle.link("next", &format!("{here}&_before={}", last.version));
    }
    found.iter().for_each(|version| bundle.past(&base, version));
    bundle.finish(&mailbox.budget).await
}

pub(super) async fn search(
    State(mailbox): State<Mailbox>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    given: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let wanted = params::parse(kind(&name)?, given.all())?;
    let base = mailbox.base(&headers);
    let here = format!("{base}/{name}");
    if wanted.count_only {
        let query = wanted.query;
        let total = mailbox.read(&caller, move |reader| reader.count(&query)).await?;
        let mut bundle = BundleWriter::start("searchset", Some(total));
        bundle.link("self", &url(&here, &given, None));
        return bundle.finish(&mailbox.budget).await;
    }
    let (count, first) = (wanted.query.count, wanted.query.after.is_none() && wanted.query.offset == 0);
    let _turn = mailbox.budget.page().await?;
    let (page, included, counted) = mailbox.read(&caller, move |reader| with_included(reader, &wanted)).await?;
    let total = counted.or_else(|| (page.next.is_none() && first && count > 0).then_some(page.found.len() as i64));
    let mut bundle = BundleWriter::start("searchset", total);
    bundle.link("self", &url(&here, &given, None));
    if let Some(next) = page.next {
        bundle.link("next", &url(&here, &given, Some(&format!("{}.{}", next.key, next.pk))));
    }
    page.found.iter().for_each(|(_, found)| bundle.found(&base, found, "match"));
    included.iter().for_each(|found| bundle.found(&base, found, "include"));
    bundle.finish(&mailbox.budget).await
}

/// A page, what `_include` and `_revinclude` add to it, and how many match altogether where that was asked for.
fn with_included(
    reader: &mut dyn crate::mailbox::store::Reader,
    wanted: &params::Search,
) -> Result<(ResourcePage, Vec<Version>, Option<i64>), crate::mailbox::store::model::StoreError> {
    let mut page = reader.search(&wanted.query)?;
    let (mut about, mut bytes) = (Vec::new(), 0);
    for (n, (at, _)) in page.found.iter().enumerate() {
        let before = about.len();
        for &kind in &wanted.revinclude {
            about.extend(reader.about_visits(kind, &[at.pk])?);
        }
        bytes += about[before..].iter().map(|version| version.tail.len()).sum::<usize>();
        if bytes >= PAGE_BYTES && n + 1 < page.found.len() {
            // The page ends here, for what comes with it.
            page.next = Some(*at);
            page.found.truncate(n + 1);
            break;
        }
    }
    let mut included = Vec::new();
    if wanted.include_patient {
        let numbers: Vec<_> = page.found.iter().map(|(at, _)| at.pk).collect();
        included.extend(reader.patients_of(&numbers)?);
    }
    included.append(&mut about);
    let total = wanted.total.then(|| reader.count(&wanted.query)).transpose()?;
    Ok((page, included, total))
}
