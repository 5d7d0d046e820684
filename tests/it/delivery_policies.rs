//! What a site may choose about deliveries: dead letters that hold or let pass, promotion, receivers that answer later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use stoker::engine::control::WaitReason;
use stoker::engine::operator::{self, OperatorAction};
use stoker::journal::{Act, Progress, Record, Status};
use stoker::outbound::{OnAccepted, OnDeadLetter};

use crate::delivery::{PATIENCE, Site, adt, control_id, ids, ok};
use crate::receiver::{Receiver, Reply, Request, response};

/// Refuses `a1` for good until it is told otherwise.
async fn refuses_a1() -> (Receiver, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let switch = mended.clone();
    let decide = move |request: &Request| match control_id(request) == "a1" && !switch.load(Ordering::SeqCst) {
        true => Reply::Status(422, response("fatal-error", "invariant")),
        false => ok(),
    };
    (Receiver::start(decide).await, mended)
}

/// `a1` is dead, `a2` and `a3` wait behind it, and another patient's `b1` has been delivered.
async fn held() -> (Receiver, Arc<AtomicBool>, Site) {
    let (receiver, mended) = refuses_a1().await;
    let site = Site::start_with(&receiver, |config| config.outbound.on_dead_letter = OnDeadLetter::Hold).await;
    site.send(["a1", "a2", "a3"].map(|id| adt("A08", id, "a"))).await;
    site.send([adt("A08", "b1", "b")]).await;
    is_held(&site).await;
    (receiver, mended, site)
}

async fn is_held(site: &Site) {
    site.until("a1 dead and b1 delivered", |rows| {
        rows["a1"].status == Status::Dead && rows["b1"].status == Status::Delivered
    })
    .await;
    let rows = site.rows().await;
    let deadline = Instant::now() + PATIENCE;
    while site.control().why(rows["a2"].seq).await != Some(WaitReason::HeldBy(vec![rows["a1"].seq])) {
        assert!(Instant::now() < deadline, "a2 is not held");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let rows = site.rows().await;
    assert!(["a2", "a3"].iter().all(|id| rows[*id].status == Status::Received && rows[*id].attempts == 0));
}

async fn decide(site: &Site, id: &str, progress: Progress) {
    let seq = site.row(id).await.seq;
    site.journal().record(Record::decision(seq, Timestamp::now(), progress)).await.unwrap();
}

#[tokio::test]
async fn a_dead_letter_can_hold_the_later_messages_of_its_patient_and_says_so() {
    let (receiver, _mended, site) = held().await;
    assert_eq!(ids(&receiver).iter().filter(|id| *id == "a1").count(), 1);
    let rows = site.rows().await;
    let why = async |id: &str| site.control().why(rows[id].seq).await.unwrap();
    assert_eq!(why("a1").await, WaitReason::GivenUp);
    assert_eq!(why("a2").await, WaitReason::HeldBy(vec![rows["a1"].seq]));
    assert_eq!(why("a3").await, WaitReason::Behind(vec![rows["a2"].seq]));
    assert_eq!(site.control().state().await.unwrap().holding, 1);
    assert!(site.metrics().contains("stoker_queue_holding 1\n"), "{}", site.metrics());
}

#[tokio::test]
async fn a_held_patient_goes_on_in_order_when_the_dead_letter_is_sent_again() {
    let (receiver, mended, site) = held().await;
    mended.store(true, Ordering::SeqCst);
    decide(&site, "a1", Progress::Requeued).await;
    site.until_delivered(4).await;
    let of_patient: Vec<_> = ids(&receiver).into_iter().filter(|id| id.starts_with('a')).collect();
    assert_eq!(of_patient, ["a1", "a1", "a2", "a3"]);
    assert!(site.metrics().contains("stoker_queue_holding 0\n"));
}

#[tokio::test]
async fn a_held_patient_goes_on_when_the_dead_letter_is_discarded() {
    let (receiver, _mended, site) = held().await;
    decide(&site, "a1", Progress::Skipped { reason: "discarded by a person".into() }).await;
    site.until_delivered(3).await;
    assert_eq!(ids(&receiver).iter().filter(|id| *id == "a1").count(), 1);
}

#[tokio::test]
async fn a_dead_letter_holds_over_a_restart_too() {
    let (receiver, mended, mut site) = held().await;
    site.crash().await;
    site.run().await;
    is_held(&site).await;
    assert_eq!(site.control().state().await.unwrap().holding, 1);
    mended.store(true, Ordering::SeqCst);
    decide(&site, "a1", Progress::Requeued).await;
    site.until_delivered(4).await;
    let of_patient: Vec<_> = ids(&receiver).into_iter().filter(|id| id.starts_with('a')).collect();
    assert_eq!(of_patient, ["a1", "a1", "a2", "a3"]);
}

#[tokio::test]
async fn a_message_that_is_discarded_while_it_waits_for_its_time_lets_the_others_go_at_once() {
    let receiver = Receiver::start(|request| match control_id(request).as_str() {
        "a1" => Reply::With(503, "retry-after: 60".into(), String::new()),
        _ => ok(),
    })
    .await;
    let site = Site::start_with(&receiver, |config| config.outbound.retry.max = Duration::from_secs(60)).await;
    site.send(["a1", "a2"].map(|id| adt("A08", id, "a"))).await;
    site.until("a1 put off", |rows| rows["a1"].status == Status::Retrying).await;
    decide(&site, "a1", Progress::Skipped { reason: "discarded by a person".into() }).await;
    site.until_delivered(1).await;
    assert_eq!(ids(&receiver), ["a1", "a2"]);
}

/// The code of the FHIR event, and the ids of the Bundle and its MessageHeader.
fn envelope(request: &Request) -> (String, String, String) {
    let bundle: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    let header = &bundle["entry"][0]["resource"];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&header["eventCoding"]["code"]), text(&bundle["id"]), text(&header["id"]))
}

async fn knows_no_visit() -> Receiver {
    Receiver::start(|request| match envelope(request).0.as_str() {
        "clinical-notify" => Reply::Status(404, response("fatal-error", "not-found")),
        _ => ok(),
    })
    .await
}

#[tokio::test]
async fn a_clinical_message_about_an_unknown_visit_is_promoted_where_the_site_wants_that() {
    let receiver = knows_no_visit().await;
    let site = Site::start_with(&receiver, |config| config.outbound.promote = true).await;
    site.send([adt("A08", "a1", "a"), adt("A01", "a2", "a")]).await;
    site.until_delivered(2).await;
    let sent: Vec<_> = receiver.requests().iter().map(envelope).collect();
    let events: Vec<_> = sent.iter().map(|(event, ..)| event.as_str()).collect();
    assert_eq!(events, ["clinical-notify", "admin-notify", "admin-notify"]);
    assert!(sent[0].1 != sent[1].1 && sent[0].2 != sent[1].2, "a promoted message has ids of its own");
    let row = site.row("a1").await;
    assert_eq!(row.bundle.unwrap().to_string(), sent[1].1, "the journal names the Bundle that was taken");
    assert!(row.detail.unwrap().starts_with("sent as admin-notify"));
    assert!(site.metrics().contains("stoker_promotions_total 1\n"));
}

#[tokio::test]
async fn without_promotion_an_unknown_visit_makes_a_dead_letter() {
    let receiver = knows_no_visit().await;
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "a1", "a")]).await;
    site.until("a1 dead", |rows| rows["a1"].status == Status::Dead).await;
    assert_eq!(site.row("a1").await.reason.as_deref(), Some("HTTP 404, fatal-error: not-found"));
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_only_takes_custody_can_be_asked_until_it_says_the_outcome() {
    let asked = AtomicUsize::new(0);
    let receiver = Receiver::start(move |request| match control_id(request).as_str() {
        "a1" if asked.fetch_add(1, Ordering::SeqCst) < 8 => Reply::Status(202, String::new()),
        "a1" => Reply::Status(200, response("fatal-error", "invariant")),
        _ => ok(),
    })
    .await;
    let site = Site::start_with(&receiver, |config| config.outbound.on_accepted = OnAccepted::AskAgain).await;
    site.send([adt("A08", "a1", "a"), adt("A08", "b1", "b")]).await;
    site.until("a1 dead", |rows| rows["a1"].status == Status::Dead).await;
    assert_eq!(site.row("a1").await.attempts, 9);
    assert_eq!(site.row("b1").await.status, Status::Delivered);
    assert!(site.metrics().contains("stoker_destination_up 1\n"), "custody is no outage");
    let bodies: Vec<_> = receiver.requests().into_iter().filter(|r| control_id(r) == "a1").map(|r| r.body).collect();
    assert!(bodies.windows(2).all(|two| two[0] == two[1]), "it is asked with the same message");
}

#[tokio::test]
async fn custody_counts_as_delivered_by_default() {
    let receiver = Receiver::start(|_| Reply::Status(202, String::new())).await;
    let site = Site::start(&receiver).await;
    site.send([adt("A08", "a1", "a")]).await;
    site.until_delivered(1).await;
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_of_a_patient_that_are_retried_together_go_in_the_order_of_their_arrival() {
    const COUNT: usize = 300;
    let mended = Arc::new(AtomicBool::new(false));
    let switch = mended.clone();
    let receiver = Receiver::start(move |_| match switch.load(Ordering::SeqCst) {
        false => Reply::Status(422, response("fatal-error", "invariant")),
        true => ok(),
    })
    .await;
    let site = Site::start(&receiver).await;
    let id = |n: usize| format!("a{n:03}");
    site.send((0..COUNT).map(|n| adt("A08", &id(n), "a"))).await;
    site.until("dead", |rows| rows.len() == COUNT && rows.values().all(|row| row.status == Status::Dead)).await;
    mended.store(true, Ordering::SeqCst);
    let seqs = site.rows().await.values().map(|row| row.seq).collect();
    let act = Act {
        at: Timestamp::now(),
        who: "jo".into(),
        command: "retry".into(),
        selection: "--all".into(),
        reason: None,
        messages: COUNT as u64,
    };
    let control = site.control();
    let decided = operator::decide(site.journal(), Some(control), control.rules(), OperatorAction::Retry, act, seqs);
    assert_eq!(decided.await.unwrap().done, COUNT as u64);
    site.until_delivered(COUNT).await;
    let sent: Vec<_> = ids(&receiver).split_off(COUNT);
    assert_eq!(sent, (0..COUNT).map(id).collect::<Vec<_>>());
}
