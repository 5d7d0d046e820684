//! Proxies: those that the environment names are never followed, the one that the configuration names is.

use std::time::{Duration, Instant};

use serde_json::json;
use stoker::mllp::client::Client;

use crate::mailbox::build::admin;
use crate::process::{self, Daemon, stoker_in, text};
use crate::receiver::{Receiver, Reply, response};

const MESSAGE: &str = "MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A01|C1|P|2.5\rEVN||20260301080000+0100\r\
    PID|1||P1^^^NORD^MR||Doe^Jane\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V1^^^NORD^VN\r";

async fn taking() -> Receiver {
    Receiver::start(|_| Reply::Status(200, response("ok", "informational"))).await
}

/// An environment in which everything is to go through `proxy`.
fn environment(proxy: &Receiver) -> Vec<(String, String)> {
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let all = names.iter().map(|name| ((*name).to_owned(), format!("http://{}", proxy.address)));
    all.chain([("no_proxy".to_owned(), String::new()), ("NO_PROXY".to_owned(), String::new())]).collect()
}

async fn until(what: &str, daemon: &Daemon, done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < until, "{what}: {}", daemon.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn send(daemon: &Daemon) {
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(client.send(MESSAGE.as_bytes()).await.unwrap().unwrap().is_positive());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_to_a_proxy_that_the_environment_names() {
    let (trap, destination, answers) = (taking().await, taking().await, taking().await);
    let environment = environment(&trap);
    let more = format!("[destination]\nurl = \"{}\"", destination.url());
    let daemon = Daemon::start_in(environment.clone(), &more, "", "");
    send(&daemon).await;
    until("a delivery", &daemon, || !destination.requests().is_empty()).await;

    let config = daemon.file("config.toml");
    let run = async |args: &[&str]| {
        let (environment, args) = (environment.clone(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
        let asked = tokio::task::spawn_blocking(move || {
            stoker_in(&environment, &args.iter().map(String::as_str).collect::<Vec<_>>())
        });
        asked.await.unwrap()
    };
    for args in [["queue", "pause", "--config", &config], ["queue", "resume", "--config", &config]] {
        let out = run(&args).await;
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    }
    let state = daemon.file("poll.state");
    let polled = run(&["poll", &daemon.base(), "--destination", "urn:x", "--state", &state]).await;
    assert!(polled.status.success(), "{}", text(&polled.stderr));
    let (file, state) = (daemon.file("one.hl7"), daemon.file("replay.state"));
    std::fs::write(&file, MESSAGE.replace("C1", "C2")).unwrap();
    let replayed = run(&["replay", &file, "--to", &destination.url(), "--state", &state, "--config", &config]).await;
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));

    let mut mailbox = Daemon::start_in(environment.clone(), "", "", "");
    mailbox.reconfigure("mailbox", "response_hosts = [\"127.0.0.1\"]");
    let message = admin("A01").patient("1", json!({})).visit("V1", "1", json!({})).json().to_string();
    let url = format!("{}/$process-message?async=true&response-url={}", mailbox.base(), answers.url());
    let post = process::http().post(url).header("content-type", "application/fhir+json").body(message);
    assert_eq!(post.send().await.unwrap().status(), 202);
    until("an answer to a response-url", &mailbox, || !answers.requests().is_empty()).await;

    let demo = run(&["demo"]).await;
    assert!(demo.status.success(), "{}{}", text(&demo.stdout), text(&demo.stderr));
    assert_eq!(trap.connections(), 0, "{:?}", trap.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_is_reached_through_the_proxy_that_it_names() {
    let proxy = taking().await;
    let more = "[destination]\nurl = \"http://hub.invalid/fhir/$process-message\"\nproxy = \"http://";
    let daemon = Daemon::start(&format!("{more}{}\"", proxy.address));
    send(&daemon).await;
    until("a delivery", &daemon, || !proxy.requests().is_empty()).await;
    let head = proxy.requests().remove(0).head;
    assert!(head.starts_with("post http://hub.invalid/fhir/$process-message "), "{head}");
}
