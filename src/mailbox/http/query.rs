//! The query part of a URL, read once and written.

use std::collections::HashSet;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::Failure;

/// The query's parameters, decoded: the one reading of them that a request gets.
#[derive(Debug, Clone)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query()))
    }
}

impl Params {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    pub(super) fn all(&self) -> &[(String, String)] {
        &self.0
    }

    /// The parameters, of which each that is not in `many` stands there once at most: one that stands twice means one
    /// thing to whoever reads the first and another to whoever reads the last.
    ///
    /// # Errors
    /// A [`Failure`] that names the parameter.
    pub(super) fn once(&self, many: &[&str]) -> Result<&[(String, String)], Failure> {
        let mut seen = HashSet::new();
        for (name, _) in &self.0 {
            if !many.contains(&name.as_str()) && !seen.insert(name) {
                return Err(twice(name));
            }
        }
        Ok(&self.0)
    }
}

/// A parameter that has one value and was given two.
pub(super) fn twice(name: &str) -> Failure {
    Failure::new(
        400,
        "value",
        format!("the parameter '{name}' is given more than once, and has one value: give it once"),
    )
}

/// The search as a URL: the parameters that were used, with `cursor` for a next page.
pub(super) fn url(here: &str, given: &Params, cursor: Option<&str>) -> String {
    let dropped: &[&str] = if cursor.is_some() { &["_cursor", "_offset"] } else { &[] };
    with(here, given, dropped, cursor.map(|cursor| format!("_cursor={cursor}")))
}

/// The same for a log, whose pages are told by their offset.
pub(super) fn url_at(here: &str, given: &Params, offset: Option<usize>) -> String {
    with(here, given, &["_offset", "_wait"], offset.map(|offset| format!("_offset={offset}")))
}

/// What the names of parameters that are known are made of. Others have come as far as this: those that are read for their
/// `_format` alone.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b':');

/// Blanks go out as `%20` and not as a form's `+`: the links are compared and kept by those who have them.
fn with(here: &str, Params(given): &Params, dropped: &[&str], added: Option<String>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut parts: Vec<String> = given
        .iter()
        .filter(|(name, value)| !value.is_empty() && !dropped.contains(&name.as_str()))
        .map(|(name, value)| format!("{}={}", utf8_percent_encode(name, NAME), encode(value)))
        .collect();
    parts.extend(added);
    if parts.is_empty() { here.to_owned() } else { format!("{here}?{}", parts.join("&")) }
}
