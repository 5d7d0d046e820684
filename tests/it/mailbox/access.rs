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
    TokenConfig { name: name.into(), sha256: hash, scopes: owned(scopes), destinations: destinations.map(owned) }
}

async fn guarded() -> Server {
    Server::with(|config| {
        config.auth.tokens = vec![
            token("sender", &["process-message", "publish"], None),
            token("reader", &["system/Encounter.read", "system/Patient.rs"], None),
            token("receiver", &["system/Bundle.read"], Some(&["urn:mailbox:one"])),
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
    for path in ["Bundle?message.destination-uri=urn:hospital:his", "Bundle", "Bundle?identifier=x", "Bundle/x"] {
        assert_eq!(server.as_who("receiver", path).await, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(server.as_who("all", "Bundle").await, StatusCode::OK);
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
