//! Keys as the journal holds them: text in the message's row, and a 64-bit hash for order and search.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

/// What a message is about, as far as the queue's order and the search need it: a patient or visit identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: KeyKind,
    /// Authority and value, as `authority|value`; patient data, never logged.
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    Patient,
    Visit,
    /// No patient: a bed status (A20).
    Location,
}

/// Key hashes of one message; most have a patient or two and a visit.
pub type Hashes = SmallVec<[u64; 3]>;

impl KeyKind {
    fn letter(self) -> char {
        match self {
            Self::Patient => 'P',
            Self::Visit => 'V',
            Self::Location => 'L',
        }
    }

    fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "P" => Some(Self::Patient),
            "V" => Some(Self::Visit),
            "L" => Some(Self::Location),
            _ => None,
        }
    }

    /// The hash of an identifier of this kind, the same on every machine: it is stored.
    ///
    /// The authority is left out on purpose. A search by a bare number finds it, and a sender that names the authority
    /// in one message and leaves it out in the next still gets its order. Two patients with one number under two
    /// authorities then share a lane, which costs a little speed and no correctness.
    pub(super) fn hash(self, value: &str) -> u64 {
        let mut sha = Sha256::new();
        sha.update([self.letter() as u8]);
        sha.update(value.as_bytes());
        first_u64(&sha.finalize())
    }
}

/// The lane of messages that have no key: one for each source.
pub(super) fn source_hash(listener: &str) -> u64 {
    let mut sha = Sha256::new();
    sha.update(b"S");
    sha.update(listener.as_bytes());
    first_u64(&sha.finalize())
}

fn first_u64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |hash, &byte| (hash << 8) | u64::from(byte))
}

/// 128 bits of SHA-256: enough to tell "the same bytes" from "other bytes" under one control id.
pub(super) fn digest(raw: &[u8]) -> [u8; 16] {
    let full = Sha256::digest(raw);
    std::array::from_fn(|i| full[i])
}

/// `P|authority|value`, one key a line: how a message's row holds them, for people and for exact search.
pub(super) fn to_text(keys: &[Key]) -> String {
    let mut text = String::new();
    for key in keys {
        let line = line(key.kind, &key.value);
        if !text.lines().any(|l| l == line) {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&line);
        }
    }
    text
}

/// One line of [`to_text`]; control characters become spaces, so that no value can pass for two.
pub(super) fn line(kind: KeyKind, value: &str) -> String {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = if value.contains('|') { value } else { format!("|{value}") };
    format!("{}|{}", kind.letter(), value.trim_end())
}

pub(super) fn from_text(text: &str) -> Vec<Key> {
    lines(text).map(|(kind, value)| Key { kind, value: value.into() }).collect()
}

/// The hashes of the keys in a row's text, each once.
pub(super) fn hashes(text: &str) -> Hashes {
    let mut hashes = Hashes::new();
    for (kind, value) in lines(text) {
        let hash = kind.hash(bare(value));
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
    }
    hashes
}

fn lines(text: &str) -> impl Iterator<Item = (KeyKind, &str)> {
    text.lines().filter_map(|line| {
        let (letter, value) = line.split_once('|')?;
        Some((KeyKind::from_letter(letter)?, value))
    })
}

/// The value without its authority.
pub(super) fn bare(value: &str) -> &str {
    value.split_once('|').map_or(value, |(_, bare)| bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: KeyKind, value: &str) -> Key {
        Key { kind, value: value.into() }
    }

    #[test]
    fn keys_come_back_from_their_text() {
        let keys = vec![key(KeyKind::Patient, "HOSP|42"), key(KeyKind::Visit, "|V7"), key(KeyKind::Location, "W|1^2")];
        assert_eq!(from_text(&to_text(&keys)), keys);
    }

    #[test]
    fn a_key_said_twice_is_kept_once() {
        let keys = [key(KeyKind::Patient, "H|1"), key(KeyKind::Patient, "H|1"), key(KeyKind::Patient, "OTHER|1")];
        let text = to_text(&keys);
        assert_eq!(text, "P|H|1\nP|OTHER|1");
        assert_eq!(hashes(&text).len(), 1, "one number is one lane, whoever assigned it");
    }

    #[test]
    fn a_line_break_in_a_value_makes_no_second_key() {
        let keys = [key(KeyKind::Patient, "H|1\nV|H|2")];
        assert_eq!(from_text(&to_text(&keys)).len(), 1);
    }

    #[test]
    fn a_patient_and_a_visit_of_one_number_are_two_lanes() {
        assert_ne!(KeyKind::Patient.hash("7"), KeyKind::Visit.hash("7"));
    }

    #[test]
    fn the_stored_hash_never_changes() {
        assert_eq!(KeyKind::Patient.hash("12345"), 0xaeca_5a24_200a_b41b); // printf P12345 | sha256sum
    }
}
