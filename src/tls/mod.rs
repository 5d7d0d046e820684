//! TLS for those who listen and for those who connect: PEM files in, rustls out; 1.2 or later, nothing older.
//!
//! A listener's files are read again when they have changed, so that a renewed certificate needs no restart. Files that
//! cannot be used then leave the old ones in use, with an error in the log; at the start they are an error.

mod pinned;
mod flaws;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::log_throttle::{LogThrottle, throttled};

pub use flaws::{Flaw, flaws, flaws_of_authorities, flaws_of_identity};
pub use pinned::{pinned, trusting};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

static CHANGED: LogThrottle = LogThrottle::minutely();
static UNUSABLE: LogThrottle = LogThrottle::minutely();

/// A listener's files, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those that lead to its root.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who signs the certificates that clients must show; absent: clients need none.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be spoken. The caller says whose TLS it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    path: PathBuf,
    reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Greets those who connect. Clones share the files.
#[derive(Clone)]
pub struct Acceptor {
    shared: Arc<Shared>,
}

struct Shared {
    config: TlsConfig,
    /// Application protocols that are offered; none for MLLP.
    protocols: Vec<Vec<u8>>,
    current: ArcSwap<ServerConfig>,
    seen: Mutex<Seen>,
}

/// When the files were looked at last, and how old they were.
struct Seen {
    at: Instant,
    stamps: Vec<Option<SystemTime>>,
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn new(config: &TlsConfig, protocols: &[&str]) -> Result<Self, TlsError> {
        let protocols: Vec<_> = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let seen = Seen { at: Instant::now(), stamps: stamps(config) };
        let current = ArcSwap::from_pointee(server(config, &protocols)?);
        Ok(Self { shared: Arc::new(Shared { config: config.clone(), protocols, current, seen: Mutex::new(seen) }) })
    }

    /// The handshake, which is given up after a while.
    ///
    /// # Errors
    /// When the peer does not speak TLS, shows no certificate that is trusted, or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.shared.look_again(LOOK);
        let acceptor = TlsAcceptor::from(self.shared.current.load_full());
        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(greeted) => greeted,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no TLS handshake within {HANDSHAKE:?}"))),
        }
    }
}

impl Shared {
    fn look_again(&self, every: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.elapsed() < every {
            return;
        }
        seen.at = Instant::now();
        let stamps = stamps(&self.config);
        if stamps == seen.stamps {
            return;
        }
        seen.stamps = stamps;
        match server(&self.config, &self.protocols) {
            Ok(server) => {
                self.current.store(Arc::new(server));
                let certificate = self.config.certificate.display();
                throttled!(info, CHANGED, %certificate, "the TLS files have changed and are in use");
            }
            Err(error) => {
                throttled!(error, UNUSABLE, %error, "the TLS files have changed and cannot be used; the old ones stay");
            }
        }
    }
}

fn stamps(config: &TlsConfig) -> Vec<Option<SystemTime>> {
    let files = [Some(&config.certificate), Some(&config.key), config.client_ca.as_ref()];
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    files.into_iter().flatten().map(modified).collect()
}

fn server(config: &TlsConfig, protocols: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&config.certificate, error))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::new(path, error))?)
        }
    };
    let (chain, key) = (certificates(&config.certificate)?, private_key(&config.key)?);
    let mut server = builder.with_single_cert(chain, key).map_err(|error| TlsError::new(&config.key, error))?;
    server.alpn_protocols = protocols.to_vec();
    Ok(server)
}

/// For a client: trusts the authorities in `ca`, or else the system's; shows the certificate and key in `identity`.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn connector(ca: Option<&Path>, identity: Option<&Path>) -> Result<TlsConnector, TlsError> {
    let roots = match ca {
        Some(path) => roots(path)?,
        None => system_roots(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(ca.unwrap_or(Path::new("TLS")), error))?
        .with_root_certificates(roots);
    let client = match identity {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let (chain, key) = (certificates(path)?, private_key(path)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| TlsError::new(path, error))?
        }
    };
    Ok(TlsConnector::from(Arc::new(client)))
}

/// Where every client of HTTP begins: with this cryptography, and without the proxies that the environment names. Messages
/// and tokens go where the configuration says, and nowhere else; a proxy is a key of the destination.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn http_client() -> reqwest::ClientBuilder {
    // Err only says that the program chose its provider already.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy()
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // One odd certificate among a hundred is no reason to trust none of them.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        roots.add(root).map_err(|error| TlsError::new(path, error))?;
    }
    Ok(roots)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::new(path, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| TlsError::new(path, error))?;
    if found.is_empty() {
        return Err(TlsError::new(path, "no certificate in it"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn write(folder: &TempDir) -> (TlsConfig, CertificateDer<'static>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let config = TlsConfig {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            client_ca: None,
        };
        std::fs::write(&config.certificate, own.cert.pem()).unwrap();
        std::fs::write(&config.key, own.signing_key.serialize_pem()).unwrap();
        (config, own.cert.der().clone())
    }

    /// The certificate that a client is shown.
    async fn shown(acceptor: &Acceptor, trusted: &Path) -> io::Result<Vec<u8>> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        let greeting = tokio::spawn(async move { acceptor.accept(accepted).await });
        let name = "localhost".try_into().unwrap();
        let stream = connector(Some(trusted), None).unwrap().connect(name, stream).await?;
        greeting.await.unwrap()?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_without_a_restart() {
        let folder = TempDir::new().unwrap();
        let (config, first) = write(&folder);
        let acceptor = Acceptor::new(&config, &[]).unwrap();
        assert_eq!(shown(&acceptor, &config.certificate).await.unwrap(), first.to_vec());
        std::thread::sleep(Duration::from_millis(20)); // the file's time must be another
        let (config, second) = write(&folder);
        acceptor.shared.look_again(Duration::ZERO);
        assert_eq!(shown(&acceptor, &config.certificate).await.unwrap(), second.to_vec());
    }

    #[tokio::test]
    async fn a_renewed_certificate_that_cannot_be_used_leaves_the_old_one() {
        let folder = TempDir::new().unwrap();
        let (config, first) = write(&folder);
        let trusted = folder.path().join("trusted.pem");
        std::fs::copy(&config.certificate, &trusted).unwrap();
        let acceptor = Acceptor::new(&config, &[]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&config.certificate, "half a certificate").unwrap();
        acceptor.shared.look_again(Duration::ZERO);
        assert_eq!(shown(&acceptor, &trusted).await.unwrap(), first.to_vec());
    }

    #[tokio::test]
    async fn one_certificate_is_trusted_whatever_its_name_and_no_other() {
        let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (config, shown) = write(&folder);
        let acceptor = Acceptor::new(&config, &[]).unwrap();
        let ask = async |trusted: &Path| {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            let greeting = tokio::spawn(async move { acceptor.accept(accepted).await.is_ok() });
            let connector = TlsConnector::from(Arc::new(pinned(trusted).unwrap()));
            let stream = connector.connect("elsewhere.test".try_into().unwrap(), stream).await?;
            greeting.await.unwrap();
            io::Result::Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
        };
        assert_eq!(ask(&config.certificate).await.unwrap(), shown.to_vec());
        let (another, _) = write(&other);
        assert!(ask(&another.certificate).await.is_err());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = TempDir::new().unwrap();
        let (mut config, _) = write(&folder);
        config.client_ca = Some("nowhere.pem".into());
        let error = Acceptor::new(&config, &[]).err().unwrap();
        assert!(error.to_string().starts_with("nowhere.pem: "), "{error}");
        assert!(connector(Some(&config.key), None).err().unwrap().to_string().contains("no certificate in it"));
    }
}
