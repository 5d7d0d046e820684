//! What an answer means for the message, and for the destination.
//!
//! | answer | outcome |
//! |---|---|
//! | 401, 403, 407; a certificate fault | hold: nobody's message is at fault |
//! | response code fatal-error, whatever the status | dead |
//! | response code transient-error | retry |
//! | 200 with response code ok; 204 | delivered |
//! | 202; 200 without a body | accepted: delivered, or asked again, as `destination.on_accepted` says |
//! | 200 with a bare OperationOutcome | delivered without a grave issue; else retry or dead by its issue types |
//! | 200 with anything else; a redirect; 501, 511 | doubtful: a proxy's page is not an acceptance, and to send again does no harm |
//! | 404, 405, 410, 421, 426 that are no FHIR; other 4xx with a page | doubtful: the address is wrong, or the message |
//! | 408, 425, 429, other 5xx, no answer | retry |
//! | other 4xx | dead, unless an issue type is transient (409 with `lock-error`) |

use std::fmt::Write;
use std::time::Duration;

use super::OnAccepted;
use super::answer::{Answer, Body, Code, Issue};

/// What one attempt came to. Reasons hold no patient data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// The destination has custody and does not say what came of it; to be asked again.
    Accepted {
        after: Option<Duration>,
        reason: String,
    },
    /// To be tried again, not before `after` where the destination asked for it.
    Retry {
        after: Option<Duration>,
        reason: String,
    },
    /// Never to be sent again as it is.
    Dead {
        reason: String,
    },
    /// Not what a FHIR endpoint answers: the address is wrong or something else stands there, and then nobody's message is at
    /// fault; or this message alone is answered so. One answer cannot tell, what others are answered does.
    Doubtful {
        reason: String,
        /// Were it the message's own fault: whether it is never to be sent again as it is.
        last: bool,
    },
    /// The destination takes nothing until a person has mended something; the message waits.
    Hold {
        reason: String,
    },
}

impl Outcome {
    /// Not before when the destination asked to be tried again, and why it is; the same for what is final.
    #[must_use]
    pub fn put_off(self) -> (Option<Duration>, String) {
        match self {
            Self::Delivered => (None, String::new()),
            Self::Accepted { after, reason } | Self::Retry { after, reason } => (after, reason),
            Self::Dead { reason } | Self::Hold { reason } | Self::Doubtful { reason, .. } => (None, reason),
        }
    }
}

/// See the table above.
#[must_use]
pub fn classify(answer: &Answer, custody: OnAccepted) -> Outcome {
    if let Some(remedy) = hold(answer.status) {
        return Outcome::Hold { reason: format!("HTTP {}: {remedy}", answer.status) };
    }
    match answer.body.code() {
        Some(Code::Fatal) => Outcome::Dead { reason: reason(answer) },
        Some(Code::Transient) => retry(answer),
        Some(Code::Ok) => by_status(answer),
        None if is_custody(answer) => accepted(answer, custody),
        None => by_status(answer),
    }
}

/// An asynchronous receiver's answer: it has the message and says no more.
fn is_custody(answer: &Answer) -> bool {
    answer.status == 202 || (answer.status == 200 && answer.body == Body::None)
}

fn accepted(answer: &Answer, custody: OnAccepted) -> Outcome {
    match custody {
        OnAccepted::Delivered => Outcome::Delivered,
        OnAccepted::AskAgain => {
            let reason = format!("HTTP {}: taken, and the outcome is not known yet", answer.status);
            Outcome::Accepted { after: answer.retry_after, reason }
        }
    }
}

fn hold(status: u16) -> Option<&'static str> {
    match status {
        401 => Some("the destination does not know us; check destination.token"),
        403 => Some("the destination does not allow us to post; check the rights of destination.token"),
        407 => Some("a proxy stands between and wants credentials"),
        _ => None,
    }
}

fn by_status(answer: &Answer) -> Outcome {
    if let Some(last) = doubtful(answer) {
        return Outcome::Doubtful { reason: reason(answer), last };
    }
    match answer.status {
        202 | 204 => Outcome::Delivered,
        200..=299 => judged(answer),
        408 | 425 | 429 | 500..=599 => retry(answer),
        400..=499 if !answer.body.issues().iter().any(is_transient) => Outcome::Dead { reason: reason(answer) },
        _ => retry(answer),
    }
}

/// Whether nobody who speaks FHIR seems to have answered, and if so whether the status is a last word. 409, 412, 413 and 422
/// are about what was sent, whoever says them.
fn doubtful(answer: &Answer) -> Option<bool> {
    let page = matches!(answer.body, Body::Foreign | Body::TooLarge);
    match answer.status {
        202 | 204 => None,
        300..=399 => Some(false),
        501 | 511 if answer.body.code().is_none() => Some(false),
        200..=299 if answer.body == Body::Foreign => Some(false),
        404 | 405 | 410 | 421 | 426 if !answer.body.is_fhir() => Some(true),
        408 | 409 | 412 | 413 | 422 | 425 | 429 => None,
        400..=499 if page => Some(true),
        _ => None,
    }
}

fn judged(answer: &Answer) -> Outcome {
    match &answer.body {
        Body::None | Body::Response { .. } => Outcome::Delivered,
        Body::Outcome { issues } if !issues.iter().any(|issue| issue.grave) => Outcome::Delivered,
        Body::Outcome { issues } if !issues.iter().any(is_transient) => Outcome::Dead { reason: reason(answer) },
        Body::Outcome { .. } | Body::Foreign | Body::TooLarge => retry(answer),
    }
}

fn retry(answer: &Answer) -> Outcome {
    Outcome::Retry { after: answer.retry_after, reason: reason(answer) }
}

/// The `transient` branch of FHIR R4's issue types, without `exception`, which servers say for faults of content too.
fn is_transient(issue: &Issue) -> bool {
    let codes = ["transient", "lock-error", "no-store", "timeout", "incomplete", "throttled"];
    issue.grave && codes.contains(&issue.code.as_str())
}

/// `HTTP 200, fatal-error: not-found`
fn reason(answer: &Answer) -> String {
    let mut reason = format!("HTTP {}", answer.status);
    match &answer.body {
        Body::Response { code: Code::Fatal, .. } => reason.push_str(", fatal-error"),
        Body::Response { code: Code::Transient, .. } => reason.push_str(", transient-error"),
        Body::TooLarge if answer.status < 300 => {
            reason.push_str(", but the answer is larger than destination.max_answer");
        }
        _ if (300..=399).contains(&answer.status) => {
            reason.push_str(", the destination is elsewhere; put its address into destination.url");
        }
        Body::Foreign | Body::TooLarge => {
            write!(reason, ", but the answer is not a FHIR message: {}", answer.media.words()).ok();
        }
        Body::None if doubtful(answer).is_some() => reason.push_str(", without a FHIR answer"),
        _ => {}
    }
    let mut codes: Vec<&str> = Vec::new();
    for issue in answer.body.issues().iter().filter(|issue| issue.grave && !issue.code.is_empty()) {
        if !codes.contains(&issue.code.as_str()) && codes.len() < 4 {
            codes.push(&issue.code);
        }
    }
    if !codes.is_empty() {
        write!(reason, ": {}", codes.join(", ")).ok();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::answer::Media;

    fn issue(code: &str) -> Issue {
        Issue { grave: true, code: code.into(), text: Some("Olsen has no visit 42".into()) }
    }

    fn response(code: Code) -> Body {
        Body::Response { code, issues: Vec::new() }
    }

    fn outcome(code: &str) -> Body {
        Body::Outcome { issues: vec![issue(code)] }
    }

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Delivered => "delivered",
            Outcome::Accepted { .. } => "accepted",
            Outcome::Retry { .. } => "retry",
            Outcome::Dead { .. } => "dead",
            Outcome::Doubtful { last: true, .. } => "doubtful, else dead",
            Outcome::Doubtful { last: false, .. } => "doubtful, else retry",
            Outcome::Hold { .. } => "hold",
        }
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let informed = Body::Outcome { issues: vec![Issue { grave: false, ..issue("informational") }] };
        let table = [
            (200, response(Code::Ok), "delivered"),
            (201, response(Code::Ok), "delivered"),
            (200, Body::None, "delivered"),
            (202, Body::None, "delivered"),
            (202, Body::Foreign, "delivered"),
            (204, Body::None, "delivered"),
            (200, informed.clone(), "delivered"),
            (200, response(Code::Fatal), "dead"),
            (200, response(Code::Transient), "retry"),
            (202, response(Code::Fatal), "dead"),
            (200, outcome("invalid"), "dead"),
            (200, outcome("throttled"), "retry"),
            (200, Body::Foreign, "doubtful, else retry"),
            (200, Body::TooLarge, "retry"),
            (301, Body::None, "doubtful, else retry"),
            (302, response(Code::Fatal), "dead"),
            (307, Body::Foreign, "doubtful, else retry"),
            (400, Body::None, "dead"),
            (400, informed, "dead"),
            (401, Body::None, "hold"),
            (401, response(Code::Fatal), "hold"),
            (403, outcome("forbidden"), "hold"),
            (400, Body::Foreign, "doubtful, else dead"),
            (404, Body::Foreign, "doubtful, else dead"),
            (404, Body::None, "doubtful, else dead"),
            (404, outcome("not-found"), "dead"),
            (404, response(Code::Fatal), "dead"),
            (405, Body::Foreign, "doubtful, else dead"),
            (405, outcome("not-supported"), "dead"),
            (407, Body::None, "hold"),
            (408, Body::None, "retry"),
            (409, outcome("conflict"), "dead"),
            (409, outcome("lock-error"), "retry"),
            (410, Body::None, "doubtful, else dead"),
            (410, outcome("deleted"), "dead"),
            (412, outcome("multiple-matches"), "dead"),
            (413, Body::None, "dead"),
            (413, Body::Foreign, "dead"),
            (415, Body::Foreign, "doubtful, else dead"),
            (422, response(Code::Fatal), "dead"),
            (422, response(Code::Transient), "retry"),
            (422, response(Code::Ok), "dead"),
            (422, outcome("exception"), "dead"),
            (425, Body::None, "retry"),
            (429, outcome("throttled"), "retry"),
            (500, Body::Foreign, "retry"),
            (500, response(Code::Ok), "retry"),
            (500, response(Code::Fatal), "dead"),
            (501, Body::None, "doubtful, else retry"),
            (501, outcome("not-supported"), "doubtful, else retry"),
            (501, response(Code::Transient), "retry"),
            (502, Body::Foreign, "retry"),
            (511, Body::Foreign, "doubtful, else retry"),
            (503, Body::None, "retry"),
            (599, Body::None, "retry"),
            (999, Body::None, "retry"),
        ];
        for (status, body, meaning) in table {
            let answer = Answer { status, retry_after: None, media: Media::Unsaid, body };
            assert_eq!(word(&classify(&answer, OnAccepted::Delivered)), meaning, "{answer:?}");
        }
    }

    #[test]
    fn where_custody_is_not_enough_the_receiver_is_asked_again() {
        let table = [
            (200, Body::None, "accepted"),
            (202, Body::None, "accepted"),
            (202, Body::Foreign, "accepted"),
            (202, response(Code::Ok), "delivered"),
            (202, response(Code::Fatal), "dead"),
            (200, response(Code::Ok), "delivered"),
            (204, Body::None, "delivered"),
            (503, Body::None, "retry"),
        ];
        for (status, body, meaning) in table {
            let answer = Answer { status, retry_after: None, media: Media::Unsaid, body };
            assert_eq!(word(&classify(&answer, OnAccepted::AskAgain)), meaning, "{answer:?}");
        }
    }

    #[test]
    fn the_destination_may_ask_for_a_longer_wait() {
        let after = Some(Duration::from_secs(90));
        for (status, body) in [(503, Body::None), (429, Body::None), (200, response(Code::Transient))] {
            let answer = Answer { status, retry_after: after, media: Media::Unsaid, body };
            assert!(
                matches!(classify(&answer, OnAccepted::Delivered), Outcome::Retry { after: asked, .. } if asked == after),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_reason_says_what_happened_and_nothing_about_the_patient() {
        let body =
            Body::Response { code: Code::Fatal, issues: vec![issue("not-found"), issue("not-found"), issue("")] };
        let answer = Answer { status: 200, retry_after: None, media: Media::Json, body };
        assert_eq!(
            classify(&answer, OnAccepted::Delivered),
            Outcome::Dead { reason: "HTTP 200, fatal-error: not-found".into() }
        );
    }

    #[test]
    fn an_answer_of_no_fhir_endpoint_is_told_by_its_status_and_its_kind_and_not_by_its_words() {
        let said = |status, media, body| {
            let answer = Answer { status, retry_after: None, media, body };
            match classify(&answer, OnAccepted::Delivered) {
                Outcome::Doubtful { reason, .. } => reason,
                other => panic!("{other:?}"),
            }
        };
        let page = "HTTP 404, but the answer is not a FHIR message: an HTML page";
        assert_eq!(said(404, Media::Html, Body::Foreign), page);
        assert_eq!(said(410, Media::Unsaid, Body::None), "HTTP 410, without a FHIR answer");
        assert!(said(302, Media::Html, Body::Foreign).contains("destination.url"));
        assert_eq!(said(501, Media::Json, outcome("not-supported")), "HTTP 501: not-supported");
    }
}
