//! What is wrong with certificates and keys before anybody is greeted with them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};

use super::{TlsConfig, certificates, private_key, roots};

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Nobody can be greeted with it, or nobody would trust it.
    Unusable(String),
    /// It works, and somebody should know.
    Odd(String),
}

/// Said beforehand for so long.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Of a listener's files, by their keys.
#[must_use]
pub fn flaws(config: &TlsConfig) -> Vec<(&'static str, Vec<Flaw>)> {
    let own = of_own(&config.certificate);
    let key = match (certificates(&config.certificate), private_key(&config.key)) {
        (_, Err(error)) => vec![Flaw::Unusable(error.to_string())],
        (Ok(chain), Ok(key)) => mismatch(chain, key, &config.key, &config.certificate),
        (Err(_), Ok(_)) => Vec::new(),
    };
    let authorities = config.client_ca.as_deref().map(flaws_of_authorities).unwrap_or_default();
    vec![("certificate", own), ("key", key), ("client_ca", authorities)]
}

/// Of a file with our certificate and its key.
#[must_use]
pub fn flaws_of_identity(path: &Path) -> Vec<Flaw> {
    let mut found = of_own(path);
    match (certificates(path), private_key(path)) {
        (Ok(chain), Ok(key)) => found.extend(mismatch(chain, key, path, path)),
        (Ok(_), Err(error)) => found.push(Flaw::Unusable(error.to_string())),
        (Err(_), _) => {}
    }
    found
}

/// Of a file with authorities. One that is out of its time is still trusted by the rules of TLS, and hardly meant.
#[must_use]
pub fn flaws_of_authorities(path: &Path) -> Vec<Flaw> {
    if let Err(error) = roots(path) {
        return vec![Flaw::Unusable(error.to_string())];
    }
    let all = certificates(path).unwrap_or_default();
    all.iter()
        .filter_map(|one| out_of_time(one, UnixTime::now()))
        .map(|why| Flaw::Odd(format!("{}: an authority {why}", path.display())))
        .collect()
}

fn of_own(path: &Path) -> Vec<Flaw> {
    let chain = match certificates(path) {
        Ok(chain) => chain,
        Err(error) => return vec![Flaw::Unusable(error.to_string())],
    };
    let now = UnixTime::now();
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
    let told = |why: String| format!("{}: the certificate {why}; renew it", path.display());
    let flaw = |one: &CertificateDer<'_>| match out_of_time(one, now) {
        Some(why) => Some(Flaw::Unusable(told(why))),
        None => out_of_time(one, soon).map(|why| Flaw::Odd(told(why.replace("has expired", "expires")))),
    };
    chain.iter().filter_map(flaw).collect()
}

/// The times of a certificate, as the verifier of handshakes reads them: they are the first that it looks at.
fn out_of_time(certificate: &CertificateDer<'_>, at: UnixTime) -> Option<String> {
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let verified = verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], at, algorithms.all);
    match verified {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(format!("has expired ({})", day(not_after)))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
            Some(format!("is not valid before {}", day(not_before)))
        }
        _ => None,
    }
}

fn day(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn mismatch(
    chain: Vec<CertificateDer<'static>>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
    key_file: &Path,
    certificate: &Path,
) -> Vec<Flaw> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let text = match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => return Vec::new(),
        Err(Error::InconsistentKeys(_)) => {
            format!("{} is not the key of the certificate in {}", key_file.display(), certificate.display())
        }
        Err(error) => format!("{}: {error}", key_file.display()),
    };
    vec![Flaw::Unusable(text)]
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Files with a certificate for these years, and its key.
    fn made(folder: &TempDir, from: i32, until: i32) -> TlsConfig {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let config = TlsConfig {
            certificate: folder.path().join(format!("cert-{from}.pem")),
            key: folder.path().join(format!("key-{from}.pem")),
            client_ca: None,
        };
        std::fs::write(&config.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&config.key, key.serialize_pem()).unwrap();
        config
    }

    fn told(config: &TlsConfig) -> Vec<String> {
        flaws(config)
            .into_iter()
            .flat_map(|(key, flaws)| flaws.into_iter().map(move |f| format!("{key} {f:?}")))
            .collect()
    }

    #[test]
    fn a_certificate_out_of_its_time_is_told_with_the_day() {
        let folder = TempDir::new().unwrap();
        let (old, new, good) = (made(&folder, 2001, 2002), made(&folder, 2901, 2902), made(&folder, 2003, 2902));
        assert!(told(&old)[0].contains("certificate Unusable") && told(&old)[0].contains("has expired (2002-01-01)"));
        assert!(told(&new)[0].contains("is not valid before 2901-01-01"), "{:?}", told(&new));
        assert_eq!(told(&good), Vec::<String>::new());
        let authorities = flaws_of_authorities(&old.certificate);
        assert!(matches!(&authorities[..], [Flaw::Odd(why)] if why.contains("has expired")), "{authorities:?}");
    }

    #[test]
    fn a_key_of_another_certificate_is_told_and_so_is_every_file_that_cannot_be_read() {
        let folder = TempDir::new().unwrap();
        let (one, other) = (made(&folder, 2003, 2902), made(&folder, 2004, 2902));
        let mixed = TlsConfig { key: other.key, ..one.clone() };
        assert!(told(&mixed)[0].contains("is not the key of the certificate"), "{:?}", told(&mixed));
        let nowhere = TlsConfig { certificate: "a".into(), key: "b".into(), client_ca: Some("c".into()) };
        assert_eq!(told(&nowhere).len(), 3, "{:?}", told(&nowhere));
        let both = folder.path().join("both.pem");
        let text = [&one.certificate, &mixed.key].map(|path| std::fs::read_to_string(path).unwrap()).concat();
        std::fs::write(&both, text).unwrap();
        assert!(matches!(&flaws_of_identity(&both)[..], [Flaw::Unusable(_)]));
    }
}
