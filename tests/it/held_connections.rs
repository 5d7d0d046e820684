//! Peers that open HTTP connections and keep them: silent, in the midst of a request, or not reading what they asked for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use stoker::http::limits::Timeouts;
use stoker::mllp::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mailbox::Server;
use crate::mailbox::build::admin;
use crate::process::{self, Daemon, stoker, text};

/// More than a daemon has places for.
const HELD: usize = 520;

const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that have sent so much of a request and send no more.
async fn hold(to: SocketAddr, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // One that was closed for a later one is as good as held.
        stream.write_all(sent).await.ok();
        held.push(stream);
    }
    held
}

fn message(patient: usize) -> Vec<u8> {
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A01|C{patient}|P|2.5\rEVN||20260301080000+0100\r\
         PID|1||P{patient}^^^NORD^MR||Doe^Jane\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V{patient}^^^NORD^VN\r"
    )
    .into_bytes()
}

async fn status(url: &str) -> Result<u16, String> {
    let asked = process::http().get(url).timeout(Duration::from_secs(10)).send().await;
    asked.map(|response| response.status().as_u16()).map_err(|error| error.to_string())
}

/// What a daemon has to do whoever holds its connections.
async fn goes_on(daemon: &Daemon, patient: usize, what: &str) {
    for path in ["health", "health/live", "health/ready", "metrics"] {
        let url = format!("http://{}/{path}", daemon.http);
        assert_eq!(status(&url).await, Ok(200), "{path}, {what}: {}", daemon.log());
    }
    let config = daemon.file("config.toml");
    let asked = tokio::task::spawn_blocking(move || stoker(&["queue", "--config", &config])).await.unwrap();
    let asked = text(&asked.stdout);
    assert!(asked.contains("the destination takes messages"), "{what}: {asked}");
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(client.send(&message(patient)).await.unwrap().unwrap().is_positive());
    delivered(daemon, patient, what).await;
}

async fn delivered(daemon: &Daemon, patient: usize, what: &str) {
    let (config, id, until) = (daemon.file("config.toml"), format!("C{patient}"), Instant::now() + PATIENCE);
    loop {
        let args = ["queue", "list", "--json", "--status", "delivered", "--control-id", &id, "--config", &config];
        let listed = text(&stoker(&args).stdout);
        if listed.contains(&id) {
            return;
        }
        assert!(Instant::now() < until, "{what}: {listed}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_connections_stops_neither_health_nor_admin_nor_deliveries() {
    let daemon = Daemon::start("");
    let half_body = "POST /fhir/$process-message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{";
    let kinds = [("silent", ""), ("half a header", "GET /health HTTP/1.1\r\nHos"), ("half a body", half_body)];
    let mut held = Vec::new();
    for (patient, (what, sent)) in kinds.into_iter().enumerate() {
        held.push(hold(daemon.http, HELD, sent.as_bytes()).await);
        goes_on(&daemon, patient, what).await;
    }
    let metrics =
        process::http().get(format!("http://{}/metrics", daemon.http)).send().await.unwrap().text().await.unwrap();
    let closed = process::lines_with(&metrics, &["stoker_http_connections_closed_total{why=\"displaced\"}"]).join("");
    assert!(closed.rsplit(' ').next().is_some_and(|count| count.parse::<usize>().unwrap() > HELD), "{metrics}");
    assert!(process::lines_with(&daemon.log(), &["connections are used up"]).len() <= 2, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_every_connection_is_a_long_poll_health_admin_and_deliveries_go_on_and_no_poll_is_cut() {
    let daemon = Daemon::start_with("", "max_connections = 40\nmax_connections_per_peer = 20", "");
    let poll = "GET /fhir/Bundle?message.destination-uri=urn:x&_wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let polls = hold(daemon.http, 20, poll.as_bytes()).await;
    let until = Instant::now() + PATIENCE;
    while status(&format!("{}/metadata", daemon.base())).await != Ok(503) {
        assert!(Instant::now() < until, "the polls do not hold their places");
    }
    goes_on(&daemon, 7, "long polls").await;
    for poll in &polls {
        let cut = poll.try_read(&mut [0; 16]);
        assert!(cut.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock), "{cut:?}");
    }
}

fn quick() -> Timeouts {
    let short = Duration::from_secs(1);
    Timeouts { header: short, body: short * 3, stall: short, answer: short * 60, idle: short }
}

async fn impatient() -> (Server, SocketAddr) {
    let server = Server::with(|config| (config.timeouts, config.body_limit) = (quick(), 16 << 20)).await;
    let address = server.base.trim_start_matches("http://").trim_end_matches("/fhir").parse().unwrap();
    (server, address)
}

/// Everything that comes until the other side closes.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got)).await {
        Ok(_) => got,
        Err(_) => panic!("it was not closed within {PATIENCE:?}"),
    }
}

#[tokio::test]
async fn who_keeps_the_mailbox_waiting_is_cut_off() {
    let (_server, address) = impatient().await;
    let post = "POST /fhir/$process-message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{";
    for sent in ["", "GET /fhir/metadata HTTP/1.1\r\nHost: loc", post] {
        let mut stream = hold(address, 1, sent.as_bytes()).await.remove(0);
        assert!(until_closed(&mut stream).await.is_empty(), "{sent}");
    }
    let mut idle = hold(address, 1, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.remove(0);
    assert!(until_closed(&mut idle).await.starts_with(b"HTTP/1.1 200"), "an idle one has its answer first");
}

#[tokio::test]
async fn a_body_that_comes_in_drops_has_an_end_too() {
    let (_server, address) = impatient().await;
    let post = "POST /fhir/$process-message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    let stream = hold(address, 1, post.as_bytes()).await.remove(0);
    let (mut reading, mut writing) = stream.into_split();
    let dripping = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let began = Instant::now();
    tokio::time::timeout(PATIENCE, reading.read(&mut [0; 16])).await.expect("it is cut").ok();
    assert!(began.elapsed() > Duration::from_secs(2), "each byte counts for a while: {:?}", began.elapsed());
    dripping.abort();
}

#[tokio::test]
async fn a_long_poll_waits_longer_than_any_peer_may_and_gets_its_message() {
    let (server, _) = impatient().await;
    let asked = server.request("Bundle?message.destination-uri=urn:mailbox:one&_wait=20").send();
    let answered = tokio::spawn(asked);
    tokio::time::sleep(quick().idle * 3).await;
    server.accept(&admin("A01").patient("1", json!({})).visit("V1", "1", json!({}))).await;
    let page = answered.await.unwrap().unwrap().text().await.unwrap();
    assert!(page.contains("MessageHeader"), "{page}");
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_cut_off_and_a_slow_reader_gets_all_of_it() {
    let (server, address) = impatient().await;
    // A page has one message at least, however long.
    let patient = json!({"name": [{"family": "x".repeat(12 << 20)}]});
    server.accept(&admin("A01").patient("1", patient).visit("V1", "1", json!({}))).await;
    let whole = server.get("Bundle?message.destination-uri=urn:mailbox:one&_count=1").await.text.len();
    assert!(whole > 8 << 20, "more than the system takes for a peer: {whole}");
    let get = "GET /fhir/Bundle?message.destination-uri=urn:mailbox:one&_count=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut silent = hold(address, 1, get.as_bytes()).await.remove(0);
    let mut slow = hold(address, 1, get.as_bytes()).await.remove(0);
    let until = Instant::now() + quick().stall * 4;
    let (mut got, mut buffer) = (0, vec![0; 256 << 10]);
    while Instant::now() < until {
        got += slow.read(&mut buffer).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    got += until_closed(&mut slow).await.len();
    assert!(got >= whole, "it got {got} bytes of {whole}");
    let taken = until_closed(&mut silent).await.len();
    assert!(taken < whole, "all {taken} bytes were kept for it");
}
