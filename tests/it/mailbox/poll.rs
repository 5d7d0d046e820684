//! `stoker poll` as a process of its own: what it prints, remembers, and survives.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::Server;
use super::build::{MessageBuilder, admin};

fn person(number: usize) -> MessageBuilder {
    admin("A28").patient(&number.to_string(), json!({}))
}

fn poll(server: &Server, folder: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
    command.args(["poll", &server.base, "--destination", "urn:mailbox:one"]).args(more).current_dir(folder);
    command
}

/// Runs to the end, off the threads of the test's runtime, which serve the mailbox.
async fn finished(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn ids(ndjson: &[u8]) -> Vec<String> {
    let lines = std::str::from_utf8(ndjson).unwrap().lines();
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

fn sent(messages: &[MessageBuilder]) -> Vec<String> {
    messages.iter().map(|message| message.bundle_id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_goes_on_where_the_last_one_ended() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let messages: Vec<_> = (0..7).map(person).collect();
    for message in &messages[..5] {
        server.accept(message).await;
    }
    let first = finished(poll(&server, folder.path(), &["--count", "2"])).await;
    assert!(first.status.success(), "{first:?}");
    assert_eq!(ids(&first.stdout), sent(&messages[..5]));
    for message in &messages[5..] {
        server.accept(message).await;
    }
    assert_eq!(ids(&finished(poll(&server, folder.path(), &[])).await.stdout), sent(&messages[5..]));
    assert_eq!(ids(&finished(poll(&server, folder.path(), &[])).await.stdout), Vec::<String>::new());
    let again = finished(poll(&server, folder.path(), &["--offset", "3"])).await;
    assert_eq!(ids(&again.stdout), sent(&messages[3..]));
}

async fn until_lines(path: &Path, count: usize) {
    for _ in 0..500 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{count} messages did not come within ten seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_survives_the_mailbox_and_itself() {
    let (mut server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let port: u16 = server.base.trim_end_matches("/fhir").rsplit(':').next().unwrap().parse().unwrap();
    let output = folder.path().join("messages.ndjson");
    let options = ["--follow", "--output", "messages.ndjson", "--count", "3"];
    let start = |server: &Server| poll(server, folder.path(), &options).stderr(Stdio::null()).spawn().unwrap();
    let messages: Vec<_> = (0..30).map(person).collect();
    let mut follower = start(&server);
    for (n, message) in messages.iter().enumerate() {
        server.accept(message).await;
        if n % 10 == 4 {
            until_lines(&output, n).await;
            follower.kill().unwrap();
            follower.wait().unwrap();
            follower = start(&server);
        }
        if n % 10 == 9 {
            let data = server.stop().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            server = Server::reopen(data, |config| config.bind.set_port(port)).await;
        }
    }
    until_lines(&output, 30).await;
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(ids(&std::fs::read(&output).unwrap()), sent(&messages));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_go_on_says_why() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    server.accept(&person(1)).await;
    let beyond = finished(poll(&server, folder.path(), &["--offset", "9"])).await;
    assert_eq!(beyond.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&beyond.stderr).contains("the list holds 1"), "{beyond:?}");
    finished(poll(&server, folder.path(), &[])).await;
    let other = finished(poll(&server, folder.path(), &["--event", "admin-notify"])).await;
    assert!(String::from_utf8_lossy(&other.stderr).contains("--state"), "{other:?}");
    let nobody = finished({
        let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
        command
            .args(["poll", "http://127.0.0.1:1/fhir", "--destination", "x", "--offset", "0"])
            .current_dir(folder.path());
        command
    })
    .await;
    assert_eq!(nobody.status.code(), Some(2));
}
