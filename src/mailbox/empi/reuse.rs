//! Numbers that are given out a second time.
//!
//! A temporary number (an unconscious patient, a newborn) is merged away and later given to somebody else. A message
//! that names it then must not land in the first person's record. It is told from a straggler, which still uses a merged
//! number for the same person, by who the message says the patient is: when neither birth date nor family name nor given
//! name agrees with anyone of the person behind the number, and at least one of them is known on both sides, it is
//! somebody else. A message that says nothing about the person is a straggler.

use std::collections::HashSet;

use crate::mailbox::json::{Node, Object};

/// What is known of a person, by all of its Patients: birth dates, family names, given names.
#[derive(Debug, Default)]
pub struct Traits([HashSet<String>; 3]);

impl Traits {
    pub fn add(&mut self, patient: &Object<'_>) {
        for (known, found) in self.0.iter_mut().zip(traits(patient)) {
            known.extend(found);
        }
    }

    /// Whether `incoming` is somebody else than the person behind the number.
    #[must_use]
    pub fn are_of_somebody_else(&self, incoming: &Object<'_>) -> bool {
        let both = self.0.iter().zip(traits(incoming)).filter(|(known, _)| !known.is_empty());
        let agree: Vec<bool> = both.filter_map(|(known, found)| Some(known.contains(&found?))).collect();
        !agree.is_empty() && !agree.contains(&true)
    }
}

fn traits(patient: &Object<'_>) -> [Option<String>; 3] {
    [birth_date(patient), family(patient), given(patient)]
}

fn birth_date(patient: &Object<'_>) -> Option<String> {
    patient.get("birthDate")?.as_str().map(str::to_owned)
}

fn family(patient: &Object<'_>) -> Option<String> {
    folded(&patient.get("name")?[0]["family"])
}

fn given(patient: &Object<'_>) -> Option<String> {
    folded(&patient.get("name")?[0]["given"][0])
}

fn folded(name: &Node<'_>) -> Option<String> {
    name.as_str().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn patient(value: &Value) -> Object<'_> {
        Node::from(value).as_object().unwrap().clone()
    }

    fn somebody_else(incoming: Value, known: &[Value]) -> bool {
        let mut traits = Traits::default();
        known.iter().for_each(|known| traits.add(&patient(known)));
        traits.are_of_somebody_else(&patient(&incoming))
    }

    #[test]
    fn nothing_in_common_is_somebody_else() {
        let known = [json!({"birthDate": "1950-01-01", "name": [{"family": "Doe", "given": ["John"]}]})];
        assert!(somebody_else(
            json!({"birthDate": "1980-01-01", "name": [{"family": "Roe", "given": ["Ann"]}]}),
            &known
        ));
        assert!(somebody_else(json!({"name": [{"family": "Roe"}]}), &known));
    }

    #[test]
    fn one_agreement_with_anyone_of_the_person_is_enough() {
        let known =
            [json!({"name": [{"family": "UNKNOWN"}]}), json!({"birthDate": "1950-01-01", "name": [{"family": "Doe"}]})];
        assert!(!somebody_else(json!({"birthDate": "1950-01-01", "name": [{"family": "Married"}]}), &known));
        assert!(!somebody_else(json!({"birthDate": "1950-10-01", "name": [{"family": "DOE"}]}), &known));
    }

    #[test]
    fn a_message_that_says_nothing_about_the_person_is_no_proof() {
        assert!(!somebody_else(json!({"gender": "male"}), &[json!({"birthDate": "1950-01-01"})]));
        assert!(!somebody_else(json!({"birthDate": "1950-01-01"}), &[json!({})]));
    }
}
