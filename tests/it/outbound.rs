//! The client against destinations that behave, misbehave, or are not there.

use std::path::PathBuf;
use std::time::Duration;

use stoker::outbound::{Client, Delivery, DestinationConfig, Metadata, Outcome, Secret};
use tempfile::TempDir;

use crate::receiver::{Receiver, Reply, certificate, response, tls};

fn config(url: String) -> DestinationConfig {
    DestinationConfig { url, timeout: Duration::from_secs(5), ..DestinationConfig::default() }
}

async fn deliver(config: &DestinationConfig) -> Delivery {
    Client::new(config).unwrap().deliver("{\"resourceType\":\"Bundle\"}").await
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered => "",
        Outcome::Accepted { reason, .. }
        | Outcome::Retry { reason, .. }
        | Outcome::Dead { reason }
        | Outcome::Doubtful { reason, .. }
        | Outcome::Hold { reason } => reason,
    }
}

#[tokio::test]
async fn a_bundle_is_posted_as_fhir_json_and_its_connection_used_again() {
    let receiver = Receiver::start(|_| Reply::Status(200, response("ok", "informational"))).await;
    let client = Client::new(&config(receiver.url())).unwrap();
    for _ in 0..10 {
        assert_eq!(client.deliver("{\"n\":1}").await.outcome, Outcome::Delivered);
    }
    assert_eq!(receiver.connections(), 1);
    let request = receiver.requests().remove(0);
    assert!(request.head.starts_with("post /fhir/$process-message http/1.1"), "{}", request.head);
    assert!(request.head.contains("content-type: application/fhir+json\r\n"), "{}", request.head);
    assert_eq!(request.body, b"{\"n\":1}");
}

#[tokio::test]
async fn an_error_in_the_answer_counts_also_under_status_200() {
    let receiver = Receiver::start(|_| Reply::Status(200, response("fatal-error", "not-found"))).await;
    let delivery = deliver(&config(receiver.url())).await;
    assert_eq!(delivery.outcome, Outcome::Dead { reason: "HTTP 200, fatal-error: not-found".into() });
    assert_eq!(delivery.status, Some(200));
}

#[tokio::test]
async fn a_destination_that_is_not_there_is_tried_again() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let delivery = deliver(&config(format!("http://{gone}/"))).await;
    assert!(matches!(&delivery.outcome, Outcome::Retry { after: None, .. }), "{delivery:?}");
    assert!(reason(&delivery.outcome).contains("refused"), "{delivery:?}");
    assert_eq!(delivery.status, None);
}

#[tokio::test]
async fn a_destination_that_does_not_answer_is_given_up_after_the_timeout() {
    let receiver = Receiver::start(|_| Reply::Silence).await;
    let delivery = deliver(&DestinationConfig { timeout: Duration::from_millis(200), ..config(receiver.url()) }).await;
    assert_eq!(delivery.outcome, Outcome::Retry { after: None, reason: "no answer within 200ms".into() });
}

#[tokio::test]
async fn half_an_answer_is_none() {
    for half in ["HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"resourceType\"", "HTTP/1.1 2", ""] {
        let receiver = Receiver::start(|_| Reply::Cut(half.into())).await;
        let delivery = deliver(&config(receiver.url())).await;
        assert!(matches!(&delivery.outcome, Outcome::Retry { .. }), "{half:?}: {delivery:?}");
        assert_eq!(delivery.status, None);
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let receiver = Receiver::start(|_| Reply::Status(200, " ".repeat(1 << 20))).await;
    let delivery = deliver(&DestinationConfig { max_answer: 10_000, ..config(receiver.url()) }).await;
    assert!(reason(&delivery.outcome).contains("destination.max_answer"), "{delivery:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start(|_| Reply::Status(200, String::new())).await;
    let location = format!("location: {}", elsewhere.url());
    let receiver = Receiver::start(move |_| Reply::With(307, location.clone(), String::new())).await;
    let delivery = deliver(&config(receiver.url())).await;
    assert!(
        matches!(&delivery.outcome, Outcome::Doubtful { reason, .. } if reason.contains("destination.url")),
        "{delivery:?}"
    );
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_destination_is_asked_whether_it_is_a_fhir_server_without_a_message() {
    let receiver = Receiver::start(|_| panic!("no message is sent")).await;
    let client = Client::new(&config(receiver.url())).unwrap();
    assert_eq!(client.metadata().await, Metadata::Fhir);
    let endless = format!("{{\"resourceType\":\"CapabilityStatement\",{}", " ".repeat(8 << 20));
    receiver.put_metadata(Reply::Status(200, endless));
    assert_eq!(client.metadata().await, Metadata::Fhir);
    let page = "<html><title>Welcome to the guest network</title>".to_owned();
    receiver.put_metadata(Reply::With(200, "content-type: text/html".into(), page));
    let said = "HTTP 200, an HTML page \"Welcome to the guest network\"".to_owned();
    assert_eq!(client.metadata().await, Metadata::NotFhir { said });
    receiver.put_metadata(Reply::Cut(Vec::new()));
    assert!(matches!(client.metadata().await, Metadata::Unknown { .. }));
    let client =
        Client::new(&DestinationConfig { timeout: Duration::from_millis(200), ..config(receiver.url()) }).unwrap();
    receiver.put_metadata(Reply::Silence);
    assert!(matches!(client.metadata().await, Metadata::Unknown { .. }));
}

#[tokio::test]
async fn a_busy_destination_says_when_to_come_again() {
    let receiver = Receiver::start(|_| Reply::With(503, "retry-after: 7".into(), String::new())).await;
    let delivery = deliver(&config(receiver.url())).await;
    let expected = Outcome::Retry { after: Some(Duration::from_secs(7)), reason: "HTTP 503".into() };
    assert_eq!(delivery.outcome, expected);
}

#[tokio::test]
async fn a_token_that_was_rotated_is_read_again_after_it_was_refused() {
    let receiver = Receiver::start(|request| match request.head.contains("authorization: bearer new\r\n") {
        true => Reply::Status(204, String::new()),
        false => Reply::Status(401, String::new()),
    })
    .await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let client = Client::new(&DestinationConfig { token_file: Some(file.clone()), ..config(receiver.url()) }).unwrap();
    assert!(matches!(client.deliver("{}").await.outcome, Outcome::Hold { .. }));
    std::fs::write(&file, "new\n").unwrap();
    assert!(matches!(client.deliver("{}").await.outcome, Outcome::Hold { .. }), "read after it was refused");
    assert_eq!(client.deliver("{}").await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn the_token_goes_to_the_destination_and_into_no_text_of_ours() {
    let receiver = Receiver::start(|_| Reply::Status(403, String::new())).await;
    let client =
        Client::new(&DestinationConfig { token: Some(Secret::new("s3cret")), ..config(receiver.url()) }).unwrap();
    let delivery = client.deliver("{}").await;
    assert!(receiver.requests()[0].head.contains("authorization: bearer s3cret"));
    assert!(!format!("{client:?} {delivery:?}").contains("s3cret"));
}

fn file(folder: &TempDir, name: &str, text: String) -> Option<PathBuf> {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    Some(path)
}

#[tokio::test]
async fn an_untrusted_certificate_holds_the_destination_and_a_trusted_one_delivers() {
    let (own, folder) = (certificate(), TempDir::new().unwrap());
    let receiver = Receiver::start_tls(tls(&own, None), |_| Reply::Status(204, String::new())).await;
    let other =
        DestinationConfig { ca_file: file(&folder, "other", certificate().cert.pem()), ..config(receiver.tls_url()) };
    let delivery = deliver(&other).await;
    assert!(matches!(&delivery.outcome, Outcome::Hold { reason } if reason.contains("certificate")), "{delivery:?}");

    let trusting = DestinationConfig { ca_file: file(&folder, "ca", own.cert.pem()), ..config(receiver.tls_url()) };
    assert_eq!(deliver(&trusting).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_destination_that_wants_our_certificate_holds_until_it_is_shown() {
    let (own, ours, folder) = (certificate(), certificate(), TempDir::new().unwrap());
    let receiver = Receiver::start_tls(tls(&own, Some(&ours)), |_| Reply::Status(204, String::new())).await;
    let without = DestinationConfig { ca_file: file(&folder, "ca", own.cert.pem()), ..config(receiver.tls_url()) };
    let delivery = deliver(&without).await;
    assert!(matches!(&delivery.outcome, Outcome::Hold { .. }), "{delivery:?}");

    let pem = ours.cert.pem() + &ours.signing_key.serialize_pem();
    let with = DestinationConfig { identity_file: file(&folder, "identity", pem), ..without };
    assert_eq!(deliver(&with).await.outcome, Outcome::Delivered);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_sent() {
    let folder = TempDir::new().unwrap();
    for (config, key) in [
        (config("ftp://x/".into()), "destination.url"),
        (config("mailbox".into()), "destination.url"),
        (
            DestinationConfig { ca_file: Some("/nowhere.pem".into()), ..DestinationConfig::default() },
            "destination.ca_file",
        ),
        (
            DestinationConfig { ca_file: file(&folder, "empty", String::new()), ..DestinationConfig::default() },
            "destination.ca_file",
        ),
        (
            DestinationConfig { identity_file: file(&folder, "no", "x".into()), ..DestinationConfig::default() },
            "destination.identity_file",
        ),
        (
            DestinationConfig { token_file: Some("/nowhere".into()), ..DestinationConfig::default() },
            "destination.token_file",
        ),
        (DestinationConfig { token: Some(Secret::new("a\nb")), ..DestinationConfig::default() }, "destination.token"),
    ] {
        let error = Client::new(&config).unwrap_err().to_string();
        assert!(error.starts_with(key), "wanted {key}: {error}");
    }
}
