//! Who may connect, and how: networks, shares, TLS on every port.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::ServerName;
use stoker::mllp::{Ack, Client, ListenerConfig, Network, client};
use stoker::tls::{self, TlsError};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::listening::{PATIENCE, Site, adt, listen, read_to_end};
use crate::process::{self, Daemon, stoker, text};
use crate::receiver::certificate;

fn network(text: &str) -> Network {
    Network::try_from(text.to_owned()).unwrap()
}

/// A certificate and its key as files, and both in one.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    identity: PathBuf,
}

fn write(folder: &TempDir, name: &str, own: &CertifiedKey<KeyPair>) -> Files {
    let file = |end: &str, text: String| {
        let path = folder.path().join(format!("{name}{end}.pem"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let identity = file("-identity", format!("{certificate}{key}"));
    Files { certificate: file("", certificate), key: file("-key", key), identity }
}

/// A listener with TLS; `client` is who may connect.
async fn secure(folder: &TempDir, client: Option<&Files>) -> (Site, Files) {
    let own = write(folder, "own", &certificate());
    let files = tls::TlsConfig {
        certificate: own.certificate.clone(),
        key: own.key.clone(),
        client_ca: client.map(|client| client.certificate.clone()),
    };
    (listen(ListenerConfig { tls: Some(files), ..ListenerConfig::default() }).await, own)
}

async fn send_over_tls(site: &Site, ca: &Path, identity: Option<&Path>, id: &str) -> anyhow::Result<Option<Ack>> {
    let connector = tls::connector(Some(ca), identity)?;
    let name = ServerName::try_from("localhost")?;
    let stream = client::connect_tls(site.address, name, &connector, PATIENCE).await?;
    Ok(Client::over(stream, PATIENCE).send(&adt(id)).await?)
}

#[tokio::test]
async fn a_peer_of_no_allowed_network_is_closed_at_once_and_counted() {
    let site = listen(ListenerConfig { allow: vec![network("192.0.2.0/24")], ..ListenerConfig::default() }).await;
    for _ in 0..3 {
        assert_eq!(read_to_end(&mut site.stream().await).await, b"");
    }
    assert_eq!(site.intake.counters().connections_refused.get(), 3);
    assert_eq!(site.intake.counters().connections_opened.get(), 0);
}

#[tokio::test]
async fn a_peer_of_an_allowed_network_is_served() {
    let allow = ["192.0.2.0/24", "127.0.0.0/8"].map(network).into();
    let site = listen(ListenerConfig { allow, ..ListenerConfig::default() }).await;
    assert!(site.client().await.send(&adt("1")).await.unwrap().unwrap().is_positive());
}

#[tokio::test]
async fn one_peer_cannot_take_all_the_places() {
    let site = listen(ListenerConfig { max_connections_per_peer: 2, ..ListenerConfig::default() }).await;
    let mut first = site.client().await;
    assert!(first.send(&adt("1")).await.unwrap().is_some());
    let mut second = site.client().await;
    assert!(second.send(&adt("2")).await.unwrap().is_some());
    assert_eq!(read_to_end(&mut site.stream().await).await, b"", "the third is closed");
    drop(first);
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(ack)) = site.client().await.send(&adt("3")).await {
            assert!(ack.is_positive());
            break;
        }
        assert!(tokio::time::Instant::now() < until, "the place of one who left is not given to another");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn messages_come_in_over_tls_and_not_beside_it() {
    let folder = TempDir::new().unwrap();
    let (site, own) = secure(&folder, None).await;
    let ack = send_over_tls(&site, &own.certificate, None, "1").await.unwrap().unwrap();
    assert!(ack.is_positive());
    let plain = site.client().await.send(&adt("2")).await;
    assert!(plain.is_err(), "{plain:?}");
    let stranger = write(&folder, "stranger", &certificate());
    assert!(send_over_tls(&site, &stranger.certificate, None, "3").await.is_err(), "whom we do not trust");
    assert_eq!(site.rows().await.len(), 1);
    assert!(site.intake.counters().handshake_faults.get() >= 1);
}

#[tokio::test]
async fn mutual_tls_takes_only_who_shows_the_right_certificate() {
    let folder = TempDir::new().unwrap();
    let (known, stranger) = (write(&folder, "known", &certificate()), write(&folder, "stranger", &certificate()));
    let (site, own) = secure(&folder, Some(&known)).await;
    assert!(send_over_tls(&site, &own.certificate, Some(&known.identity), "1").await.unwrap().unwrap().is_positive());
    assert!(send_over_tls(&site, &own.certificate, Some(&stranger.identity), "2").await.is_err());
    assert!(send_over_tls(&site, &own.certificate, None, "3").await.is_err());
    assert_eq!(site.rows().await.len(), 1);
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_holds_up_nobody() {
    let folder = TempDir::new().unwrap();
    let (site, own) = secure(&folder, None).await;
    let _silent: Vec<TcpStream> = futures_util::future::join_all((0..20).map(|_| site.stream())).await;
    assert!(send_over_tls(&site, &own.certificate, None, "1").await.unwrap().unwrap().is_positive());
    site.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), site.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_listener_whose_certificate_cannot_be_read_does_not_start() {
    let error: TlsError =
        tls::Acceptor::new(&toml::from_str("certificate = 'no.pem'\nkey = 'no.key'").unwrap(), &[]).err().unwrap();
    assert!(error.to_string().starts_with("no.pem: "), "{error}");
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("c.toml");
    std::fs::write(
        &config,
        "[[listener]]\nname = \"ward\"\n[listener.tls]\ncertificate = \"no.pem\"\nkey = \"no.key\"\n",
    )
    .unwrap();
    let checked = stoker(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("listener 'ward': tls.certificate: "), "{}", text(&checked.stdout));
}

#[tokio::test]
async fn the_daemon_speaks_tls_on_all_its_ports_and_still_delivers_to_its_own_mailbox() {
    let folder = TempDir::new().unwrap();
    let own = write(&folder, "own", &certificate());
    let (certificate, key) = (own.certificate.display(), own.key.display());
    let tls = format!("tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}");
    let daemon = Daemon::start_with("", &tls, &tls);
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/A01-admit-fjordvik.hl7");
    let to = format!("localhost:{}", daemon.mllp.port());
    let sent = stoker(&["send", sample, "--to", &to, "--tls", "--ca", own.certificate.to_str().unwrap()]);
    assert!(sent.status.success(), "{}{}", text(&sent.stdout), text(&sent.stderr));
    assert!(!stoker(&["send", sample, "--to", &to, "--timeout", "3s"]).status.success());

    process::http();
    let trusted = reqwest::Certificate::from_pem(&std::fs::read(&own.certificate).unwrap()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let url = format!(
        "https://localhost:{}/fhir/Encounter?identifier=urn:stoker:visit:FJORDVIK:PASADM%7CFV2024-03117",
        daemon.http.port()
    );
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = http.get(&url).send().await.unwrap().text().await.unwrap();
        if found.contains("\"resourceType\":\"Encounter\"") {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{found}\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let plain = reqwest::get(url.replace("https", "http")).await;
    assert!(plain.is_err(), "{plain:?}");
}
