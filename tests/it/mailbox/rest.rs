//! Reading, searching and paging.

use std::io::Read as _;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Server;
use super::build::{admin, clinical};

fn next(page: &Value) -> Option<String> {
    let links = page["link"].as_array()?;
    Some(links.iter().find(|link| link["relation"] == "next")?["url"].as_str()?.to_owned())
}

fn numbers(page: &Value) -> Vec<String> {
    let entries = page["entry"].as_array().into_iter().flatten();
    entries.map(|entry| entry["resource"]["identifier"][0]["value"].as_str().unwrap().to_owned()).collect()
}

impl Server {
    /// Visits V0, V1 ... of patient 1, a day apart from 2024-01-01 on, every third finished.
    async fn with_days(self, count: u32) -> Self {
        for n in 0..count {
            let day = format!("2024-{:02}-{:02}", 1 + n / 28, 1 + n % 28);
            let status = if n % 3 == 0 { "finished" } else { "in-progress" };
            let period = if n % 3 == 0 { json!({"start": day, "end": day}) } else { json!({"start": day}) };
            let visit = json!({"status": status, "period": period});
            self.accept(&admin("A01").minute(n).patient("1", json!({})).visit(&format!("V{n}"), "1", visit)).await;
        }
        self
    }

    async fn all(&self, search: &str) -> Vec<String> {
        let (mut found, mut url) = (Vec::new(), Some(search.to_owned()));
        while let Some(page) = url {
            let page = self.get(&page).await.json;
            found.extend(numbers(&page));
            url = next(&page);
        }
        found
    }
}

#[tokio::test]
async fn versions_are_read_one_by_one_and_as_a_history() {
    let server = Server::start().await;
    for (minute, gender) in ["male", "female", "other"].into_iter().enumerate() {
        server.accept(&admin("A31").minute(minute as u32).patient("1", json!({"gender": gender}))).await;
    }
    let id = server.patient("1").await["id"].as_str().unwrap().to_owned();
    let first = server.get(&format!("Patient/{id}/_history/1")).await;
    assert_eq!((&first.json["gender"], &first.headers["etag"]), (&json!("male"), &"W/\"1\"".parse().unwrap()));
    assert_eq!(server.get(&format!("Patient/{id}/_history/4")).await.status, StatusCode::NOT_FOUND);

    let (mut versions, mut url) = (Vec::new(), Some(format!("Patient/{id}/_history?_count=2")));
    while let Some(page) = url {
        let page = server.get(&page).await.json;
        let entries = page["entry"].as_array().unwrap();
        versions
            .extend(entries.iter().map(|entry| entry["resource"]["meta"]["versionId"].as_str().unwrap().to_owned()));
        url = next(&page);
    }
    assert_eq!(versions, ["3", "2", "1"]);
    assert_eq!(server.get("Patient/none/_history").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_self_link_is_a_url_whatever_stands_in_the_query() {
    let server = Server::start().await.with_days(1).await;
    for odd in ["%2B%20%7B=&", "a%26_count%3D0=&", "%00&"] {
        let page = server.get(&format!("Encounter?{odd}status=finished")).await;
        let link = page.json["link"][0]["url"].as_str().unwrap();
        assert_eq!(link, format!("{}/Encounter?status=finished", server.base), "{odd}");
    }
    let format = server.get("Encounter?subject%3APatient.identifier=urn:mrn%7C1").await;
    let link = format.json["link"][0]["url"].as_str().unwrap();
    assert_eq!(link, format!("{}/Encounter?subject:Patient.identifier=urn%3Amrn%7C1", server.base));
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat_while_visits_are_added() {
    let server = Server::start().await.with_days(9).await;
    let expected: Vec<String> = (0..9).map(|n| format!("V{n}")).collect();
    assert_eq!(server.all("Encounter?_count=4").await, expected);
    assert_eq!(server.all("Encounter?patient.identifier=urn:mrn|1&_count=2").await, expected);

    let first = server.get("Encounter?_count=4").await.json;
    server
        .accept(&admin("A08").minute(50).patient("1", json!({})).visit("V0", "1", json!({"status": "cancelled"})))
        .await;
    server.accept(&admin("A01").minute(51).patient("1", json!({})).visit("V9", "1", json!({}))).await;
    assert_eq!(server.all(&next(&first).unwrap()).await, ["V4", "V5", "V6", "V7", "V8", "V9"]);
    assert_eq!(numbers(&server.get("Encounter?_count=3&_offset=4").await.json), ["V4", "V5", "V6"]);
}

#[tokio::test]
async fn visits_are_found_by_status_and_date() {
    let server = Server::start().await.with_days(9).await;
    assert_eq!(server.all("Encounter?status=finished&_count=2").await, ["V0", "V3", "V6"]);
    assert_eq!(server.total("Encounter?status=finished,in-progress").await, 9);
    assert_eq!(server.all("Encounter?date=2024-01-04&status=finished").await, ["V3"]);
    assert_eq!(server.all("Encounter?date=lt2024-01-03&_count=1").await, ["V0", "V1"]);
    assert_eq!(server.all("Encounter?date=ge2024-01-07&status=finished").await, ["V6"]);
    assert_eq!(server.all("Encounter?date=ge2024-01-02&date=le2024-01-03&_count=1").await, ["V1", "V2"]);
    assert_eq!(server.total("Encounter?date=gt2023&patient.identifier=urn:mrn|1").await, 9);
    assert_eq!(server.total("Encounter?_lastUpdated=gt2020-01-01").await, 9);
    assert_eq!(server.total("Encounter?_lastUpdated=lt2020-01-01T00:00:00%2B02:00").await, 0);
}

#[tokio::test]
async fn the_total_is_told_when_the_page_has_everything() {
    let server = Server::start().await.with_days(3).await;
    assert_eq!(server.get("Encounter?_count=3").await.json["total"], 3);
    assert!(server.get("Encounter?_count=2").await.json.get("total").is_none());
    assert_eq!(server.total("Encounter?status=in-progress").await, 2);
}

#[tokio::test]
async fn includes_bring_the_patient_and_the_conditions_of_a_visit() {
    let server = Server::start().await;
    let visit = admin("A01").patient("1", json!({})).visit("V1", "1", json!({}));
    server.accept(&visit.condition("V1", "1", "I10").condition("V1", "1", "E11").procedure("V1", "1", "P")).await;
    server
        .accept(
            &clinical("A08").minute(1).patient("1", json!({})).visit("V1", "1", json!({})).condition("V1", "1", "I10"),
        )
        .await;
    let page = server
        .get("Encounter?identifier=urn:visit|V1&_include=Encounter:patient&_revinclude=Condition:encounter&_revinclude=Procedure:encounter")
        .await
        .json;
    let found: Vec<(String, String)> = page["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["resource"]["resourceType"].as_str().unwrap().into(), e["search"]["mode"].as_str().unwrap().into()))
        .collect();
    let pair = |kind: &str, mode: &str| (kind.to_owned(), mode.to_owned());
    assert_eq!(found, [pair("Encounter", "match"), pair("Patient", "include"), pair("Condition", "include")]);
    assert_eq!(page["total"], 1);
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_that() {
    let server = Server::start().await.with_days(5).await;
    let plain = server.get("Encounter").await.json["entry"].clone();
    // A client of its own: the other one would unpack without a word.
    let client = reqwest::Client::builder().no_gzip().build().unwrap();
    let url = format!("{}/Encounter", server.base);
    let packed = client.get(url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let bytes = packed.bytes().await.unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["entry"], plain);
}

#[tokio::test]
async fn every_refusal_is_an_operation_outcome() {
    let server = Server::start().await;
    for (path, status) in [
        ("Patient/none", 404),
        ("Nothing/1", 404),
        ("Patient?identifier=1", 400),
        ("Patient?name=x", 400),
        ("Encounter?date=yesterday", 400),
        ("Encounter?_cursor=x", 400),
        ("Encounter?_count=-1", 400),
        ("Encounter?_include=Encounter:location", 400),
        ("Patient/x/_history?_since=2020", 400),
        ("Patient/$everything", 404),
        ("Patient/a%0Ab/_history?_before=9", 404),
        ("Patient/%FF", 400),
        ("%FF", 400),
        ("Bundle/%FF", 400),
        ("Provenance?agent=x", 400),
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
        assert_eq!(reply.json["resourceType"], "OperationOutcome", "{path}");
        assert!(reply.json["issue"][0]["diagnostics"].is_string());
        assert!(reply.headers["content-type"].to_str().unwrap().starts_with("application/fhir+json"));
    }
}

#[tokio::test]
async fn a_search_sent_as_a_form_finds_what_the_url_finds() {
    let server = Server::start().await.with_days(5).await;
    let asked = reqwest::Client::new()
        .post(format!("{}/Encounter/_search?_count=2", server.base))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("identifier=urn%3Avisit%7CV1%2Curn%3Avisit%7CV2%2Curn%3Avisit%7CV4");
    let page: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!(numbers(&page), ["V1", "V2"]);
    let rest = server.get(&next(&page).unwrap()).await.json;
    assert_eq!(numbers(&rest), ["V4"]);
    let refused = server.post("Encounter/_search", "{}").await;
    assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_sort_holds_over_all_pages_in_both_directions() {
    let server = Server::start().await.with_days(7).await;
    // V3 changes last.
    let changed = json!({"status": "in-progress", "period": {"start": "2024-01-04"}, "priority": {"text": "now"}});
    server.accept(&admin("A02").minute(30).patient("1", json!({})).visit("V3", "1", changed)).await;
    let rising = ["V0", "V1", "V2", "V3", "V4", "V5", "V6"];
    let falling: Vec<&str> = rising.iter().rev().copied().collect();
    let patient = "patient.identifier=urn:mrn|1";
    for by_date in [patient, "date=ge2024-01-01"] {
        assert_eq!(server.all(&format!("Encounter?{by_date}&_sort=date&_count=2")).await, rising, "{by_date}");
        assert_eq!(server.all(&format!("Encounter?{by_date}&_sort=-date&_count=3")).await, falling, "{by_date}");
    }
    for any in ["", patient, "status=in-progress,finished"] {
        let latest = server.all(&format!("Encounter?{any}&_sort=-_lastUpdated&_count=2")).await;
        assert_eq!((latest.len(), latest[0].as_str()), (7, "V3"), "{any}");
    }
    assert_eq!(server.get("Encounter?_sort=date").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_total_is_given_on_every_page_when_asked_for() {
    let server = Server::start().await.with_days(5).await;
    let page = server.get("Encounter?_count=2&_total=accurate").await.json;
    assert_eq!((page["total"].clone(), numbers(&page).len()), (json!(5), 2));
    assert_eq!(server.get("Encounter?_count=2").await.json.get("total"), None);
}

#[tokio::test]
async fn a_mailbox_alone_shows_its_health_and_metrics_beside_fhir() {
    let server = Server::start().await.with_days(2).await;
    let beside = |path: &str| server.base.replace("/fhir", path);
    assert_eq!(server.get(&beside("/health")).await.json["status"], "ready");
    let metrics = server.get(&beside("/metrics")).await.text;
    assert!(metrics.contains("stoker_mailbox_messages_total{outcome=\"applied\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_search_with_many_values_is_answered_or_refused_with_words() {
    let server = Server::start().await;
    let values = |count: usize| (0..count).map(|n| format!("urn:mrn%7C{n}")).collect::<Vec<_>>().join(",");
    for name in ["identifier", "patient.identifier", "encounter.identifier"] {
        let kind = if name == "identifier" { "Patient" } else { "Observation" };
        for (count, status) in [
            (1, StatusCode::OK),
            (200, StatusCode::OK),
            (201, StatusCode::BAD_REQUEST),
            (3000, StatusCode::BAD_REQUEST),
        ] {
            let client = reqwest::Client::new().post(format!("{}/{kind}/_search", server.base));
            let form = client.header("content-type", "application/x-www-form-urlencoded");
            let reply = form.body(format!("{name}={}", values(count))).send().await.unwrap();
            assert_eq!(reply.status(), status, "{name} {count}");
        }
    }
    let repeated = "identifier=urn:mrn%7C1&".repeat(200);
    assert_eq!(server.get(&format!("Patient?{}", repeated.trim_end_matches('&'))).await.status, StatusCode::OK);
    assert_eq!(server.get(&format!("Patient?{repeated}_count=1")).await.status, StatusCode::BAD_REQUEST);
}
