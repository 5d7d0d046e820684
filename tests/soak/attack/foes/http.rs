//! Attacks on the daemon's HTTP, written byte by byte: no client would send most of it.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::super::ask::ask;
use super::super::load::connect;
use super::mllp::KEPT;
use super::{Foes, Tally, address, inputs};

/// Bundles that a mailbox can only take apart with much work.
pub fn bundles(tasks: &mut JoinSet<()>, attack: &'static str, foes: &Foes, tally: &Tally) {
    for n in 0..2 {
        let (foes, tally) = (foes.clone(), tally.clone());
        tasks.spawn(async move {
            let mut ticks = interval(Duration::from_secs(60));
            for turn in 0.. {
                ticks.tick().await;
                let body = inputs::bundle(foes.round << 24 | turn << 8 | n, 40_000);
                let status = post(&foes, 20 + n as u8, "/fhir/$process-message", "", &body).await;
                if status.starts_with('2') {
                    tally.add(attack, KEPT, body.len() as u64);
                }
                tally.add(attack, status, 1);
            }
        });
    }
}

async fn post(foes: &Foes, from: u8, path: &str, headers: &str, body: &str) -> String {
    let host = foes.http;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/fhir+json\r\n\
         {headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    ask(address(from), host, &(head + body)).await
}

async fn get(foes: &Foes, from: u8, host: &str, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    ask(address(from), foes.http, &request).await
}

/// Searches that ask for very much, or for one thing twice.
pub async fn searches(attack: &'static str, foes: Foes, tally: Tally) {
    let mut identifiers = String::from("identifier=");
    (0..3_000).for_each(|n| write!(identifiers, "{}urn:a%7C{n}", if n > 0 { "," } else { "" }).unwrap());
    let (host, form) = (foes.http.to_string(), "Content-Type: application/x-www-form-urlencoded\r\n");
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let many = get(&foes, 40, &host, &format!("/fhir/Encounter?{identifiers}"), "").await;
        tally.add(attack, format!("3,000 identifiers: {many}"), 1);
        let length = identifiers.len();
        let request = format!(
            "POST /fhir/Patient/_search HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{form}Content-Length: {length}\r\n\r\n"
        );
        let many = ask(address(40), foes.http, &(request + &identifiers)).await;
        tally.add(attack, format!("3,000 identifiers: {many}"), 1);
        let twice = "/fhir/Bundle?message.destination-uri=urn:a&message:MessageHeader.destination-uri=urn:b&_count=1";
        let twice = get(&foes, 40, &host, twice, "").await;
        tally.add(attack, format!("a destination twice: {twice}"), 1);
        let twice = format!("/fhir/Patient?{}", vec!["_id=1"; 1_000].join("&"));
        let twice = get(&foes, 40, &host, &twice, "").await;
        tally.add(attack, format!("_id 1,000 times: {twice}"), 1);
    }
}

/// Orders to the queue by who has no secret: straight, and as a proxy of this machine passes them on.
pub async fn orders(attack: &'static str, foes: Foes, tally: Tally) {
    let host = foes.http.to_string();
    let order = serde_json::json!({"pause": true, "journal": foes.journal, "who": "foe", "reason": null}).to_string();
    let mut ticks = interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        for headers in ["", "Authorization: Bearer guessed\r\n", "X-Real-IP: 192.0.2.1\r\n"] {
            let status = get(&foes, 41, &host, "/admin/queue", headers).await;
            tally.add(attack, format!("look: {status}"), 1);
            let request = format!(
                "POST /admin/queue/delivery HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{order}",
                order.len()
            );
            let status = ask(address(41), foes.http, &request).await;
            tally.add(attack, format!("order: {status}"), 1);
        }
    }
}

/// What a browser sends for a page that was loaded elsewhere, or for a name that was made to mean this machine.
pub async fn foreign(attack: &'static str, foes: Foes, tally: Tally) {
    let own = foes.http.to_string();
    let rebound = format!("rebound.example:{}", foes.http.port());
    let origin = "Origin: https://foe.example\r\n";
    let mut ticks = interval(Duration::from_secs(2));
    for turn in 0.. {
        ticks.tick().await;
        for path in ["/fhir/Patient?_count=1", "/fhir/Bundle?_count=1", "/admin/queue"] {
            let status = get(&foes, 42, &rebound, path, "").await;
            tally.add(attack, format!("Host {path}: {status}"), 1);
        }
        let status = get(&foes, 42, &own, "/fhir/Patient?_count=1", origin).await;
        tally.add(attack, format!("Origin, reading: {status}"), 1);
        let body = inputs::bundle(1 << 31 | foes.round << 24 | turn, 1);
        let status = post(&foes, 42, "/fhir/$process-message", origin, &body).await;
        tally.add(attack, format!("Origin, sending: {status}"), 1);
    }
}

/// Connections on which nothing more comes; each is made again when it was closed.
pub fn idle(tasks: &mut JoinSet<()>, attack: &'static str, foes: &Foes, tally: &Tally) {
    const SAID: [&str; 3] = [
        "",
        "GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\nX-Half: ",
        "POST /fhir/$process-message HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n\
         Content-Length: 1000000\r\n\r\n{\"resourceType\":",
    ];
    for n in 0..520_usize {
        let (foes, tally) = (foes.clone(), tally.clone());
        tasks.spawn(async move {
            loop {
                if let Ok(mut stream) = connect(Some(address(24 + (n / 3 % 4) as u8)), foes.http).await {
                    tally.add(attack, "connected", 1);
                    stream.write_all(SAID[n % 3].as_bytes()).await.ok();
                    while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                    tally.add(attack, "closed", 1);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
}

/// Readers of large pages that take a kilobyte at a time.
pub fn pages(tasks: &mut JoinSet<()>, attack: &'static str, foes: &Foes, tally: &Tally) {
    for n in 0..6 {
        let (foes, tally) = (foes.clone(), tally.clone());
        tasks.spawn(async move {
            sleep(UNTIL_THERE_IS_A_PAGE).await;
            loop {
                read_slowly(attack, &foes, &tally, address(50 + n)).await.ok();
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
}

/// Two messages for each good one, at 200 a second.
const UNTIL_THERE_IS_A_PAGE: Duration = Duration::from_secs(10);

async fn read_slowly(attack: &'static str, foes: &Foes, tally: &Tally, from: IpAddr) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(foes.http).await?;
    let host = foes.http;
    let request = format!("GET /fhir/Bundle?_count=1000 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    tally.add(attack, "pages asked for", 1);
    loop {
        let read = stream.read(&mut [0; 1024]).await?;
        if read == 0 {
            return Ok(());
        }
        tally.add(attack, "bytes read", read as u64);
        sleep(Duration::from_millis(100)).await;
    }
}
