//! Whom a message is about: every patient and visit that any of its segments names.
//!
//! The queue keeps the order by these, and the journal finds messages by them. One key too many costs a little speed;
//! one too few and a merge overtakes an admission. So all repetitions count, the replaced identifiers (MRG) too, and the
//! old places of a patient's number (PID-2, PID-4).

use crate::journal::{Key, KeyKind};
use crate::v2::text::unescape;
use crate::v2::{Message, Part};
use crate::work;

/// The segments and fields that hold identifiers. A visit number that is missing is sought in the field's successor.
const PATIENT: &[(&str, &[usize])] = &[("PID", &[3, 2, 4]), ("MRG", &[1, 2, 4])];
const VISIT: &[(&str, &[usize])] = &[("PV1", &[19, 50]), ("MRG", &[5, 6])];

/// No message is about more than so many patients and visits. One with thousands of identifiers is an attack on the
/// journal's index, and what stands behind these neither orders nor finds it.
const MOST: usize = 64;

/// The keys of a message, each once.
#[must_use]
pub fn keys(message: &Message<'_>) -> Vec<Key> {
    let mut keys = Keys { message, found: Vec::with_capacity(4) };
    for (segment, fields) in PATIENT {
        keys.all(KeyKind::Patient, segment, fields);
    }
    for (segment, fields) in VISIT {
        keys.first(segment, fields);
    }
    if !keys.found.iter().any(|key| key.kind == KeyKind::Visit) {
        keys.all(KeyKind::Visit, "PID", &[18]); // the account stands in for the visit
    }
    keys.location();
    keys.found
}

/// Whether some patient is named: PID-3, or where older versions have the number.
#[must_use]
pub fn names_patient(message: &Message<'_>) -> bool {
    let mut keys = Keys { message, found: Vec::new() };
    keys.all(KeyKind::Patient, "PID", &[3, 2, 4]);
    !keys.found.is_empty()
}

struct Keys<'m, 'a> {
    message: &'m Message<'a>,
    found: Vec<Key>,
}

impl Keys<'_, '_> {
    fn all(&mut self, kind: KeyKind, segment: &str, fields: &[usize]) {
        for &at in self.message.all(segment) {
            for &field in fields {
                self.field(kind, at, field);
            }
        }
    }

    /// For each segment, the first field that names a visit.
    fn first(&mut self, segment: &str, fields: &[usize]) {
        for &at in self.message.all(segment) {
            for &field in fields {
                if self.field(KeyKind::Visit, at, field) {
                    break;
                }
            }
        }
    }

    fn field(&mut self, kind: KeyKind, segment: usize, field: usize) -> bool {
        let mut any = false;
        for n in 0..self.message.repetitions(segment, field) {
            work::steps(1);
            if let Some(value) = self.message.repetition(segment, field, n).and_then(|cx| self.identifier(cx)) {
                self.add(kind, value);
                any = true;
            }
        }
        any
    }

    /// CX: the number, and who assigned it, as `authority|number`. An authority is a namespace, or else its universal id.
    fn identifier(&self, cx: Part<'_, '_>) -> Option<String> {
        let number = self.text(cx.part(1)?);
        if number.is_empty() {
            return None;
        }
        let authority = cx.part(4).map(|hd| {
            let namespace = self.text(hd);
            if namespace.is_empty() { hd.part(2).map(|id| self.text(id)).unwrap_or_default() } else { namespace }
        });
        Some(format!("{}|{number}", authority.unwrap_or_default().replace('|', " ")))
    }

    fn text(&self, part: Part<'_, '_>) -> String {
        if !part.valued() {
            return String::new();
        }
        unescape(part.leaf(), self.message.delimiters()).trim().to_owned()
    }

    /// A bed status (A20) is about a place and no patient.
    fn location(&mut self) {
        for &npu in self.message.all("NPU") {
            let place = self.message.field(npu, 1).trim();
            if !place.is_empty() {
                self.add(KeyKind::Location, format!("|{place}"));
            }
        }
    }

    fn add(&mut self, kind: KeyKind, value: String) {
        let key = Key { kind, value };
        work::steps(self.found.len() + 1);
        if self.found.len() < MOST && !self.found.contains(&key) {
            self.found.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(segments: &str) -> Vec<String> {
        let text = format!("MSH|^~\\&|A|F|||20260110||ADT^A01|1|P|2.5\r{segments}");
        let keys = keys(&Message::parse(&text).unwrap());
        keys.into_iter().map(|key| format!("{:?} {}", key.kind, key.value)).collect()
    }

    #[test]
    fn all_numbers_of_the_patient_and_the_visit_are_keys() {
        let keys =
            found("PID|1|OLD7|42^^^HOSP^MR~99^^^&1.2.3&ISO^SS~42^^^HOSP^MR\rPV1|1|I|||||||||||||||||V1^^^HOSP^VN");
        assert_eq!(keys, ["Patient HOSP|42", "Patient 1.2.3|99", "Patient |OLD7", "Visit HOSP|V1"]);
    }

    #[test]
    fn a_merge_names_both_patients_and_both_visits() {
        let keys = found("PID|1||42^^^H\rPV1|1||||||||||||||||||V1\rMRG|7^^^H~8^^^H||||V0");
        assert_eq!(keys, ["Patient H|42", "Patient H|7", "Patient H|8", "Visit |V1", "Visit |V0"]);
    }

    #[test]
    fn every_patient_of_a_swap_counts() {
        assert_eq!(found("PID|1||42\rPV1|1\rPID|2||43\rPV1|2"), ["Patient |42", "Patient |43"]);
    }

    #[test]
    fn a_visit_without_a_number_is_known_by_what_stands_in_for_it() {
        let alternate = format!("PID|1||42\rPV1{}V9", "|".repeat(50));
        assert_eq!(found(&alternate), ["Patient |42", "Visit |V9"]);
        assert_eq!(found("PID|1||42|||||||||||||||ACC1\rPV1|1"), ["Patient |42", "Visit |ACC1"]);
    }

    #[test]
    fn an_explicit_null_and_an_empty_number_are_nobody() {
        assert_eq!(found("PID|1||\"\"~^^^H^MR~   \rPV1|1||||||||||||||||||\"\""), [""; 0]);
        assert!(!names_patient(&Message::parse("MSH|^~\\&|A\rPID|1||\"\"").unwrap()));
        assert!(names_patient(&Message::parse("MSH|^~\\&|A\rPID|1|42").unwrap()));
    }

    #[test]
    fn a_bed_status_is_about_a_place() {
        assert_eq!(found("NPU|WARD^101^A|O"), ["Location |WARD^101^A"]);
    }

    #[test]
    fn escapes_are_decoded_so_that_the_number_is_the_same_however_it_was_sent() {
        assert_eq!(found("PID|1||4\\T\\2^^^H\\F\\X"), ["Patient H X|4&2"]);
    }
}
