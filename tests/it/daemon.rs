//! `stoker serve` as those who run it see it: killed in the middle, stopped, fed with what others send.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use stoker::mapping::{Context, convert};
use stoker::mllp::client::Client;

use super::golden;
use super::process::{self, Daemon};

const PATIENTS: usize = 100;
const MESSAGES: usize = 20;

/// The `n`th message of a patient: admitted, then moved from bed to bed.
fn message(patient: usize, n: usize) -> Vec<u8> {
    let event = if n == 0 { "A01" } else { "A02" };
    format!(
        "MSH|^~\\&|PAS|NORD|STOKER|NORD|2026030108{n:02}00+0100||ADT^{event}|C{patient}-{n}|P|2.5\r\
         EVN||2026030108{n:02}00+0100\rPID|1||P{patient}^^^NORD^MR||Doe^Jane\r\
         PV1|1|I|WARD^1^{n}^NORD||||||||||||||||V{patient}^^^NORD^VN\r"
    )
    .into_bytes()
}

/// Sends until it is acknowledged, over as many connections as that takes.
async fn send_until_acked(to: SocketAddr, client: &mut Option<Client>, message: &[u8]) {
    loop {
        if client.is_none() {
            *client = Client::connect(to, Duration::from_secs(5)).await.ok();
        }
        let Some(open) = client else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        match open.send(message).await {
            Ok(Some(ack)) => {
                assert_eq!(ack.code, "AA", "{}", ack.text);
                return;
            }
            Ok(None) => panic!("an ack was asked for"),
            Err(_) => *client = None,
        }
    }
}

/// Sends the messages of some patients, patient by patient in order, and counts the acks.
async fn sender(to: SocketAddr, patients: Vec<usize>, acked: Arc<AtomicUsize>) {
    let mut client = None;
    for n in 0..MESSAGES {
        for &patient in &patients {
            send_until_acked(to, &mut client, &message(patient, n)).await;
            acked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The visit of a patient as the mailbox shows it: its version and the bed it is in.
async fn visit(http: &reqwest::Client, base: &str, patient: usize) -> Option<(String, String)> {
    let url = format!("{base}/Encounter?identifier=urn:stoker:visit:NORD:PAS%7CV{patient}");
    let found: serde_json::Value = http.get(url).send().await.ok()?.json().await.ok()?;
    assert!(found["entry"].as_array().is_none_or(|entries| entries.len() < 2), "two visits V{patient}");
    let encounter = &found["entry"][0]["resource"];
    let contained = encounter["contained"].as_array()?;
    let bed = contained.iter().find(|c| c["physicalType"]["coding"][0]["code"] == "bd")?;
    let version = encounter["meta"]["versionId"].as_str()?;
    Some((version.to_owned(), bed["identifier"][0]["value"].as_str()?.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_it_delivers_every_acknowledged_message_once_and_in_order() {
    let mut daemon = Daemon::start("");
    let acked = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..8)
        .map(|s| (0..PATIENTS).filter(|p| p % 8 == s).collect())
        .map(|patients| tokio::spawn(sender(daemon.mllp, patients, acked.clone())))
        .collect();
    for kill_at in [PATIENTS * MESSAGES / 4, PATIENTS * MESSAGES / 2] {
        while acked.load(Ordering::Relaxed) < kill_at {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        daemon.kill();
        daemon.restart();
    }
    for sender in senders {
        sender.await.unwrap();
    }
    // A message applied twice or out of order would leave another version: a late one is not applied.
    let expected = (MESSAGES.to_string(), (MESSAGES - 1).to_string());
    let (http, base) = (process::http(), daemon.base());
    let until = Instant::now() + Duration::from_secs(60);
    for patient in 0..PATIENTS {
        loop {
            let now = visit(&http, &base, patient).await;
            if now.as_ref() == Some(&expected) {
                break;
            }
            assert!(Instant::now() < until, "patient {patient} is at {now:?}\n{}", daemon.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_clinical_message_that_comes_first_creates_its_visit_where_promotion_is_wanted() {
    let daemon = Daemon::start("[destination]\npromote = true");
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    let update = String::from_utf8(message(1, 1)).unwrap().replace("A02", "A08").into_bytes();
    assert!(client.send(&update).await.unwrap().unwrap().is_positive());
    let (http, base, until) = (process::http(), daemon.base(), Instant::now() + Duration::from_secs(20));
    while visit(&http, &base, 1).await != Some(("1".into(), "1".into())) {
        assert!(Instant::now() < until, "{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn told_to_stop_it_finishes_and_exits_with_0() {
    let mut daemon = Daemon::start("");
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(client.send(&message(1, 0)).await.unwrap().unwrap().is_positive());
    assert_eq!(daemon.terminate(), Some(0));
    let log = daemon.log();
    assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
    assert!(!log.contains("Doe"), "{log}");
}

/// What stands beside a hostile sample.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[allow(dead_code, reason = "for who reads the file")]
    why: String,
    /// `none` where nothing may be answered.
    ack: Answers,
    err: Option<Answers>,
    msa2: Option<Answers>,
    bundle: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Answers {
    One(String),
    Many(Vec<String>),
}

impl Answers {
    fn list(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.iter().map(String::as_str).collect(),
        }
    }
}

/// One answer: MSA-1, MSA-2, and the code of each ERR.
#[derive(Debug, Default)]
struct Answer {
    code: String,
    control_id: String,
    errors: Vec<String>,
}

fn parse(frame: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(frame).into_owned();
    let separator = text.chars().nth(3).unwrap_or('|');
    let component = text.chars().nth(4).unwrap_or('^');
    let mut answer = Answer::default();
    for line in text.split('\r') {
        let fields: Vec<&str> = line.split(separator).collect();
        match fields[0] {
            "MSA" => (answer.code, answer.control_id) = (fields[1].into(), fields[2].into()),
            "ERR" => {
                let first = fields.get(1).copied().unwrap_or_default().split(component).nth(3);
                let code = match fields.get(3) {
                    Some(code) => code.split(component).next(),
                    None => first.and_then(|code| code.split('&').next()),
                };
                answer.errors.push(code.unwrap_or_default().into());
            }
            _ => {}
        }
    }
    answer
}

/// Sends bytes as they are and reads so many answers; without one expected it waits a little for what may not come.
async fn exchange(to: SocketAddr, bytes: &[u8], expected: usize) -> Vec<Answer> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.ok();
    let mut got = Vec::new();
    let patience = Duration::from_millis(if expected == 0 { 300 } else { 10_000 });
    let until = tokio::time::Instant::now() + patience;
    let mut buffer = vec![0; 1 << 16];
    while got.iter().filter(|&&byte| byte == 0x1c).count() < expected.max(1) {
        match tokio::time::timeout_at(until, stream.read(&mut buffer)).await {
            Ok(Ok(n)) if n > 0 => got.extend_from_slice(&buffer[..n]),
            _ => break,
        }
    }
    got.split(|&byte| byte == 0x0b).filter(|frame| !frame.is_empty()).map(parse).collect()
}

/// What is wrong with the answers to a sample, if anything.
async fn judge(to: SocketAddr, path: &Path) -> Option<String> {
    let expected = std::fs::read_to_string(path.with_extension("expect")).unwrap();
    let expected: Expected = toml::from_str(&expected).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let raw = std::fs::read(path).unwrap();
    let framed = path.extension().is_some_and(|e| e == "hl7");
    let bytes = if framed { [b"\x0b", raw.as_slice(), b"\x1c\r"].concat() } else { raw };
    let codes: Vec<&str> = expected.ack.list().into_iter().filter(|code| *code != "none").collect();
    let answers = exchange(to, &bytes, codes.len()).await;
    let said: Vec<&str> = answers.iter().map(|answer| answer.code.as_str()).collect();
    let ids: Vec<&str> = answers.iter().map(|answer| answer.control_id.as_str()).collect();
    let has = |code: &&str| answers.iter().any(|answer| answer.errors.iter().any(|error| error == code));
    let right = said == codes
        && expected.msa2.as_ref().is_none_or(|wanted| wanted.list() == ids || codes.is_empty())
        && expected.err.as_ref().is_none_or(|wanted| wanted.list().iter().all(has));
    (!right).then(|| format!("{}: expected {expected:?}, got {answers:?}", path.display()))
}

#[tokio::test]
async fn every_hostile_sample_gets_the_answer_that_stands_beside_it() {
    let mut daemon = Daemon::start("");
    let mut wrong = Vec::new();
    let samples = golden::files("samples/hostile", &["hl7", "bin"]);
    assert!(samples.len() > 60, "the hostile samples were not found");
    for path in &samples {
        wrong.extend(judge(daemon.mllp, path).await);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), daemon.log());
    let mut client = Client::connect(daemon.mllp, Duration::from_secs(5)).await.unwrap();
    assert!(client.send(&message(1, 0)).await.unwrap().unwrap().is_positive());
    assert!(daemon.terminate().is_some_and(|code| code == 0), "{}", daemon.log());
}

#[test]
fn nothing_behind_a_fault_is_lost_in_the_bundle() {
    let plan = golden::shipped();
    for path in golden::files("samples/hostile", &["hl7"]) {
        let expected = std::fs::read_to_string(path.with_extension("expect")).unwrap();
        let expected: Expected = toml::from_str(&expected).unwrap();
        let Some(types) = expected.bundle else { continue };
        let raw = std::fs::read(&path).unwrap();
        let converted = convert(&plan, &raw, &Context::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for name in types {
            assert!(converted.resources.iter().any(|(n, _)| *n == name), "{}: no {name}", path.display());
        }
    }
}
