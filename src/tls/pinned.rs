//! Trust in one certificate whatever its name and its signer: for a command that asks the daemon whose certificate file it can
//! read. Who shows it must have its key, which the handshake proves.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{TlsError, certificates, private_key, roots, system_roots};

#[derive(Debug)]
struct Pinned {
    certificate: Option<CertificateDer<'static>>,
    /// Who else is trusted, by the rules of TLS.
    others: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

/// For a client that talks to a server with the first certificate of this file, and to nobody else.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn pinned(path: &Path) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = Some(certificates(path)?.swap_remove(0));
    client(Pinned { certificate, others: None, provider }, None)
}

/// For a client that talks to the server with the certificate in `own`, where that is given, and to whoever shows one of the
/// authorities in `ca`, or else of the system's. It shows the certificate and key in `identity`.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn trusting(own: Option<&Path>, ca: Option<&Path>, identity: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // A certificate of ours that cannot be read is no reason to trust nobody.
    let certificate = own.and_then(|path| certificates(path).ok()).map(|mut chain| chain.swap_remove(0));
    let roots = Arc::new(ca.map_or_else(|| Ok(system_roots()), roots)?);
    let others = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    let others = match (others, ca) {
        (Ok(others), _) => Some(others),
        (Err(error), Some(ca)) => return Err(TlsError::new(ca, error)),
        (Err(_), None) => None, // a small container image has no authorities
    };
    client(Pinned { certificate, others, provider }, identity)
}

fn client(verifier: Pinned, identity: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let fault = |error: Error| TlsError::new(identity.unwrap_or(Path::new("TLS")), error);
    let builder = ClientConfig::builder_with_provider(verifier.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(fault)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(path) => builder.with_client_auth_cert(certificates(path)?, private_key(path)?).map_err(fault),
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certificate.as_ref() == Some(shown) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.others {
            Some(others) => others.verify_server_cert(shown, intermediates, name, ocsp, now),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
