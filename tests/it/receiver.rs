//! A destination on a port of its own that answers as a test tells it to: also with half an answer, or with none.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};

/// A request as it came: head and body.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16, String),
    /// Status, one more header line, body.
    With(u16, String, String),
    /// These bytes, then the connection is cut.
    Cut(Vec<u8>),
    /// Nothing, ever.
    Silence,
}

type Decide = dyn Fn(bool, &Request) -> Reply + Send + Sync;

pub struct Receiver {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Seen>,
}

/// What came, and what stands at `metadata`: a CapabilityStatement, unless a test puts something else there.
struct Seen {
    requests: Mutex<Vec<Request>>,
    metadata: Mutex<Reply>,
    asked: AtomicUsize,
}

impl Receiver {
    pub async fn start(decide: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Duration::ZERO, Arc::new(move |_, request| decide(request)), None).await
    }

    /// Asks `decide` when a request arrives, with `true`, and again when it is answered some time later, with `false`.
    pub async fn start_slow(wait: Duration, decide: impl Fn(bool, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(wait, Arc::new(decide), None).await
    }

    pub async fn start_tls(tls: ServerConfig, decide: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let tls = TlsAcceptor::from(Arc::new(tls));
        Self::listen(Duration::ZERO, Arc::new(move |_, request| decide(request)), Some(tls)).await
    }

    async fn listen(wait: Duration, decide: Arc<Decide>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let seen = Seen {
            requests: Mutex::default(),
            metadata: Mutex::new(Reply::Status(200, r#"{"resourceType":"CapabilityStatement"}"#.into())),
            asked: AtomicUsize::new(0),
        };
        let receiver =
            Self { address: listener.local_addr().unwrap(), connections: Arc::default(), seen: Arc::new(seen) };
        let (connections, seen) = (receiver.connections.clone(), receiver.seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, decide, seen) = (tls.clone(), decide.clone(), seen.clone());
                tokio::spawn(connection(stream, tls, wait, decide, seen));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/fhir/$process-message", self.address)
    }

    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}/fhir/$process-message", self.address.port())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Messages, not questions for `metadata`.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// What is answered at `metadata` from now on.
    pub fn put_metadata(&self, reply: Reply) {
        *self.seen.metadata.lock().unwrap() = reply;
    }

    /// How often `metadata` was asked for.
    pub fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::SeqCst)
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, wait: Duration, decide: Arc<Decide>, seen: Arc<Seen>) {
    match tls {
        None => serve(stream, wait, decide, seen).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, wait, decide, seen).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, wait: Duration, decide: Arc<Decide>, seen: Arc<Seen>) {
    while let Some(request) = read(&mut stream).await {
        let reply = if request.head.starts_with("get ") {
            seen.asked.fetch_add(1, Ordering::SeqCst);
            seen.metadata.lock().unwrap().clone()
        } else {
            seen.requests.lock().unwrap().push(request.clone());
            if !wait.is_zero() {
                decide(true, &request);
                tokio::time::sleep(wait).await;
            }
            decide(false, &request)
        };
        let (status, header, body) = match reply {
            Reply::Status(status, body) => (status, String::new(), body),
            Reply::With(status, header, body) => (status, format!("{header}\r\n"), body),
            Reply::Cut(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                return;
            }
            Reply::Silence => std::future::pending().await,
        };
        let head = format!("HTTP/1.1 {status} x\r\n{header}content-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").trim();
    let length = length.parse::<usize>().unwrap();
    let mut body = bytes.split_off(end);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { head, body })
}

/// An answer as a mailbox gives it.
pub fn response(code: &str, issue: &str) -> String {
    format!(
        r#"{{"resourceType":"Bundle","type":"message","entry":[
          {{"resource":{{"resourceType":"MessageHeader","response":{{"identifier":"1","code":"{code}"}}}}}},
          {{"resource":{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"{issue}"}}]}}}}]}}"#
    )
}

/// A certificate for `localhost` with its key.
pub fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// `client`: the certificate that clients have to show.
pub fn tls(own: &CertifiedKey<rcgen::KeyPair>, client: Option<&CertifiedKey<rcgen::KeyPair>>) -> ServerConfig {
    drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default());
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
    let builder = match client {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.cert.der().clone()).unwrap();
            ServerConfig::builder()
                .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        }
    };
    builder.with_single_cert(vec![own.cert.der().clone()], key).unwrap()
}
