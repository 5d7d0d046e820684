//! Reliable messaging: what is remembered, for how long, and how answers travel.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Server;
use super::build::{MessageBuilder, admin, clinical};

fn admission(number: &str) -> MessageBuilder {
    admin("A01").patient(number, json!({})).visit(&format!("V{number}"), number, json!({}))
}

fn wanting(mut message: MessageBuilder, wanted: &str) -> MessageBuilder {
    message.header["extension"] = json!([{
        "url": "http://hl7.org/fhir/StructureDefinition/messageheader-response-request", "valueCode": wanted}]);
    message
}

#[tokio::test]
async fn a_bundle_id_that_comes_with_another_message_id_is_refused() {
    let server = Server::start().await;
    let first = admission("1");
    server.accept(&first).await;
    let mut second = admission("2");
    second.bundle_id = first.bundle_id.clone();
    let reply = server.send(&second).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert!(reply.has_issue("error", "duplicate"));
    assert_eq!(server.find("Patient").await.len(), 1);
}

#[tokio::test]
async fn a_message_id_in_a_new_bundle_is_processed_again_and_does_no_harm() {
    let server = Server::start().await;
    let first = admission("1");
    let answer = server.accept(&first).await;
    let again = MessageBuilder { bundle_id: "other".into(), ..first };
    assert_ne!(server.accept(&again).await.text, answer.text);
    assert_eq!(server.visit("V1").await["meta"]["versionId"], "1");
}

#[tokio::test]
async fn two_senders_may_use_the_same_message_id() {
    let server = Server::start().await;
    let first = admission("1");
    server.accept(&first).await;
    let mut second = MessageBuilder { id: first.id.clone(), bundle_id: first.bundle_id.clone(), ..admission("2") };
    second.header["source"]["endpoint"] = json!("urn:hospital:other");
    server.accept(&second).await;
    assert_eq!(server.find("Patient").await.len(), 2);
}

#[tokio::test]
async fn beyond_its_memory_the_mailbox_processes_again_and_declares_what_is_left() {
    let server = Server::with(|config| config.reliable_cache_size = 3).await;
    assert_eq!(server.get("metadata").await.json["messaging"][0]["reliableCache"], 30 * 24 * 60);
    // Old answers are looked for from time to time, and not with each message.
    let messages: Vec<_> = (0..80).map(|n| admission(&n.to_string())).collect();
    let mut answers = Vec::new();
    for message in &messages {
        answers.push(server.accept(message).await.text);
    }
    assert_eq!(server.accept(&messages[79]).await.text, answers[79]);
    assert_ne!(server.accept(&messages[0]).await.text, answers[0]);
    assert_eq!(server.visit("V0").await["meta"]["versionId"], "1");
    assert_eq!(server.get("metadata").await.json["messaging"][0]["reliableCache"], 0);
}

#[tokio::test]
async fn a_memory_of_no_time_forgets_at_once() {
    let server = Server::with(|config| config.reliable_cache = Duration::ZERO).await;
    let message = admission("1");
    let first = server.accept(&message).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_ne!(server.accept(&message).await.text, first.text);
}

#[tokio::test]
async fn a_sender_that_wants_no_answer_gets_204_unless_the_message_failed() {
    let server = Server::start().await;
    let message = wanting(admission("1"), "never");
    for _ in 0..2 {
        let reply = server.send(&message).await;
        assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NO_CONTENT, ""));
    }
    assert_eq!(server.find("Encounter").await.len(), 1);
    assert_eq!(server.find("Bundle?message.destination-uri=urn:hospital:his").await.len(), 0);

    let failing = clinical("A08").patient("9", json!({})).visit("V9", "9", json!({}));
    for wanted in ["never", "on-error", "on-success"] {
        assert_eq!(server.send(&wanting(failing.clone(), wanted)).await.code(), "fatal-error");
    }
    assert_eq!(server.send(&wanting(admission("2"), "on-error")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.send(&wanting(admission("3"), "on-success")).await.code(), "ok");
}

#[tokio::test]
async fn an_answer_that_is_posted_is_kept_and_never_answered() {
    let server = Server::start().await;
    let mut answer = admin("A01");
    answer.header["response"] = json!({"identifier": "x", "code": "ok"});
    assert_eq!(server.send(&answer).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.find("Bundle?message.destination-uri=urn:mailbox:one").await.len(), 1);
    assert_eq!(server.find("Bundle?message.destination-uri=urn:hospital:his").await.len(), 0);
}

/// A receiver of answers; keeps their bodies, and fails the first `failures` of them.
async fn receiver(failures: usize) -> (String, Arc<Mutex<Vec<Value>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let (keep, mut left) = (Arc::clone(&got), failures);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let left = Arc::new(Mutex::new(std::mem::take(&mut left)));
    let take = move |body: String| {
        let (keep, left) = (Arc::clone(&keep), Arc::clone(&left));
        async move {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return StatusCode::BAD_GATEWAY;
            }
            keep.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            StatusCode::OK
        }
    };
    let app = axum::Router::new().route("/answers", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address.to_string(), got)
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..400 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not happen within eight seconds");
}

#[tokio::test]
async fn an_asynchronous_message_is_answered_202_and_its_answer_is_sent_to_the_response_url() {
    let (host, got) = receiver(1).await;
    let server = Server::with(|config| config.response_hosts.push(host.clone())).await;
    let message = admission("1");
    let path = format!("$process-message?async=true&response-url=http%3A%2F%2F{host}%2Fanswers");
    let reply = server.post(&path, message.json().to_string()).await;
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::ACCEPTED, ""));
    until(|| !got.lock().unwrap().is_empty()).await;
    let answer = got.lock().unwrap()[0].clone();
    assert_eq!(answer["entry"][0]["resource"]["response"]["identifier"], message.id);
    assert_eq!(server.one("Bundle?message.destination-uri=urn:hospital:his").await, answer);
}

#[tokio::test]
async fn an_answer_that_was_not_sent_yet_is_sent_after_a_restart() {
    let (host, got) = receiver(0).await;
    let offline = Server::with(|config| config.response_hosts.push(host.clone())).await;
    let path = format!("$process-message?async=true&response-url=http%3A%2F%2F{host}%2Fnowhere");
    offline.post(&path, admission("1").json().to_string()).await;
    let folder = offline.stop().await;
    assert!(got.lock().unwrap().is_empty());

    let server = Server::reopen(folder, |config| config.response_hosts.push(host.clone())).await;
    let path = path.replace("nowhere", "answers");
    let message = admission("2");
    server.post(&path, message.json().to_string()).await;
    until(|| !got.lock().unwrap().is_empty()).await;
    assert_eq!(got.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_response_url_on_another_host_is_refused_before_anything_happens() {
    let server = Server::with(|config| config.response_hosts.push("his.example.org".into())).await;
    let path = "$process-message?async=true&response-url=http%3A%2F%2F169.254.169.254%2Fx";
    let reply = server.post(path, admission("1").json().to_string()).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(reply.has_issue("error", "forbidden"));
    assert_eq!(server.find("Patient").await.len(), 0);
}

#[tokio::test]
async fn a_message_for_a_destination_that_is_not_served_is_kept_and_not_processed() {
    let her_id = "urn:oid:2.16.578.1.12.4.1.2.8142520";
    let server = Server::with(|config| config.destinations.push("urn:mailbox:one".into())).await;
    let mut message = admission("1");
    message.header["destination"] = json!([{"endpoint": her_id}]);
    server.accept(&message).await;
    assert_eq!(server.find("Patient").await.len(), 0);
    assert_eq!(server.one(&format!("Bundle?message.destination-uri={her_id}")).await, message.json());
    server.accept(&admission("2")).await;
    assert_eq!(server.find("Patient").await.len(), 1);

    message.header["destination"] = json!([{"endpoint": format!("{her_id}99")}]);
    assert_eq!(server.send(&message).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_metrics_tell_what_became_of_messages() {
    let server = Server::start().await;
    let message = admission("1").minute(5);
    server.accept(&message).await;
    server.accept(&message).await;
    server.accept(&admission("1").minute(1)).await;
    server.send(&clinical("A08").patient("9", json!({})).visit("V9", "9", json!({}))).await;
    server.post("$process-message", "{}").await;
    server.post("Bundle", admission("2").json().to_string()).await;
    let metrics = server.metrics.encode();
    for outcome in ["applied", "duplicate", "late", "refused", "invalid", "kept"] {
        let line = format!("mailbox_messages_total{{outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{outcome}: {metrics}");
    }
}
