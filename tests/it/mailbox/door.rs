//! What is refused at the door, with the element at fault named, and what senders other than Stoker may send.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Server;
use super::build::{admin, erased, patient_url, with};

/// A good message with a Patient, a visit with a contained Practitioner, and a Condition.
fn good() -> Value {
    let practitioner = json!({"contained": [{"resourceType": "Practitioner", "id": "p", "name": [{"family": "Okafor"}]}],
        "participant": [{"individual": {"reference": "#p"}}]});
    let patient = json!({"name": [{"family": "Doe"}], "birthDate": "1970-01-01"});
    admin("A01").patient("1", patient).visit("V1", "1", practitioner).condition("V1", "1", "I10").json()
}

/// Changes the value that a JSON pointer names; null removes it.
fn changed(pointer: &str, value: Value) -> Value {
    let mut message = good();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = message.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match (parent, value) {
        (Value::Object(map), Value::Null) => drop(map.remove(name)),
        (Value::Array(items), Value::Null) => drop(items.remove(name.parse().unwrap())),
        (Value::Array(items), value) => items[name.parse::<usize>().unwrap()] = value,
        (parent, value) => parent[name] = value,
    }
    message
}

const HEADER: &str = "/entry/0/resource";
const PATIENT: &str = "/entry/1/resource";
const VISIT: &str = "/entry/2/resource";
const CONDITION: &str = "/entry/3/resource";

/// One fault each: where it is made, by what, and the expression that must be named.
fn broken() -> Vec<(String, Value, &'static str)> {
    let at = |resource: &str, element: &str| format!("{resource}/{element}");
    let class = json!([{"code": "IMP"}]);
    vec![
        ("/resourceType".into(), json!("Patient"), "Bundle"),
        ("/type".into(), json!("transaction"), "Bundle.type"),
        ("/timestamp".into(), json!("2024-05-01"), "Bundle.timestamp"),
        ("/total".into(), json!(1), "Bundle.total"),
        ("/entries".into(), json!([]), "Bundle.entries"),
        ("/entry".into(), json!([]), "Bundle.entry[0].resource"),
        ("/entry/0".into(), Value::Null, "Bundle.entry[0].resource"),
        ("/entry/1/resource".into(), Value::Null, "Bundle.entry[1].resource"),
        ("/entry/1/fullUrl".into(), Value::Null, "Bundle.entry[1].fullUrl"),
        ("/entry/3/fullUrl".into(), json!(patient_url("1")), "Bundle.entry[3].fullUrl"),
        ("/entry/1/fullUrl".into(), json!("http://h/Patient/1/_history/2"), "Bundle.entry[1].fullUrl"),
        ("/entry/1/fullUrl".into(), json!("http://h/Patient?name=x"), "Bundle.entry[1].fullUrl"),
        ("/entry/1/fullUrl".into(), json!("http://h/Patient?identifier=1"), "Bundle.entry[1].fullUrl"),
        ("/entry/1/request".into(), json!({"method": "PUT", "url": "Patient"}), "Bundle.entry[1].request"),
        ("/entry/1/search".into(), json!({"mode": "match"}), "Bundle.entry[1].search"),
        (at(HEADER, "source"), Value::Null, "Bundle.entry[0].resource"),
        (at(HEADER, "source"), json!({"name": "x"}), "Bundle.entry[0].resource.source"),
        (at(HEADER, "eventCoding"), Value::Null, "Bundle.entry[0].resource"),
        (at(HEADER, "eventUri"), json!("urn:x"), "Bundle.entry[0].resource.eventUri"),
        (at(PATIENT, "gender"), json!("M"), "Bundle.entry[1].resource.gender"),
        (at(PATIENT, "birthDate"), json!("1970-02-30"), "Bundle.entry[1].resource.birthDate"),
        (at(PATIENT, "name"), json!({"family": "Doe"}), "Bundle.entry[1].resource.name"),
        (at(PATIENT, "name/0/family"), json!(""), "Bundle.entry[1].resource.name[0].family"),
        (at(PATIENT, "nickname"), json!("x"), "Bundle.entry[1].resource.nickname"),
        (at(PATIENT, "contact"), json!([{"gender": "male"}]), "Bundle.entry[1].resource.contact[0]"),
        (at(PATIENT, "telecom"), json!([{"value": "1"}]), "Bundle.entry[1].resource.telecom[0]"),
        (at(PATIENT, "deceasedBoolean"), json!("true"), "Bundle.entry[1].resource.deceasedBoolean"),
        (at(PATIENT, "extension"), json!([{"url": "urn:x"}]), "Bundle.entry[1].resource.extension[0]"),
        (at(PATIENT, "address"), json!([]), "Bundle.entry[1].resource.address"),
        (at(VISIT, "status"), Value::Null, "Bundle.entry[2].resource"),
        (at(VISIT, "status"), json!("done"), "Bundle.entry[2].resource.status"),
        (at(VISIT, "class"), class, "Bundle.entry[2].resource.class"),
        (at(VISIT, "subject/reference"), json!("urn:uuid:0"), "Bundle.entry[2].resource.subject"),
        (at(VISIT, "subject/reference"), json!(super::build::visit_url("V1")), "Bundle.entry[2].resource.subject"),
        (at(VISIT, "participant/0/individual/reference"), json!("#q"), "Bundle.entry[2].resource"),
        (at(VISIT, "participant"), Value::Null, "Bundle.entry[2].resource"),
        (at(VISIT, "period"), json!({"start": "2024-05-02", "end": "2024-05-01"}), "Bundle.entry[2].resource.period"),
        (at(VISIT, "period"), json!({"start": "2024-05-02T10:00:00"}), "Bundle.entry[2].resource.period.start"),
        (at(CONDITION, "subject"), Value::Null, "Bundle.entry[3].resource"),
        (at(CONDITION, "abatementString"), json!("over"), "Bundle.entry[3].resource"),
        (at(CONDITION, "onsetDateTime"), json!(2024), "Bundle.entry[3].resource.onsetDateTime"),
    ]
}

#[tokio::test]
async fn each_fault_is_refused_with_the_expression_of_its_element() {
    let server = Server::start().await;
    for (pointer, value, expression) in broken() {
        let message = changed(&pointer, value.clone());
        let reply = server.post("$process-message", message.to_string()).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{pointer} = {value}: {}", reply.text);
        let named = reply.issues().iter().any(|issue| issue["expression"] == json!([expression]));
        assert!(named, "{pointer} = {value}: {}", reply.text);
        assert!(!reply.text.contains("Doe"), "patient data in {}", reply.text);
    }
    assert_eq!(server.find("Patient").await.len(), 0);
    assert_eq!(server.post("$process-message", good().to_string()).await.code(), "ok");
}

#[tokio::test]
async fn several_faults_are_told_at_once() {
    let server = Server::start().await;
    let mut message = changed("/entry/1/resource/gender", json!("M"));
    message["entry"][2]["resource"]["status"] = json!("done");
    let reply = server.post("$process-message", message.to_string()).await;
    assert_eq!(reply.issues().len(), 2);
}

#[tokio::test]
async fn what_is_no_message_at_all_is_refused() {
    let server = Server::with(|config| config.body_limit = 100_000).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (body, status) in [
        ("", StatusCode::BAD_REQUEST),
        ("null", StatusCode::BAD_REQUEST),
        ("<Bundle/>", StatusCode::BAD_REQUEST),
        ("{\"resourceType\":\"Bundle\",\"type\":\"message\"", StatusCode::BAD_REQUEST),
        (
            "{\"resourceType\":\"Bundle\",\"type\":\"message\",\"type\":\"message\",\"entry\":[]}",
            StatusCode::BAD_REQUEST,
        ),
        (deep.as_str(), StatusCode::BAD_REQUEST),
        (" ".repeat(100_001).as_str(), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let reply = server.post("$process-message", body.to_owned()).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert_eq!(reply.json["resourceType"], "OperationOutcome");
    }
    let reply = server.post("$process-message", vec![0xff, 0xfe]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn erasing_elements_need_not_be_what_they_erase() {
    let server = Server::start().await;
    let nulls =
        json!({"contact": [erased()], "_birthDate": erased(), "communication": [erased()], "maritalStatus": erased()});
    server.accept(&admin("A31").patient("1", nulls)).await;
    let patient = server.patient("1").await;
    assert!(patient.get("contact").is_none() && patient.get("communication").is_none());
}

#[tokio::test]
async fn xml_is_answered_with_words() {
    let server = Server::start().await;
    let asked = server.request("metadata").header("accept", "application/fhir+xml").send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::NOT_ACCEPTABLE);
    assert!(asked.text().await.unwrap().contains("JSON only"));
    assert_eq!(server.get("metadata?_format=xml").await.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(server.get("metadata?_format=application/fhir%2Bjson").await.status, StatusCode::OK);
    let browser = server.request("metadata").header("accept", "text/html,application/xml;q=0.9,*/*;q=0.8");
    assert_eq!(browser.send().await.unwrap().status(), StatusCode::OK);
}

/// A message as another sender writes it: RESTful fullUrls, relative references, an Organization of its own, no
/// conditions.
fn foreign() -> Value {
    let mut message = admin("A01").json();
    let base = "http://ehr.example.org/fhir";
    let entry = |kind: &str, resource: Value| {
        let resource = with(json!({"resourceType": kind, "id": "x1"}), resource);
        json!({"fullUrl": format!("{base}/{kind}/x1"), "resource": resource})
    };
    let entries = message["entry"].as_array_mut().unwrap();
    entries.push(entry(
        "Patient",
        json!({"identifier": [{"system": "urn:mrn", "value": "1"}],
        "managingOrganization": {"reference": "Organization/x1"}}),
    ));
    entries.push(entry("Organization", json!({"name": "Clinic", "partOf": {"reference": "Organization/elsewhere"}})));
    entries.push(entry(
        "Encounter",
        json!({"identifier": [{"system": "urn:visit", "value": "V1"}], "status": "planned",
        "class": {"code": "AMB"}, "subject": {"reference": "Patient/x1"},
        "serviceProvider": {"reference": "http://ehr.example.org/fhir/Organization/x1"}}),
    ));
    message
}

#[tokio::test]
async fn a_message_of_another_sender_is_understood() {
    let server = Server::start().await;
    for status in ["planned", "arrived"] {
        let mut message = foreign();
        message["entry"][3]["resource"]["status"] = json!(status);
        let reply = server.post("$process-message", message.to_string()).await;
        assert_eq!(reply.code(), "ok", "{}", reply.text);
        let (patient, visit) = (server.patient("1").await, server.visit("V1").await);
        assert_eq!(visit["status"], status);
        assert_eq!(visit["subject"]["reference"], format!("Patient/{}", patient["id"].as_str().unwrap()));
        for resource in [&visit["serviceProvider"], &patient["managingOrganization"]] {
            assert_eq!(resource["reference"], "#entry-2");
        }
        assert_eq!(visit["contained"][0]["name"], "Clinic");
        assert_eq!(visit["contained"][0]["partOf"]["reference"], "http://ehr.example.org/fhir/Organization/elsewhere");
    }
    assert_eq!(server.find("Patient").await.len(), 1);
}

#[tokio::test]
async fn a_patient_without_any_usable_identifier_is_refused() {
    let server = Server::start().await;
    let mut message = foreign();
    message["entry"][1]["resource"]["identifier"] = json!([{"value": "1"}]);
    let reply = server.post("$process-message", message.to_string()).await;
    assert_eq!(reply.code(), "fatal-error");
    assert!(reply.has_issue("error", "required"));
}

#[tokio::test]
async fn a_client_that_writes_all_of_a_body_before_it_reads_is_told_why_it_was_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let server = Server::with(|config| config.body_limit = 100_000).await;
    let address = server.base.trim_start_matches("http://").trim_end_matches("/fhir").to_owned();
    // Larger than what the sockets between the two hold.
    let body = " ".repeat(24 << 20);
    for (path, kind, status) in [
        ("$process-message", "application/fhir+json", "413"),
        ("Bundle", "application/fhir+json", "413"),
        ("Bundle", "text/plain", "415"),
        ("Patient/_search", "application/x-www-form-urlencoded", "413"),
        ("Patient/1", "application/fhir+json", "405"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /fhir/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
}
