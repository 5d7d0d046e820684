//! What `stoker queue` says without being asked: which messages are held and by what, who is connected, who was refused, what
//! stands at the destination's address, and what a retry cannot do.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::process::{Daemon, stoker, text};
use super::receiver::{Receiver, Reply, response};

fn message(patient: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A08|{control_id}|P|2.5\rEVN||20260301080000+0100\r\
         PID|1||{patient}^^^NORD^MR||Doe^Jane\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V{patient}^^^NORD^VN\r"
    )
}

fn send_text(daemon: &Daemon, messages: &str) {
    let file = daemon.file("sent.hl7");
    std::fs::write(&file, messages).unwrap();
    stoker(&["send", &file, "--to", &daemon.mllp.to_string(), "-q"]);
}

fn send(daemon: &Daemon, messages: &[(&str, &str)]) {
    send_text(daemon, &messages.iter().map(|(patient, id)| message(patient, id)).collect::<String>());
}

fn queue(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    let config = daemon.file("config.toml");
    let out = stoker(&[&["queue"], args, &["--config", &config]].concat());
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// The rows that a list shows, by control id.
fn row(daemon: &Daemon, id: &str) -> Value {
    let (_, out, err) = queue(daemon, &["list", "--json", "--control-id", id]);
    out.lines().next().map(|line| serde_json::from_str(line).unwrap()).unwrap_or_else(|| panic!("no {id}: {err}"))
}

fn until(daemon: &Daemon, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not {what}: {}\n{}", queue(daemon, &[]).1, daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Refuses `bad` for good.
async fn receiver() -> Receiver {
    Receiver::start(|request| {
        let bundle: Value = serde_json::from_slice(&request.body).unwrap();
        match bundle["identifier"]["value"].as_str().unwrap() {
            id if id.starts_with("bad") => Reply::Status(422, response("fatal-error", "invariant")),
            _ => Reply::Status(200, response("ok", "informational")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_a_dead_letter_holds_back_say_so_in_the_list_with_and_without_a_daemon() {
    let receiver = receiver().await;
    let mut daemon = Daemon::start(&format!("[destination]\nurl = \"{}\"\non_dead_letter = \"hold\"", receiver.url()));
    send(&daemon, &[("1", "bad"), ("1", "second"), ("1", "third"), ("2", "other")]);
    until(&daemon, "settled", || {
        row(&daemon, "bad")["status"] == "dead" && row(&daemon, "other")["status"] == "delivered"
    });
    let bad = row(&daemon, "bad")["seq"].clone();
    let told = |daemon: &Daemon| {
        for id in ["second", "third"] {
            assert_eq!(row(daemon, id)["held_by"][0], bad, "{id}");
        }
        let (_, list, _) = queue(daemon, &["list", "--status", "received"]);
        assert_eq!(list.matches(&format!("held by dead letter {bad}")).count(), 2, "{list}");
        let (_, overview, _) = queue(daemon, &[]);
        assert!(overview.contains("later messages of 1 dead letters wait for a person"), "{overview}");
    };
    told(&daemon);
    assert_eq!(daemon.terminate(), Some(0));
    told(&daemon);
    let (_, shown, _) = queue(&daemon, &["show", "--control-id", "third"]);
    assert!(shown.contains(&format!("held by dead letter {bad} of the same patient or visit")), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_tells_of_each_listener_who_is_connected_and_who_was_refused() {
    let mut daemon = Daemon::start_with("", "", "allow = [\"127.0.0.1\"]\nprocessing_ids = [\"P\"]");
    send(&daemon, &[("1", "a")]);
    send_text(&daemon, &message("2", "test").replacen("|P|2.5", "|T|2.5", 1));
    until(&daemon, "kept", || row(&daemon, "test")["status"] == "refused");
    let _open = TcpStream::connect(daemon.mllp).unwrap();
    assert!(is_turned_away("127.0.0.2", daemon.mllp).await);
    let address = daemon.mllp.to_string();
    let shows = |overview: &str, words: &[&str]| words.iter().all(|word| overview.contains(word));
    until(&daemon, "told", || {
        let overview = queue(&daemon, &[]).1;
        shows(&overview, &["listener   adt on ", &address, ": 1 connection, last message "])
            && shows(&overview, &["refused  1 message in 24 h, from 127.0.0.1 1 (last ", "error 202 at MSH-11"])
            && shows(&overview, &["turned away  connections of 127.0.0.2 1 (last ", "none of the networks of `allow`"])
    });
    assert_eq!(daemon.terminate(), Some(0));
    let (_, overview, _) = queue(&daemon, &[]);
    let words = [&address[..], ": connections not known, last message ", "refused  1 message in 24 h, from 127.0.0.1"];
    assert!(shows(&overview, &words), "from the journal: {overview}");
    let config = std::fs::read_to_string(daemon.file("config.toml")).unwrap();
    std::fs::write(daemon.file("config.toml"), config.replace("[[listener]]", "[[listener]]\nname = \"renamed\""))
        .unwrap();
    let (_, overview, _) = queue(&daemon, &[]);
    assert!(overview.contains("listener   adt is not configured any more: last message "), "{overview}");
    assert!(overview.contains("listener   renamed on "), "{overview}");
}

/// Connects from another address of this machine.
async fn is_turned_away(address: &str, to: SocketAddr) -> bool {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    !matches!(stream.read(&mut [0]).await, Ok(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_at_which_something_else_stands_is_told_in_the_overview() {
    let page = Reply::With(404, "content-type: text/html".into(), "<title>No such page</title>".into());
    let at_metadata = page.clone();
    let receiver = Receiver::start(move |_| page.clone()).await;
    receiver.put_metadata(at_metadata);
    let daemon = Daemon::start(&format!("[destination]\nurl = \"{}\"", receiver.url()));
    send(&daemon, &[("1", "a"), ("2", "b")]);
    until(&daemon, "held", || {
        let overview = queue(&daemon, &[]).1;
        ["is held until this is mended", "HTTP 404", "\"No such page\"", "destination.url", "dead       0"]
            .iter()
            .all(|told| overview.contains(told))
    });
    let metrics = super::process::http().get(format!("http://{}/metrics", daemon.http)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("stoker_destination_held 1"), "{metrics}");
    assert!(metrics.contains("stoker_foreign_answers_total{status=\"404\",content=\"html\"}"), "{metrics}");
    let told = daemon.log().matches("the destination's answer is not that of a FHIR endpoint").count();
    assert_eq!(told, 1, "once a minute: {}", daemon.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_says_what_a_refused_message_is_and_leaves_what_can_never_be_delivered() {
    let receiver = receiver().await;
    let mut daemon = Daemon::start_with(
        &format!("[destination]\nurl = \"{}\"", receiver.url()),
        "",
        "max_frame = \"8KiB\"\nprocessing_ids = [\"P\"]",
    );
    send_text(&daemon, &message("1", "test").replacen("|P|2.5", "|T|2.5", 1));
    let mut large = message("2", "large");
    large.push_str(&format!("OBX|1|TX|a||{}\r", "x".repeat(9 << 10)));
    let mut stream = TcpStream::connect(daemon.mllp).unwrap();
    stream.write_all(format!("\x0b{large}\x1c\r").as_bytes()).unwrap();
    let mut other = TcpStream::connect(daemon.mllp).unwrap();
    other.write_all(b"\x0bno MSH at all\x1c\r").unwrap();
    until(&daemon, "kept", || queue(&daemon, &["list", "--json"]).1.lines().count() == 3);
    let seq = |words: &str| {
        let (_, out, _) = queue(&daemon, &["list", "--json", "--status", "refused"]);
        let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let row = rows.iter().find(|row| row["reason"].as_str().unwrap().contains(words));
        row.unwrap_or_else(|| panic!("{words}: {rows:?}"))["seq"].to_string()
    };
    let (test, large, noise) = (seq("MSH-11"), seq("is longer than"), seq("error 100"));
    let check = |daemon: &Daemon, number: &str, words: &[&str]| {
        let (code, _, err) = queue(daemon, &["retry", number, "--yes"]);
        assert!(code == 1 && words.iter().all(|word| err.contains(word)), "{words:?} in {err}");
        assert!(err.contains("refused when it came: its sender was told so with an error"), "{err}");
    };
    check(&daemon, &large, &["is not a whole message", "let its source send it again"]);
    check(&daemon, &noise, &["cannot be mapped now either", "let its source send it again"]);
    assert_eq!(row(&daemon, "large")["status"], "refused");
    daemon.terminate();
    check(&daemon, &large, &["is not a whole message", "let its source send it again"]);
    check(&daemon, &noise, &["cannot be mapped now either"]);
    daemon.restart();
    let (code, _, err) = queue(&daemon, &["retry", &test, "--yes"]);
    assert!(code == 0 && err.contains("A retry delivers it as it is and tells the sender nothing"), "{err}");
    until(&daemon, "delivered", || row(&daemon, "test")["status"] == "delivered");
    assert_eq!(receiver.requests().len(), 1, "and nothing else");
}
