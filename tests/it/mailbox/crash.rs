//! `kill -9` at random points under load: no half-applied message, every answered message applied, every duplicate
//! answered alike.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::build::{MessageBuilder, admin};

const MESSAGES: usize = 240;
const SENDERS: usize = 6;
const KILLS: usize = 5;

/// `stoker mailbox` on a port and a database of its own.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    async fn start(folder: &Path, port: u16) -> Self {
        let config = folder.join("config.toml");
        let text = format!(
            "[mailbox]\nbind = \"127.0.0.1:{port}\"\ndata = \"{}\"\n[log]\nlevel = \"error\"\n",
            folder.join("mailbox.db").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
        let child = command.args(["mailbox", "--config"]).arg(&config).stdout(Stdio::null()).spawn().unwrap();
        let process = Self { child, base: format!("http://127.0.0.1:{port}/fhir") };
        for _ in 0..500 {
            if reqwest::get(format!("{}/metadata", process.base)).await.is_ok() {
                return process;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the mailbox did not start");
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let text = reqwest::get(format!("{}/{path}", self.base)).await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn total(&self, search: &str) -> usize {
        usize::try_from(self.get(&format!("{search}_summary=count")).await["total"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill() {
            eprintln!("the mailbox was gone already: {error}");
        }
    }
}

/// A patient of its own with a visit and two conditions: four resources that stand or fall together.
fn admission(n: usize) -> MessageBuilder {
    let (person, visit) = (n.to_string(), format!("V{n}"));
    let message = admin("A01").patient(&person, json!({"gender": "female"})).visit(&visit, &person, json!({}));
    message.condition(&visit, &person, "I10").condition(&visit, &person, "E11")
}

/// Posts until there is an answer; 503 and a dead mailbox are waited out.
async fn post(client: &reqwest::Client, base: &str, body: &str) -> String {
    loop {
        let request = client.post(format!("{base}/$process-message")).header("content-type", "application/fhir+json");
        match request.body(body.to_owned()).send().await {
            Ok(reply) if reply.status().is_success() => {
                if let Ok(text) = reply.text().await {
                    return text;
                }
            }
            Ok(reply) => assert!(reply.status().is_server_error(), "{}", reply.status()),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_that_is_killed_again_and_again_loses_nothing_and_repeats_itself() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut mailbox = Process::start(folder.path(), port).await;
    let messages: Arc<Vec<String>> = Arc::new((0..MESSAGES).map(|n| admission(n).json().to_string()).collect());
    let answers: Arc<Mutex<HashMap<usize, String>>> = Arc::default();

    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (messages, answers, base) = (Arc::clone(&messages), Arc::clone(&answers), mailbox.base.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                for n in (sender..MESSAGES).step_by(SENDERS) {
                    let answer = post(&client, &base, &messages[n]).await;
                    answers.lock().unwrap().insert(n, answer);
                }
            })
        })
        .collect();
    for kill in 0..KILLS {
        // As many answers later than the last time, plus an odd moment: somewhere between a read and a commit.
        let enough = (kill + 1) * MESSAGES / (KILLS + 2);
        while answers.lock().unwrap().len() < enough {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(700 * kill as u64)).await;
        mailbox.kill();
        let answered: Vec<usize> = answers.lock().unwrap().keys().copied().collect();
        mailbox = Process::start(folder.path(), port).await;
        for n in answered.into_iter().take(40) {
            assert_eq!(mailbox.total(&format!("Encounter?identifier=urn:visit|V{n}&")).await, 1, "message {n}");
        }
    }
    for sender in senders {
        sender.await.unwrap();
    }

    assert_eq!(mailbox.total("Patient?").await, MESSAGES);
    assert_eq!(mailbox.total("Encounter?").await, MESSAGES);
    assert_eq!(mailbox.total("Condition?").await, 2 * MESSAGES);
    assert_eq!(mailbox.total("Bundle?message.destination-uri=urn:mailbox:one&").await, MESSAGES);
    let client = reqwest::Client::new();
    let answers = answers.lock().unwrap().clone();
    for (n, answer) in answers {
        assert_eq!(post(&client, &mailbox.base, &messages[n]).await, answer, "message {n}");
        let visit = &mailbox.get(&format!("Encounter?identifier=urn:visit|V{n}")).await["entry"][0]["resource"];
        assert_eq!(visit["meta"]["versionId"], "1", "message {n}");
    }
}
