//! `stoker replay` against destinations that take, refuse, go away and come back.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::text;
use super::receiver::{Receiver, Reply, response};

fn message(patient: usize, n: usize) -> String {
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|2026030108{n:02}00+0100||ADT^A08|C{patient}-{n}|P|2.5\rEVN||20260301080000\r\
         PID|1||P{patient}^^^NORD^MR||Doe^Jane\rPV1|1|I|W^1^{n}^NORD||||||||||||||||V{patient}^^^NORD^VN\r"
    )
}

/// A folder with a file for each round of five patients.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(rounds: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        for n in 0..rounds {
            let all: String = (0..5).map(|patient| message(patient, n)).collect();
            std::fs::write(folder.path().join(format!("in/{n:03}.hl7")), all).unwrap();
        }
        std::fs::write(folder.path().join("config.toml"), "[destination.retry]\nbase = \"40ms\"\nmax = \"80ms\"\n")
            .unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, to: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stoker"));
        command.args(["replay", "in", "--to", to, "--config", "config.toml"]).args(args);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn replay(&self, to: &str, args: &[&str]) -> Output {
        self.command(to, args).output().unwrap()
    }
}

/// Takes messages, but for what `refuse` answers; notes control id and Bundle.id of those taken.
struct Taker {
    receiver: Receiver,
    taken: Arc<Mutex<Vec<(String, String)>>>,
}

impl Taker {
    async fn start(refuse: impl Fn(&str) -> Option<u16> + Send + Sync + 'static) -> Self {
        let taken: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let list = taken.clone();
        let receiver = Receiver::start(move |request| {
            let bundle: Value = serde_json::from_slice(&request.body).unwrap();
            let id = bundle["identifier"]["value"].as_str().unwrap();
            if let Some(status) = refuse(id) {
                return Reply::Status(status, String::new());
            }
            list.lock().unwrap().push((id.to_owned(), bundle["id"].as_str().unwrap().to_owned()));
            Reply::Status(200, response("ok", "informational"))
        });
        Self { receiver: receiver.await, taken }
    }

    fn ids(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    /// In the order in which they were taken, each once.
    fn of_patient(&self, patient: usize) -> Vec<String> {
        let mut seen = Vec::new();
        for id in self.ids().into_iter().filter(|id| id.starts_with(&format!("C{patient}-"))) {
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
        seen
    }

    fn base(&self) -> String {
        format!("http://{}/fhir", self.receiver.address)
    }
}

fn expected(patient: usize, rounds: usize) -> Vec<String> {
    (0..rounds).map(|n| format!("C{patient}-{n}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_delivered_in_the_order_of_each_patient_with_the_same_ids_every_time() {
    let (files, taker) = (Files::new(20), Taker::start(|_| None).await);
    let out = files.replay(&taker.base(), &[]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("100 delivered, 0 failed"), "{}", text(&out.stdout));
    for patient in 0..5 {
        assert_eq!(taker.of_patient(patient), expected(patient, 20));
    }
    let mut first = std::mem::take(&mut *taker.taken.lock().unwrap());
    assert!(files.replay(&taker.base(), &[]).status.success());
    let mut second = std::mem::take(&mut *taker.taken.lock().unwrap());
    assert!(files.replay(&taker.base(), &["--as-new"]).status.success());
    let mut new = taker.taken.lock().unwrap().clone();
    for list in [&mut first, &mut second, &mut new] {
        list.sort();
    }
    assert_eq!(first, second);
    assert!(first.iter().zip(&new).all(|((a, old), (b, new))| a == b && old != new));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_folder_that_hold_no_message_are_left_out_and_counted_but_not_one_that_is_named() {
    let (files, taker) = (Files::new(2), Taker::start(|_| None).await);
    std::fs::write(files.path("in/000.json"), "{\"resourceType\": \"Bundle\"}\n").unwrap();
    std::fs::write(files.path("in/README"), "An MSH segment starts each message.\n").unwrap();
    let out = files.replay(&taker.base(), &[]);
    let (told, err) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success() && told.contains("10 delivered, 0 failed"), "{told}{err}");
    assert!(err.contains("left out: 2 (in/000.json ...)"), "{err}");
    let out = files.replay(&taker.base(), &["in/000.json"]);
    assert!(text(&out.stderr).contains("in/000.json: "), "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_refused_is_counted_and_the_others_go_on() {
    let files = Files::new(4);
    std::fs::write(files.path("in/000b.hl7"), "MSH|^~\\&|PAS|NORD|||20260301||ADT^A99|X|P|2.5\rPID|1||1\r").unwrap();
    let taker = Taker::start(|id| (id == "C2-1").then_some(422)).await;
    let out = files.replay(&taker.base(), &[]);
    let (told, err) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{told}{err}");
    assert!(told.contains("19 delivered, 2 failed") && told.contains("1 x HTTP 422"), "{told}");
    assert!(err.contains("001.hl7: message 3 (line 9): HTTP 422") && err.contains("A99"), "{err}");
    assert_eq!(taker.of_patient(2), ["C2-0", "C2-2", "C2-3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_alone_finds_no_receiver_is_given_up_while_the_others_get_through() {
    let files = Files::new(60);
    let taker = Taker::start(|id| (id == "C2-1").then_some(503)).await;
    let out = files.replay(&taker.base(), &["--rate", "400"]);
    let told = text(&out.stdout);
    assert!(out.status.code() == Some(1) && told.contains("299 delivered, 1 failed"), "{told}");
    assert!(told.contains("given up after 6 attempts"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_goes_down_ends_the_replay_and_the_same_command_goes_on() {
    let files = Files::new(30);
    let down = Arc::new(AtomicBool::new(false));
    let (counted, switch) = (Arc::new(Mutex::new(0)), down.clone());
    let taker = Taker::start(move |_| {
        let mut counted = counted.lock().unwrap();
        *counted += 1;
        if *counted == 70 {
            switch.store(true, Ordering::SeqCst);
        }
        switch.load(Ordering::SeqCst).then_some(503)
    });
    let taker = taker.await;
    let out = files.replay(&taker.base(), &[]);
    let (told, err) = (text(&out.stdout), text(&out.stderr));
    assert_eq!(out.status.code(), Some(1));
    assert!(err.contains("takes no messages: HTTP 503") && err.contains("the same command goes on"), "{err}");
    assert!(told.contains("69 delivered, 0 failed"), "{told}");
    down.store(false, Ordering::SeqCst);
    let out = files.replay(&taker.base(), &[]);
    assert!(out.status.success() && text(&out.stderr).contains("going on with message"), "{}", text(&out.stderr));
    assert!(taker.ids().len() < 150 + 69, "it did not begin again");
    for patient in 0..5 {
        assert_eq!(taker.of_patient(patient), expected(patient, 30));
    }
    assert!(!files.path("stoker-replay.state").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_in_words_and_no_message_is_failed() {
    let files = Files::new(1);
    let out = files.replay("http://127.0.0.1:1/fhir", &[]);
    let err = text(&out.stderr);
    assert!(out.status.code() == Some(1) && err.contains("no connection") && err.contains("--from 1"), "{err}");
    assert!(text(&out.stdout).contains("0 delivered, 0 failed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_it_says_where_it_goes_on_and_does_so() {
    let files = Files::new(40);
    let taker = Taker::start(|_| None).await;
    let mut command = files.command(&taker.base(), &["--rate", "100"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while taker.ids().len() < 40 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    let err = text(&out.stderr);
    assert!(out.status.code() == Some(1) && err.contains("stopped; the same command goes on with message"), "{err}");
    let before = taker.ids().len();
    assert!(before < 150, "it was not stopped");
    assert!(files.replay(&taker.base(), &[]).status.success());
    assert!(taker.ids().len() <= 200 + 16, "more than what was under way was sent twice: {}", taker.ids().len());
    for patient in 0..5 {
        assert_eq!(taker.of_patient(patient), expected(patient, 40));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configured_token_is_not_sent_to_another_destination() {
    let files = Files::new(1);
    let config = "[destination]\nurl = \"http://127.0.0.1:1/fhir/$process-message\"\ntoken = \"secret\"\n";
    std::fs::write(files.path("config.toml"), config).unwrap();
    let taker = Taker::start(|_| None).await;
    assert!(files.replay(&taker.base(), &[]).status.success());
    assert!(taker.receiver.requests().iter().all(|request| !request.head.contains("authorization")));
    assert!(files.replay(&taker.base(), &["--token", "other"]).status.success());
    assert!(taker.receiver.requests().iter().any(|request| request.head.contains("bearer other")));
}
