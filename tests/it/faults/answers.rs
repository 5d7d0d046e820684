//! Mailboxes that answer with everything but an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::delivery::{Site, adt, control_id, ids, ok};
use crate::receiver::{Receiver, Reply};

/// How often the fault is met before all is well.
const TIMES: usize = 7;

/// Three messages of a patient and one of another meet `fault` some times: all are delivered in the end, in order, by the
/// same bytes.
async fn all_are_delivered_after(fault: Reply) {
    let left = AtomicUsize::new(TIMES);
    let receiver = Receiver::start(move |_| {
        let bad = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if bad { fault.clone() } else { ok() }
    })
    .await;
    let site = Site::start_with(&receiver, |config| config.outbound.timeout = Duration::from_millis(500)).await;
    site.send(["a1", "a2", "a3"].map(|id| adt("A08", id, "a"))).await;
    site.send([adt("A08", "b1", "b")]).await;
    site.until_delivered(4).await;
    let mut sent: Vec<_> = ids(&receiver).into_iter().filter(|id| id.starts_with('a')).collect();
    assert!(sent.is_sorted(), "{sent:?}");
    sent.dedup();
    assert_eq!(sent, ["a1", "a2", "a3"]);
    let requests = receiver.requests();
    for id in ["a1", "b1"] {
        let of_message: Vec<_> = requests.iter().filter(|request| control_id(request) == id).collect();
        assert!(of_message.iter().all(|request| request.body == of_message[0].body), "{id}");
    }
    assert_eq!(requests.len(), 4 + TIMES, "each fault cost one attempt");
}

#[tokio::test]
async fn a_500_is_tried_again() {
    all_are_delivered_after(Reply::Status(500, "<h1>Internal Server Error</h1>".into())).await;
}

#[tokio::test]
async fn a_429_is_tried_again() {
    all_are_delivered_after(Reply::With(429, "retry-after: 0".into(), String::new())).await;
}

#[tokio::test]
async fn a_401_is_waited_out() {
    all_are_delivered_after(Reply::Status(401, String::new())).await;
}

#[tokio::test]
async fn garbage_is_tried_again() {
    all_are_delivered_after(Reply::Status(200, "\u{0}\u{1} welcome to the guest network".into())).await;
}

#[tokio::test]
async fn what_is_not_http_is_tried_again() {
    all_are_delivered_after(Reply::Cut(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())).await;
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_tried_again() {
    all_are_delivered_after(Reply::Cut(Vec::new())).await;
}

#[tokio::test]
async fn half_an_answer_is_tried_again() {
    let half =
        "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: 900\r\n\r\n{\"resourceType\":\"Bund";
    all_are_delivered_after(Reply::Cut(half.into())).await;
}

#[tokio::test]
async fn silence_is_tried_again() {
    all_are_delivered_after(Reply::Silence).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_asked_for_again_with_the_same_ids() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    // Answers a second after the request; the engine waits for a fifth of that, and the last time for as long as it takes.
    let receiver = Receiver::start_slow(Duration::from_secs(1), move |arriving, _| {
        count.fetch_add(usize::from(arriving), Ordering::SeqCst);
        ok()
    })
    .await;
    let mut site = Site::start_with(&receiver, |config| config.outbound.timeout = Duration::from_millis(200)).await;
    site.send([adt("A08", "a1", "a")]).await;
    site.until("a1 tried twice", |rows| rows["a1"].attempts >= 2).await;
    assert!(site.row("a1").await.reason.unwrap().contains("no answer within"));
    site.stop().await;
    site.config.outbound.timeout = Duration::from_secs(10);
    site.run().await;
    site.until_delivered(1).await;
    let requests = receiver.requests();
    assert!(requests.len() >= 3 && requests.iter().all(|request| request.body == requests[0].body));
}

#[tokio::test]
async fn a_host_that_no_name_server_knows_is_an_outage_and_costs_no_message() {
    let receiver = Receiver::start(|_| ok()).await;
    let mut site = Site::start_with(&receiver, |config| {
        config.outbound.url = "http://mailbox.invalid/fhir/$process-message".into();
    })
    .await;
    site.send((0..8).map(|n| adt("A08", &format!("m{n}"), &format!("p{n}")))).await;
    site.until("tried", |rows| rows.values().filter(|row| row.attempts > 0).count() >= 5).await;
    assert!(site.rows().await.values().all(|row| row.status.waits()));
    let reason = site.rows().await.into_values().find_map(|row| row.reason).unwrap();
    assert!(reason.starts_with("no connection: "), "{reason}");
    site.stop().await;
    site.config.outbound.url = receiver.url();
    site.run().await;
    site.until_delivered(8).await;
}
