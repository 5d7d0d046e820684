//! Random sequences of messages, with duplicates, wrong orders and restarts, against a small model of the rules.
//!
//! The model knows patients and visits by their numbers, holds no resources, and is written from the rules and not from
//! the mailbox: for each message it says ok or fatal-error, and at the end what a reader must see.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::Server;
use super::build::{MessageBuilder, admin, clinical, merge, unlink};

#[derive(Debug, Clone)]
enum Step {
    Visit {
        patient: usize,
        visit: usize,
        status: usize,
        minute: u32,
    },
    Clinical {
        patient: usize,
        visit: usize,
        codes: BTreeSet<usize>,
        minute: u32,
    },
    Person {
        patient: usize,
        gender: usize,
        minute: u32,
    },
    Merge {
        survivor: usize,
        absorbed: usize,
        minute: u32,
    },
    Unlink {
        one: usize,
        other: usize,
        minute: u32,
    },
    Renumber {
        patient: usize,
        old: usize,
        new: usize,
        minute: u32,
    },
    /// The message of an earlier step once more.
    Again(prop::sample::Index),
    Restart,
}

const STATUSES: [&str; 4] = ["planned", "in-progress", "finished", "cancelled"];
const GENDERS: [&str; 3] = ["male", "female", "other"];
const CODES: [&str; 3] = ["I10", "E11", "J45"];
const PATIENTS: usize = 3;
const VISITS: usize = 4;

fn step() -> impl Strategy<Value = Step> {
    let (patient, visit, minute) = (0..PATIENTS, 0..VISITS, 0..60_u32);
    let pair = (0..PATIENTS, 1..PATIENTS).prop_map(|(one, by)| (one, (one + by) % PATIENTS));
    prop_oneof![
        6 => (patient.clone(), visit.clone(), 0..4_usize, minute.clone())
            .prop_map(|(patient, visit, status, minute)| Step::Visit { patient, visit, status, minute }),
        4 => (patient.clone(), visit.clone(), prop::collection::btree_set(0..3_usize, 0..3), minute.clone())
            .prop_map(|(patient, visit, codes, minute)| Step::Clinical { patient, visit, codes, minute }),
        2 => (patient.clone(), 0..3_usize, minute.clone())
            .prop_map(|(patient, gender, minute)| Step::Person { patient, gender, minute }),
        2 => (pair.clone(), minute.clone())
            .prop_map(|((survivor, absorbed), minute)| Step::Merge { survivor, absorbed, minute }),
        1 => (pair, minute.clone()).prop_map(|((one, other), minute)| Step::Unlink { one, other, minute }),
        2 => (patient, (visit, 1..VISITS), minute)
            .prop_map(|(patient, (old, by), minute)| Step::Renumber { patient, old, new: (old + by) % VISITS, minute }),
        2 => any::<prop::sample::Index>().prop_map(Step::Again),
        1 => Just(Step::Restart),
    ]
}

/// Names that differ between trials, so that one mailbox serves many.
fn patient_number(trial: u32, n: usize) -> String {
    format!("P{trial}x{n}")
}

fn visit_number(trial: u32, n: usize) -> String {
    format!("V{trial}x{n}")
}

fn message(trial: u32, step: &Step) -> Option<MessageBuilder> {
    let (p, v) = (|n: usize| patient_number(trial, n), |n: usize| visit_number(trial, n));
    let status = |status: usize| json!({"status": STATUSES[status]});
    Some(match step {
        Step::Visit { patient, visit, status: code, minute } => {
            admin("A08").minute(*minute).patient(&p(*patient), json!({})).visit(&v(*visit), &p(*patient), status(*code))
        }
        Step::Clinical { patient, visit, codes, minute } => {
            let base = clinical("A08").minute(*minute).patient(&p(*patient), json!({}));
            let base = base.visit(&v(*visit), &p(*patient), json!({}));
            codes.iter().fold(base, |message, code| message.condition(&v(*visit), &p(*patient), CODES[*code]))
        }
        Step::Person { patient, gender, minute } => {
            admin("A31").minute(*minute).patient(&p(*patient), json!({"gender": GENDERS[*gender]}))
        }
        Step::Merge { survivor, absorbed, minute } => merge(&p(*survivor), &p(*absorbed)).minute(*minute),
        Step::Unlink { one, other, minute } => unlink(&p(*one), &p(*other)).minute(*minute),
        Step::Renumber { patient, old, new, minute } => {
            let message = admin("A50").minute(*minute).patient(&p(*patient), json!({}));
            message.renumbered_visit(&v(*old), &v(*new), &p(*patient), status(1))
        }
        Step::Again(_) | Step::Restart => return None,
    })
}

#[derive(Debug, Clone, Default)]
struct Patient {
    event: u32,
    gender: Option<usize>,
}

#[derive(Debug, Clone)]
struct Visit {
    patient: usize,
    event: u32,
    status: usize,
    clinical: Option<u32>,
    codes: BTreeSet<usize>,
    /// Numbers: since when, and until when where it lost them.
    numbers: BTreeMap<usize, (u32, Option<u32>)>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    patients: BTreeMap<usize, Patient>,
    visits: Vec<Visit>,
    /// Absorbed and survivor.
    links: BTreeSet<(usize, usize)>,
    /// The newest link or unlink of a pair.
    link_events: BTreeMap<(usize, usize), u32>,
}

/// A message that cannot be applied.
struct Refused;

fn ordered(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

impl Model {
    /// Applies a step whole or not at all.
    fn apply(&mut self, step: &Step) -> Result<(), Refused> {
        let mut after = self.clone();
        after.change(step)?;
        *self = after;
        Ok(())
    }

    fn change(&mut self, step: &Step) -> Result<(), Refused> {
        match *step {
            Step::Person { patient, gender, minute } => {
                if self.see(patient, minute) {
                    self.patients.entry(patient).or_default().gender = Some(gender);
                }
            }
            Step::Visit { patient, visit, status, minute } => {
                let found = self.meant(visit, patient, minute);
                self.see(patient, minute);
                self.write_visit(found, patient, status, minute)?
                    .filter(|_| found.is_none())
                    .map(|new| self.visits[new].numbers.insert(visit, (minute, None)));
            }
            Step::Clinical { patient, visit, ref codes, minute } => {
                let found = self.meant(visit, patient, minute).ok_or(Refused)?;
                self.see(patient, minute);
                self.check_person(found, patient)?;
                let visit = &mut self.visits[found];
                if visit.clinical.is_none_or(|newest| newest <= minute) {
                    (visit.clinical, visit.codes) = (Some(minute), codes.clone());
                }
            }
            Step::Merge { survivor, absorbed, minute } => return self.merge(survivor, absorbed, minute),
            Step::Unlink { one, other, minute } => self.unlink(one, other, minute),
            Step::Renumber { patient, old, new, minute } => return self.renumber(patient, old, new, minute),
            Step::Again(_) | Step::Restart => {}
        }
        Ok(())
    }

    /// A message names a patient: it exists from now on. False when something newer was said about it.
    fn see(&mut self, patient: usize, minute: u32) -> bool {
        let new = !self.patients.contains_key(&patient);
        let patient = self.patients.entry(patient).or_default();
        let applies = new || patient.event <= minute;
        patient.event = patient.event.max(minute);
        applies
    }

    fn person(&self, patient: usize) -> BTreeSet<usize> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![patient]);
        while let Some(one) = next.pop() {
            if seen.insert(one) {
                next.extend(self.links.iter().filter(|link| link.0 == one).map(|link| link.1));
                next.extend(self.links.iter().filter(|link| link.1 == one).map(|link| link.0));
            }
        }
        seen
    }

    /// The visit that a number means for a patient at a time.
    fn meant(&self, number: usize, patient: usize, minute: u32) -> Option<usize> {
        let holders = self.visits.iter().enumerate().filter_map(|(at, v)| Some((at, *v.numbers.get(&number)?)));
        let holders: Vec<(usize, (u32, Option<u32>))> = holders.collect();
        let current = holders.iter().find(|(_, (_, until))| until.is_none());
        let former = || holders.iter().filter(|(_, (_, until))| until.is_some());
        let then =
            former().filter(|(_, (_, until))| *until > Some(minute)).min_by_key(|(_, (since, until))| (*until, *since));
        match (current, then) {
            (Some((_, (since, _))), Some((then, _))) if *since > minute => Some(*then),
            (Some((current, _)), _) => Some(*current),
            (None, Some((then, _))) => Some(*then),
            (None, None) => {
                let last = former().max_by_key(|(_, (since, until))| (*until, *since))?.0;
                let known = self.patients.contains_key(&patient);
                (known && self.person(self.visits[last].patient).contains(&patient)).then_some(last)
            }
        }
    }

    fn check_person(&self, visit: usize, patient: usize) -> Result<(), Refused> {
        if self.person(self.visits[visit].patient).contains(&patient) { Ok(()) } else { Err(Refused) }
    }

    /// Creates or updates; gives the visit's place, or `None` when something newer was applied to it.
    fn write_visit(
        &mut self,
        found: Option<usize>,
        patient: usize,
        status: usize,
        minute: u32,
    ) -> Result<Option<usize>, Refused> {
        let Some(at) = found else {
            let (clinical, codes, numbers) = (None, BTreeSet::new(), BTreeMap::new());
            self.visits.push(Visit { patient, event: minute, status, clinical, codes, numbers });
            return Ok(Some(self.visits.len() - 1));
        };
        if self.visits[at].event > minute {
            return Ok(None);
        }
        self.check_person(at, patient)?;
        let visit = &mut self.visits[at];
        (visit.patient, visit.event, visit.status) = (patient, minute, status);
        Ok(Some(at))
    }

    fn renumber(&mut self, patient: usize, old: usize, new: usize, minute: u32) -> Result<(), Refused> {
        let holder = self.visits.iter().position(|v| v.numbers.get(&new).is_some_and(|(_, until)| until.is_none()));
        let found = match self.meant(old, patient, minute) {
            None if self.no_trace_of(old) => self.by_new_number(new, minute),
            found => found,
        };
        self.see(patient, minute);
        if let Some(at) = found.filter(|at| self.visits[*at].event > minute) {
            let _late = at;
            return Ok(());
        }
        if let Some(at) = found {
            self.check_person(at, patient)?;
        }
        if holder.is_some() && holder != found {
            return Err(Refused);
        }
        let Some(at) = self.write_visit(found, patient, 1, minute)? else { return Ok(()) };
        let numbers = &mut self.visits[at].numbers;
        for (number, (_, until)) in numbers.iter_mut() {
            if *number != new && until.is_none() {
                *until = Some(minute);
            }
        }
        numbers.entry(new).or_insert((minute, None)).1 = None;
        numbers.entry(old).or_insert((minute, Some(minute)));
        Ok(())
    }

    fn no_trace_of(&self, number: usize) -> bool {
        self.visits.iter().all(|visit| !visit.numbers.contains_key(&number))
    }

    /// Whom the new number means, where the old one is unknown; only present or past carriers, no guesses.
    fn by_new_number(&self, number: usize, minute: u32) -> Option<usize> {
        let holders = || self.visits.iter().enumerate().filter_map(|(at, v)| Some((at, *v.numbers.get(&number)?)));
        let then = holders()
            .filter(|(_, (_, until))| *until > Some(minute))
            .min_by_key(|(_, (since, until))| (*until, *since))
            .map(|(at, _)| at);
        let current = holders().find(|(_, (_, until))| until.is_none());
        match current {
            Some((_, (since, _))) if since > minute && then.is_some() => then,
            Some((at, _)) => Some(at),
            None => then,
        }
    }

    fn merge(&mut self, survivor: usize, absorbed: usize, minute: u32) -> Result<(), Refused> {
        self.see(survivor, minute);
        self.see(absorbed, minute);
        let pair = ordered(survivor, absorbed);
        if self.links.contains(&(absorbed, survivor)) || self.link_events.get(&pair).is_some_and(|at| *at > minute) {
            return Ok(());
        }
        if self.leads_to(survivor, absorbed) {
            return Err(Refused);
        }
        self.links.insert((absorbed, survivor));
        self.link_events.insert(pair, minute);
        Ok(())
    }

    fn leads_to(&self, from: usize, to: usize) -> bool {
        from == to || self.links.iter().any(|link| link.0 == from && self.leads_to(link.1, to))
    }

    fn unlink(&mut self, one: usize, other: usize, minute: u32) {
        let linked = [(one, other), (other, one)].into_iter().find(|link| self.links.contains(link));
        let newer = self.link_events.get(&ordered(one, other)).is_some_and(|at| *at > minute);
        if let Some(link) = linked.filter(|_| !newer) {
            self.links.remove(&link);
            self.link_events.insert(ordered(one, other), minute);
        }
    }

    /// What a reader must see, as text.
    fn seen(&self, trial: u32) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        for (number, patient) in &self.patients {
            let replaced = self.links.iter().any(|link| link.0 == *number);
            let gender = patient.gender.map(|gender| GENDERS[gender]);
            let person = self.person(*number);
            let visits = self.visits.iter().filter(|visit| person.contains(&visit.patient)).count();
            let of_person = format!("{gender:?} replaced {replaced} visits {visits}");
            seen.insert(patient_number(trial, *number), of_person);
        }
        for visit in &self.visits {
            for (number, _) in visit.numbers.iter().filter(|(_, (_, until))| until.is_none()) {
                let codes: Vec<&str> = visit.codes.iter().map(|code| CODES[*code]).collect();
                let patient = patient_number(trial, visit.patient);
                seen.insert(visit_number(trial, *number), format!("{} of {patient} {codes:?}", STATUSES[visit.status]));
            }
        }
        seen
    }
}

/// What a reader of the mailbox sees.
async fn seen(server: &Server, trial: u32) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for n in 0..PATIENTS {
        let number = patient_number(trial, n);
        for patient in server.find(&format!("Patient?identifier=urn:mrn|{number}")).await {
            numbers.insert(format!("Patient/{}", patient["id"].as_str().unwrap()), number.clone());
            let links = patient["link"].as_array().cloned().unwrap_or_default();
            let replaced = links.iter().any(|link| link["type"] == "replaced-by");
            assert_eq!(patient["active"] == false, replaced, "{patient:#}");
            let visits = server.find(&format!("Encounter?patient.identifier=urn:mrn|{number}")).await.len();
            let gender = patient["gender"].as_str();
            seen.insert(number.clone(), format!("{gender:?} replaced {replaced} visits {visits}"));
        }
    }
    for n in 0..VISITS {
        let number = visit_number(trial, n);
        for visit in server.find(&format!("Encounter?identifier=urn:visit|{number}")).await {
            let conditions = server.find(&format!("Condition?encounter.identifier=urn:visit|{number}")).await;
            let mut codes: Vec<String> =
                conditions.iter().map(|c| c["code"]["coding"][0]["code"].as_str().unwrap().to_owned()).collect();
            codes.sort_by_key(|code| CODES.iter().position(|known| known == code));
            let patient = &numbers[visit["subject"]["reference"].as_str().unwrap()];
            seen.insert(number.clone(), format!("{} of {patient} {codes:?}", visit["status"].as_str().unwrap()));
        }
    }
    seen
}

/// One trial; the server comes back, as a restart replaces it.
async fn trial(mut server: Server, trial: u32, steps: &[Step]) -> (Server, Result<(), TestCaseError>) {
    let mut model = Model::default();
    let mut sent: Vec<(Step, MessageBuilder, bool, String)> = Vec::new();
    for step in steps {
        if let Step::Restart = step {
            server = Server::reopen(server.stop().await, |_| {}).await;
            continue;
        }
        let earlier = match step {
            Step::Again(_) if sent.is_empty() => continue,
            Step::Again(which) => Some(which.index(sent.len())),
            _ => None,
        };
        let (step, message) = match earlier {
            Some(at) => (sent[at].0.clone(), sent[at].1.clone()),
            None => (step.clone(), message(trial, step).unwrap()),
        };
        let was_accepted = earlier.is_some_and(|at| sent[at].2);
        let accepted = was_accepted || model.apply(&step).is_ok();
        let reply = server.send(&message).await;
        let expected = if accepted { "ok" } else { "fatal-error" };
        if reply.code() != expected {
            let said = format!("{step:?} should be {expected}: {}", reply.text);
            return (server, Err(TestCaseError::fail(said)));
        }
        match earlier {
            Some(at) => {
                let same = sent[at].3 == reply.text;
                if (was_accepted || !accepted) && !same {
                    return (server, Err(TestCaseError::fail(format!("{step:?} was answered otherwise than before"))));
                }
                (sent[at].2, sent[at].3) = (accepted, reply.text);
            }
            None => sent.push((step, message, accepted, reply.text)),
        }
    }
    let (expected, found) = (model.seen(trial), seen(&server, trial).await);
    let result = if expected == found {
        Ok(())
    } else {
        Err(TestCaseError::fail(format!("{expected:#?} expected, {found:#?} found")))
    };
    (server, result)
}

#[test]
fn random_messages_end_in_the_state_that_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut server = Some(runtime.block_on(Server::start()));
    let mut number = 0;
    let server = std::cell::RefCell::new(&mut server);
    let number = std::cell::RefCell::new(&mut number);
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let config = ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(config.cases),
        ..config
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&prop::collection::vec(step(), 1..30), |steps| {
        **number.borrow_mut() += 1;
        let own = server.borrow_mut().take().unwrap();
        let (own, result) = runtime.block_on(trial(own, **number.borrow(), &steps));
        **server.borrow_mut() = Some(own);
        result
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
}
