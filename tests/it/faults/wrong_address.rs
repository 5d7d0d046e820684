//! A destination's address at which something else answers: from the start, for a while, or for one message only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stoker::engine::control::Outage;
use stoker::journal::Status;

use crate::delivery::{PATIENCE, Site, adt, control_id, ids, ok};
use crate::receiver::{Receiver, Reply};

const PAGE: &str = "<html><head><title>Page not found</title></head><body>Olsen</body></html>";

fn page(status: u16) -> Reply {
    Reply::With(status, "content-type: text/html; charset=utf-8".into(), PAGE.into())
}

/// What is no answer of a FHIR endpoint, each by its name.
fn answers() -> Vec<(&'static str, Reply)> {
    vec![
        ("a 404 with a page", page(404)),
        ("a 404 without a body", Reply::Status(404, String::new())),
        ("a 405 with a page", page(405)),
        ("a 410 with a page", page(410)),
        ("a 400 of a server that wants TLS", page(400)),
        ("a captive portal", page(200)),
        ("JSON of another service", Reply::With(200, "content-type: application/json".into(), "{\"ok\":true}".into())),
        ("a redirect", Reply::With(302, "location: https://login.example/".into(), String::new())),
        ("a 301", Reply::With(301, "location: https://hub.example/fhir".into(), PAGE.into())),
        ("a 501", page(501)),
    ]
}

/// A receiver with a switch: while it is on, every message gets `fault`.
async fn switched(fault: Reply, on: bool) -> (Receiver, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(on));
    let wrong = switch.clone();
    let decide = move |_: &_| if wrong.load(Ordering::SeqCst) { fault.clone() } else { ok() };
    (Receiver::start(decide).await, switch)
}

async fn outage(site: &Site) -> Outage {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(outage) = site.control().state().await.unwrap().outage
            && outage.held
        {
            return outage;
        }
        assert!(Instant::now() < until, "not held: {:?}", site.rows().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn nothing_is_dead(site: &Site) {
    let rows = site.rows().await;
    assert!(rows.values().all(|row| row.status.waits()), "{rows:#?}");
}

/// Three messages of one patient went in the order of their arrival.
fn in_order(receiver: &Receiver) {
    let mut sent: Vec<_> = ids(receiver).into_iter().filter(|id| id.starts_with('a')).collect();
    assert!(sent.is_sorted(), "{sent:?}");
    sent.dedup();
    assert_eq!(sent, ["a1", "a2", "a3"]);
}

/// Messages of others come in meanwhile; how many.
async fn others_until_a1_is_dead(site: &Site) -> usize {
    let (mut others, until) = (0, Instant::now() + PATIENCE);
    while site.row("a1").await.status != Status::Dead {
        assert!(Instant::now() < until, "{:?}", site.row("a1").await);
        site.send([adt("A08", &format!("c{others}"), &format!("c{others}"))]).await;
        others += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    others
}

#[tokio::test]
async fn an_address_that_is_wrong_from_the_start_holds_all_loses_none_and_says_what_was_answered() {
    for (name, fault) in answers() {
        let (receiver, wrong) = switched(fault.clone(), true).await;
        receiver.put_metadata(page(404));
        let site = Site::start(&receiver).await;
        site.send(["a1", "a2", "a3"].map(|id| adt("A08", id, "a"))).await;
        site.send((0..20).map(|n| adt("A08", &format!("m{n}"), &format!("p{n}")))).await;
        let outage = outage(&site).await;
        let told = ["HTTP ", "GET metadata: HTTP 404, an HTML page \"Page not found\"", "destination.url"];
        assert!(told.iter().all(|told| outage.reason.contains(told)), "{name}: {}", outage.reason);
        assert!(!outage.reason.contains("Olsen"), "{name}: {}", outage.reason);
        let metrics = site.metrics();
        assert!(metrics.contains("stoker_destination_held 1\n"), "{name}: {metrics}");
        assert!(metrics.contains("stoker_foreign_answers_total{status="), "{name}: {metrics}");
        // The probes go on meanwhile.
        let seen = receiver.asked();
        let until = Instant::now() + PATIENCE;
        while receiver.asked() < seen + 5 {
            assert!(Instant::now() < until, "{name}: it is not asked any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        nothing_is_dead(&site).await;
        wrong.store(false, Ordering::SeqCst);
        site.until_delivered(23).await;
        in_order(&receiver);
        assert!(site.metrics().contains("stoker_destination_held 0\n"), "{name}");
    }
}

#[tokio::test]
async fn a_path_that_is_wrong_on_a_fhir_server_holds_when_another_patient_fares_likewise() {
    let (receiver, wrong) = switched(page(404), true).await;
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "a1", "a")]).await;
    site.until("tried", |rows| rows["a1"].attempts >= 3).await;
    assert_eq!(site.control().state().await.unwrap().outage, None, "one message tells nothing");
    site.send([adt("A08", "b1", "b")]).await;
    let outage = outage(&site).await;
    assert!(outage.reason.contains("other messages are answered likewise"), "{}", outage.reason);
    nothing_is_dead(&site).await;
    wrong.store(false, Ordering::SeqCst);
    site.until_delivered(2).await;
}

#[tokio::test]
async fn an_address_that_turns_wrong_holds_sends_no_message_to_the_stranger_and_goes_on_by_itself() {
    let (receiver, wrong) = switched(page(404), false).await;
    let statement = Reply::Status(200, r#"{"resourceType":"CapabilityStatement"}"#.into());
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "m1", "m")]).await;
    site.until_delivered(1).await;
    wrong.store(true, Ordering::SeqCst);
    // The path goes first, so that the server is known to have a CapabilityStatement.
    site.send([adt("A08", "a1", "a"), adt("A08", "b1", "b")]).await;
    outage(&site).await;
    receiver.put_metadata(page(404));
    site.send(["a2", "a3"].map(|id| adt("A08", id, "a"))).await;
    let until = Instant::now() + PATIENCE;
    let mut asked = receiver.asked();
    let mut sent = receiver.requests().len();
    // Once a probe has found the server gone.
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (now_asked, now_sent) = (receiver.asked(), receiver.requests().len());
        if now_sent == sent && now_asked > asked {
            break;
        }
        assert!(Instant::now() < until, "messages are sent to whoever stands there");
        (asked, sent) = (now_asked, now_sent);
    }
    let rows = site.rows().await;
    assert!(rows.iter().all(|(id, row)| row.status.waits() || id == "m1"), "{rows:#?}");
    wrong.store(false, Ordering::SeqCst);
    receiver.put_metadata(statement);
    site.until_delivered(5).await;
    in_order(&receiver);
}

#[tokio::test]
async fn one_message_alone_that_is_answered_so_is_a_dead_letter_and_stops_nobody() {
    for (name, fault) in answers() {
        let receiver = Receiver::start(move |request| if control_id(request) == "a1" { fault.clone() } else { ok() });
        let receiver = receiver.await;
        let site = Site::start(&receiver).await;
        site.send([adt("A08", "b0", "b")]).await;
        site.send(["a1", "a2", "a3"].map(|id| adt("A08", id, "a"))).await;
        let others = others_until_a1_is_dead(&site).await;
        site.until_delivered(3 + others).await;
        let row = site.row("a1").await;
        assert!(row.reason.as_deref().unwrap().ends_with("the destination takes other messages"), "{row:?}");
        assert_eq!(site.control().state().await.unwrap().outage, None, "{name}");
        in_order(&receiver);
    }
}

#[tokio::test]
async fn several_that_are_answered_so_do_not_hold_the_destination_for_good() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = seen.clone();
    let receiver = Receiver::start(move |request| {
        let id = control_id(request);
        list.lock().unwrap().push(id.clone());
        if id.starts_with("bad") { page(404) } else { ok() }
    })
    .await;
    let site = Site::start_with(&receiver, |config| config.outbound.parallel = 1).await;
    site.send((0..4).map(|n| adt("A08", &format!("bad{n}"), &format!("x{n}")))).await;
    site.send((0..4).map(|n| adt("A08", &format!("good{n}"), &format!("y{n}")))).await;
    site.until("each as it deserves", |rows| {
        let is = |id: &str, status| rows.get(id).is_some_and(|row| row.status == status);
        (0..4).all(|n| is(&format!("bad{n}"), Status::Dead) && is(&format!("good{n}"), Status::Delivered))
    })
    .await;
    let good: Vec<_> = seen.lock().unwrap().iter().filter(|id| id.starts_with("good")).cloned().collect();
    assert_eq!(good.len(), 4, "each once: {good:?}");
}

#[tokio::test]
async fn a_destination_without_metadata_takes_what_it_takes() {
    let receiver = Receiver::start(|request| if control_id(request) == "a1" { page(404) } else { ok() }).await;
    receiver.put_metadata(page(404));
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "b0", "b"), adt("A08", "a1", "a"), adt("A08", "a2", "a")]).await;
    let others = others_until_a1_is_dead(&site).await;
    site.until_delivered(2 + others).await;
}
