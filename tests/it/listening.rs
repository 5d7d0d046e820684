//! A listener with a journal of its own, and what the tests ask of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stoker::journal::{self, Journal, Key, KeyKind, Query, Row};
use stoker::mllp::validator::{Admission, Decision, Fault, FaultClass, Validator};
use stoker::mllp::{self, Ack, Client, Intake};
use stoker::v2::Header;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Takes every ADT that names a patient; skips other message types.
pub struct PatientGate;

impl Validator for PatientGate {
    fn admit(&self, raw: &Bytes, header: &Header<'_>) -> Admission {
        let event = Some(header.trigger().to_owned());
        if header.message_type() != "ADT" {
            let decision = Decision::Skip { reason: "not an ADT".into(), warning: None };
            return Admission { event, ..Admission::from(decision) };
        }
        let pid = raw.split(|&byte| byte == b'\r').find(|line| line.starts_with(b"PID"));
        let id = pid.and_then(|line| line.split(|&byte| byte == header.delimiters().field).nth(3)).unwrap_or_default();
        if id.is_empty() {
            let fault = Fault::new(FaultClass::Error, 101, "PID-3 is empty").at("PID", 3, 0);
            return Admission { event, ..Admission::refused(fault) };
        }
        let value = String::from_utf8_lossy(id).into_owned();
        let keys = vec![Key { kind: KeyKind::Patient, value }];
        Admission { event, keys, ..Admission::from(Decision::Accept { warning: None }) }
    }
}

pub struct Site {
    pub address: SocketAddr,
    pub intake: Arc<Intake>,
    pub journal: Journal,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<()>,
    /// Removed when the site is dropped.
    _folder: TempDir,
}

pub async fn listen(config: mllp::ListenerConfig) -> Site {
    listen_with(config, journal::JournalConfig::default()).await
}

pub async fn listen_with(config: mllp::ListenerConfig, journal: journal::JournalConfig) -> Site {
    listen_within(config, journal, mllp::MllpConfig::default()).await
}

/// On a port of its own; the journal in a folder of its own.
pub async fn listen_within(
    config: mllp::ListenerConfig,
    journal: journal::JournalConfig,
    shared: mllp::MllpConfig,
) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&journal::JournalConfig { path: folder.path().join("journal.db"), ..journal }).unwrap();
    let intake = Intake::new(config, journal.clone(), Arc::new(PatientGate)).unwrap();
    let intake = Arc::new(intake.sharing(Arc::new(mllp::FrameMemory::new(&shared))));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(mllp::run(listener, Arc::clone(&intake), shutdown.clone()));
    Site { address, intake, journal, shutdown, served, _folder: folder }
}

impl Site {
    pub async fn client(&self) -> Client {
        Client::connect(self.address, PATIENCE).await.unwrap()
    }

    pub async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What the journal holds, oldest first.
    pub async fn rows(&self) -> Vec<Row> {
        let mut rows = self.journal.search(Query { limit: 10_000, ..Query::default() }).await.unwrap();
        rows.sort_by_key(|row| row.seq);
        rows
    }

    /// Waits until so many bytes of messages have been taken from connections.
    pub async fn taken(&self, bytes: usize) {
        let until = Instant::now() + PATIENCE;
        while self.intake.counters().bytes.get() < bytes as u64 {
            assert!(Instant::now() < until, "{} of {bytes} bytes were taken", self.intake.counters().bytes.get());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nobody can connect any more.
    pub async fn closed(&self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).await.is_ok() {
            assert!(Instant::now() < until, "it still accepts");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the journal holds so many messages.
    pub async fn rows_when(&self, count: usize) -> Vec<Row> {
        for _ in 0..400 {
            let rows = self.rows().await;
            if rows.len() >= count {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the journal never held {count} messages");
    }

    pub async fn body(&self, seq: i64) -> Vec<u8> {
        self.journal.body(seq).await.unwrap().unwrap().to_vec()
    }

    /// Until the guard is dropped, the journal's writer says nothing of what it commits.
    pub async fn hold_commits(&self) -> OwnedMutexGuard<()> {
        let hold = Arc::new(Mutex::new(()));
        let guard = Arc::clone(&hold).lock_owned().await;
        self.journal.observe(move |_| drop(hold.blocking_lock()));
        guard
    }
}

/// An ADT^A01 with this control id.
pub fn adt(control_id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|APP|FAC|STOKER|HERE|20240101120000||ADT^A01|{control_id}|P|2.5\rPID|1||P1^^^FAC^MR\r")
        .into_bytes()
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    [b"\x0B", message, b"\x1C\r"].concat()
}

/// What the peer sends until it closes.
pub async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    // A reset is an end, too.
    drop(read);
    bytes
}

/// Sends bytes as they are, and the ack to the last of them.
pub async fn ack_to(stream: &mut TcpStream, bytes: &[u8]) -> Ack {
    stream.write_all(bytes).await.unwrap();
    next_ack(stream).await
}

pub async fn next_ack(stream: &mut TcpStream) -> Ack {
    let mut bytes = Vec::new();
    while bytes.last() != Some(&0x1C) {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        if byte != b'\r' || !bytes.is_empty() {
            bytes.push(byte);
        }
    }
    let body = bytes.strip_prefix(b"\x0B").unwrap().strip_suffix(b"\x1C").unwrap();
    Ack::parse(body.to_vec().into()).unwrap()
}

pub fn id(ack: &Ack) -> String {
    String::from_utf8(ack.control_id.clone()).unwrap()
}
