//! The fifty events from end to end: v2 over MLLP goes in, and a reader of the mailbox sees what became of it.

use std::time::Duration;

use serde_json::{Value, json};
use stoker::config::Config;
use stoker::mllp::Client;
use stoker::server::daemon::Daemon;
use tokio_util::sync::CancellationToken;

use super::{Reply, Server};

const VISIT: &str = "urn:stoker:visit:HOSP:HIS";
const MRN: &str = "urn:stoker:authority:HOSP";

/// Listener, journal, mapping, delivery and mailbox, on ports and in a folder of their own.
struct Whole {
    /// To read with; the mailbox itself belongs to the daemon.
    mailbox: Server,
    sender: Client,
    sent: u32,
}

impl Whole {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.http.bind.set_port(0);
        config.listeners[0].bind.set_port(0);
        config.journal.path = folder.path().join("journal.db");
        config.mailbox.data = folder.path().join("mailbox.db");
        let daemon = Daemon::build(config).await.unwrap();
        let (mllp, base) = (daemon.mllp()[0], format!("http://{}/fhir", daemon.config().http.bind));
        let stop = CancellationToken::new();
        let running = daemon.run(stop.clone());
        let task = tokio::spawn(async move { running.await.map_err(std::io::Error::other) });
        let sender = Client::connect(mllp, Duration::from_secs(10)).await.unwrap();
        Self { mailbox: Server::over(base, stop, task, folder), sender, sent: 0 }
    }

    /// Sends one message and waits until the mailbox has it. A minute passes between messages.
    async fn send(&mut self, trigger: &str, segments: &[&str]) {
        let (code, control_id) = self.put(trigger, segments).await;
        assert_eq!(code, "AA", "{trigger}");
        let found = self.get(&format!("Bundle?identifier={control_id}&_wait=20")).await;
        assert_eq!(found.json["total"], 1, "{trigger} did not arrive");
    }

    async fn put(&mut self, trigger: &str, segments: &[&str]) -> (String, String) {
        self.sent += 1;
        let (n, control_id) = (self.sent, format!("C{}", self.sent));
        let time = format!("2024050110{n:02}00+0000");
        let mut message =
            format!("MSH|^~\\&|HIS|HOSP|MAILBOX|REGION|{time}||ADT^{trigger}|{control_id}|P|2.5.1\rEVN||{time}\r");
        for segment in segments {
            message.push_str(segment);
            message.push('\r');
        }
        let ack = self.sender.send(message.as_bytes()).await.unwrap().unwrap();
        (ack.code, control_id)
    }

    async fn get(&self, path: &str) -> Reply {
        self.mailbox.get(path).await
    }

    async fn find(&self, search: &str) -> Vec<Value> {
        self.mailbox.find(search).await
    }

    async fn count(&self, search: &str) -> usize {
        self.find(search).await.len()
    }

    async fn visit(&self, number: &str) -> Value {
        self.mailbox.one(&format!("Encounter?identifier={VISIT}|{number}")).await
    }

    async fn patient(&self, number: &str) -> Value {
        self.mailbox.one(&format!("Patient?identifier={MRN}|{number}")).await
    }

    /// The visits found by a patient's number.
    async fn visits_of(&self, number: &str) -> usize {
        self.count(&format!("Encounter?patient.identifier={MRN}|{number}")).await
    }

    async fn admitted(visits: &[(&str, &str)]) -> Self {
        let mut whole = Self::start().await;
        for (patient, visit) in visits {
            whole
                .send("A01", &[&pid(patient), &pv1("I", visit, "W1^1^A"), "DG1|1||I10^Hypertension^I10||20240501|A"])
                .await;
        }
        whole
    }
}

fn pid(number: &str) -> String {
    format!("PID|1||{number}^^^HOSP^MR||Doe{number}^Jan||19700101|F")
}

fn pv1(class: &str, visit: &str, place: &str) -> String {
    with(&[(2, class), (3, place), (19, visit), (44, "20240501090000+0000")])
}

/// A PV1 with these fields.
fn with(fields: &[(usize, &str)]) -> String {
    let last = fields.iter().map(|(n, _)| *n).max().unwrap_or_default();
    let field = |n: usize| fields.iter().find(|(at, _)| *at == n).map_or("", |(_, value)| value);
    let all: Vec<&str> = (1..=last).map(|n| if n == 1 { "1" } else { field(n) }).collect();
    format!("PV1|{}", all.join("|"))
}

/// Where a visit is, by the status of the stay.
fn place(visit: &Value, status: &str) -> Vec<String> {
    let stays = visit["location"].as_array().cloned().unwrap_or_default();
    let here = stays.iter().filter(|stay| stay["status"] == status);
    here.map(|stay| name_of(visit, stay["location"]["reference"].as_str().unwrap_or_default())).collect()
}

/// The name of a contained resource, with those it is part of: `A, 1, W1`.
fn name_of(visit: &Value, reference: &str) -> String {
    let contained = visit["contained"].as_array().cloned().unwrap_or_default();
    let mut names = Vec::new();
    let mut next = reference.to_owned();
    while let Some(found) = contained.iter().find(|item| format!("#{}", item["id"].as_str().unwrap()) == next) {
        names.push(found["name"].as_str().unwrap_or_default().to_owned());
        next = found["partOf"]["reference"].as_str().unwrap_or_default().to_owned();
    }
    names.join(", ")
}

/// Sends A01 and then each event with its PV1, and looks at the status of the visit.
async fn statuses(events: &[(&str, &str)]) {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    for (trigger, status) in events {
        whole.send(trigger, &[&pid("1"), &pv1("I", "V1", "W1^1^A")]).await;
        assert_eq!(whole.visit("V1").await["status"], *status, "{trigger}");
    }
    assert_eq!(whole.count("Encounter").await, 1);
}

#[tokio::test]
async fn a01_admits() {
    let whole = Whole::admitted(&[("1", "V1")]).await;
    let visit = whole.visit("V1").await;
    assert_eq!((&visit["status"], &visit["class"]["code"]), (&json!("in-progress"), &json!("IMP")));
    assert_eq!(visit["subject"]["reference"], format!("Patient/{}", whole.patient("1").await["id"].as_str().unwrap()));
    assert_eq!(whole.count(&format!("Condition?encounter.identifier={VISIT}|V1")).await, 1);
}

#[tokio::test]
async fn a02_transfers_and_a12_takes_the_transfer_back() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    let moved = with(&[(2, "I"), (3, "W2^2^B"), (6, "W1^1^A"), (19, "V1")]);
    whole.send("A02", &[&pid("1"), &moved]).await;
    let visit = whole.visit("V1").await;
    assert!(place(&visit, "active")[0].starts_with('B') && place(&visit, "completed")[0].starts_with('A'), "{visit:#}");
    whole.send("A12", &[&pid("1"), &with(&[(2, "I"), (3, "W1^1^A"), (6, "W2^2^B"), (19, "V1")])]).await;
    let visit = whole.visit("V1").await;
    assert!(place(&visit, "active")[0].starts_with('A'), "{visit:#}");
    assert_eq!(visit["location"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a03_discharges_and_a13_takes_the_discharge_back() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    let out = with(&[
        (2, "I"),
        (3, "W1^1^A"),
        (19, "V1"),
        (36, "01"),
        (44, "20240501090000+0000"),
        (45, "20240503090000+0000"),
    ]);
    whole.send("A03", &[&pid("1"), &out]).await;
    let visit = whole.visit("V1").await;
    assert_eq!(visit["status"], "finished");
    assert!(
        visit["period"]["end"].is_string() && visit["hospitalization"]["dischargeDisposition"].is_object(),
        "{visit:#}"
    );
    whole.send("A13", &[&pid("1"), &pv1("I", "V1", "W1^1^A")]).await;
    let visit = whole.visit("V1").await;
    assert_eq!(visit["status"], "in-progress");
    assert!(visit["period"]["start"].is_string() && visit["period"].get("end").is_none(), "{visit:#}");
    assert!(visit["period"].get("_end").is_none() && visit["hospitalization"].get("dischargeDisposition").is_none());
}

#[tokio::test]
async fn a04_registers_an_outpatient() {
    let mut whole = Whole::start().await;
    whole.send("A04", &[&pid("1"), &pv1("O", "V1", "")]).await;
    let visit = whole.visit("V1").await;
    assert_eq!(visit["class"]["code"], "AMB");
    assert!(["in-progress", "arrived"].contains(&visit["status"].as_str().unwrap()));
}

#[tokio::test]
async fn a05_pre_admits_and_a38_cancels_it() {
    let mut whole = Whole::start().await;
    whole.send("A05", &[&pid("1"), &pv1("P", "V1", "")]).await;
    assert_eq!(whole.visit("V1").await["status"], "planned");
    whole.send("A38", &[&pid("1"), &pv1("P", "V1", "")]).await;
    assert_eq!(whole.visit("V1").await["status"], "cancelled");
}

#[tokio::test]
async fn a06_and_a07_change_the_class_of_the_visit() {
    let mut whole = Whole::start().await;
    whole.send("A04", &[&pid("1"), &pv1("O", "V1", "")]).await;
    whole.send("A06", &[&pid("1"), &pv1("I", "V1", "W1^1^A")]).await;
    assert_eq!(whole.visit("V1").await["class"]["code"], "IMP");
    whole.send("A07", &[&pid("1"), &pv1("O", "V1", "")]).await;
    assert_eq!(whole.visit("V1").await["class"]["code"], "AMB");
}

#[tokio::test]
async fn a08_replaces_the_clinical_data_and_leaves_the_visit() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    let before = whole.visit("V1").await;
    let new = ["DG1|1||J45^Asthma^I10||20240501|A", "PR1|1||44970^Appendectomy^C4||20240501100000+0000"];
    whole.send("A08", &[&pid("1"), &pv1("O", "V1", "W9^9^Z"), new[0], new[1]]).await;
    assert_eq!(whole.visit("V1").await, before);
    let conditions = whole.find(&format!("Condition?encounter.identifier={VISIT}|V1")).await;
    assert_eq!(conditions.len(), 1);
    assert_eq!(conditions[0]["code"]["coding"][0]["code"], "J45");
    assert_eq!(whole.count(&format!("Procedure?encounter.identifier={VISIT}|V1")).await, 1);
}

#[tokio::test]
async fn a09_a10_a32_and_a33_track_the_patient() {
    statuses(&[("A09", "in-progress"), ("A10", "in-progress"), ("A32", "in-progress"), ("A33", "in-progress")]).await;
}

#[tokio::test]
async fn a11_cancels_the_admission() {
    statuses(&[("A11", "cancelled")]).await;
}

#[tokio::test]
async fn a14_plans_a_visit_and_a27_cancels_it() {
    let mut whole = Whole::start().await;
    whole.send("A14", &[&pid("1"), &pv1("I", "V1", "W1^1^A")]).await;
    assert_eq!(whole.visit("V1").await["status"], "planned");
    whole.send("A27", &[&pid("1"), &pv1("I", "V1", "")]).await;
    assert_eq!(whole.visit("V1").await["status"], "cancelled");
}

#[tokio::test]
async fn a15_plans_a_place_and_a26_removes_it() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    let planned = with(&[(2, "I"), (3, "W1^1^A"), (19, "V1"), (42, "W7^7^Q")]);
    whole.send("A15", &[&pid("1"), &planned]).await;
    let visit = whole.visit("V1").await;
    assert!(place(&visit, "planned")[0].starts_with('Q'), "{visit:#}");
    whole.send("A26", &[&pid("1"), &planned]).await;
    let visit = whole.visit("V1").await;
    assert!(place(&visit, "planned").is_empty() && place(&visit, "active")[0].starts_with('A'), "{visit:#}");
}

#[tokio::test]
async fn a16_expects_a_discharge_that_is_none_and_a25_cancels_it() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    whole.send("A16", &[&pid("1"), &pv1("I", "V1", "W1^1^A"), "PV2|||||||||20240505"]).await;
    let visit = whole.visit("V1").await;
    assert_eq!(visit["status"], "in-progress");
    assert!(
        visit["period"].get("end").is_none() && visit["extension"][0]["valueDateTime"] == "2024-05-05",
        "{visit:#}"
    );
    whole.send("A25", &[&pid("1"), &pv1("I", "V1", "W1^1^A")]).await;
    let visit = whole.visit("V1").await;
    assert_eq!((&visit["status"], visit.get("extension")), (&json!("in-progress"), None));
}

#[tokio::test]
async fn a17_swaps_two_beds() {
    let mut whole = Whole::admitted(&[("1", "V1"), ("2", "V2")]).await;
    whole.send("A02", &[&pid("2"), &pv1("I", "V2", "W1^1^B")]).await;
    let (one, two) = (pv1("I", "V1", "W1^1^B"), pv1("I", "V2", "W1^1^A"));
    whole.send("A17", &[&pid("1"), &one, &pid("2"), &two]).await;
    assert!(place(&whole.visit("V1").await, "active")[0].starts_with('B'));
    assert!(place(&whole.visit("V2").await, "active")[0].starts_with('A'));
}

/// Merges by each of the events that mean it.
async fn merges(trigger: &str) {
    let mut whole = Whole::admitted(&[("1", "V1"), ("2", "V2")]).await;
    whole.send(trigger, &[&pid("1"), "MRG|2^^^HOSP^MR"]).await;
    let (survivor, absorbed) = (whole.patient("1").await, whole.patient("2").await);
    assert_eq!(absorbed["active"], false, "{trigger}");
    assert_eq!(absorbed["link"][0]["type"], "replaced-by", "{trigger}");
    assert_eq!(absorbed["link"][0]["other"]["reference"], format!("Patient/{}", survivor["id"].as_str().unwrap()));
    assert_eq!((whole.visits_of("1").await, whole.visits_of("2").await), (2, 2), "{trigger}");
}

#[tokio::test]
async fn a18_a30_and_a34_merge_patients() {
    for trigger in ["A18", "A30", "A34"] {
        merges(trigger).await;
    }
}

#[tokio::test]
async fn a36_a39_and_a40_merge_patients() {
    for trigger in ["A36", "A39", "A40"] {
        merges(trigger).await;
    }
}

#[tokio::test]
async fn a19_is_a_query_and_rejected() {
    let mut whole = Whole::start().await;
    let (code, _) = whole.put("A19", &[&pid("1")]).await;
    assert!(["AR", "AE"].contains(&code.as_str()), "{code}");
    assert_eq!(whole.count("Patient").await, 0);
}

#[tokio::test]
async fn a20_sets_the_status_of_a_bed() {
    let mut whole = Whole::start().await;
    whole.send("A20", &["NPU|W1^1^A^HOSP|O"]).await;
    whole.send("A20", &["NPU|W1^1^A^HOSP|U"]).await;
    let beds = whole.find("Location").await;
    assert_eq!(beds.len(), 1);
    assert_eq!(beds[0]["operationalStatus"]["code"], "U");
    assert_eq!(whole.count("Patient").await, 0);
}

#[tokio::test]
async fn a21_is_a_leave_and_a22_the_return() {
    statuses(&[("A21", "onleave"), ("A22", "in-progress")]).await;
}

#[tokio::test]
async fn a23_marks_the_visit_entered_in_error_and_keeps_the_patient() {
    statuses(&[("A23", "entered-in-error")]).await;
}

#[tokio::test]
async fn a24_links_and_a37_unlinks() {
    let mut whole = Whole::admitted(&[("1", "V1"), ("2", "V2")]).await;
    whole.send("A24", &[&pid("1"), &pid("2")]).await;
    assert_eq!(whole.patient("1").await["link"][0]["type"], "seealso");
    assert!(whole.patient("2").await.get("active").is_none());
    assert_eq!((whole.visits_of("1").await, whole.visits_of("2").await), (2, 2));
    whole.send("A37", &[&pid("1"), &pid("2")]).await;
    assert!(whole.patient("1").await.get("link").is_none());
    assert_eq!((whole.visits_of("1").await, whole.visits_of("2").await), (1, 1));
}

#[tokio::test]
async fn a28_adds_a_person_and_a31_updates_it() {
    let mut whole = Whole::start().await;
    whole.send("A28", &[&pid("1")]).await;
    whole.send("A31", &["PID|1||1^^^HOSP^MR||Roe^Jan||\"\"|F"]).await;
    let patient = whole.patient("1").await;
    assert_eq!(patient["name"][0]["family"], "Roe");
    assert!(patient.get("birthDate").is_none() && patient.get("_birthDate").is_none());
    assert_eq!(whole.count("Encounter").await, 0);
}

#[tokio::test]
async fn a29_makes_the_person_inactive_and_touches_nothing_else() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    let (visit, patient) = (whole.visit("V1").await, whole.patient("1").await);
    whole.send("A29", &[&pid("1")]).await;
    assert_eq!(whole.patient("1").await["active"], false);
    assert_eq!(whole.patient("1").await["name"], patient["name"]);
    assert_eq!(whole.visit("V1").await, visit);
    assert_eq!(whole.count("Condition").await, 1);
}

/// The values of a patient's identifiers, and those of them that are marked old.
fn numbers(patient: &Value) -> (String, String) {
    let all = patient["identifier"].as_array().unwrap();
    let values = |old: bool| {
        let some = all.iter().filter(|item| (item["use"] == "old") == old);
        some.map(|item| item["value"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    (values(false), values(true))
}

#[tokio::test]
async fn a35_a41_and_a49_change_the_account_number() {
    for trigger in ["A35", "A41", "A49"] {
        let mut whole = Whole::admitted(&[("1", "V1")]).await;
        let account = format!("{}||||||||||ACC2^^^HOSP^AN", pid("1"));
        whole.send(trigger, &[&account, "MRG|1^^^HOSP^MR||ACC1^^^HOSP^AN"]).await;
        let patient = whole.patient("1").await;
        assert_eq!(numbers(&patient), ("1 ACC2".into(), "ACC1".into()), "{trigger}");
    }
}

#[tokio::test]
async fn a42_merges_visits_so_that_all_is_found_under_the_new_number() {
    let mut whole = Whole::admitted(&[("1", "OLD"), ("1", "NEW")]).await;
    whole.send("A42", &[&pid("1"), "MRG|1^^^HOSP^MR||||OLD", &pv1("I", "NEW", "W1^1^A")]).await;
    assert_eq!(whole.count(&format!("Encounter?identifier={VISIT}|OLD")).await, 0);
    assert_eq!(whole.count(&format!("Condition?encounter.identifier={VISIT}|OLD")).await, 0);
    assert_eq!(whole.count(&format!("Condition?encounter.identifier={VISIT}|NEW")).await, 2);
    let survivor = format!("Encounter/{}", whole.visit("NEW").await["id"].as_str().unwrap());
    let parts = whole.find("Encounter").await;
    assert_eq!(parts.iter().filter(|visit| visit["partOf"]["reference"] == survivor.as_str()).count(), 1);
}

#[tokio::test]
async fn a43_moves_an_identifier_to_another_patient() {
    let mut whole = Whole::start().await;
    whole.send("A28", &[&pid("1")]).await;
    whole.send("A28", &["PID|1||2^^^HOSP^MR~77^^^CARD^PI||Doe2^Jan"]).await;
    whole.send("A43", &[&pid("1"), "MRG|77^^^CARD^PI"]).await;
    let found = whole.mailbox.one("Patient?identifier=urn:stoker:authority:CARD|77").await;
    assert_eq!(found["id"], whole.patient("1").await["id"]);
    assert_eq!(numbers(&whole.patient("2").await), ("2".into(), "77".into()));
}

#[tokio::test]
async fn a44_moves_an_account_to_another_patient() {
    let mut whole = Whole::start().await;
    whole.send("A28", &[&pid("1")]).await;
    whole.send("A28", &["PID|1||2^^^HOSP^MR~77^^^CARD^PI||Doe2^Jan"]).await;
    let account = format!("{}||||||||||ACC1^^^HOSP^AN", pid("1"));
    whole.send("A44", &[&account, "MRG|2^^^HOSP^MR||ACC1^^^HOSP^AN"]).await;
    assert!(numbers(&whole.patient("1").await).0.contains("ACC1"));
    assert_eq!(numbers(&whole.patient("2").await), ("2 77".into(), "ACC1".into()));
}

#[tokio::test]
async fn a45_moves_a_visit_to_another_patient() {
    let mut whole = Whole::admitted(&[("1", "V1")]).await;
    whole.send("A28", &["PID|1||2^^^HOSP^MR~77^^^CARD^PI||Doe2^Jan"]).await;
    whole.send("A45", &[&pid("2"), "MRG|1^^^HOSP^MR||||V1", &pv1("I", "V1", "W1^1^A")]).await;
    assert_eq!((whole.visits_of("1").await, whole.visits_of("2").await), (0, 1));
    assert_eq!(whole.count(&format!("Condition?patient.identifier={MRN}|2")).await, 1);
    whole.send("A45", &[&pid("1"), "MRG|2^^^HOSP^MR||||V1", &pv1("I", "V9", "W1^1^A")]).await;
    assert_eq!(whole.count(&format!("Encounter?identifier={VISIT}|V1")).await, 0);
    assert_eq!(
        whole.visit("V9").await["subject"]["reference"],
        format!("Patient/{}", whole.patient("1").await["id"].as_str().unwrap())
    );
}

#[tokio::test]
async fn a46_and_a47_change_a_patients_number() {
    for trigger in ["A46", "A47"] {
        let mut whole = Whole::admitted(&[("1", "V1")]).await;
        whole.send(trigger, &[&pid("9"), "MRG|1^^^HOSP^MR"]).await;
        assert_eq!(whole.count("Patient").await, 1, "{trigger}");
        assert_eq!(numbers(&whole.patient("9").await), ("9".into(), "1".into()), "{trigger}");
        assert_eq!(whole.visits_of("9").await, 1, "{trigger}");
    }
}

#[tokio::test]
async fn a48_changes_an_alternate_number() {
    let mut whole = Whole::start().await;
    whole.send("A28", &["PID|1||1^^^HOSP^MR|A1^^^ALT^PI|Doe1^Jan||19700101|F"]).await;
    whole.send("A48", &["PID|1||1^^^HOSP^MR|A2^^^ALT^PI|Doe1^Jan||19700101|F", "MRG|1^^^HOSP^MR|A1^^^ALT^PI"]).await;
    let patient = whole.patient("1").await;
    assert_eq!(whole.count("Patient").await, 1);
    assert!(numbers(&patient).0.contains("A2") && numbers(&patient).1.contains("A1"), "{patient:#}");
}

#[tokio::test]
async fn a50_changes_the_visit_number() {
    let mut whole = Whole::admitted(&[("1", "OLD")]).await;
    let before = whole.visit("OLD").await;
    whole.send("A50", &[&pid("1"), "MRG|1^^^HOSP^MR||||OLD", &pv1("I", "NEW", "W1^1^A")]).await;
    assert_eq!(whole.count(&format!("Encounter?identifier={VISIT}|OLD")).await, 0);
    assert_eq!(whole.visit("NEW").await["id"], before["id"]);
    assert_eq!(whole.count(&format!("Condition?encounter.identifier={VISIT}|NEW")).await, 1);
}

/// Everything that a reader can ask for, gathered for validators: one resource a line.
struct Gathered(String);

impl Gathered {
    fn take(&mut self, reply: &Reply) -> Value {
        assert!(reply.json.is_object(), "{}", reply.text);
        self.0.push_str(&reply.text.replace('\n', ""));
        self.0.push('\n');
        reply.json.clone()
    }

    /// All pages of a search, and the resources on them.
    async fn pages(&mut self, server: &Server, search: &str) -> Vec<Value> {
        let (mut found, mut url) = (Vec::new(), Some(search.to_owned()));
        while let Some(page) = url {
            let page = self.take(&server.get(&page).await);
            found.extend(page["entry"].as_array().into_iter().flatten().map(|entry| entry["resource"].clone()));
            let next = page["link"].as_array().into_iter().flatten().find(|link| link["relation"] == "next");
            url = next.map(|link| link["url"].as_str().unwrap().to_owned());
        }
        found
    }
}

/// With `STOKER_GATHER=FILE` what the mailbox returned is left there for the validators of tests/validate.
#[tokio::test]
async fn all_that_the_samples_become_can_be_read_back() {
    let mut whole = Whole::start().await;
    let mut files: Vec<_> = std::fs::read_dir("samples").unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "hl7"));
    files.sort();
    for file in &files {
        whole.sender.send(&std::fs::read(file).unwrap()).await.unwrap();
    }
    let server = &whole.mailbox;
    for _ in 0..400 {
        let answered = server.get("Bundle?_summary=count").await.json["total"].as_u64().unwrap();
        // Each message that is applied is in the log with its answer.
        if answered as usize == 2 * files.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(server.get("Bundle?_summary=count").await.json["total"], 2 * files.len());

    let mut gathered = Gathered(String::new());
    gathered.take(&server.get("metadata").await);
    for kind in ["Patient", "Encounter", "Condition", "Procedure", "Observation", "AllergyIntolerance", "Location"] {
        let found = gathered.pages(server, &format!("{kind}?_count=20")).await;
        assert!(!found.is_empty(), "the samples hold no {kind}");
        for resource in found {
            let path = format!("{kind}/{}", resource["id"].as_str().unwrap());
            assert_eq!(gathered.take(&server.get(&path).await), resource);
            gathered.pages(server, &format!("{path}/_history")).await;
            gathered.take(&server.get(&format!("{path}/_history/1")).await);
            if kind == "Patient" {
                gathered.pages(server, &format!("Provenance?target={path}")).await;
                let number = &resource["identifier"][0];
                if let (Some(system), Some(value)) = (number["system"].as_str(), number["value"].as_str()) {
                    gathered.take(&server.get(&format!("Patient/$ihe-pix?sourceIdentifier={system}|{value}")).await);
                }
            }
        }
    }
    gathered.pages(server, "Encounter?_include=Encounter:patient&_revinclude=Condition:encounter").await;
    let log = gathered.pages(server, "Bundle?_count=20").await;
    for message in &log {
        gathered.take(&server.get(&format!("Bundle/{}", message["id"].as_str().unwrap())).await);
    }
    for refused in ["Patient/none", "Patient?identifier=1", "Nothing", "Bundle?event=x", "Patient/x/_history"] {
        gathered.take(&server.get(refused).await);
    }
    gathered.take(&server.post("$process-message", "{}").await);
    if let Ok(path) = std::env::var("STOKER_GATHER") {
        std::fs::write(path, gathered.0).unwrap();
    }
}
