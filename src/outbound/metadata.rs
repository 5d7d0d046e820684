//! What `GET [base]/metadata` says about the destination (FHIR R4 http 3.1.0.3): whether a FHIR server stands there.
//!
//! The request holds nothing of any patient, and so neither does the answer: its title may be told to a person, which that
//! of an answer to a message may not. Only the beginning of an answer is looked at, because a CapabilityStatement can be
//! megabytes long and a page without end.

use std::time::Duration;

use reqwest::Url;

use super::answer::Media;

/// How long the answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are looked at.
pub const ENOUGH: usize = 64 << 10;

/// Longest title that is told, in characters.
const TITLE: usize = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// A FHIR CapabilityStatement.
    Fhir,
    /// Something else stands there. `said` is what was answered.
    NotFhir { said: String },
    /// It is not known: no answer, or one that says nothing about who stands there.
    Unknown { said: String },
}

/// Where a destination's CapabilityStatement is: beside `$process-message`.
#[must_use]
pub fn address(destination: &Url) -> Url {
    let mut url = destination.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().pop().push("metadata");
    }
    url
}

/// `head`: the first bytes of the body.
#[must_use]
pub fn judge(status: u16, media: Media, head: &[u8]) -> Metadata {
    let title = title(head).map(|title| format!(" \"{title}\"")).unwrap_or_default();
    let said = format!("HTTP {status}, {}{title}", media.words());
    match status {
        200 if is_statement(head) => Metadata::Fhir,
        401 | 403 | 407 | 408 | 425 | 429 | 500 | 502..=510 | 512.. => Metadata::Unknown { said },
        _ => Metadata::NotFhir { said },
    }
}

/// Said to be so at its beginning, as JSON or XML; it is not read any further.
fn is_statement(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    match head.first() {
        Some(b'{') => memchr::memmem::find_iter(head, b"\"resourceType\"").any(|at| {
            let rest = head[at + b"\"resourceType\"".len()..].trim_ascii_start();
            let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
            value.is_some_and(|value| value.starts_with(b"\"CapabilityStatement\""))
        }),
        Some(b'<') => memchr::memmem::find(head, b"<CapabilityStatement").is_some(),
        _ => false,
    }
}

/// What stands between `<title>` and the next tag, where it is plain text of reasonable length.
fn title(head: &[u8]) -> Option<String> {
    let at = head.windows(7).position(|tag| tag.eq_ignore_ascii_case(b"<title>"))? + 7;
    let text = head[at..].split(|&byte| byte == b'<').next()?.trim_ascii();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" .,:;!?'()/_-".contains(byte);
    let fits = !text.is_empty() && text.len() <= TITLE && text.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_statement_is_known_by_its_beginning_however_long_it_is() {
        for text in [
            r#"{"resourceType":"CapabilityStatement","rest":[{"#,
            "\u{FEFF}\n{ \"id\": \"x\",\n \"resourceType\" :\n \"CapabilityStatement\"",
            r#"<?xml version="1.0"?><CapabilityStatement xmlns="http://hl7.org/fhir">"#,
        ] {
            assert_eq!(judge(200, Media::Json, text.as_bytes()), Metadata::Fhir, "{text}");
        }
        for text in
            ["", "[]", r#"{"resourceType":"Bundle"}"#, "ok", "<html>a CapabilityStatement would stand here</html>"]
        {
            assert!(matches!(judge(200, Media::Json, text.as_bytes()), Metadata::NotFhir { .. }), "{text}");
        }
    }

    #[test]
    fn what_a_status_says_about_ourselves_or_the_moment_says_nothing_about_who_stands_there() {
        for status in [401, 403, 429, 500, 502, 503] {
            assert!(matches!(judge(status, Media::Html, b"<html>"), Metadata::Unknown { .. }), "{status}");
        }
        for status in [200, 204, 302, 404, 405, 410, 501, 511] {
            assert!(matches!(judge(status, Media::Html, b"<html>"), Metadata::NotFhir { .. }), "{status}");
        }
    }

    #[test]
    fn a_page_is_told_by_its_title_where_that_is_plain() {
        let said = |body: &str| match judge(404, Media::Html, body.as_bytes()) {
            Metadata::NotFhir { said } => said,
            other => panic!("{other:?}"),
        };
        assert_eq!(said("<html><TITLE> 404 Not Found\n</title>"), "HTTP 404, an HTML page \"404 Not Found\"");
        for text in ["<title></title>", "<title>\u{1b}[2J</title>", &format!("<title>{}", "x".repeat(61)), "no title"] {
            assert_eq!(said(text), "HTTP 404, an HTML page", "{text}");
        }
    }

    #[test]
    fn the_statement_is_asked_for_beside_the_operation() {
        for (destination, expected) in [
            ("http://h:1/fhir/$process-message", "http://h:1/fhir/metadata"),
            ("https://h/a/b/$process-message/?async=true#x", "https://h/a/b/metadata"),
            ("http://h/", "http://h/metadata"),
            ("http://h", "http://h/metadata"),
        ] {
            assert_eq!(address(&Url::parse(destination).unwrap()).as_str(), expected);
        }
    }
}
