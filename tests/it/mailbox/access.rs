//! Who is let in: tokens, scopes, and TLS.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use sha2::{Digest, Sha256};
use stoker::http::auth::TokenConfig;
use stoker::http::listener::TlsConfig;
use stoker::mailbox::{Mailbox, MailboxConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::build::admin;

/// A token whose secret is its name.
fn token(name: &str, scopes: &[&str], destinations: Option<&[&str]>) -> TokenConfig {
    let hash: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let owned = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    let (scopes, destinations) = (owned(scopes), destinations.map(owned));
    TokenConfig { name: name.into(), sha256: hash, scopes, destinations, sources: vec!["urn:hospital:his".into()] }
}

async fn guarded() -> Server {
    Server::with(|config| {
        config.auth.tokens = vec![
            token("sender", &["process-message", "publish"], None),
            token("reader", &["system/Encounter.read", "system/Patient.rs"], None),
            token("receiver", &["system/*.read"], Some(&["urn:mailbox:one"])),
            token("stranger", &["system/*.read"], Some(&["urn:mailbox:two", "urn:mailbox:three"])),
            token("all", &["system/*.read"], None),
        ];
    })
    .await
}

impl Server {
    async fn as_who(&self, token: &str, path: &str) -> StatusCode {
        self.request(path).bearer_auth(token).send().await.unwrap().status()
    }

    async fn post_as(&self, token: &str, path: &str) -> StatusCode {
        let message = admin("A01").patient("1", json!({})).visit("V1", "1", json!({})).json().to_string();
        let request = reqwest::Client::new().post(format!("{}/{path}", self.base)).bearer_auth(token);
        request.header("content-type", "application/fhir+json").body(message).send().await.unwrap().status()
    }
}

#[tokio::test]
async fn without_a_token_only_the_statement_is_open() {
    let server = guarded().await;
    assert_eq!(server.get("metadata").await.status, StatusCode::OK);
    for path in ["Patient", "Encounter/x", "Bundle", "Provenance?target=Patient/x", "Nothing"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(reply.json["issue"][0]["code"], "login");
        assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    assert_eq!(server.send(&admin("A01")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.as_who("wrong", "Patient").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn each_token_does_what_its_scopes_allow() {
    let server = guarded().await;
    assert_eq!(server.post_as("reader", "$process-message").await, StatusCode::FORBIDDEN);
    assert_eq!(server.post_as("sender", "$process-message").await, StatusCode::OK);
    assert_eq!(server.post_as("sender", "Bundle").await, StatusCode::CREATED);
    assert_eq!(server.as_who("sender", "Encounter").await, StatusCode::FORBIDDEN);
    assert_eq!(server.as_who("reader", "Encounter?_include=Encounter:patient").await, StatusCode::OK);
    assert_eq!(server.as_who("reader", "Encounter?_revinclude=Condition:encounter").await, StatusCode::FORBIDDEN);
    assert_eq!(server.as_who("reader", "Condition").await, StatusCode::FORBIDDEN);
    assert_eq!(server.as_who("all", "Condition").await, StatusCode::OK);
}

#[tokio::test]
async fn a_receivers_token_retrieves_what_is_addressed_to_it() {
    let server = guarded().await;
    server.post_as("sender", "$process-message").await;
    assert_eq!(server.as_who("receiver", "Bundle?message.destination-uri=urn:mailbox:one").await, StatusCode::OK);
    for path in ["Bundle?message.destination-uri=urn:hospital:his", "Bundle", "Bundle?_lastUpdated=ge2020"] {
        assert_eq!(server.as_who("receiver", path).await, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(server.as_who("all", "Bundle").await, StatusCode::OK);
}

/// A mailbox that holds one message for `urn:mailbox:one`, with a control id, and the message's Bundle id.
async fn with_a_message() -> (Server, String) {
    let server = guarded().await;
    let mut message = admin("A01").patient("1", json!({})).visit("V1", "1", json!({})).json();
    message["identifier"] = json!({"system": "urn:his", "value": "MSG00042"});
    let request = reqwest::Client::new().post(format!("{}/$process-message", server.base)).bearer_auth("sender");
    let reply = request.header("content-type", "application/fhir+json").body(message.to_string()).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    (server, message["id"].as_str().unwrap().to_owned())
}

impl Server {
    async fn text_as(&self, token: &str, path: &str) -> (StatusCode, String) {
        let reply = self.request(path).bearer_auth(token).send().await.unwrap();
        (reply.status(), reply.text().await.unwrap())
    }
}

#[tokio::test]
async fn a_message_for_others_is_not_there_whichever_way_it_is_asked_for() {
    let (server, id) = with_a_message().await;
    assert_eq!(server.as_who("receiver", &format!("Bundle/{id}")).await, StatusCode::OK);
    let absent = server.text_as("stranger", "Bundle/nothing").await;
    assert_eq!(absent.0, StatusCode::NOT_FOUND);
    assert_eq!(server.text_as("stranger", &format!("Bundle/{id}")).await, absent);

    let (one, two) = ("message.destination-uri=urn:mailbox:one", "message.destination-uri=urn:mailbox:two");
    let other = "message:MessageHeader.destination-uri=urn:mailbox:one";
    for path in [
        format!("Bundle?{one}"),
        format!("Bundle?{two}&{one}"),
        format!("Bundle?{one}&{two}"),
        format!("Bundle?{two}&{other}"),
        format!("Bundle?{two}&message%2Edestination-uri=urn:mailbox:one"),
        format!("Bundle?my-destination-uri=urn:mailbox:two&{one}"),
        "Bundle?my-destination-uri=urn:mailbox:two".to_owned(),
        format!("Bundle/{id}?my-destination-uri=urn:mailbox:two"),
        format!("Bundle/{id}?{two}"),
        format!("Bundle/{id}/?{two}"),
        format!("Bundle//{id}"),
        format!("Bundle?{one}&_id={id}"),
        format!("Bundle?{one}&_wait=1"),
        format!("Bundle?{one}&_summary=count"),
        "Bundle?_offset=0".to_owned(),
        "Bundle?message.destination-uri=&_offset=0".to_owned(),
        "Bundle?message.destination-uri=urn:mailbox:two,urn:mailbox:one".to_owned(),
    ] {
        let (status, text) = server.text_as("stranger", &path).await;
        let is_empty = status == StatusCode::OK && text.contains("\"total\":0");
        assert!(status.is_client_error() || is_empty, "{path}: {status} {text}");
        assert!(!text.contains("MSG00042"), "{path}: {text}");
    }
    for path in [format!("Bundle?_id={id}"), "Bundle?identifier=MSG00042".to_owned(), format!("Bundle?{two}&_id={id}")]
    {
        let (status, text) = server.text_as("stranger", &path).await;
        assert!(status == StatusCode::OK && text.contains("\"total\":0") && !text.contains(&id), "{path}: {text}");
        let (_, found) = server.text_as("receiver", &path.replace("two", "one")).await;
        assert!(found.contains("\"total\":1") && found.contains("MSG00042"), "{path}: {found}");
    }
}

#[tokio::test]
async fn a_next_link_leads_nobody_to_what_is_not_his() {
    let (server, _) = with_a_message().await;
    server.post_as("sender", "$process-message").await;
    let (_, page) = server.text_as("receiver", "Bundle?message.destination-uri=urn:mailbox:one&_count=1").await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let next = page["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next").unwrap();
    let path = next["url"].as_str().unwrap().strip_prefix(&format!("{}/", server.base)).unwrap();
    assert_eq!(server.as_who("receiver", path).await, StatusCode::OK);
    assert_eq!(server.as_who("stranger", path).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_answers_of_the_mailbox_are_for_those_who_sent_the_messages() {
    let server = guarded().await;
    let message = admin("A01").patient("1", json!({}));
    let request = reqwest::Client::new().post(format!("{}/$process-message", server.base)).bearer_auth("sender");
    let request = request.header("content-type", "application/fhir+json").body(message.json().to_string());
    let answer: serde_json::Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    let path = format!("Bundle?message.response-id={}", message.id);
    assert!(server.text_as("all", &path).await.1.contains(answer["id"].as_str().unwrap()));
    assert!(server.text_as("receiver", &path).await.1.contains("\"total\":0"));
}

#[tokio::test]
async fn who_is_bound_to_destinations_reads_no_resources() {
    let (server, _) = with_a_message().await;
    let patient = server.text_as("all", "Patient").await.1;
    let patient: serde_json::Value = serde_json::from_str(&patient).unwrap();
    let id = patient["entry"][0]["resource"]["id"].as_str().unwrap();
    for path in [
        "Patient".to_owned(),
        "Patient?_summary=count".to_owned(),
        format!("Patient/{id}"),
        format!("Patient/{id}/_history"),
        format!("Patient/{id}/_history/1"),
        "Encounter?_include=Encounter:patient".to_owned(),
        "Patient/$ihe-pix?sourceIdentifier=urn:mrn%7C1".to_owned(),
        format!("Provenance?target=Patient/{id}"),
        "Provenance/link-1".to_owned(),
        "Provenance/nothing".to_owned(),
        format!("Patient/{id}?message.destination-uri=urn:mailbox:one"),
    ] {
        assert_ne!(server.as_who("all", &path).await, StatusCode::FORBIDDEN, "{path}");
        let (status, text) = server.text_as("receiver", &path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        let outcome: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(outcome["issue"][0]["code"], "forbidden");
    }
    for (path, form) in [
        ("Patient/_search", "identifier=urn:mrn%7C1".to_owned()),
        ("Encounter/_search", "patient.identifier=urn:mrn%7C1".to_owned()),
        ("Provenance/_search", format!("target=Patient/{id}")),
        ("Bundle/_search", String::new()),
        ("Bundle/_search", "message.destination-uri=urn:mailbox:two".to_owned()),
    ] {
        let search = reqwest::Client::new().post(format!("{}/{path}", server.base)).bearer_auth("receiver");
        let search = search.header("content-type", "application/x-www-form-urlencoded").body(form);
        assert_eq!(search.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn what_has_one_value_is_given_once() {
    let server = Server::start().await;
    for path in [
        "Bundle?_count=1&_count=2",
        "Bundle?event=a&message.event=a&message.destination-uri=x",
        "Bundle?_id=a&identifier=b",
        "Patient?_count=1&_count=2",
        "Patient?_sort=_lastUpdated&_sort=-_lastUpdated",
        "Patient/$ihe-pix?sourceIdentifier=urn:mrn%7C1&sourceIdentifier=urn:mrn%7C2",
        "Provenance?target=Patient/1&target=Patient/2",
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(reply.text.contains("more than once"), "{path}: {}", reply.text);
    }
    let message = admin("A01").patient("1", json!({})).json().to_string();
    let reply = server.post("$process-message?async=true&async=false", message).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get("Bundle?_lastUpdated=ge2020&_lastUpdated=lt2999").await.status, StatusCode::OK);
    assert_eq!(server.get("Patient?identifier=urn:a%7C1&identifier=urn:b%7C2").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_sends_as_its_own_source_only() {
    let server = guarded().await;
    for path in ["$process-message", "Bundle", "$process-message?async=true"] {
        let mut message = admin("A01").patient("1", json!({})).json();
        message["entry"][0]["resource"]["source"]["endpoint"] = json!("urn:hospital:other");
        let request = reqwest::Client::new().post(format!("{}/{path}", server.base)).bearer_auth("sender");
        let request = request.header("content-type", "application/fhir+json").body(message.to_string());
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::FORBIDDEN, "{path}");
        let outcome: serde_json::Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        assert_eq!(
            (&outcome["resourceType"], &outcome["issue"][0]["code"]),
            (&json!("OperationOutcome"), &json!("forbidden"))
        );
        assert!(outcome["issue"][0]["diagnostics"].as_str().unwrap().contains("source"), "{outcome}");
    }
    assert!(server.text_as("all", "Bundle?_summary=count").await.1.contains("\"total\":0"));
}

#[tokio::test]
async fn nobody_is_served_off_loopback_without_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let config = MailboxConfig { data: folder.path().join("m.db"), ..MailboxConfig::default() };
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let mailbox = Mailbox::open(&config).unwrap();
    let fault = stoker::mailbox::serve(listener, mailbox, CancellationToken::new()).await.unwrap_err();
    assert!(fault.to_string().contains("open_to_the_network"), "{fault}");
}

#[tokio::test]
async fn tls_serves_those_who_trust_it_and_a_silent_client_holds_nobody_up() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files =
        TlsConfig { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem"), client_ca: None };
    std::fs::write(&files.certificate, key.cert.pem()).unwrap();
    std::fs::write(&files.key, key.signing_key.serialize_pem()).unwrap();
    let server = Server::reopen(folder, |config| config.tls = Some(files)).await;
    let address = server.base.trim_start_matches("http://").trim_end_matches("/fhir").to_owned();

    let mut silent = TcpStream::connect(&address).await.unwrap();
    silent.write_all(&[0x16]).await.unwrap();
    let trusted = reqwest::Certificate::from_pem(key.cert.pem().as_bytes()).unwrap();
    let port = address.rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/fhir/metadata");
    let client = reqwest::Client::builder().tls_certs_only([trusted]).timeout(Duration::from_secs(5)).build().unwrap();
    let reply = client.get(&url).send().await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    let statement: serde_json::Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
    assert_eq!(statement["implementation"]["url"], format!("https://localhost:{port}/fhir"));
    assert!(reqwest::Client::builder().build().unwrap().get(&url).send().await.is_err());
    drop(silent);
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_are_named() {
    let missing = |config: &mut MailboxConfig| {
        config.tls = Some(TlsConfig { certificate: "nowhere.pem".into(), key: "nowhere.key".into(), client_ca: None });
    };
    let server = Server::with(missing).await;
    let fault = server.task.await.unwrap().unwrap_err().to_string();
    assert!(fault.contains("nowhere.pem"), "{fault}");
}
