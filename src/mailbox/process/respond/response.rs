//! The answer to a message: a message of its own (FHIR R4 messaging 2.4.3.2).

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::mailbox::canonical;
use crate::mailbox::outcome::{Issue, issues_text};
use crate::mailbox::process::parse::message::Message;

/// An answer, ready to be kept and sent.
#[derive(Debug)]
pub struct Response {
    pub bundle_id: String,
    pub message_id: String,
    /// Who answers: the destination that was addressed.
    pub source: String,
    pub body: String,
}

/// `MessageHeader.response.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Ok,
    FatalError,
}

/// Builds the response Bundle. `base` names the mailbox where the sender addressed no destination.
#[must_use]
pub fn build(message: &Message, code: Code, issues: &[Issue], at: Timestamp, base: &str) -> Response {
    let [bundle_id, message_id, outcome_id] = [(); 3].map(|()| Uuid::now_v7().to_string());
    let header = &message.header;
    let source = header.destinations.first().map_or(base, String::as_str);
    let code = match code {
        Code::Ok => "ok",
        Code::FatalError => "fatal-error",
    };
    let name = header.source_name.as_ref().map(|name| format!(r#","name":{}"#, Value::from(name.as_str())));
    // Text and not a JSON tree: every message has one, made while all others wait.
    let body = format!(
        concat!(
            r#"{{"resourceType":"Bundle","id":"{bundle_id}","type":"message","timestamp":"{at}","entry":["#,
            r#"{{"fullUrl":"urn:uuid:{message_id}","resource":{{"resourceType":"MessageHeader","id":"{message_id}","#,
            r#""eventCoding":{event},"destination":[{{"endpoint":{sender}{name}}}],"source":{{"endpoint":{source}}},"#,
            r#""response":{{"identifier":{request},"code":"{code}","details":{{"reference":"urn:uuid:{outcome_id}"}}}}}}}},"#,
            r#"{{"fullUrl":"urn:uuid:{outcome_id}","resource":{{"resourceType":"OperationOutcome","id":"{outcome_id}","issue":{issues}}}}}]}}"#
        ),
        bundle_id = bundle_id,
        message_id = message_id,
        outcome_id = outcome_id,
        code = code,
        at = canonical::instant(at),
        event = header.event,
        sender = Value::from(header.source.as_str()),
        name = name.unwrap_or_default(),
        source = Value::from(source),
        request = Value::from(header.id.as_str()),
        issues = issues_text(issues),
    );
    Response { bundle_id, message_id, source: source.to_owned(), body }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mailbox::json::Limits;

    #[test]
    fn an_answer_is_json_whatever_the_request_holds() {
        let header = json!({"resourceType": "MessageHeader", "id": "m1", "eventCoding": {"code": "a\"b"},
            "source": {"endpoint": "urn:a", "name": "\"H\\IS\n"}, "destination": [{"endpoint": "urn:b"}]});
        let bundle = json!({"resourceType": "Bundle", "type": "message", "entry": [{"fullUrl": "urn:uuid:m1", "resource": header}]});
        let message = Message::parse(bundle.to_string(), Limits { depth: 20, values: 100 }).unwrap();
        let issues = [Issue::error("value", "say \"why\"").at("Bundle")];
        let built = build(&message, Code::FatalError, &issues, Timestamp::UNIX_EPOCH, "http://x");
        let json: Value = serde_json::from_str(&built.body).unwrap();
        let answer = &json["entry"][0]["resource"];
        assert_eq!(answer["response"]["identifier"], "m1");
        assert_eq!(answer["response"]["code"], "fatal-error");
        assert_eq!(answer["eventCoding"], header["eventCoding"]);
        assert_eq!(answer["destination"], json!([{"endpoint": "urn:a", "name": "\"H\\IS\n"}]));
        assert_eq!((&json["id"], &answer["id"]), (&json!(built.bundle_id), &json!(built.message_id)));
        assert_eq!(json["entry"][1]["resource"]["issue"][0]["diagnostics"], "say \"why\"");
    }
}
