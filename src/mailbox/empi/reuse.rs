//! Numbers that are given out a second time.
//!
//! A temporary number (an unconscious patient, a newborn) is merged away and later given to somebody else. A message
//! that names it then must not land in the first person's record. It is told from a straggler, which still uses a merged
//! number for the same person, by who the message says the patient is: when neither birth date nor family name nor given
//! name agrees with anyone of the person behind the number, and at least one of them is known on both sides, it is
//! somebody else. A message that says nothing about the person is a straggler.

use crate::mailbox::json::{Node, Object};

/// Whether `incoming` is somebody else than all of `person`, the Patients behind the number.
#[must_use]
pub fn is_somebody_else(incoming: &Object<'_>, person: &[Object<'_>]) -> bool {
    let compared: Vec<bool> = person.iter().flat_map(|known| comparisons(incoming, known)).collect();
    !compared.is_empty() && !compared.contains(&true)
}

/// For each trait that both have: whether it is the same.
fn comparisons(one: &Object<'_>, other: &Object<'_>) -> Vec<bool> {
    let both = [(birth_date(one), birth_date(other)), (family(one), family(other)), (given(one), given(other))];
    both.into_iter().filter_map(|(a, b)| Some(a? == b?)).collect()
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
        let known: Vec<_> = known.iter().map(patient).collect();
        is_somebody_else(&patient(&incoming), &known)
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
