//! Who is one person: merges, links, unlinks, and numbers that are used again.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Server;
use super::build::{admin, clinical, merge, message, patient_url, unlink};

fn named(family: &str, born: &str) -> Value {
    json!({"name": [{"family": family}], "birthDate": born})
}

fn link_types(patient: &Value) -> Vec<&str> {
    patient["link"].as_array().into_iter().flatten().map(|link| link["type"].as_str().unwrap()).collect()
}

impl Server {
    /// The visit numbers that are found by a patient's number, sorted.
    async fn visits_of(&self, number: &str) -> Vec<String> {
        let found = self.find(&format!("Encounter?patient.identifier=urn:mrn|{number}")).await;
        let mut numbers: Vec<String> =
            found.iter().map(|visit| visit["identifier"][0]["value"].as_str().unwrap().to_owned()).collect();
        numbers.sort();
        numbers
    }

    /// A visit each for patients with these numbers, called V and the number.
    async fn with_visits(self, patients: &[&str]) -> Self {
        for number in patients {
            let visit = format!("V{number}");
            self.accept(&admin("A01").patient(number, json!({})).visit(&visit, number, json!({}))).await;
        }
        self
    }

    async fn is_merged(&self, absorbed: &str, survivor: &str) -> bool {
        let (old, new) = (self.patient(absorbed).await, self.patient(survivor).await);
        let to = format!("Patient/{}", new["id"].as_str().unwrap());
        let back = format!("Patient/{}", old["id"].as_str().unwrap());
        let says = |patient: &Value, kind: &str, other: &str| {
            let links = patient["link"].as_array().cloned().unwrap_or_default();
            links.contains(&json!({"other": {"reference": other}, "type": kind}))
        };
        says(&old, "replaced-by", &to) && says(&new, "replaces", &back) && old["active"] == false
    }
}

#[tokio::test]
async fn a_merged_number_leads_to_the_survivor_and_either_number_finds_all_visits() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    server.accept(&merge("1", "2").minute(5)).await;
    assert!(server.is_merged("2", "1").await);
    assert_eq!(server.visits_of("1").await, ["V1", "V2"]);
    assert_eq!(server.visits_of("2").await, ["V1", "V2"]);
    let survivor = server.patient("1").await;
    let by_id = format!("Encounter?patient=Patient/{}", survivor["id"].as_str().unwrap());
    assert_eq!(server.find(&by_id).await.len(), 2);
}

#[tokio::test]
async fn a_chain_of_merges_is_one_person() {
    let server = Server::start().await.with_visits(&["1", "2", "3", "4"]).await;
    server.accept(&merge("2", "1").minute(5)).await;
    server.accept(&merge("3", "2").minute(6)).await;
    for number in ["1", "2", "3"] {
        assert_eq!(server.visits_of(number).await, ["V1", "V2", "V3"]);
    }
    assert_eq!(server.visits_of("4").await, ["V4"]);
}

#[tokio::test]
async fn several_pairs_in_one_message_are_kept_apart() {
    let server = Server::start().await.with_visits(&["1", "2", "3", "4"]).await;
    server.accept(&message("patient-link", "A40").minute(5).merge("1", "2").merge("3", "4")).await;
    assert_eq!(server.visits_of("2").await, ["V1", "V2"]);
    assert_eq!(server.visits_of("4").await, ["V3", "V4"]);
}

#[tokio::test]
async fn a_merge_that_is_repeated_changes_nothing() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    server.accept(&merge("1", "2").minute(5)).await;
    let before = server.patient("2").await;
    server.accept(&merge("1", "2").minute(6)).await;
    assert_eq!(server.patient("2").await, before);
}

#[tokio::test]
async fn a_merge_the_wrong_way_round_is_undone_and_done_right() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    server.accept(&merge("2", "1").minute(5)).await;
    server.accept(&unlink("1", "2").minute(6)).await;
    for number in ["1", "2"] {
        let patient = server.patient(number).await;
        assert!(patient.get("active").is_none() && patient.get("link").is_none(), "{patient:#}");
        assert_eq!(server.visits_of(number).await, [format!("V{number}")]);
    }
    server.accept(&merge("1", "2").minute(7)).await;
    assert!(server.is_merged("2", "1").await);
    assert!(server.patient("1").await.get("active").is_none());
}

#[tokio::test]
async fn an_unlink_in_the_middle_of_a_chain_leaves_the_rest_together() {
    let server = Server::start().await.with_visits(&["1", "2", "3"]).await;
    server.accept(&merge("2", "1").minute(5)).await;
    server.accept(&merge("3", "2").minute(6)).await;
    server.accept(&unlink("2", "1").minute(7)).await;
    assert_eq!(server.visits_of("1").await, ["V1"]);
    assert_eq!(server.visits_of("3").await, ["V2", "V3"]);
}

#[tokio::test]
async fn an_unlink_changes_nothing_but_the_relation() {
    let server = Server::start().await;
    server.accept(&admin("A28").patient("1", named("Doe", "1950-01-01"))).await;
    server.accept(&admin("A28").patient("2", json!({"active": true, "gender": "male"}))).await;
    let before = server.patient("2").await;
    server.accept(&merge("1", "2").minute(5)).await;
    let undo =
        message("patient-unlink", "A37").minute(6).patient("1", named("Other", "1999-01-01")).patient("2", json!({}));
    server.accept(&undo).await;
    let after = server.patient("2").await;
    assert_eq!((&after["active"], &after["gender"]), (&before["active"], &before["gender"]));
    assert_eq!(server.patient("1").await["name"][0]["family"], "Doe");
}

#[tokio::test]
async fn a_circle_of_merges_is_refused_and_nothing_of_the_message_stays() {
    let server = Server::start().await.with_visits(&["1", "2", "3", "4"]).await;
    server.accept(&merge("2", "1").minute(5)).await;
    server.accept(&merge("3", "2").minute(6)).await;
    let circle = message("patient-link", "A40").minute(7).merge("2", "4").merge("1", "3");
    let reply = server.send(&circle).await;
    assert_eq!(reply.code(), "fatal-error");
    assert!(reply.has_issue("error", "business-rule"));
    assert_eq!(server.visits_of("4").await, ["V4"]);
}

#[tokio::test]
async fn a_late_update_does_not_revive_a_merged_number() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    server.accept(&merge("1", "2").minute(5)).await;
    server.accept(&admin("A31").minute(3).patient("2", json!({"active": true, "gender": "male"}))).await;
    server.accept(&admin("A31").minute(9).patient("2", json!({"active": true}))).await;
    assert!(server.is_merged("2", "1").await);
    let update =
        clinical("A08").minute(9).patient("2", json!({})).visit("V2", "2", json!({})).condition("V2", "2", "I10");
    server.accept(&update).await;
    assert_eq!(server.find("Condition?patient.identifier=urn:mrn|1").await.len(), 1);
}

#[tokio::test]
async fn a_merge_that_is_older_than_its_undoing_is_not_done_again() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    server.accept(&merge("1", "2").minute(5)).await;
    server.accept(&unlink("1", "2").minute(7)).await;
    let late = server.accept(&merge("1", "2").minute(6)).await;
    assert!(late.has_issue("warning", "conflict"));
    assert!(server.patient("2").await.get("link").is_none());
}

#[tokio::test]
async fn a_merge_of_an_unknown_number_makes_an_inactive_patient_that_points_to_the_survivor() {
    let server = Server::start().await.with_visits(&["1"]).await;
    server.accept(&merge("1", "9").minute(5)).await;
    assert!(server.is_merged("9", "1").await);
    assert_eq!(server.visits_of("9").await, ["V1"]);
}

#[tokio::test]
async fn a_temporary_number_that_is_used_again_is_somebody_else() {
    let server = Server::start().await;
    let arrive =
        |minute, who: Value, visit| admin("A04").minute(minute).patient("TMP", who).visit(visit, "TMP", json!({}));
    server.accept(&arrive(0, named("Unknown", "1970-01-01"), "V1")).await;
    server.accept(&admin("A28").patient("1", named("Doe", "1950-01-01"))).await;
    server.accept(&merge("1", "TMP").minute(5)).await;

    server.accept(&arrive(20, named("Roe", "1990-09-09"), "V2")).await;
    assert_eq!(server.patient("TMP").await["name"][0]["family"], "Roe");
    assert!(server.patient("TMP").await.get("link").is_none());
    assert_eq!(server.visits_of("TMP").await, ["V2"]);
    assert_eq!(server.visits_of("1").await, ["V1"]);

    server.accept(&admin("A31").minute(4).patient("TMP", named("Unknown", "1970-01-02"))).await;
    server.accept(&admin("A31").minute(21).patient("TMP", json!({"gender": "female"}))).await;
    assert_eq!(server.patient("TMP").await["gender"], "female");
    assert_eq!(server.find("Patient").await.len(), 3);
}

#[tokio::test]
async fn linked_patients_both_stay_active() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    let see = |other: &str| json!({"link": [{"other": {"reference": patient_url(other)}, "type": "seealso"}]});
    server.accept(&message("patient-link", "A24").minute(5).patient("1", see("2")).patient("2", see("1"))).await;
    for number in ["1", "2"] {
        let patient = server.patient(number).await;
        assert_eq!(link_types(&patient), ["seealso"]);
        assert!(patient.get("active").is_none());
        assert_eq!(server.visits_of(number).await, ["V1", "V2"]);
    }
    server.accept(&unlink("1", "2").minute(6)).await;
    assert_eq!(server.visits_of("2").await, ["V2"]);
}

#[tokio::test]
async fn numbers_of_different_systems_never_meet() {
    let server = Server::start().await.with_visits(&["1"]).await;
    let foreign = json!({"identifier": [{"system": "urn:other", "value": "1"}]});
    let mut other = admin("A28").minute(1);
    other = other.entry(
        "http://x/Patient?identifier=urn%3Aother%7C1",
        super::build::with(json!({"resourceType": "Patient"}), foreign),
    );
    server.accept(&other).await;
    assert_eq!(server.find("Patient").await.len(), 2);
    let bare = server.get("Patient?identifier=1").await;
    assert_eq!(bare.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_link_and_unlink_is_recorded_with_its_message() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    let (first, second) = (merge("1", "2").minute(5), unlink("1", "2").minute(6));
    server.accept(&first).await;
    server.accept(&second).await;
    let target = server.patient("2").await["id"].as_str().unwrap().to_owned();
    let found = server.find(&format!("Provenance?target=Patient/{target}")).await;
    let said: Vec<(&str, &str)> = found
        .iter()
        .map(|p| {
            let code = p["activity"]["coding"][0]["code"].as_str().unwrap();
            (code, p["entity"][0]["what"]["identifier"]["value"].as_str().unwrap())
        })
        .collect();
    assert_eq!(said, [("merge", first.id.as_str()), ("unmerge", second.id.as_str())]);
    let id = found[0]["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("Provenance/{id}")).await.json, found[0]);
}

#[tokio::test]
async fn pix_gives_the_other_identities_of_a_person() {
    let server = Server::start().await.with_visits(&["1", "2"]).await;
    let national =
        json!({"identifier": [{"system": "urn:mrn", "value": "1"}, {"system": "urn:national", "value": "N1"}]});
    server.accept(&admin("A31").minute(1).patient("1", national)).await;
    server.accept(&merge("1", "2").minute(5)).await;

    let asked = "Patient/$ihe-pix?sourceIdentifier=urn:mrn|2";
    let all = server.get(asked).await;
    let values = |reply: &super::Reply| -> Vec<String> {
        let parameters = reply.json["parameter"].as_array().cloned().unwrap_or_default();
        parameters.iter().filter_map(|p| p["valueIdentifier"]["value"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(values(&all), ["1", "N1"]);
    assert_eq!(values(&server.get(&format!("{asked}&targetSystem=urn:national")).await), ["N1"]);
    assert_eq!(server.get(&format!("{asked}&targetSystem=urn:nowhere")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.get("Patient/$ihe-pix?sourceIdentifier=urn:mrn|77").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("Patient/$ihe-pix?sourceIdentifier=urn:x|1").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get("Patient/$ihe-pix?sourceIdentifier=1").await.status, StatusCode::BAD_REQUEST);
}
