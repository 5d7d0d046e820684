//! `/health/live` and `/health/ready`: whether the daemon would acknowledge a message, and the reasons.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stoker::mllp::client::Client;

use crate::process::{self, Daemon};
use crate::receiver::{Receiver, Reply, response};

const PATIENCE: Duration = Duration::from_secs(30);

async fn ask(daemon: &Daemon, path: &str) -> (u16, Value) {
    let response = process::http().get(format!("http://{}{path}", daemon.http)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// What `list` of a readiness is about.
fn about(ready: &Value, list: &str) -> Vec<String> {
    ready[list].as_array().unwrap().iter().map(|reason| reason["what"].as_str().unwrap().to_owned()).collect()
}

const MESSAGE: &[u8] =
    b"MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A01|C1|P|2.5\rEVN||20260301080000+0100\r\
    PID|1||P1^^^NORD^MR||Doe^Jane\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V1^^^NORD^VN\r";

#[tokio::test]
async fn a_daemon_that_would_acknowledge_is_ready_and_live() {
    let daemon = Daemon::start("");
    let ready = json!({"status": "ready", "reasons": [], "warnings": []});
    let until = Instant::now() + PATIENCE; // its ports are bound before anything is received there
    while ask(&daemon, "/health/ready").await.0 != 200 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&daemon, "/health/ready").await, (200, ready.clone()));
    assert_eq!(ask(&daemon, "/health").await, (200, ready));
    assert_eq!(ask(&daemon, "/health/live").await, (200, json!({"status": "live"})));
}

#[tokio::test]
async fn without_room_on_the_disk_it_is_live_and_not_ready_and_acknowledges_nothing() {
    let mut daemon = Daemon::start_with("", "", "transient = \"AE\"");
    daemon.reconfigure("journal", "min_free = \"1000000GiB\"");
    let (status, ready) = ask(&daemon, "/health/ready").await;
    assert_eq!((status, &ready["status"]), (503, &json!("not ready")));
    assert_eq!(about(&ready, "reasons"), ["disk"]);
    assert!(ready["reasons"][0]["why"].as_str().unwrap().contains("journal.min_free"), "{ready}");
    assert_eq!(ask(&daemon, "/health").await.0, 503);
    assert_eq!(ask(&daemon, "/health/live").await.0, 200);
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(!client.send(MESSAGE).await.unwrap().unwrap().is_positive());
}

#[tokio::test]
async fn a_destination_that_is_down_is_a_warning_that_says_nothing_of_a_message() {
    let receiver = Receiver::start(|_| Reply::Status(503, "Doe^Jane".into())).await;
    let daemon = Daemon::start(&format!("[destination]\nurl = \"{}\"", receiver.url()));
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(client.send(MESSAGE).await.unwrap().unwrap().is_positive());
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, ready) = ask(&daemon, "/health/ready").await;
        assert_eq!((status, about(&ready, "reasons")), (200, vec![]), "{ready}");
        if about(&ready, "warnings") == ["destination"] {
            assert!(!ready.to_string().contains("Doe"), "{ready}");
            return;
        }
        assert!(Instant::now() < until, "{ready}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stopping_is_not_ready_and_says_which_listeners_are_closed() {
    let slow = Receiver::start_slow(Duration::from_secs(6), |_, _| Reply::Status(200, response("ok", "informational")));
    let receiver = slow.await;
    let mut daemon = Daemon::start(&format!("[destination]\nurl = \"{}\"", receiver.url()));
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(client.send(MESSAGE).await.unwrap().unwrap().is_positive());
    drop(client);
    let until = Instant::now() + PATIENCE;
    while receiver.requests().is_empty() {
        assert!(Instant::now() < until, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let http = daemon.http;
    let asking = tokio::spawn(async move {
        let mut last = (0, Value::Null);
        while let Ok(response) = process::http().get(format!("http://{http}/health/ready")).send().await {
            last = (response.status().as_u16(), response.json().await.unwrap());
        }
        last
    });
    let code = tokio::task::spawn_blocking(move || daemon.terminate()).await.unwrap();
    let (status, ready) = asking.await.unwrap();
    assert_eq!(
        (code, status, about(&ready, "reasons")),
        (Some(0), 503, vec!["process".into(), "listener".into()]),
        "{ready}"
    );
}

#[tokio::test]
async fn a_journal_whose_file_is_gone_is_not_ready() {
    let daemon = Daemon::start("");
    std::fs::remove_file(daemon.file("journal.db")).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let (status, ready) = ask(&daemon, "/health/ready").await;
        if status == 503 {
            assert!(about(&ready, "reasons").contains(&"journal".to_owned()), "{ready}");
            return;
        }
        assert!(Instant::now() < until, "{ready}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
