//! What messages do, by event, as a reader sees it.

use reqwest::StatusCode;
use serde_json::json;

use super::Server;
use super::build::{admin, clinical, erased, message, uuid};

#[tokio::test]
async fn an_admission_creates_the_patient_and_the_visit_with_references_that_resolve() {
    let server = Server::start().await;
    let reply = server
        .accept(
            &admin("A01")
                .patient("1", json!({"gender": "male"}))
                .visit("V1", "1", json!({}))
                .condition("V1", "1", "I10"),
        )
        .await;
    assert_eq!(reply.status, StatusCode::OK);

    let patient = server.patient("1").await;
    let visit = server.visit("V1").await;
    assert_eq!(visit["subject"]["reference"], format!("Patient/{}", patient["id"].as_str().unwrap()));
    let read = server.get(&format!("Patient/{}", patient["id"].as_str().unwrap())).await;
    assert_eq!(read.json, patient);
    assert_eq!(read.headers["etag"], "W/\"1\"");

    let condition = server.one("Condition?encounter.identifier=urn:visit|V1").await;
    assert_eq!(condition["id"], uuid("Condition V1 I10"));
    assert_eq!(condition["encounter"]["reference"], format!("Encounter/{}", visit["id"].as_str().unwrap()));
    assert_eq!(server.one("Condition?patient.identifier=urn:mrn|1").await, condition);
}

#[tokio::test]
async fn the_answer_is_a_message_that_names_the_request() {
    let server = Server::start().await;
    let sent = admin("A01").patient("1", json!({})).visit("V1", "1", json!({}));
    let reply = server.accept(&sent).await;
    let header = &reply.json["entry"][0]["resource"];
    assert_eq!(header["response"]["identifier"], sent.id);
    assert_eq!(header["eventCoding"], sent.header["eventCoding"]);
    assert_eq!(header["source"]["endpoint"], "urn:mailbox:one");
    assert_eq!(header["destination"], json!([{"endpoint": "urn:hospital:his", "name": "HIS"}]));
    assert_eq!(header["response"]["details"]["reference"], reply.json["entry"][1]["fullUrl"]);
}

#[tokio::test]
async fn an_update_leaves_what_it_does_not_mention_and_erases_what_it_nulls() {
    let server = Server::start().await;
    let born = json!({"birthDate": "1970-01-01", "gender": "male", "address": [{"city": "Oslo"}]});
    server.accept(&admin("A01").patient("1", born).visit("V1", "1", json!({}))).await;
    let change = json!({"gender": "female", "_birthDate": erased()});
    server.accept(&admin("A31").minute(1).patient("1", change)).await;

    let patient = server.patient("1").await;
    assert_eq!(patient["gender"], "female");
    assert_eq!(patient["address"][0]["city"], "Oslo");
    assert!(patient.get("birthDate").is_none() && patient.get("_birthDate").is_none());
    assert_eq!(patient["meta"]["versionId"], "2");
}

#[tokio::test]
async fn an_update_that_changes_nothing_makes_no_version() {
    let server = Server::start().await;
    for minute in 0..3 {
        server.accept(&admin("A08").minute(minute).patient("1", json!({})).visit("V1", "1", json!({}))).await;
    }
    assert_eq!(server.visit("V1").await["meta"]["versionId"], "1");
}

#[tokio::test]
async fn a_clinical_update_replaces_the_snapshot_and_leaves_the_visit_alone() {
    let server = Server::start().await;
    let first = admin("A01").patient("1", json!({})).visit("V1", "1", json!({}));
    server.accept(&first.condition("V1", "1", "I10").condition("V1", "1", "E11").procedure("V1", "1", "P1")).await;
    let before = server.visit("V1").await;

    let update = clinical("A08").minute(1).patient("1", json!({})).visit("V1", "1", json!({"status": "finished"}));
    server.accept(&update.condition("V1", "1", "I10").condition("V1", "1", "J45")).await;

    assert_eq!(server.visit("V1").await, before);
    let mut codes: Vec<String> = server
        .find("Condition?encounter.identifier=urn:visit|V1")
        .await
        .iter()
        .map(|condition| condition["code"]["coding"][0]["code"].as_str().unwrap().to_owned())
        .collect();
    codes.sort();
    assert_eq!(codes, ["I10", "J45"]);
    assert_eq!(server.find("Procedure?encounter.identifier=urn:visit|V1").await.len(), 0);
    let gone = server.get(&format!("Condition/{}", uuid("Condition V1 E11"))).await;
    assert_eq!(gone.status, StatusCode::GONE);
    let history = server.get(&format!("Condition/{}/_history", uuid("Condition V1 E11"))).await;
    assert_eq!(history.json["entry"][0]["request"]["method"], "DELETE");
    assert_eq!(history.json["entry"][1]["resource"]["code"]["coding"][0]["code"], "E11");
}

#[tokio::test]
async fn a_clinical_update_for_a_visit_that_does_not_exist_is_refused_and_works_once_it_does() {
    let server = Server::start().await;
    let update =
        clinical("A08").minute(1).patient("1", json!({})).visit("V1", "1", json!({})).condition("V1", "1", "I10");
    let refused = server.send(&update).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::OK, "fatal-error"));
    assert!(refused.has_issue("error", "not-found"));
    assert_eq!(server.find("Patient").await.len(), 0);
    assert_eq!(server.send(&update).await.text, refused.text);

    server.accept(&admin("A01").patient("1", json!({})).visit("V1", "1", json!({}))).await;
    server.accept(&update).await;
    assert_eq!(server.find("Condition").await.len(), 1);
}

#[tokio::test]
async fn a_duplicate_gets_the_first_answer_byte_for_byte_and_does_nothing() {
    let server = Server::start().await;
    let sent = admin("A01").patient("1", json!({"gender": "male"})).visit("V1", "1", json!({}));
    let first = server.accept(&sent).await;
    server.accept(&admin("A31").minute(1).patient("1", json!({"gender": "female"}))).await;
    assert_eq!(server.accept(&sent).await.text, first.text);
    assert_eq!(server.patient("1").await["gender"], "female");

    let folder = server.stop().await;
    let again = Server::reopen(folder, |_| {}).await;
    assert_eq!(again.accept(&sent).await.text, first.text);
}

#[tokio::test]
async fn several_matches_fail_with_412_and_write_nothing() {
    let server = Server::start().await;
    let shared = |own: &str| json!({"identifier": [{"system": "urn:mrn", "value": own}, {"system": "urn:mrn", "value": "shared"}]});
    server.accept(&admin("A28").patient("1", shared("1"))).await;
    server.accept(&admin("A28").patient("2", shared("2"))).await;
    let reply =
        server.send(&admin("A01").minute(1).patient("shared", json!({})).visit("V1", "shared", json!({}))).await;
    assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
    assert!(reply.has_issue("error", "multiple-matches"));
    assert_eq!(server.find("Encounter").await.len(), 0);
}

#[tokio::test]
async fn an_unknown_event_is_refused_as_not_supported() {
    let server = Server::start().await;
    let reply = server.send(&message("party-notify", "Z99").patient("1", json!({}))).await;
    assert_eq!(reply.code(), "fatal-error");
    assert!(reply.has_issue("error", "not-supported"));
    assert_eq!(server.find("Patient").await.len(), 0);
}

#[tokio::test]
async fn a_late_message_is_answered_ok_with_a_warning_and_not_applied() {
    let server = Server::start().await;
    let visit = |status: &str| json!({"status": status});
    server.accept(&admin("A03").minute(9).patient("1", json!({})).visit("V1", "1", visit("finished"))).await;
    let late =
        server.accept(&admin("A01").minute(1).patient("1", json!({})).visit("V1", "1", visit("in-progress"))).await;
    assert!(late.has_issue("warning", "conflict"));
    assert_eq!(server.visit("V1").await["status"], "finished");
    assert_eq!(server.visit("V1").await["meta"]["versionId"], "1");
}

#[tokio::test]
async fn a_visit_that_is_renumbered_is_found_by_its_new_number_only() {
    let server = Server::start().await;
    server.accept(&admin("A01").patient("1", json!({})).visit("OLD", "1", json!({}))).await;
    let before = server.visit("OLD").await;
    server.accept(&admin("A50").minute(5).patient("1", json!({})).renumbered_visit("OLD", "NEW", "1", json!({}))).await;
    assert_eq!(server.visit("NEW").await["id"], before["id"]);
    assert_eq!(server.find("Encounter?identifier=urn:visit|OLD").await.len(), 0);

    let late = server.accept(&admin("A02").minute(2).patient("1", json!({})).visit("OLD", "1", json!({}))).await;
    assert!(late.has_issue("warning", "conflict"));
    assert_eq!(server.find("Encounter").await.len(), 1);
}

#[tokio::test]
async fn allergies_belong_to_the_patient_and_outlive_a_visit() {
    let server = Server::start().await;
    let first = admin("A01").patient("1", json!({})).visit("V1", "1", json!({}));
    server.accept(&first.allergy("V1", "1", "nuts").allergy("V1", "1", "milk")).await;
    let second = admin("A01").minute(5).patient("1", json!({})).visit("V2", "1", json!({})).condition("V2", "1", "I10");
    server.accept(&second).await;
    assert_eq!(server.find("AllergyIntolerance?patient.identifier=urn:mrn|1").await.len(), 2);

    let update =
        clinical("A08").minute(6).patient("1", json!({})).visit("V2", "1", json!({})).allergy("V2", "1", "nuts");
    server.accept(&update).await;
    assert_eq!(server.one("AllergyIntolerance?patient.identifier=urn:mrn|1").await["code"]["text"], "nuts");
}

#[tokio::test]
async fn a_client_that_has_the_version_gets_304() {
    let server = Server::start().await;
    server.accept(&admin("A28").patient("1", json!({}))).await;
    let path = format!("Patient/{}", server.patient("1").await["id"].as_str().unwrap());
    let asked = server.request(&path).header("if-none-match", "W/\"1\"").send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::NOT_MODIFIED);
    let asked = server.request(&path).header("if-none-match", "W/\"2\"").send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
}
