//! The work for a message grows as the message does: whatever a sender can count up is doubled, and the steps are counted.
//!
//! Steps and not time: comparisons, lookups, visits of nodes, statements, rows, and what SQLite's own machine did for them
//! ([`crate::mailbox::steps`]).

use std::sync::mpsc::{Sender, channel};

use serde_json::{Value, json};

use super::{Reply, RequestContext, Rules};
use crate::mailbox::config::MailboxConfig;
use crate::mailbox::json::Limits;
use crate::mailbox::mailbox::Effect;
use crate::mailbox::process::parse::message::Message;
use crate::mailbox::steps;
use crate::mailbox::store::sqlite::{Sqlite, StoreOptions};
use crate::mailbox::store::{Store, StoreError, Transaction, Work};

/// The most that twice as much may cost. Sorting takes a little more than twice.
const MOST: f64 = 2.4;
const FIRST: usize = 1000;
/// What is taken apart is doubled up to here.
const LAST: usize = 64_000;

/// How far in every run; `GROWTH=64000 cargo test --release growth` goes to the end.
const OFTEN: usize = 8_000;

fn last() -> usize {
    let asked = std::env::var("GROWTH").ok().and_then(|last| last.parse().ok());
    asked.unwrap_or(OFTEN).min(LAST)
}
/// What is applied, up to here: the limit of a message's work lies below, at about five thousand resources.
const LAST_APPLIED: usize = 4000;

fn patient_url(number: usize) -> String {
    format!("http://x/fhir/Patient?identifier=urn:mrn%7C{number}")
}

fn patient(number: usize, more: Value) -> Value {
    let mut resource =
        json!({"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": number.to_string()}]});
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"fullUrl": patient_url(number), "resource": resource})
}

fn visit(number: usize, patient: usize, more: Value) -> Value {
    let mut resource = json!({"resourceType": "Encounter", "status": "in-progress", "class": {"code": "IMP"},
        "identifier": [{"system": "urn:visit", "value": number.to_string()}], "subject": {"reference": patient_url(patient)}});
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"fullUrl": format!("http://x/fhir/Encounter?identifier=urn:visit%7C{number}"), "resource": resource})
}

fn observation(number: usize, more: Value) -> Value {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    let mut resource = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"},
        "subject": {"reference": patient_url(0)}});
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"fullUrl": format!("urn:uuid:{id}"), "resource": resource})
}

/// A message of these entries; each call makes another one.
fn message(event: &str, entries: Vec<Value>) -> Value {
    let id = uuid::Uuid::new_v4().to_string();
    let header = json!({"resourceType": "MessageHeader", "id": id, "eventCoding": {"code": event},
        "source": {"endpoint": "urn:s"}, "destination": [{"endpoint": "urn:d"}]});
    let header = json!({"fullUrl": format!("urn:uuid:{id}"), "resource": header});
    let entries: Vec<Value> = std::iter::once(header).chain(entries).collect();
    json!({"resourceType": "Bundle", "type": "message", "id": uuid::Uuid::new_v4().to_string(), "entry": entries})
}

fn list<T>(n: usize, make: impl Fn(usize) -> T) -> Vec<T> {
    (0..n).map(make).collect()
}

fn identifiers(n: usize, system: &str, use_: &str) -> Value {
    let one = |at| json!({"system": system, "value": at_text(at), "use": use_});
    list(n, one).into()
}

fn at_text(at: usize) -> String {
    // Not in the order of the numbers, so that sorting has to work.
    format!("{:08}", (at * 7_919) % 1_000_003)
}

fn participants(n: usize, name: &str) -> Value {
    let contained =
        list(n, |at| json!({"resourceType": "Practitioner", "id": format!("p{at}"), "name": [{"text": name}]}));
    let named = list(n, |at| json!({"individual": {"reference": format!("#p{at}")}}));
    json!({"contained": contained, "participant": named})
}

/// The messages that make a store in which one thing comes `n` times, each after the other.
type Story = fn(usize) -> Vec<Value>;

fn stories() -> Vec<(&'static str, Story)> {
    vec![
        ("entries of a visit", |n| {
            let all = |from: usize| {
                let own = (from..from + n).map(|at| observation(at, json!({})));
                let visit = visit(0, 0, json!({}));
                message("admin-notify", [patient(0, json!({})), visit].into_iter().chain(own).collect())
            };
            // The second removes half of them and adds as many.
            vec![all(0), all(n / 2)]
        }),
        ("patients and visits", |n| {
            let pairs = (0..n).flat_map(|at| [patient(at, json!({})), visit(at, at, json!({}))]);
            let moved = (0..n).flat_map(|at| [patient(at, json!({})), visit(at, n - 1 - at, json!({}))]);
            vec![message("admin-notify", pairs.collect()), message("admin-notify", moved.collect())]
        }),
        ("references", |n| {
            let performers = list(n, |_| json!({"reference": patient_url(0)}));
            let own = observation(1, json!({"performer": performers}));
            vec![message("admin-notify", vec![patient(0, json!({})), own])]
        }),
        ("relative references", |n| {
            let organizations = list(n, |at| {
                let resource = json!({"resourceType": "Organization", "id": format!("o{at}"), "name": "x"});
                json!({"fullUrl": format!("http://h/fhir/Organization/o{at}"), "resource": resource})
            });
            let doctors = list(n, |at| json!({"reference": format!("Organization/o{at}")}));
            let mut entries = vec![patient(0, json!({"generalPractitioner": doctors}))];
            entries[0]["fullUrl"] = json!("http://h/fhir/Patient/1");
            entries.extend(organizations);
            vec![message("admin-notify", entries)]
        }),
        ("identifiers", |n| {
            let with = |use_: &str, system: &str| {
                let mut own = patient(0, json!({}));
                let more = identifiers(n, system, use_);
                own["resource"]["identifier"].as_array_mut().unwrap().extend(more.as_array().unwrap().clone());
                message("admin-notify", vec![own])
            };
            vec![with("usual", "urn:a"), with("old", "urn:a"), with("usual", "urn:b")]
        }),
        ("links", |n| {
            let star = (1..=n).map(|at| {
                patient(at, json!({"link": [{"other": {"reference": patient_url(0)}, "type": "replaced-by"}]}))
            });
            let star: Vec<Value> = std::iter::once(patient(0, json!({}))).chain(star).collect();
            let apart = (0..=n).map(|at| patient(at, json!({}))).collect();
            vec![message("patient-link", star), message("patient-unlink", apart)]
        }),
        ("see also", |n| {
            let all = list(n, |at| json!({"other": {"reference": patient_url(at + 1)}, "type": "seealso"}));
            let others = (1..=n).map(|at| patient(at, json!({})));
            vec![message("patient-link", std::iter::once(patient(0, json!({"link": all}))).chain(others).collect())]
        }),
        ("contained", |n| {
            let with =
                |name: &str| message("admin-notify", vec![patient(0, json!({})), visit(0, 0, participants(n, name))]);
            let chain = list(n, |at| {
                let next =
                    if at + 1 < n { json!({"reference": format!("#l{}", at + 1)}) } else { json!({"display": "x"}) };
                json!({"resourceType": "Location", "id": format!("l{at}"), "partOf": next})
            });
            let first = json!([{"location": {"reference": "#l0"}}]);
            let chain = visit(0, 0, json!({"contained": chain, "location": first}));
            vec![with("a"), with("b"), message("admin-notify", vec![patient(0, json!({})), chain])]
        }),
        ("extensions", |n| {
            let with = |text: &str| {
                let all = list(n, |at| json!({"url": format!("urn:x:{at}"), "valueString": text}));
                message("admin-notify", vec![patient(0, json!({"extension": all}))])
            };
            vec![with("a"), with("b")]
        }),
        ("codes", |n| {
            let codings = |from: usize| list(n, |at| json!({"system": "urn:c", "code": format!("c{}", from + at)}));
            let component = json!([{"code": {"coding": codings(n)}, "valueString": "x"}]);
            let more = json!({"code": {"coding": codings(0)}, "valueString": "x", "component": component});
            vec![message("admin-notify", vec![patient(0, json!({})), observation(1, more)])]
        }),
        ("destinations", |n| {
            let mut all = message("admin-notify", vec![patient(0, json!({}))]);
            let destinations = list(n, |at| json!({"endpoint": format!("urn:d:{at}")}));
            all["entry"][0]["resource"]["destination"] = destinations.into();
            vec![all]
        }),
        ("members", |n| {
            let members = (0..n).map(|at| (format!("m{}", at_text(at)), json!(at)));
            let mut resource: serde_json::Map<String, Value> = members.collect();
            resource.insert("resourceType".into(), json!("Unheard"));
            let entry = json!({"fullUrl": "http://h/fhir/Unheard/1", "resource": resource});
            vec![message("admin-notify", vec![patient(0, json!({})), entry])]
        }),
        ("faults", |n| {
            let broken = (0..n).map(|at| observation(at, json!({"status": "?", "subject": {"reference": "#x"}})));
            vec![message("admin-notify", std::iter::once(patient(0, json!({}))).chain(broken).collect())]
        }),
    ]
}

fn limits() -> Limits {
    let config = MailboxConfig::default();
    Limits { depth: config.depth_limit, values: config.value_limit }
}

/// Fails when a doubling costs more than it may.
fn hold(what: &str, counts: &[(usize, u64)]) {
    for pair in counts.windows(2) {
        let [(n, one), (_, twice)] = pair else { unreachable!("windows of two") };
        let ratio = *twice as f64 / *one as f64;
        assert!(ratio <= MOST, "{what}: {one} steps for {n}, and {ratio:.2} times as many for twice that: {counts:?}");
    }
}

fn doubled(last: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(FIRST), |n| Some(n * 2)).take_while(move |n| *n <= last)
}

#[test]
fn what_is_taken_apart_costs_as_much_as_there_is_of_it() {
    for (what, story) in stories() {
        let mut counts = Vec::new();
        for n in doubled(last()) {
            // The last message of a story has no other shape than those before.
            let text = story(n).remove(0).to_string();
            let (parsed, taken) = steps::of(|| Message::parse(text, limits()));
            if parsed.is_err_and(|issues| issues[0].code == "too-costly") {
                break;
            }
            counts.push((n, taken));
        }
        assert!(counts.len() > 3, "{what}: {counts:?}");
        hold(what, &counts);
    }
}

/// One message at the writer.
struct Trial {
    rules: Rules,
    message: Message,
    steps: u64,
    outcome: Option<Reply>,
    told: Sender<(u64, Result<Option<Reply>, StoreError>)>,
}

impl Work for Trial {
    fn run(&mut self, tx: &mut dyn Transaction) -> Result<bool, StoreError> {
        let context = RequestContext::default();
        let (done, steps) = steps::of(|| super::process(tx, &self.rules, &context, &self.message));
        self.steps = steps;
        let (answered, keep) = match done? {
            Effect::Keep(answered) => (answered, true),
            Effect::Undo(answered) => (answered, false),
        };
        self.outcome = Some(answered.reply);
        Ok(keep)
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { steps, outcome, told, .. } = *self;
        told.send((steps, committed.map(|()| outcome))).unwrap();
    }
}

/// The steps of each message of a story, and what the last was answered.
fn told(story: &[Value], rules: &Rules) -> (Vec<u64>, Option<Reply>) {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { readers: 1, cache: 64 << 20, queue: 4 };
    let store = Sqlite::open(&folder.path().join("m.db"), options).unwrap();
    let (mut counts, mut last) = (Vec::new(), None);
    for message in story {
        let (told, heard) = channel();
        let message = Message::parse(message.to_string(), limits()).unwrap();
        store.submit(Box::new(Trial { rules: rules.clone(), message, steps: 0, outcome: None, told })).unwrap();
        let (steps, outcome) = heard.recv().unwrap();
        counts.push(steps);
        last = outcome.unwrap();
    }
    store.close();
    (counts, last)
}

#[test]
fn what_is_applied_costs_as_much_as_there_is_of_it() {
    let rules = Rules { work_limit: u64::MAX, ..Rules::from(&MailboxConfig::default()) };
    for (what, story) in stories().into_iter().filter(|(what, _)| *what != "faults") {
        let mut counts = Vec::new();
        for n in doubled(LAST_APPLIED) {
            let (steps, last) = told(&story(n), &rules);
            assert!(
                matches!(&last, Some(Reply::Response(text)) if text.contains("\"code\":\"ok\"")),
                "{what}: {last:?}"
            );
            counts.push((n, steps));
        }
        for at in 0..counts[0].1.len() {
            let of_one: Vec<_> = counts.iter().map(|(n, steps)| (*n, steps[at])).collect();
            hold(&format!("{what}, message {at}"), &of_one);
        }
    }
}

#[test]
fn a_message_that_takes_more_than_it_may_is_refused_with_words_and_nothing_of_it_is_kept() {
    let rules = Rules::from(&MailboxConfig::default());
    for (what, story) in stories().into_iter().filter(|(what, _)| matches!(*what, "entries of a visit" | "links")) {
        let first = &story(16_000)[..1];
        let (steps, last) = told(first, &rules);
        let refused = matches!(&last, Some(Reply::Refused(422, issue)) if issue.code == "too-costly" && issue.text.contains("work_limit"));
        assert!(refused, "{what}: {last:?}");
        // Steps of ours, and those that the store counts: a few for each of the limit.
        assert!(steps[0] < rules.work_limit * 40, "{what}: {steps:?}");
    }
}
