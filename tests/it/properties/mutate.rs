//! Messages that no sender wrote yet: the samples, with their segments and fields moved, lost, repeated and overwritten.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One change to a message.
#[derive(Debug, Clone)]
pub enum Change {
    /// Drops a segment.
    Drop(Index),
    /// Puts a segment there once more, at another place.
    Copy(Index, Index),
    /// Puts a segment of another sample there.
    Graft(Index, Index, Index),
    /// Overwrites a field.
    Field(Index, usize, String),
    /// Gives a field another repetition.
    Repeat(Index, usize, String),
    /// Overwrites bytes wherever they stand.
    Bytes(Index, Vec<u8>),
    /// Ends the message early.
    Cut(Index),
}

/// What stands in fields: what a rule looks for, what it must not trip over, and noise.
fn text() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "\"\"",
        "",
        "^",
        "~",
        "&",
        "^^^",
        "~~~",
        "^&^&",
        r"\X0D\",
        r"\.br\",
        r"\.sp99\",
        r"\T\",
        r"\",
        r"\E\",
        r"\Xzz\",
        "A01",
        "A40",
        "A17",
        "20240101",
        "20240230",
        "2024",
        "20240101120000.1234+0100",
        "99999999999999",
        "1^^^NORTH^MR",
        "^^^&1.2.3&ISO",
        "12345^Doe^Jane^^^Dr^^^NPI",
        "W1^R2^B3^FAC",
        "I10^Text^I10",
        "F",
        "Y",
        "N",
        "CE",
        "NM",
        "1.0E+400",
        "-0",
        "ä\u{1}ß",
    ];
    prop_oneof![
        6 => select(KNOWN).prop_map(str::to_owned),
        2 => "[A-Z0-9^~&\\\\ ]{0,24}",
        1 => "\\PC{0,12}",
    ]
}

pub fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        2 => index().prop_map(Change::Drop),
        2 => (index(), index()).prop_map(|(from, to)| Change::Copy(from, to)),
        3 => (index(), index(), index()).prop_map(|(sample, from, to)| Change::Graft(sample, from, to)),
        6 => (index(), 1..50_usize, text()).prop_map(|(segment, field, text)| Change::Field(segment, field, text)),
        3 => (index(), 1..50_usize, text()).prop_map(|(segment, field, text)| Change::Repeat(segment, field, text)),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Change::Bytes(at, bytes)),
        1 => index().prop_map(Change::Cut),
    ]
}

/// A sample with changes made to it, one after the other.
pub fn changed(samples: &[Vec<u8>], sample: Index, changes: &[Change]) -> Vec<u8> {
    let mut lines = lines(sample.get::<Vec<u8>>(samples));
    let mut raw = None;
    for change in changes {
        match change {
            Change::Bytes(at, bytes) => {
                let whole: &mut Vec<u8> = raw.get_or_insert_with(|| lines.join(&b'\r'));
                let at = at.index(whole.len() + 1);
                let end = (at + bytes.len()).min(whole.len());
                whole.splice(at..end, bytes.iter().copied());
            }
            Change::Cut(at) => {
                let whole: &mut Vec<u8> = raw.get_or_insert_with(|| lines.join(&b'\r'));
                whole.truncate(at.index(whole.len() + 1));
            }
            _ => {
                if let Some(whole) = raw.take() {
                    lines = self::lines(&whole);
                }
                apply(&mut lines, samples, change);
            }
        }
    }
    raw.unwrap_or_else(|| lines.join(&b'\r'))
}

fn lines(raw: &[u8]) -> Vec<Vec<u8>> {
    raw.split(|b| matches!(b, b'\r' | b'\n')).filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
}

fn apply(lines: &mut Vec<Vec<u8>>, samples: &[Vec<u8>], change: &Change) {
    if lines.is_empty() {
        return;
    }
    match change {
        Change::Drop(at) => drop(lines.remove(at.index(lines.len()))),
        Change::Copy(from, to) => {
            let line = from.get(lines).clone();
            lines.insert(to.index(lines.len()) + 1, line);
        }
        Change::Graft(sample, from, to) => {
            let other = self::lines(sample.get::<Vec<u8>>(samples));
            lines.insert(to.index(lines.len()) + 1, from.get(&other).clone());
        }
        Change::Field(at, field, text) => {
            let at = at.index(lines.len());
            overwrite(&mut lines[at], *field, |old| {
                old.clear();
                old.extend(text.as_bytes());
            });
        }
        Change::Repeat(at, field, text) => {
            let at = at.index(lines.len());
            overwrite(&mut lines[at], *field, |old| {
                old.push(b'~');
                old.extend(text.as_bytes());
            });
        }
        Change::Bytes(..) | Change::Cut(_) => {}
    }
}

fn overwrite(line: &mut Vec<u8>, field: usize, with: impl FnOnce(&mut Vec<u8>)) {
    let mut fields: Vec<Vec<u8>> = line.split(|b| *b == b'|').map(<[u8]>::to_vec).collect();
    if fields.len() <= field {
        fields.resize(field + 1, Vec::new());
    }
    with(&mut fields[field]);
    *line = fields.join(&b'|');
}
