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
    requests: Arc<Mutex<Vec<Request>>>,
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
        let receiver =
            Self { address: listener.local_addr().unwrap(), connections: Arc::default(), requests: Arc::default() };
        let (connections, requests) = (receiver.connections.clone(), receiver.requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (tls, decide, requests) = (tls.clone(), decide.clone(), requests.clone());
                tokio::spawn(connection(stream, tls, wait, decide, requests));
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

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    wait: Duration,
    decide: Arc<Decide>,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    match tls {
        None => serve(stream, wait, decide, requests).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, wait, decide, requests).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    wait: Duration,
    decide: Arc<Decide>,
    requests: Arc<Mutex<Vec<Request>>>,
) {
    while let Some(request) = read(&mut stream).await {
        requests.lock().unwrap().push(request.clone());
        if !wait.is_zero() {
            decide(true, &request);
            tokio::time::sleep(wait).await;
        }
        let (status, header, body) = match decide(false, &request) {
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
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse::<usize>().unwrap();
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
