//! Visits that are numbered anew, moved and merged; events that arrive in the wrong order or at the same time.

use serde_json::{Value, json};

use super::Server;
use super::build::{MessageBuilder, admin, clinical, merge, message, patient_url, visit_url};

impl Server {
    async fn codes(&self, search: &str) -> Vec<String> {
        let found = self.find(search).await;
        let mut codes: Vec<String> =
            found.iter().map(|c| c["code"]["coding"][0]["code"].as_str().unwrap().to_owned()).collect();
        codes.sort();
        codes
    }

    async fn count(&self, search: &str) -> usize {
        self.find(search).await.len()
    }
}

/// A15-like updates mention both visits; A42's absorbed visit is part of the survivor.
fn merge_visits(survivor: &str, absorbed: &str, patient: &str) -> MessageBuilder {
    let part = json!({"status": "finished", "partOf": {"reference": visit_url(survivor)},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}});
    admin("A42").patient(patient, json!({})).visit(survivor, patient, json!({})).visit(absorbed, patient, part)
}

#[tokio::test]
async fn a_visit_that_changes_its_number_is_found_by_the_new_one_only() {
    let server = Server::start().await;
    server
        .accept(&admin("A01").patient("1", json!({})).visit("OLD", "1", json!({})).condition("OLD", "1", "I10"))
        .await;
    let both = json!([{"system": "urn:visit", "value": "NEW"}, {"system": "urn:visit", "value": "OLD", "use": "old"}]);
    let renumber = admin("A50").minute(5).patient("1", json!({}));
    server.accept(&renumber.renumbered_visit("OLD", "NEW", "1", json!({"identifier": both}))).await;

    assert_eq!(server.count("Encounter?identifier=urn:visit|OLD").await, 0);
    assert_eq!(server.count("Condition?encounter.identifier=urn:visit|OLD").await, 0);
    assert_eq!(server.codes("Condition?encounter.identifier=urn:visit|NEW").await, ["I10"]);
    assert_eq!(server.count("Encounter").await, 1);
}

#[tokio::test]
async fn a_straggler_with_the_old_number_of_the_same_patient_updates_the_renumbered_visit() {
    let server = Server::start().await;
    server.accept(&admin("A01").patient("1", json!({})).visit("OLD", "1", json!({}))).await;
    server.accept(&admin("A50").minute(5).patient("1", json!({})).renumbered_visit("OLD", "NEW", "1", json!({}))).await;
    let straggler = admin("A03").minute(9).patient("1", json!({})).visit("OLD", "1", json!({"status": "finished"}));
    server.accept(&straggler).await;
    assert_eq!(server.visit("NEW").await["status"], "finished");
    assert_eq!(server.count("Encounter?identifier=urn:visit|OLD").await, 0);

    server.accept(&admin("A01").minute(10).patient("2", json!({})).visit("OLD", "2", json!({}))).await;
    assert_eq!(server.visit("OLD").await["status"], "in-progress");
    assert_eq!(server.visit("NEW").await["status"], "finished");
}

#[tokio::test]
async fn a_moved_visit_takes_everything_that_was_said_about_it_along() {
    let server = Server::start().await;
    let first = admin("A01").patient("WRONG", json!({})).visit("V1", "WRONG", json!({}));
    server.accept(&first.condition("V1", "WRONG", "I10").allergy("V1", "WRONG", "nuts")).await;
    server.accept(&admin("A28").patient("RIGHT", json!({}))).await;
    let moved = admin("A45").minute(5).patient("RIGHT", json!({})).patient("WRONG", json!({}));
    server.accept(&moved.renumbered_visit("V1", "V2", "RIGHT", json!({}))).await;

    for kind in ["Encounter", "Condition", "AllergyIntolerance"] {
        assert_eq!(server.count(&format!("{kind}?patient.identifier=urn:mrn|WRONG")).await, 0, "{kind}");
        assert_eq!(server.count(&format!("{kind}?patient.identifier=urn:mrn|RIGHT")).await, 1, "{kind}");
    }
    let right = format!("Patient/{}", server.patient("RIGHT").await["id"].as_str().unwrap());
    assert_eq!(server.one("Condition").await["subject"]["reference"], right);
    assert_eq!(server.count("Encounter?identifier=urn:visit|V1").await, 0);
    assert_eq!(server.visit("V2").await["subject"]["reference"], right);
}

#[tokio::test]
async fn a_visit_does_not_change_hands_by_the_way() {
    let server = Server::start().await;
    server.accept(&admin("A01").patient("1", json!({})).visit("V1", "1", json!({})).condition("V1", "1", "I10")).await;
    server.accept(&admin("A28").patient("2", json!({}))).await;
    for event in [admin("A02"), clinical("A08")] {
        let reply = server.send(&event.minute(5).patient("2", json!({})).visit("V1", "2", json!({}))).await;
        assert_eq!(reply.code(), "fatal-error");
        assert!(reply.has_issue("error", "conflict"));
    }
    assert_eq!(server.count("Condition?patient.identifier=urn:mrn|1").await, 1);

    server.accept(&merge("2", "1").minute(6)).await;
    server.accept(&admin("A02").minute(7).patient("2", json!({})).visit("V1", "2", json!({}))).await;
    let survivor = format!("Patient/{}", server.patient("2").await["id"].as_str().unwrap());
    assert_eq!(server.visit("V1").await["subject"]["reference"], survivor);
    assert_eq!(server.one("Condition").await["subject"]["reference"], survivor);
}

#[tokio::test]
async fn a_merged_visit_is_part_of_its_survivor_which_has_all_data() {
    let server = Server::start().await;
    let period = json!({"period": {"start": "2024-04-01"}});
    let old = admin("A01").patient("1", json!({})).visit("OLD", "1", period);
    server.accept(&old.condition("OLD", "1", "I10")).await;
    let new = admin("A01").minute(1).patient("1", json!({})).visit("NEW", "1", json!({}));
    server.accept(&new.condition("NEW", "1", "E11")).await;
    let absorbed = server.visit("OLD").await["id"].as_str().unwrap().to_owned();
    server.accept(&merge_visits("NEW", "OLD", "1").minute(5)).await;

    assert_eq!(server.count("Encounter?identifier=urn:visit|OLD").await, 0);
    assert_eq!(server.codes("Condition?encounter.identifier=urn:visit|NEW").await, ["E11", "I10"]);
    let part = server.get(&format!("Encounter/{absorbed}")).await.json;
    let survivor = server.visit("NEW").await;
    assert_eq!(part["partOf"]["reference"], format!("Encounter/{}", survivor["id"].as_str().unwrap()));
    assert_eq!(
        (&part["status"], &part["class"]["code"], &part["period"]["start"]),
        (&json!("finished"), &json!("IMP"), &json!("2024-04-01"))
    );

    server
        .accept(&admin("A03").minute(9).patient("1", json!({})).visit("OLD", "1", json!({"status": "finished"})))
        .await;
    assert_eq!(server.visit("NEW").await["status"], "finished");
}

#[tokio::test]
async fn a_merge_of_visits_that_nobody_knew_is_remembered_for_those_who_come_late() {
    let server = Server::start().await;
    server.accept(&merge_visits("NEW", "OLD", "1").minute(5)).await;
    let late = server.accept(&admin("A01").minute(1).patient("1", json!({})).visit("OLD", "1", json!({}))).await;
    assert!(late.has_issue("warning", "conflict"));
    assert_eq!(server.count("Encounter?identifier=urn:visit|OLD").await, 0);
    assert_eq!(server.count("Encounter").await, 2);
}

#[tokio::test]
async fn a_moved_identifier_leaves_one_patient_and_joins_the_other() {
    let server = Server::start().await;
    let two = json!({"identifier": [{"system": "urn:mrn", "value": "B"}, {"system": "urn:card", "value": "7"}]});
    server.accept(&admin("A28").patient("A", json!({}))).await;
    server.accept(&admin("A01").patient("B", two).visit("V1", "B", json!({}))).await;
    let moved = json!({"identifier": [{"system": "urn:card", "value": "7", "use": "old"}]});
    server.accept(&admin("A43").minute(5).patient("A", json!({})).patient("B", moved)).await;

    let patient = server.one("Patient?identifier=urn:card|7").await;
    assert_eq!(patient["id"], server.patient("A").await["id"]);
    assert_eq!(server.patient("B").await["identifier"].as_array().unwrap().len(), 2);
    assert_eq!(server.count("Encounter?patient.identifier=urn:card|7").await, 0);
    assert_eq!(server.count("Encounter?patient.identifier=urn:mrn|B").await, 1);
}

#[tokio::test]
async fn a_patient_that_gets_another_number_stays_one_patient() {
    let server = Server::start().await;
    server.accept(&admin("A01").patient("OLD", json!({"gender": "male"})).visit("V1", "OLD", json!({}))).await;
    let both = json!({"identifier": [{"system": "urn:mrn", "value": "NEW"}, {"system": "urn:mrn", "value": "OLD", "use": "old"}]});
    server.accept(&admin("A47").minute(5).renumbered_patient("OLD", "NEW", both)).await;
    assert_eq!(server.patient("NEW").await["gender"], "male");
    server
        .accept(&admin("A02").minute(6).patient("OLD", json!({})).visit("V1", "OLD", json!({"status": "onleave"})))
        .await;
    assert_eq!(server.count("Patient").await, 1);
    assert_eq!(server.patient("NEW").await["id"], server.patient("OLD").await["id"]);
    assert_eq!(server.one("Encounter?patient.identifier=urn:mrn|NEW").await["status"], "onleave");
}

#[tokio::test]
async fn two_patients_swap_their_beds_in_one_message() {
    let server = Server::start().await;
    let bed = |name: &str| {
        json!({"contained": [{"resourceType": "Location", "id": "bed", "name": name}],
            "location": [{"location": {"reference": "#bed"}, "status": "active"}]})
    };
    server.accept(&admin("A01").patient("1", json!({})).visit("V1", "1", bed("A"))).await;
    server.accept(&admin("A01").patient("2", json!({})).visit("V2", "2", bed("B"))).await;
    let swap = admin("A17").minute(5).patient("1", json!({})).visit("V1", "1", bed("B"));
    server.accept(&swap.patient("2", json!({})).visit("V2", "2", bed("A"))).await;
    assert_eq!(server.visit("V1").await["contained"][0]["name"], "B");
    assert_eq!(server.visit("V2").await["contained"][0]["name"], "A");
}

#[tokio::test]
async fn a_deleted_person_is_inactive_and_nothing_else_is_touched() {
    let server = Server::start().await;
    server.accept(&admin("A01").patient("1", json!({"gender": "male"})).visit("V1", "1", json!({}))).await;
    let visit = server.visit("V1").await;
    server.accept(&admin("A29").minute(5).patient("1", json!({"active": false}))).await;
    let patient = server.patient("1").await;
    assert_eq!((&patient["active"], &patient["gender"]), (&json!(false), &json!("male")));
    assert_eq!(server.visit("V1").await, visit);
}

#[tokio::test]
async fn a_bed_has_a_status_and_no_patient() {
    let server = Server::start().await;
    let bed = |code: &str| {
        json!({"resourceType": "Location", "identifier": [{"system": "urn:bed", "value": "A^1"}],
            "operationalStatus": {"system": "http://terminology.hl7.org/CodeSystem/v2-0116", "code": code}})
    };
    let url = "http://e/Location?identifier=urn%3Abed%7CA%5E1";
    server.accept(&admin("A20").entry(url, bed("O"))).await;
    server.accept(&admin("A20").minute(1).entry(url, bed("U"))).await;
    assert_eq!(server.one("Location?identifier=urn:bed|A^1").await["operationalStatus"]["code"], "U");
}

/// A01, A02, A08, A03 and A50 of one visit, a minute apart. `tag` makes patient and numbers those of one trial.
fn visit_messages(tag: &str) -> Vec<MessageBuilder> {
    let (old, new) = (format!("OLD{tag}"), format!("NEW{tag}"));
    let status = |status: &str, ward: &str| json!({"status": status, "location": [{"location": {"display": ward}}], "period": {"start": "2024-05-01"}});
    let of = |event: MessageBuilder, minute| event.minute(minute).patient(tag, json!({}));
    vec![
        of(admin("A01"), 1).visit(&old, tag, status("in-progress", "A")).condition(&old, tag, "I10"),
        of(admin("A02"), 2).visit(&old, tag, status("in-progress", "B")),
        of(clinical("A08"), 3).visit(&old, tag, status("in-progress", "B")).condition(&old, tag, "J45"),
        of(admin("A03"), 4).visit(&old, tag, status("finished", "B")),
        of(admin("A50"), 5).renumbered_visit(&old, &new, tag, status("finished", "B")),
    ]
}

/// The state of one trial's visit as readers see it, without what differs between trials.
async fn state(server: &Server, tag: &str) -> Value {
    let mut visit = server.visit(&format!("NEW{tag}")).await;
    for name in ["id", "meta", "subject", "identifier"] {
        visit.as_object_mut().unwrap().remove(name);
    }
    let codes = server.codes(&format!("Condition?encounter.identifier=urn:visit|NEW{tag}")).await;
    let visits = server.count(&format!("Encounter?patient.identifier=urn:mrn|{tag}")).await;
    json!([visit, codes, visits])
}

/// Every order in which the numbers below `n` can stand.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: Vec<usize>| (0..n).map(move |at| [&order[..at], &[n - 1], &order[at..]].concat());
    orders(n - 1).into_iter().flat_map(insert).collect()
}

const UPDATE: usize = 2;

#[tokio::test]
async fn any_order_of_a_visits_events_ends_in_the_same_state_or_a_refusal_of_what_needs_a_visit() {
    let server = Server::start().await;
    for message in visit_messages("a") {
        server.accept(&message).await;
    }
    for (_, message) in visit_messages("b").iter().enumerate().filter(|(n, _)| *n != UPDATE) {
        server.accept(message).await;
    }
    let (all, without_update) = (state(&server, "a").await, state(&server, "b").await);
    assert_ne!(all, without_update);

    for order in orders(5) {
        let tag = format!("{order:?}").replace(|c: char| !c.is_ascii_digit(), "");
        let messages = visit_messages(&tag);
        for &n in &order {
            let expected = if n == UPDATE && order[0] == n { "fatal-error" } else { "ok" };
            assert_eq!(server.send(&messages[n]).await.code(), expected, "{order:?} {n}");
        }
        let expected = if order[0] == UPDATE { &without_update } else { &all };
        assert_eq!(&state(&server, &tag).await, expected, "{order:?}");
    }
}

#[tokio::test]
async fn messages_for_one_new_visit_at_the_same_time_make_one_visit() {
    let server = std::sync::Arc::new(Server::start().await);
    let send = |n: u32| {
        let server = std::sync::Arc::clone(&server);
        let message = admin("A01").minute(n).patient("1", json!({})).visit(
            "V1",
            "1",
            json!({"priority": {"text": format!("{n}")}}),
        );
        tokio::spawn(async move { server.accept(&message).await.status })
    };
    let sent: Vec<_> = (0..40).map(send).collect();
    for task in sent {
        task.await.unwrap();
    }
    assert_eq!(server.count("Encounter").await, 1);
    assert_eq!(server.count("Patient").await, 1);
    assert_eq!(server.visit("V1").await["priority"]["text"], "39");
}

#[tokio::test]
async fn a_link_of_strangers_in_one_message_with_visits_of_others_stays_a_link() {
    let server = Server::start().await;
    let see = |other: &str| json!({"link": [{"other": {"reference": patient_url(other)}, "type": "seealso"}]});
    let reply = server.send(&admin("A31").patient("1", see("2")).patient("2", see("1"))).await;
    assert_eq!(reply.code(), "ok");
    assert!(server.patient("1").await.get("link").is_none());
    let none = server.send(&message("patient-link", "A24").patient("1", json!({})).patient("2", json!({}))).await;
    assert_eq!(none.code(), "fatal-error");
}
