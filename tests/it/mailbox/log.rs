//! The log of messages: how receivers read what is addressed to them.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Server;
use super::build::{MessageBuilder, admin, clinical};

const LIST: &str = "Bundle?message.destination-uri=urn:mailbox:one";

fn person(number: usize) -> MessageBuilder {
    admin("A28").patient(&number.to_string(), json!({}))
}

fn ids(page: &Value) -> Vec<&str> {
    let entries = page["entry"].as_array().into_iter().flatten();
    entries.map(|entry| entry["resource"]["id"].as_str().unwrap()).collect()
}

fn next(page: &Value) -> Option<String> {
    let links = page["link"].as_array()?;
    Some(links.iter().find(|link| link["relation"] == "next")?["url"].as_str()?.to_owned())
}

impl Server {
    async fn with_messages(self, messages: &[MessageBuilder]) -> Self {
        for message in messages {
            self.accept(message).await;
        }
        self
    }

    pub async fn total(&self, search: &str) -> i64 {
        self.get(&format!("{search}&_summary=count")).await.json["total"].as_i64().unwrap()
    }
}

#[tokio::test]
async fn a_destination_reads_its_messages_in_order_and_again_from_the_start() {
    let messages: Vec<_> = (0..7).map(person).collect();
    let server = Server::start().await.with_messages(&messages).await;
    let sent: Vec<&str> = messages.iter().map(|message| message.bundle_id.as_str()).collect();
    for _ in 0..2 {
        let (mut read, mut url) = (Vec::new(), Some(format!("{LIST}&_count=3&_offset=0")));
        while let Some(page) = url {
            let page = server.get(&page).await.json;
            assert_eq!(page["total"], 7);
            read.extend(ids(&page).into_iter().map(str::to_owned));
            url = next(&page);
        }
        assert_eq!(read, sent);
    }
    assert_eq!(ids(&server.get(&format!("{LIST}&_offset=5")).await.json), sent[5..]);
    assert_eq!(ids(&server.get(&format!("{LIST}&_offset=7")).await.json), Vec::<&str>::new());
}

#[tokio::test]
async fn a_message_is_kept_byte_for_byte() {
    let server = Server::start().await;
    let message = person(1);
    let text = serde_json::to_string_pretty(&message.json()).unwrap().replace("\"id\"", " \"id\" ");
    assert_eq!(server.post("$process-message", text.clone()).await.code(), "ok");
    assert!(server.get(LIST).await.text.contains(&text));
    assert_eq!(server.get(&format!("Bundle/{}", message.bundle_id)).await.text, text);
}

#[tokio::test]
async fn a_list_holds_accepted_messages_only_and_each_once() {
    let server = Server::start().await;
    let good = person(1);
    server.accept(&good).await;
    server.accept(&good).await;
    server.send(&clinical("A08").patient("1", json!({})).visit("none", "1", json!({}))).await;
    assert_eq!(ids(&server.get(LIST).await.json), [good.bundle_id.as_str()]);
}

#[tokio::test]
async fn messages_are_found_by_event_control_id_and_time() {
    let server = Server::start().await;
    let visit = admin("A01").patient("1", json!({})).visit("V1", "1", json!({}));
    let update = clinical("A08").minute(1).patient("1", json!({})).visit("V1", "1", json!({}));
    server.accept(&visit).await;
    let mut named = update.json();
    named["identifier"] = json!({"system": "urn:his", "value": "MSG00042"});
    server.post("$process-message", named.to_string()).await;
    server.accept(&admin("A31").minute(2).patient("1", json!({}))).await;

    assert_eq!(server.find(&format!("{LIST}&event=clinical-notify")).await.len(), 1);
    assert_eq!(server.total(&format!("{LIST}&event=admin-notify")).await, 2);
    let system = "http://terminology.hl7.org/CodeSystem/message-events|";
    assert_eq!(server.total(&format!("{LIST}&event={system}admin-notify")).await, 2);
    assert_eq!(server.total(&format!("{LIST}&event=urn:other|admin-notify")).await, 0);
    assert_eq!(server.one("Bundle?identifier=urn:his|MSG00042").await, named);
    assert_eq!(server.one(&format!("{LIST}&identifier=MSG00042")).await, named);
    assert_eq!(server.total("Bundle?message.destination-uri=urn:nobody&identifier=MSG00042").await, 0);

    let year = |prefix: &str, year: &str| format!("{LIST}&_lastUpdated={prefix}{year}");
    assert_eq!(server.total(&year("ge", "2020")).await, 3);
    assert_eq!(server.total(&year("lt", "2020")).await, 0);
    assert_eq!(server.total(&year("gt", "2999")).await, 0);
}

#[tokio::test]
async fn time_and_offset_go_together() {
    let server = Server::start().await.with_messages(&[person(0), person(1)]).await;
    let before = jiff::Timestamp::now().as_millisecond();
    let noon = std::iter::repeat_with(jiff::Timestamp::now).find(|now| now.as_millisecond() > before).unwrap();
    let later: Vec<_> = (2..6).map(person).collect();
    let server = server.with_messages(&later).await;
    let since = format!("{LIST}&_lastUpdated=ge{noon:.3}");
    let read = server.get(&format!("{since}&_offset=1&_count=2")).await.json;
    assert_eq!(ids(&read), [later[1].bundle_id.as_str(), later[2].bundle_id.as_str()]);
    assert_eq!(read["total"], 4);
}

#[tokio::test]
async fn the_sender_finds_the_answers_to_its_messages() {
    let server = Server::start().await;
    let message = person(1);
    let answer = server.accept(&message).await;
    assert_eq!(server.one("Bundle?message.destination-uri=urn:hospital:his").await, answer.json);
    assert_eq!(server.one(&format!("Bundle?message.response-id={}", message.id)).await, answer.json);
}

#[tokio::test]
async fn a_published_message_is_kept_and_not_processed() {
    let server = Server::start().await;
    let message = person(1);
    let first = server.post("Bundle", message.json().to_string()).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let location = first.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(server.get(&location).await.json, message.json());
    assert_eq!(server.find("Patient").await.len(), 0);

    assert_eq!(server.post("Bundle", message.json().to_string()).await.status, StatusCode::CREATED);
    assert_eq!(server.total(LIST).await, 1);
    let other = MessageBuilder { id: "other".into(), ..message.clone() };
    assert_eq!(server.post("Bundle", other.json().to_string()).await.status, StatusCode::CONFLICT);

    server.accept(&message).await;
    assert_eq!(server.find("Patient").await.len(), 1);
    assert_eq!(server.total(LIST).await, 1);
}

async fn somebody_waits(server: &Server) {
    let until = Instant::now() + Duration::from_secs(20);
    while !server.metrics.encode().contains("stoker_mailbox_waiting_readers{} 1") {
        assert!(Instant::now() < until, "nobody waits: {}", server.metrics.encode());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_waiting_reader_hears_at_once() {
    let server = std::sync::Arc::new(Server::start().await);
    let waiting = {
        let server = std::sync::Arc::clone(&server);
        tokio::spawn(async move {
            let page = server.get(&format!("{LIST}&_offset=0&_wait=20")).await.json;
            (Instant::now(), page)
        })
    };
    somebody_waits(&server).await;
    server.accept(&person(1)).await;
    let accepted = Instant::now();
    let (heard, page) = waiting.await.unwrap();
    assert_eq!(page["total"], 1);
    assert!(heard.saturating_duration_since(accepted) < Duration::from_secs(1));

    let asked = Instant::now();
    assert_eq!(server.get(&format!("{LIST}&_offset=1&_wait=1")).await.json["total"], 1);
    assert!(asked.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_waiting_reader_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let waiting = tokio::spawn(server.request(&format!("{LIST}&_wait=60")).send());
    somebody_waits(&server).await;
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_a_log_cannot_be_asked_is_refused_with_words() {
    let server = Server::start().await;
    for search in
        ["event=x", "sender=x", "_lastUpdated=yesterday", "_lastUpdated=ne2020", "_offset=-1", "_id=x&event=y"]
    {
        let reply = server.get(&format!("Bundle?{search}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{search}");
        assert_eq!(reply.json["resourceType"], "OperationOutcome");
    }
    assert_eq!(server.get("Bundle/none").await.status, StatusCode::NOT_FOUND);
}
