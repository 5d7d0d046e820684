//! What a receiver says: the facts of an HTTP answer that [`super::classify`] decides by.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// An answer, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub media: Media,
    pub body: Body,
}

/// What kind of content an answer says that it is. Few kinds, because a stranger chooses the words and they go into
/// metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Media {
    /// It does not say.
    #[default]
    Unsaid,
    Json,
    Xml,
    Html,
    Text,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    None,
    /// A message Bundle whose MessageHeader carries a `response`.
    Response {
        code: Code,
        issues: Vec<Issue>,
    },
    /// An OperationOutcome alone.
    Outcome {
        issues: Vec<Issue>,
    },
    /// Anything else: a proxy's page, another resource, half of something.
    Foreign,
    TooLarge,
}

/// `MessageHeader.response.code` (FHIR R4 value set response-code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Ok,
    Transient,
    Fatal,
}

/// One issue of an OperationOutcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Whether its severity is `error` or `fatal`.
    pub grave: bool,
    /// The issue type, `not-found`; empty where it is no code.
    pub code: String,
    /// The receiver's words; may hold patient data.
    pub text: Option<String>,
}

impl Media {
    /// Of a `Content-Type` (RFC 9110 8.3).
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Self {
        let Some(text) = content_type else { return Self::Unsaid };
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => Self::Unsaid,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "application/json" => Self::Json,
            "application/xml" | "text/xml" => Self::Xml,
            "text/plain" => Self::Text,
            kind if kind.ends_with("+json") => Self::Json,
            kind if kind.ends_with("+xml") => Self::Xml,
            _ => Self::Other,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsaid => "unsaid",
            Self::Json => "json",
            Self::Xml => "xml",
            Self::Html => "html",
            Self::Text => "text",
            Self::Other => "other",
        }
    }

    /// What such content is, for a person.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Unsaid => "content of no stated type",
            Self::Json => "JSON that is no FHIR answer",
            Self::Xml => "XML",
            Self::Html => "an HTML page",
            Self::Text => "plain text",
            Self::Other => "content of another type",
        }
    }
}

impl Body {
    /// Whether it comes from somebody who speaks FHIR.
    #[must_use]
    pub fn is_fhir(&self) -> bool {
        matches!(self, Self::Response { .. } | Self::Outcome { .. })
    }

    /// Reads a body of which all bytes are there.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        if bytes.trim_ascii().is_empty() {
            return Self::None;
        }
        let Ok(resource) = serde_json::from_slice::<Value>(bytes) else { return Self::Foreign };
        match resource["resourceType"].as_str() {
            Some("OperationOutcome") => Self::Outcome { issues: issues(&resource).collect() },
            Some("Bundle") if resource["type"] == "message" => response(&resource).unwrap_or(Self::Foreign),
            _ => Self::Foreign,
        }
    }

    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        match self {
            Self::Response { issues, .. } | Self::Outcome { issues } => issues,
            Self::None | Self::Foreign | Self::TooLarge => &[],
        }
    }

    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Response { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the receiver says that it does not know what the message is about, and nothing else against it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let mut grave = self.issues().iter().filter(|issue| issue.grave).peekable();
        self.code() == Some(Code::Fatal) && grave.peek().is_some() && grave.all(|issue| issue.code == "not-found")
    }

    /// What the receiver says in words, cut to a size that a person reads. May hold patient data.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        let issues = self.issues();
        let worst = issues.iter().filter(|issue| issue.grave).chain(issues).find_map(|issue| issue.text.as_ref())?;
        Some(worst.chars().take(500).collect())
    }
}

fn response(bundle: &Value) -> Option<Body> {
    let resources = || bundle["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"]);
    let header = resources().find(|r| r["resourceType"] == "MessageHeader")?;
    let code = match header["response"]["code"].as_str()? {
        "ok" => Code::Ok,
        "transient-error" => Code::Transient,
        "fatal-error" => Code::Fatal,
        _ => return None,
    };
    let outcomes = resources().filter(|r| r["resourceType"] == "OperationOutcome");
    Some(Body::Response { code, issues: outcomes.flat_map(issues).collect() })
}

fn issues(outcome: &Value) -> impl Iterator<Item = Issue> {
    outcome["issue"].as_array().into_iter().flatten().map(|issue| {
        let text = issue["diagnostics"].as_str().or_else(|| issue["details"]["text"].as_str());
        Issue {
            grave: matches!(issue["severity"].as_str(), Some("error" | "fatal")),
            code: issue["code"].as_str().filter(|code| is_code(code)).unwrap_or_default().to_owned(),
            text: text.map(str::to_owned),
        }
    })
}

/// Issue types go into reasons that are logged, so nothing else may pass for one.
fn is_code(text: &str) -> bool {
    text.len() <= 32 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// `Retry-After`: seconds or a date (RFC 9110 10.2.3). A date that has passed is no wait at all.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(code: &str) -> String {
        format!(
            r#"{{"resourceType":"Bundle","type":"message","entry":[
              {{"resource":{{"resourceType":"MessageHeader","response":{{"identifier":"1","code":"{code}"}}}}}},
              {{"resource":{{"resourceType":"OperationOutcome","issue":[
                {{"severity":"information","code":"informational","diagnostics":"read"}},
                {{"severity":"error","code":"not-found","details":{{"text":"no such visit"}}}}]}}}}]}}"#
        )
    }

    #[test]
    fn a_response_is_read_with_its_issues() {
        let body = Body::read(message("fatal-error").as_bytes());
        assert_eq!(body.code(), Some(Code::Fatal));
        let codes: Vec<_> = body.issues().iter().map(|issue| (issue.code.as_str(), issue.grave)).collect();
        assert_eq!(codes, [("informational", false), ("not-found", true)]);
        assert_eq!(body.detail().as_deref(), Some("no such visit"), "the grave issue speaks first");
    }

    #[test]
    fn only_a_response_that_complains_of_nothing_else_says_that_the_visit_is_unknown() {
        let body = |code: &str| Body::read(message(code).as_bytes());
        assert!(body("fatal-error").is_unknown());
        assert!(!body("ok").is_unknown() && !body("transient-error").is_unknown());
        let two = message("fatal-error").replacen(r#""severity":"information""#, r#""severity":"error""#, 1);
        assert!(!Body::read(two.as_bytes()).is_unknown(), "there is another fault");
        let issues = vec![Issue { grave: true, code: "not-found".into(), text: None }];
        assert!(!Body::Outcome { issues }.is_unknown(), "it may be the address that is not found");
    }

    #[test]
    fn what_is_no_answer_to_a_message_is_foreign() {
        for text in [
            "<html>Welcome to the proxy</html>",
            "{\"resourceType\":",
            "{}",
            "[]",
            r#"{"resourceType":"Bundle","type":"transaction-response"}"#,
            r#"{"resourceType":"Bundle","type":"message","entry":[{"resource":{"resourceType":"MessageHeader"}}]}"#,
            &message("perhaps"),
        ] {
            assert_eq!(Body::read(text.as_bytes()), Body::Foreign, "{text}");
        }
        assert_eq!(Body::read(b" \r\n"), Body::None);
    }

    #[test]
    fn a_content_type_is_one_of_a_few_whatever_a_stranger_writes() {
        for (text, media) in [
            ("text/html; charset=utf-8", Media::Html),
            ("Application/FHIR+json", Media::Json),
            ("application/soap+xml", Media::Xml),
            ("text/plain", Media::Text),
            ("image/png", Media::Other),
            ("Olsen, 42", Media::Other),
            (" ;", Media::Unsaid),
        ] {
            assert_eq!(Media::of(Some(text)), media, "{text}");
        }
        assert_eq!(Media::of(None), Media::Unsaid);
    }

    #[test]
    fn words_of_any_kind_do_not_pass_for_an_issue_type() {
        let text = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"Patient Olsen 42"}]}"#;
        assert_eq!(Body::read(text.as_bytes()).issues()[0].code, "");
    }

    #[test]
    fn deep_json_is_foreign_and_not_a_crash() {
        assert_eq!(Body::read("[".repeat(1_000_000).as_bytes()), Body::Foreign);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-01-10T08:00:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sat, 10 Jan 2026 08:01:30 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Sat, 10 Jan 2026 07:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
