//! `stoker queue`, `backup` and `verify` as those use them who are called at three in the morning.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use stoker::journal::{self, Arrival, Fate, Journal, Key, KeyKind, Progress, Record};

use super::process::{Daemon, stoker, text};
use super::receiver::{Receiver, Reply, response};

/// A message of a patient, with its control id.
fn message(patient: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|20260301080000+0100||ADT^A08|{control_id}|P|2.5\rEVN||20260301080000+0100\r\
         PID|1||{patient}^^^NORD^MR||Doe^Jane\rPV1|1|I|WARD^1^1^NORD||||||||||||||||V{patient}^^^NORD^VN\r"
    )
}

/// A destination that answers with the status set, by the control id if one is named there, and notes what it took.
struct Destination {
    receiver: Receiver,
    status: Arc<AtomicU16>,
    refused: Arc<Mutex<String>>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Destination {
    async fn start(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let (refused, taken) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(Vec::new())));
        let (answer, only, list) = (status.clone(), refused.clone(), taken.clone());
        let receiver = Receiver::start(move |request| {
            let bundle: Value = serde_json::from_slice(&request.body).unwrap();
            let id = bundle["identifier"]["value"].as_str().unwrap().to_owned();
            let only = only.lock().unwrap().clone();
            let status = answer.load(Ordering::SeqCst);
            if status != 200 && (only.is_empty() || only == id) {
                return Reply::Status(status, r#"{"resourceType":"OperationOutcome","issue":[]}"#.into());
            }
            list.lock().unwrap().push(id);
            Reply::Status(200, response("ok", "informational"))
        });
        Self { receiver: receiver.await, status, refused, taken }
    }

    fn daemon(&self, retry: &str) -> Daemon {
        Daemon::start(&format!(
            "[destination]\nurl = \"{}\"\n[destination.retry]\nbase = \"{retry}\"\nmax = \"{retry}\"",
            self.receiver.url()
        ))
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

/// Sends messages, patient and control id each, and waits until the journal shows them in a state.
fn send(daemon: &Daemon, messages: &[(&str, &str)]) {
    let all: String = messages.iter().map(|(patient, id)| message(patient, id)).collect();
    let file = daemon.file("sent.hl7");
    std::fs::write(&file, all).unwrap();
    let out = stoker(&["send", &file, "--to", &daemon.mllp.to_string(), "-q"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

/// `stoker queue ...` with the configuration of a daemon: exit code, stdout, stderr.
fn queue(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    let config = daemon.file("config.toml");
    let out = stoker(&[&["queue"], args, &["--config", &config]].concat());
    (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
}

/// The control ids of messages that a list shows, the newest first.
fn ids(daemon: &Daemon, args: &[&str]) -> Vec<String> {
    let (code, out, err) = queue(daemon, &[&["list", "--json"], args].concat());
    assert_eq!(code, 0, "{err}");
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["control_id"].as_str().unwrap().to_owned();
    out.lines().map(id).collect()
}

fn eventually(daemon: &Daemon, args: &[&str], expected: &[&str]) {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        let found = ids(daemon, args);
        if found == expected {
            return;
        }
        assert!(Instant::now() < until, "{args:?} shows {found:?}, not {expected:?}\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_messages_are_delivered_in_their_order_when_a_person_retries_them_on_the_running_daemon() {
    let destination = Destination::start(422).await;
    let daemon = destination.daemon("1s");
    send(&daemon, &[("1", "a"), ("2", "b"), ("1", "c"), ("1", "d")]);
    eventually(&daemon, &["--status", "dead"], &["d", "c", "b", "a"]);
    destination.status.store(200, Ordering::SeqCst);
    let retry = ["retry", "--status", "dead", "--yes", "--by", "jo", "--reason", "value set mended"];
    let (code, _, err) = queue(&daemon, &retry);
    assert!(code == 0 && err.contains("retry 4 messages, of 2 patients"), "{code} {err}");
    assert!(err.contains("4 messages queued again"), "{err}");
    eventually(&daemon, &["--status", "delivered"], &["d", "c", "b", "a"]);
    let of_patient_1: Vec<_> = destination.taken().into_iter().filter(|id| id != "b").collect();
    assert_eq!(of_patient_1, ["a", "c", "d"]);

    let (_, shown, _) = queue(&daemon, &["show", "--control-id", "a"]);
    for told in ["attempt 1: dead: HTTP 422", "queued again by jo", "attempt 2: delivered", "PID|1||1^^^NORD^MR"] {
        assert!(shown.contains(told), "{told}\n{shown}");
    }
    let (_, log, _) = queue(&daemon, &["log"]);
    assert!(log.contains("jo") && log.contains("--status dead") && log.contains("value set mended"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discarding_a_message_that_holds_up_its_patient_lets_the_next_one_go() {
    let destination = Destination::start(503).await;
    *destination.refused.lock().unwrap() = "stuck".into();
    let daemon = destination.daemon("10m");
    send(&daemon, &[("1", "stuck"), ("1", "behind"), ("2", "other")]);
    eventually(&daemon, &["--status", "delivered"], &["other"]);
    let (_, shown, _) = queue(&daemon, &["show", "--control-id", "behind"]);
    assert!(shown.contains("it stands behind 1 of the same patient"), "{shown}");
    let (code, _, err) = queue(&daemon, &["discard", "1", "--yes", "--reason", "sent in error", "--by", "jo"]);
    assert_eq!(code, 0, "{err}");
    eventually(&daemon, &["--status", "delivered"], &["other", "behind"]);
    let (_, shown, _) = queue(&daemon, &["show", "1", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["status"], "skipped");
    assert_eq!(shown["reason"], "discarded by jo: sent in error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_its_next_attempt_goes_at_once_when_a_person_retries_it() {
    let destination = Destination::start(503).await;
    *destination.refused.lock().unwrap() = "stuck".into();
    let daemon = destination.daemon("10m");
    send(&daemon, &[("1", "stuck")]);
    eventually(&daemon, &["--status", "retrying"], &["stuck"]);
    destination.status.store(200, Ordering::SeqCst);
    assert_eq!(queue(&daemon, &["retry", "1", "--yes"]).0, 0);
    eventually(&daemon, &["--status", "delivered"], &["stuck"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_stops_deliveries_over_a_restart_until_somebody_resumes_them() {
    let destination = Destination::start(200).await;
    let mut daemon = destination.daemon("1s");
    let (code, _, err) = queue(&daemon, &["pause", "--by", "jo", "--reason", "receiver is being moved"]);
    assert!(code == 0 && err.contains("deliveries are paused") && err.contains("act 1 "), "{code} {err}");
    send(&daemon, &[("1", "a")]);
    daemon.kill();
    daemon.restart();
    send(&daemon, &[("2", "b")]);
    assert!(daemon.log().contains("deliveries are paused since then"), "{}", daemon.log());
    assert_eq!(ids(&daemon, &["--status", "received"]), ["b", "a"]);
    let (_, overview, _) = queue(&daemon, &[]);
    assert!(overview.contains("paused     by jo, ") && overview.contains(": receiver is being moved"), "{overview}");
    let (_, shown, _) = queue(&daemon, &["show", "1"]);
    assert!(shown.contains("a person has paused deliveries"), "{shown}");
    assert_eq!(destination.taken(), Vec::<String>::new());

    let (code, _, err) = queue(&daemon, &["resume", "--by", "kim"]);
    assert!(code == 0 && err.contains("deliveries go on"), "{code} {err}");
    eventually(&daemon, &["--status", "delivered"], &["b", "a"]);
    let (_, log, _) = queue(&daemon, &["log", "--json"]);
    let acts: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        acts.iter().map(|act| (act["command"].as_str().unwrap(), act["who"].as_str().unwrap())).collect();
    assert_eq!(told, [("resume", "kim"), ("pause", "jo")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_without_a_selection_or_without_an_answer() {
    let destination = Destination::start(422).await;
    let daemon = destination.daemon("1s");
    send(&daemon, &[("1", "a")]);
    eventually(&daemon, &["--status", "dead"], &["a"]);
    let (code, _, err) = queue(&daemon, &["retry"]);
    assert!(code == 2 && err.contains("say which"), "{err}");
    let (code, _, err) = queue(&daemon, &["retry", "--all"]);
    assert!(code == 2 && err.contains("retry 1 message, of 1 patient") && err.contains("--yes"), "{err}");
    let (code, _, err) = queue(&daemon, &["discard", "--all", "--dry-run"]);
    assert!(code == 0 && err.contains("nothing was done"), "{err}");
    let (_, log, err) = queue(&daemon, &["log"]);
    assert!(log.is_empty() && err.contains("nobody"), "{log}{err}");
    assert_eq!(ids(&daemon, &["--status", "dead"]), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_warns_where_a_later_message_of_the_patient_was_delivered_already() {
    let destination = Destination::start(422).await;
    *destination.refused.lock().unwrap() = "first".into();
    let daemon = destination.daemon("1s");
    send(&daemon, &[("1", "first"), ("1", "second")]);
    eventually(&daemon, &["--status", "delivered"], &["second"]);
    let (_, _, err) = queue(&daemon, &["retry", "--all", "--dry-run"]);
    assert!(err.contains("later message of the same patient") && err.contains("1: 2"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_has_tokens_changes_its_queue_only_for_one_with_the_scope_admin() {
    let destination = Destination::start(422).await;
    let hash = |token: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        digest.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let token = |name: &str, scope: &str| {
        format!("[[mailbox.auth.tokens]]\nname = \"{name}\"\nsha256 = \"{}\"\nscopes = [\"{scope}\"]\n", hash(name))
    };
    let daemon = Daemon::start(&format!(
        "{}{}[destination]\nurl = \"{}\"\n",
        token("ops", "admin"),
        token("his", "system/*.read"),
        destination.receiver.url()
    ));
    send(&daemon, &[("1", "a")]);
    eventually(&daemon, &["--status", "dead"], &["a"]);
    let secret = daemon.file("journal.db.admin-secret");
    let kept = std::fs::read(&secret).unwrap();
    std::fs::remove_file(&secret).unwrap(); // as for a user who may not read it
    let (code, _, err) = queue(&daemon, &["retry", "1", "--yes"]);
    assert!(code == 2 && err.contains("--token"), "{err}");
    std::fs::write(&secret, kept).unwrap();
    let (code, _, err) = queue(&daemon, &["retry", "1", "--yes", "--token", "his"]);
    assert!(code == 2 && err.contains("it needs admin"), "{err}");
    destination.status.store(200, Ordering::SeqCst);
    assert_eq!(queue(&daemon, &["retry", "1", "--yes", "--token", "ops", "--by", "jo"]).0, 0);
    let (_, log, _) = queue(&daemon, &["log"]);
    assert!(log.contains("ops (jo)"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_open_to_who_can_read_the_data_folder_and_to_nobody_else_of_this_machine() {
    let daemon = Daemon::start("");
    let url = format!("http://{}/admin/queue", daemon.http);
    let http = super::process::http();
    // As a page in a browser asks, a proxy on this machine with its default headers, and any other user of it.
    let pause = r#"{"pause": true, "journal": "", "who": "x", "reason": null}"#;
    for (host, token) in [("evil.example", None), ("127.0.0.1:8575", None), ("localhost", Some("0".repeat(64)))] {
        let with = |request: reqwest::RequestBuilder| {
            let request = request.header("host", host).header("content-type", "application/json");
            token.iter().fold(request, |request, token| request.bearer_auth(token))
        };
        assert_eq!(with(http.get(&url)).send().await.unwrap().status(), 401, "{host}");
        let paused = with(http.post(format!("{url}/delivery"))).body(pause).send().await.unwrap();
        assert_eq!(paused.status(), 401, "{host}");
        assert!(paused.text().await.unwrap().contains("data folder"));
    }
    let file = daemon.file("journal.db.admin-secret");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = std::fs::read_to_string(&file).unwrap();
    assert_eq!(http.get(&url).bearer_auth(&secret).send().await.unwrap().status(), 200);
    let form = http.post(&url).bearer_auth(&secret).header("content-type", "text/plain").body("{}");
    assert_eq!(form.send().await.unwrap().status(), 415);
    assert_eq!(queue(&daemon, &["pause"]).0, 0);
    assert_eq!(queue(&daemon, &["resume"]).0, 0);

    std::fs::remove_file(&file).unwrap();
    let (code, _, err) = queue(&daemon, &["pause"]);
    assert!(code == 2 && err.contains("admin-secret") && err.contains("--token"), "{err}");
}

fn arrival(id: &str, received: jiff::Timestamp) -> Arrival {
    Arrival {
        listener: "adt".into(),
        peer: ([127, 0, 0, 1], 1).into(),
        received,
        raw: message("1", id).into_bytes().into(),
        control_id: id.into(),
        sender: "NORD|PAS".into(),
        event: Some("A08".into()),
        keys: vec![Key { kind: KeyKind::Patient, value: "NORD|1".into() }],
        fate: Fate::Queue,
        parsed: None,
    }
}

/// A journal with a dead message, a waiting one behind it, and one whose bytes are gone, and its configuration.
async fn journal_alone(folder: &Path, http: std::net::SocketAddr) -> String {
    let path = folder.join("journal.db");
    let config = folder.join("config.toml");
    let text = format!("[http]\nbind = \"{http}\"\n[journal]\npath = \"{}\"\nmin_free = \"0B\"\n", path.display());
    std::fs::write(&config, text).unwrap();
    let journal =
        Journal::open(&journal::JournalConfig { path, min_free: 0, ..journal::JournalConfig::default() }).unwrap();
    let long_ago: jiff::Timestamp = "2026-01-10T08:00:00Z".parse().unwrap();
    for (n, id) in ["gone", "dead", "waiting"].iter().enumerate() {
        let received = long_ago + jiff::SignedDuration::from_mins(n as i64);
        journal.store(arrival(id, received)).await.unwrap();
    }
    let mut done = Record::decision(1, long_ago, Progress::Delivered);
    done.sent = true;
    journal.record(done).await.unwrap();
    journal.record(Record::decision(2, long_ago, Progress::Dead { reason: "HTTP 422".into() })).await.unwrap();
    journal.retire(long_ago + jiff::SignedDuration::from_hours(1)).await.unwrap();
    config.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_daemon_the_commands_work_on_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = journal_alone(folder.path(), ([127, 0, 0, 1], 1).into()).await;
    let run = |args: &[&str]| {
        let out = stoker(&[&["queue"], args, &["--config", &config]].concat());
        (out.status.code().unwrap(), text(&out.stdout) + &text(&out.stderr))
    };
    let (_, overview) = run(&[]);
    assert!(overview.contains("none holds this journal") && overview.contains("1 dead      HTTP 422"), "{overview}");
    let (code, told) = run(&["retry", "1", "2", "--yes"]);
    assert!(code == 1 && told.contains("1 message queued again") && told.contains("keep_bodies"), "{code} {told}");
    let (_, shown) = run(&["show", "3"]);
    assert!(shown.contains("it stands behind 2 "), "{shown}");
    let (code, told) = run(&["discard", "--since", "2026-01-10T00:00", "--until", "2026-01-11", "--yes"]);
    assert!(code == 0 && told.contains("2 messages discarded"), "{told}");
    let (_, shown) = run(&["show", "1"]);
    assert!(shown.contains("no longer kept") && !shown.contains("PID|"), "{shown}");
    let (code, told) = run(&["pause", "--by", "jo"]);
    assert!(code == 0 && told.contains("deliveries are paused"), "{told}");
    let (code, told) = run(&["pause", "--by", "kim"]);
    assert!(code == 0 && told.contains("paused already, by jo"), "{told}");
    assert!(run(&["resume"]).1.contains("deliveries go on") && run(&["resume"]).1.contains("are not paused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_in_the_log_is_spoken_of_saved_and_filed_before_something_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let open = || {
        Journal::open(&journal::JournalConfig { path: path.clone(), min_free: 0, ..journal::JournalConfig::default() })
    };
    drop(open().unwrap());
    let tables = std::fs::read(&path).unwrap();
    let journal = open().unwrap();
    for id in ["early", "late"] {
        journal.store(arrival(id, jiff::Timestamp::now())).await.unwrap();
    }
    // What a crash leaves when nothing has been filed yet.
    let logs =
        ["-log0", "-log1"].map(|end| (end, std::fs::read(path.with_file_name(format!("journal.db{end}"))).unwrap()));
    drop(journal);
    std::fs::write(&path, tables).unwrap();
    logs.iter().for_each(|(end, log)| std::fs::write(path.with_file_name(format!("journal.db{end}")), log).unwrap());
    let config = folder.path().join("config.toml");
    std::fs::write(&config, format!("[journal]\npath = \"{}\"\nmin_free = \"0B\"\n", path.display())).unwrap();

    let config = config.to_str().unwrap();
    let run = |args: &[&str]| {
        let out = stoker(&[args, &["--config", config]].concat());
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let (code, listed, note) = run(&["queue", "list"]);
    assert!(code == 0 && !listed.contains("late") && note.contains("not seen here: 2"), "{listed}{note}");
    let (code, told, _) = run(&["verify"]);
    assert!(code == 0 && told.contains("2 more in its log"), "{told}");
    let copy = folder.path().join("copy");
    assert_eq!(run(&["backup", copy.to_str().unwrap()]).0, 0);
    assert_eq!(journal::Reader::open(&copy).unwrap().count(&journal::Query::default()).unwrap(), 2);
    let (code, _, told) = run(&["queue", "discard", "--all", "--yes"]);
    assert!(code == 0 && told.contains("2 messages discarded"), "{told}");
    let (_, listed, note) = run(&["queue", "list"]);
    assert!(listed.contains("late") && !note.contains("not seen here"), "{listed}{note}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_another_journal_does_not_touch_its_own() {
    let daemon = Daemon::start("");
    let folder = tempfile::tempdir().unwrap();
    let config = journal_alone(folder.path(), daemon.http).await;
    let path = folder.path().join("journal.db");
    let _held =
        Journal::open(&journal::JournalConfig { path, min_free: 0, ..journal::JournalConfig::default() }).unwrap();
    let retry = || {
        let out = stoker(&["queue", "retry", "2", "--yes", "--config", &config]);
        assert_eq!(out.status.code(), Some(2));
        text(&out.stderr)
    };
    let err = retry();
    assert!(err.contains("admin-secret") && err.contains("--config"), "{err}");
    // Also where who asks may change the other's queue.
    std::fs::copy(daemon.file("journal.db.admin-secret"), folder.path().join("journal.db.admin-secret")).unwrap();
    let err = retry();
    assert!(err.contains("this daemon's journal is"), "{err}");
    assert!(err.contains(&std::process::id().to_string()), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exported_messages_are_those_that_came_and_can_be_sent_again() {
    let destination = Destination::start(200).await;
    let daemon = destination.daemon("1s");
    send(&daemon, &[("1", "a"), ("2", "b"), ("1", "c")]);
    let (file, dir) = (daemon.file("out.hl7"), daemon.file("out"));
    assert_eq!(queue(&daemon, &["export", "--all", "-o", &file]).0, 0);
    let exported = std::fs::read_to_string(&file).unwrap();
    assert_eq!(exported, message("1", "a") + &message("2", "b") + &message("1", "c"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, log, _) = queue(&daemon, &["log", "--json"]);
    let act: Value = serde_json::from_str(&log).unwrap();
    assert_eq!((&act["command"], &act["messages"]), (&"export".into(), &3.into()));
    let (code, _, err) = queue(&daemon, &["export", "--all", "-o", &file]);
    assert!(code == 2 && err.contains("new file"), "nothing is written over: {err}");
    assert_eq!(queue(&daemon, &["export", "--patient", "1", "--dir", &dir]).0, 0);
    let mut names: Vec<_> =
        std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["0000000001-A08.hl7", "0000000003-A08.hl7"]);
    let out = stoker(&["send", &file, "--to", &daemon.mllp.to_string()]);
    assert!(text(&out.stderr).contains("3 accepted"), "{}", text(&out.stderr));
    assert_eq!(ids(&daemon, &[]), ["c", "b", "a"], "each was known already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_removes_the_bytes_of_what_was_finished_before_and_keeps_what_waits() {
    let destination = Destination::start(503).await;
    *destination.refused.lock().unwrap() = "stuck".into();
    let retry = "[destination.retry]\nbase = \"10m\"\nmax = \"10m\"";
    let config = format!("[destination]\nurl = \"{}\"\n{retry}", destination.receiver.url());
    let mut daemon = Daemon::start(&config);
    let kept = std::fs::read_to_string(daemon.file("config.toml")).unwrap();
    std::fs::write(daemon.file("config.toml"), kept.replace("[journal]", "[journal]\nkeep_bodies = \"1ms\"")).unwrap();
    send(&daemon, &[("1", "stuck"), ("2", "done")]);
    eventually(&daemon, &["--status", "delivered"], &["done"]);
    daemon.terminate();
    daemon.restart();
    let until = Instant::now() + Duration::from_secs(10);
    while !queue(&daemon, &["show", "2"]).1.contains("no longer kept") {
        assert!(Instant::now() < until, "{}", daemon.log());
    }
    assert!(queue(&daemon, &["show", "1"]).1.contains("PID|1||1^^^NORD^MR"));
    let (code, _, err) = queue(&daemon, &["retry", "2", "--yes"]);
    assert!(code == 1 && err.contains("let its source send it again"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_daemon_that_receives_is_whole_and_opens_as_a_journal() {
    let daemon = Daemon::start("");
    let sender = std::thread::spawn({
        let (to, file) = (daemon.mllp.to_string(), daemon.file("many.hl7"));
        move || {
            let all: String = (0..400).map(|n| message(&format!("{}", n % 20), &format!("m{n}"))).collect();
            std::fs::write(&file, all).unwrap();
            assert!(stoker(&["send", &file, "--to", &to, "-q"]).status.success());
        }
    });
    let until = Instant::now() + Duration::from_secs(10);
    while ids(&daemon, &["--limit", "1"]).is_empty() && Instant::now() < until {}
    let (config, journal, mailbox) = (daemon.file("config.toml"), daemon.file("j.bak"), daemon.file("m.bak"));
    let out = stoker(&["backup", &journal, "--mailbox", &mailbox, "--config", &config]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    sender.join().unwrap();
    for file in [&journal, &mailbox] {
        let out = stoker(&["verify", file]);
        assert!(out.status.success() && text(&out.stdout).contains("nothing is wrong"), "{}", text(&out.stdout));
    }
    let reader = journal::Reader::open(Path::new(&journal)).unwrap();
    assert!(reader.count(&journal::Query::default()).unwrap() >= 1);
    let out = stoker(&["verify", "--config", &config]);
    assert_eq!(out.status.code(), Some(0), "the running daemon's own files: {}", text(&out.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_says_what_is_wrong_and_exits_with_1_and_with_2_where_there_is_nothing_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    journal_alone(folder.path(), ([127, 0, 0, 1], 1).into()).await;
    let path = folder.path().join("journal.db");
    let file = path.to_str().unwrap();
    assert_eq!(stoker(&["verify", file]).status.code(), Some(0));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("DELETE FROM body WHERE seq = 3", []).unwrap();
    let out = stoker(&["verify", file]);
    let told = text(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{told}");
    assert!(told.contains("message 3 waits, and has no bytes") && told.contains("remedy: "), "{told}");
    assert_eq!(stoker(&["verify", "/nowhere/journal.db"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_speaks_https_is_asked_over_https_whatever_its_certificates_name() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["stoker.hospital.test".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let destination = Destination::start(503).await;
    let url = format!("[destination]\nurl = \"{}\"", destination.receiver.url());
    let daemon = Daemon::start_with(&url, &tls, "");
    send(&daemon, &[("1", "a")]);
    let (code, out, err) = queue(&daemon, &["discard", "1", "--yes", "--reason", "a test"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(queue(&daemon, &["show", "1"]).1.contains("discarded"), "it went through the daemon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_a_private_authority_and_mutual_tls_is_asked_by_url_with_what_the_configuration_knows() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(file("ca.pem"), authority.self_signed(&root_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, root_key);
    for name in ["localhost", "desk"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let issued = rcgen::CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(file(&format!("{name}.pem")), issued.pem() + &key.serialize_pem()).unwrap();
    }
    let (server, ca, desk) = (file("localhost.pem"), file("ca.pem"), file("desk.pem"));
    let destination = Destination::start(503).await;
    let more = format!("[destination]\nurl = \"{}\"", destination.receiver.url());
    let plain = Daemon::start_with(&more, &format!("tls = {{ certificate = {server:?}, key = {server:?} }}"), "");
    let url = format!("https://localhost:{}", plain.http.port());
    let (code, out, err) = queue(&plain, &["pause", "--url", &url, "--reason", "a test"]);
    assert_eq!(code, 0, "the certificate of the configuration is enough: {out}{err}");
    let (code, out, err) = queue(&plain, &["resume", "--url", &url, "--ca", &ca]);
    assert_eq!(code, 0, "{out}{err}");
    let mutual = format!("tls = {{ certificate = {server:?}, key = {server:?}, client_ca = {ca:?} }}");
    let mutual = Daemon::start_with(&more, &mutual, "");
    assert_ne!(queue(&mutual, &["pause"]).0, 0, "who shows no certificate is not let in");
    let (code, out, err) = queue(&mutual, &["pause", "--identity", &desk]);
    assert_eq!(code, 0, "{out}{err}");
}
