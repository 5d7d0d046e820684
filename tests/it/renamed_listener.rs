//! A listener gets another name while messages wait that came under the old one.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stoker::mllp::Client;

use crate::listening::PATIENCE;
use crate::process::{Daemon, http, text};

/// Latin-1, and nothing in the message says so.
const MESSAGE: &[u8] = b"MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A01|L1|P|2.5\r\
    EVN||20260301080000+0100\rPID|1||P1^^^NORD^MR||\xC5s^Jo\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V1^^^NORD^VN\r";

fn reconfigure(daemon: &Daemon, from: &str, to: &str) {
    let path = daemon.file("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    assert!(config.contains(from), "{config}");
    std::fs::write(path, config.replace(from, to)).unwrap();
}

/// What `serve` says when it does not start.
fn refusal(daemon: &Daemon) -> String {
    let serve = ["serve", "--config", &daemon.file("config.toml")];
    let mut child = Command::new(env!("CARGO_BIN_EXE_stoker"))
        .args(serve)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0), "it serves: {}", text(&output.stderr));
    text(&output.stderr)
}

#[tokio::test]
async fn messages_that_wait_under_an_old_name_are_never_read_by_a_guess() {
    let down = "[destination]\nurl = \"http://127.0.0.1:1/$process-message\"\n";
    let mut daemon = Daemon::start_with(down, "", "name = \"old\"\ncharset = \"8859/1\"\n");
    let mut client = Client::connect(daemon.mllp, PATIENCE).await.unwrap();
    assert!(client.send(MESSAGE).await.unwrap().unwrap().is_positive());
    drop(client);
    assert_eq!(daemon.terminate(), Some(0));
    reconfigure(&daemon, down, "");
    reconfigure(&daemon, "name = \"old\"", "name = \"new\"");
    let said = refusal(&daemon);
    assert!(said.contains("1 messages wait that came by listener 'old'"), "{said}");
    assert!(said.contains("formerly = [\"old\"]"), "{said}");
    reconfigure(&daemon, "name = \"new\"", "name = \"new\"\nformerly = [\"old\"]");
    daemon.restart();
    let until = Instant::now() + PATIENCE;
    loop {
        let found = http().get(format!("{}/Patient", daemon.base())).send().await.unwrap().text().await.unwrap();
        if found.contains("\u{c5}s") {
            break;
        }
        assert!(Instant::now() < until, "{found}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
