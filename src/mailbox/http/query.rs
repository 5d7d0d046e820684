//! The query part of a URL, read and written.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The query's parameters, decoded.
pub(super) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// The search as a URL: the parameters that were used, with `cursor` for a next page.
pub(super) fn url(here: &str, given: &[(String, String)], cursor: Option<&str>) -> String {
    let dropped: &[&str] = if cursor.is_some() { &["_cursor", "_offset"] } else { &[] };
    with(here, given, dropped, cursor.map(|cursor| format!("_cursor={cursor}")))
}

/// The same for a log, whose pages are told by their offset.
pub(super) fn url_at(here: &str, given: &[(String, String)], offset: Option<usize>) -> String {
    with(here, given, &["_offset", "_wait"], offset.map(|offset| format!("_offset={offset}")))
}

/// What the names of parameters that are known are made of. Others have come as far as this: those that are read for their
/// `_format` alone.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b':');

/// Blanks go out as `%20` and not as a form's `+`: the links are compared and kept by those who have them.
fn with(here: &str, given: &[(String, String)], dropped: &[&str], added: Option<String>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut parts: Vec<String> = given
        .iter()
        .filter(|(name, value)| !value.is_empty() && !dropped.contains(&name.as_str()))
        .map(|(name, value)| format!("{}={}", utf8_percent_encode(name, NAME), encode(value)))
        .collect();
    parts.extend(added);
    if parts.is_empty() { here.to_owned() } else { format!("{here}?{}", parts.join("&")) }
}
