//! The mailbox over real HTTP, on a port and a database of the test's own.

mod access;
pub mod build;
mod crash;
mod door;
mod events;
mod log;
mod model;
mod persons;
mod poll;
mod processing;
mod reliable;
mod rest;
mod statement;
mod visits;

use std::net::SocketAddr;

use build::MessageBuilder;
use reqwest::StatusCode;
use serde_json::Value;
use stoker::mailbox::{Mailbox, MailboxConfig};
use stoker::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running mailbox.
pub struct Server {
    pub base: String,
    client: reqwest::Client,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
    pub metrics: Metrics,
    /// Removed last.
    pub folder: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut MailboxConfig)) -> Self {
        Self::reopen(tempfile::tempdir().unwrap(), change).await
    }

    /// Serves the database that is in `folder`.
    pub async fn reopen(folder: tempfile::TempDir, change: impl FnOnce(&mut MailboxConfig)) -> Self {
        let mut config = MailboxConfig { data: folder.path().join("mailbox.db"), ..MailboxConfig::default() };
        config.bind.set_port(0);
        change(&mut config);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], config.bind.port()))).await.unwrap();
        let base = format!("http://{}/fhir", listener.local_addr().unwrap());
        let mailbox = Mailbox::open(&config).unwrap();
        let metrics = Metrics::new();
        mailbox.observe(&metrics);
        // Err only says that another test installed it already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let stop = CancellationToken::new();
        let task = tokio::spawn(stoker::mailbox::serve(listener, mailbox, stop.clone()));
        Self { base, client: reqwest::Client::new(), stop, task, metrics, folder }
    }

    /// A mailbox that is part of something else, at `base`.
    pub fn over(
        base: String,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<std::io::Result<()>>,
        folder: tempfile::TempDir,
    ) -> Self {
        Self { base, client: reqwest::Client::new(), stop, task, metrics: Metrics::new(), folder }
    }

    pub async fn stop(self) -> tempfile::TempDir {
        drop(self.client);
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.folder
    }

    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        let request = self.client.post(format!("{}/{path}", self.base)).header("content-type", "application/fhir+json");
        Reply::of(request.body(body).send().await.unwrap()).await
    }

    pub async fn send(&self, message: &MessageBuilder) -> Reply {
        self.post("$process-message", message.json().to_string()).await
    }

    /// Sends a message that must be accepted.
    pub async fn accept(&self, message: &MessageBuilder) -> Reply {
        let reply = self.send(message).await;
        assert_eq!(reply.code(), "ok", "{}", reply.text);
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/{path}", self.base) };
        Reply::of(self.client.get(url).send().await.unwrap()).await
    }

    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}/{path}", self.base))
    }

    /// The resources that a search matches.
    pub async fn find(&self, search: &str) -> Vec<Value> {
        let reply = self.get(search).await;
        assert_eq!(reply.status, StatusCode::OK, "{search}: {}", reply.text);
        let entries = reply.json["entry"].as_array().cloned().unwrap_or_default();
        entries.into_iter().filter(|e| e["search"]["mode"] == "match").map(|e| e["resource"].clone()).collect()
    }

    /// The one resource that a search matches.
    pub async fn one(&self, search: &str) -> Value {
        let mut found = self.find(search).await;
        assert_eq!(found.len(), 1, "{search}: {found:#?}");
        found.remove(0)
    }

    pub async fn patient(&self, number: &str) -> Value {
        self.one(&format!("Patient?identifier=urn:mrn|{number}")).await
    }

    pub async fn visit(&self, number: &str) -> Value {
        self.one(&format!("Encounter?identifier=urn:visit|{number}")).await
    }
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Reply {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, text, json }
    }

    /// `MessageHeader.response.code` of a response Bundle.
    pub fn code(&self) -> &str {
        self.json["entry"][0]["resource"]["response"]["code"].as_str().unwrap_or("none")
    }

    /// The issues, whether the answer is a response Bundle or a bare OperationOutcome.
    pub fn issues(&self) -> Vec<Value> {
        let outcome =
            if self.json["resourceType"] == "Bundle" { &self.json["entry"][1]["resource"] } else { &self.json };
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{}", self.text);
        outcome["issue"].as_array().unwrap().clone()
    }

    pub fn has_issue(&self, severity: &str, code: &str) -> bool {
        self.issues().iter().any(|issue| issue["severity"] == severity && issue["code"] == code)
    }
}
