//! One page of a destination's log, asked for over HTTP.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, Proxy, StatusCode, Url};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::tls;

/// Longer than the mailbox may wait for more.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A list of a mailbox.
pub struct MailboxList {
    client: Client,
    url: Url,
    token: Option<String>,
}

#[derive(Debug)]
pub struct MailboxPage {
    pub total: u64,
    /// Each on one line, otherwise as the mailbox has it.
    pub messages: Vec<String>,
}

/// Why there is no page.
#[derive(Debug)]
pub enum Failed {
    /// Asking again will not help.
    Refused(String),
    /// It may answer later.
    Away(String),
}

#[derive(Deserialize)]
struct Searchset {
    total: Option<u64>,
    #[serde(default)]
    entry: Vec<ListEntry>,
}

#[derive(Deserialize)]
struct ListEntry {
    resource: Box<RawValue>,
}

impl MailboxList {
    pub fn new(
        base: &str,
        destination: &str,
        event: Option<&str>,
        token: Option<&str>,
        proxy: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut client = tls::http_client().timeout(TIMEOUT);
        if let Some(proxy) = proxy {
            client = client.proxy(Proxy::all(proxy).with_context(|| format!("'{proxy}' is no proxy"))?);
        }
        let client = client.build().context("cannot make HTTP requests")?;
        let mut url = Url::parse(base).with_context(|| format!("'{base}' is no URL"))?;
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("'{base}' is no base URL"))?.pop_if_empty().push("Bundle");
        url.query_pairs_mut().append_pair("message.destination-uri", destination);
        if let Some(event) = event {
            url.query_pairs_mut().append_pair("event", event);
        }
        Ok(Self { client, url, token: token.map(str::to_owned) })
    }

    /// What is read, as the state file names it.
    pub fn list(&self) -> &str {
        self.url.as_str()
    }

    pub async fn page(&self, offset: u64, count: u32, wait: u64) -> Result<MailboxPage, Failed> {
        let mut url = self.url.clone();
        let number = |n: u64| n.to_string();
        url.query_pairs_mut()
            .append_pair("_offset", &number(offset))
            .append_pair("_count", &number(count.into()))
            .append_pair("_wait", &number(wait));
        let mut request = self.client.get(url).header("accept", "application/fhir+json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let away = |error: reqwest::Error| Failed::Away(error.without_url().to_string());
        let response = request.send().await.map_err(away)?;
        let status = response.status();
        let body = response.bytes().await.map_err(away)?;
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        let set: Searchset = serde_json::from_slice(&body)
            .map_err(|error| Failed::Refused(format!("the mailbox's answer is no searchset: {error}")))?;
        let messages: Vec<String> = set.entry.iter().map(|entry| one_line(entry.resource.get())).collect();
        Ok(MailboxPage { total: set.total.unwrap_or(offset + messages.len() as u64), messages })
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failed {
    let outcome: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let words = outcome["issue"][0]["diagnostics"].as_str().unwrap_or("it does not say why");
    let why = format!("the mailbox answered {status}: {words}");
    let later = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if later { Failed::Away(why) } else { Failed::Refused(why) }
}

/// JSON without the blanks between its parts.
fn one_line(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_becomes_one_line_with_nothing_else_changed() {
        let json = "{\n  \"b\" : [ 1.50, \"a b\\\" \\\\\" ],\n\t\"a\": \" \\n \"\r\n}";
        assert_eq!(one_line(json), r#"{"b":[1.50,"a b\" \\"],"a":" \n "}"#);
    }

    #[test]
    fn busy_is_waited_for_and_refused_is_not() {
        let outcome = br#"{"issue": [{"diagnostics": "no"}]}"#;
        assert!(matches!(refusal(StatusCode::SERVICE_UNAVAILABLE, outcome), Failed::Away(why) if why.ends_with("no")));
        assert!(matches!(refusal(StatusCode::FORBIDDEN, b""), Failed::Refused(_)));
    }
}
