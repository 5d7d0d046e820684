//! One attempt over HTTP: connections kept and reused, everything bounded.

use std::error::Error;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, RequestBuilder, Response, Url};
use rustls::AlertDescription as Alert;
use tokio_util::task::AbortOnDropHandle;

use super::answer::{self, Answer, Media};
use super::classify::{Outcome, classify};
use super::metadata::{self, Metadata};
use super::{DestinationConfig, OnAccepted, Secret};
use crate::tls;

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json");

/// Answers larger than this are read on a thread that may be busy for a while.
const LARGE: usize = 64 << 10;

/// Why there is no client. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("destination.url: '{url}' is not an http or https address")]
    Url { url: String },
    #[error("destination.{key}: {path} cannot be used: {reason}")]
    File { key: &'static str, path: PathBuf, reason: String },
    #[error("destination.token: not usable in a header")]
    Token,
    #[error("destination.proxy {0}")]
    Proxy(&'static str),
    #[error("destination: no HTTP client: {0}")]
    Client(String),
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub outcome: Outcome,
    /// `None` where there was no answer.
    pub status: Option<u16>,
    /// What kind of content the answer says that it is.
    pub media: Media,
    /// Whether whoever answered speaks FHIR, as far as the body tells.
    pub fhir: bool,
    /// The destination's own words; may hold patient data.
    pub detail: Option<String>,
    /// The destination refuses the message for good because it does not know what it is about: fatal-error, not-found.
    pub unknown: bool,
    pub took: Duration,
}

/// The client of one destination. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    url: Url,
    token: Arc<Token>,
    max_answer: usize,
    custody: OnAccepted,
    timeout: Duration,
}

/// How a destination is reached.
#[derive(Debug, Clone)]
enum Way {
    Network(reqwest::Client),
    /// It is in this process.
    Process(Router),
}

/// Why there was no answer.
enum Unanswered {
    Network(reqwest::Error),
    Process(String),
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        Self::Network(error)
    }
}

impl Delivery {
    fn unanswered(outcome: Outcome, took: Duration) -> Self {
        Self { outcome, status: None, media: Media::Unsaid, fhir: false, detail: None, unknown: false, took }
    }
}

impl Client {
    /// # Errors
    /// [`BuildError`] when an address, a token or a certificate file is unusable.
    pub fn new(config: &DestinationConfig) -> Result<Self, BuildError> {
        Self::by(config, |url| Ok(Way::Network(http(config, url)?)))
    }

    /// The client of a destination that is in this process: `routes` answers what would be sent to its address. No
    /// connection is needed for it, and nothing that connections wait for.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn within(config: &DestinationConfig, routes: Router) -> Result<Self, BuildError> {
        Self::by(config, |_| Ok(Way::Process(routes)))
    }

    fn by(config: &DestinationConfig, way: impl FnOnce(&Url) -> Result<Way, BuildError>) -> Result<Self, BuildError> {
        let fault = || BuildError::Url { url: config.url.clone() };
        let url = Url::parse(&config.url).map_err(|_| fault())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(fault());
        }
        Ok(Self {
            way: way(&url)?,
            url,
            token: Arc::new(Token::new(config)?),
            max_answer: config.max_answer,
            custody: config.on_accepted,
            timeout: config.timeout,
        })
    }

    /// Posts a message Bundle once.
    pub async fn deliver(&self, bundle: impl Into<Bytes>) -> Delivery {
        let began = Instant::now();
        let answer = match self.ask(bundle.into()).await {
            Ok(answer) => answer,
            Err(error) => {
                let outcome = self.no_answer(&error);
                return Delivery::unanswered(outcome, began.elapsed());
            }
        };
        if answer.status == 401 {
            self.token.read_again();
        }
        Delivery {
            outcome: classify(&answer, self.custody),
            status: Some(answer.status),
            media: answer.media,
            fhir: answer.body.is_fhir(),
            detail: answer.body.detail(),
            unknown: answer.body.is_unknown(),
            took: began.elapsed(),
        }
    }

    /// Asks the destination for its CapabilityStatement, which tells whether a FHIR server stands there. Sends no message.
    pub async fn metadata(&self) -> Metadata {
        let Way::Network(http) = &self.way else { return Metadata::Fhir };
        let request = http.get(metadata::address(&self.url)).timeout(self.timeout.min(metadata::PATIENCE));
        let mut response = match self.authorized(request).send().await {
            Ok(response) => response,
            Err(error) => return Metadata::Unknown { said: format!("no answer: {}", innermost(&error)) },
        };
        let (status, media, mut head) = (response.status().as_u16(), media(response.headers()), Vec::new());
        while let Ok(Some(chunk)) = response.chunk().await {
            head.extend_from_slice(&chunk);
            if head.len() > metadata::ENOUGH {
                break;
            }
        }
        metadata::judge(status, media, &head)
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(ACCEPT, FHIR_JSON);
        match self.token.header.load_full() {
            Some(token) => request.header(AUTHORIZATION, HeaderValue::clone(&token)),
            None => request,
        }
    }

    async fn ask(&self, bundle: Bytes) -> Result<Answer, Unanswered> {
        match &self.way {
            Way::Network(http) => Ok(self.ask_over(http, bundle).await?),
            Way::Process(routes) => self.ask_within(routes, bundle).await.map_err(Unanswered::Process),
        }
    }

    async fn ask_over(&self, http: &reqwest::Client, bundle: Bytes) -> reqwest::Result<Answer> {
        let request = self.authorized(http.post(self.url.clone()).header(CONTENT_TYPE, FHIR_JSON));
        let response = request.body(bundle).send().await?;
        let (status, media) = (response.status().as_u16(), media(response.headers()));
        let retry_after = retry_after(response.headers());
        Ok(Answer { status, retry_after, media, body: self.body(response).await? })
    }

    /// On a task of its own: where it panics, as any connection's task may, there is no answer and no more.
    async fn ask_within(&self, routes: &Router, bundle: Bytes) -> Result<Answer, String> {
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let (host, path) = (self.url.authority(), format!("{}{query}", self.url.path()));
        let request = Request::post(path).header(HOST, host).header(CONTENT_TYPE, FHIR_JSON).header(ACCEPT, FHIR_JSON);
        let request = request.body(Body::from(bundle)).map_err(|error| error.to_string())?;
        let (routes, most) = (TowerToHyperService::new(routes.clone()), self.max_answer);
        let asked = AbortOnDropHandle::new(tokio::spawn(async move {
            let response = match routes.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
            let media = media(response.headers());
            let body = match axum::body::to_bytes(response.into_body(), most).await {
                Ok(bytes) => read(bytes.to_vec()).await,
                Err(_) => answer::Body::TooLarge,
            };
            Answer { status, retry_after, media, body }
        }));
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answered) => answered.map_err(|_| "its own mailbox failed".to_owned()),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn body(&self, mut response: Response) -> reqwest::Result<answer::Body> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > self.max_answer {
                return Ok(answer::Body::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(read(bytes).await)
    }

    fn no_answer(&self, error: &Unanswered) -> Outcome {
        let error = match error {
            Unanswered::Network(error) => error,
            Unanswered::Process(reason) => return Outcome::Retry { after: None, reason: reason.clone() },
        };
        if let Some(fault) = certificate_fault(error) {
            return Outcome::Hold { reason: format!("TLS: {fault}") };
        }
        let reason = if error.is_connect() {
            format!("no connection: {}", innermost(error))
        } else if error.is_timeout() {
            format!("no answer within {:?}", self.timeout)
        } else {
            format!("no answer: {}", innermost(error))
        };
        Outcome::Retry { after: None, reason }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    asked.and_then(|value| answer::retry_after(value, Timestamp::now()))
}

fn media(headers: &HeaderMap) -> Media {
    Media::of(headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()))
}

/// A large answer is read where it keeps nobody up.
async fn read(bytes: Vec<u8>) -> answer::Body {
    if bytes.len() <= LARGE {
        return answer::Body::read(&bytes);
    }
    // A parser that panics has read no answer.
    tokio::task::spawn_blocking(move || answer::Body::read(&bytes)).await.unwrap_or(answer::Body::Foreign)
}

fn http(config: &DestinationConfig, url: &Url) -> Result<reqwest::Client, BuildError> {
    let mut builder = tls::http_client()
        .http1_only()
        .redirect(Policy::none())
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .pool_max_idle_per_host(config.parallel)
        .tcp_nodelay(true)
        .gzip(!is_loopback(url))
        .user_agent(concat!("stoker/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &config.ca_file {
        let file = |reason: String| BuildError::File { key: "ca_file", path: path.clone(), reason };
        let pem = fs::read(path).map_err(|e| file(e.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| file(e.to_string()))?;
        if certificates.is_empty() {
            return Err(file("it holds no PEM certificate".into()));
        }
        builder = builder.tls_certs_only(certificates);
    } else if url.scheme() == "http" {
        // The system's authorities are not needed, and a small container image may have none.
        builder = builder.tls_certs_only([]);
    }
    if let Some(path) = &config.identity_file {
        let file = |reason: String| BuildError::File { key: "identity_file", path: path.clone(), reason };
        let pem = fs::read(path).map_err(|e| file(e.to_string()))?;
        builder = builder.identity(Identity::from_pem(&pem).map_err(|e| file(e.to_string()))?);
    }
    if let Some(proxy) = config.way_out() {
        builder = builder.proxy(proxy.map_err(BuildError::Proxy)?);
    }
    builder.build().map_err(|e| BuildError::Client(innermost(&e)))
}

/// On the way to ourselves an answer is not worth the work of making it smaller.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Debug)]
struct Token {
    file: Option<PathBuf>,
    header: ArcSwapOption<HeaderValue>,
}

impl Token {
    fn new(config: &DestinationConfig) -> Result<Self, BuildError> {
        let secret = match &config.token_file {
            Some(path) => {
                let file = |reason| BuildError::File { key: "token_file", path: path.clone(), reason };
                Some(read_secret(path).map_err(|e| file(e.to_string()))?)
            }
            None => config.token.clone(),
        };
        let header = secret.map(|secret| bearer(&secret).ok_or(BuildError::Token)).transpose()?;
        Ok(Self { file: config.token_file.clone(), header: ArcSwapOption::from_pointee(header) })
    }

    /// Tokens in files are rotated by others. A file that cannot be read now leaves the old one in use.
    fn read_again(&self) {
        let Some(path) = &self.file else { return };
        if let Some(header) = read_secret(path).ok().and_then(|secret| bearer(&secret)) {
            self.header.store(Some(Arc::new(header)));
        }
    }
}

fn read_secret(path: &Path) -> std::io::Result<Secret> {
    fs::read_to_string(path).map(Secret::new)
}

fn bearer(secret: &Secret) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", secret.reveal())).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The text of the cause that lies deepest: `Connection refused (os error 111)` in place of "error sending request".
fn innermost(error: &dyn Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Whether TLS failed for a certificate, theirs or ours: to try again mends neither.
fn certificate_fault(error: &reqwest::Error) -> Option<String> {
    tls_error(error).filter(|error| is_certificate_fault(error)).map(ToString::to_string)
}

/// An `io::Error` does not name what it wraps as its source, so both ways down have to be tried.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error
        .downcast_ref::<rustls::Error>()
        .or_else(|| wrapped.and_then(|inner| tls_error(inner)))
        .or_else(|| error.source().and_then(tls_error))
}

fn is_certificate_fault(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::AlertReceived(
                Alert::NoCertificate
                    | Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
                    | Alert::CertificateRequired
            )
    )
}
