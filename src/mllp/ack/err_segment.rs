//! The ERR segment, in the form that the sender's version knows (HL7 v2.5.1 ch. 2.15.5).
//!
//! Up to v2.4 an error is one component list, ERR-1 `segment^sequence^field^code&text&HL70357`. From v2.5 the parts have
//! fields of their own, and a severity, so that only there a warning can be told from an error.

use crate::mllp::validator::{Fault, Location};
use crate::v2::{Delimiters, Header};

/// ERR-4, HL7 table 0516.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// MSH-12.1 as numbers: `2.5.1` is (2, 5). `None` where it is empty or says something else.
pub fn version(header: &Header<'_>) -> Option<(u8, u8)> {
    let text = std::str::from_utf8(header.component(12, 1)).ok()?.trim();
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Whether ERR-2, ERR-3, ERR-4 and ERR-8 exist for this sender. One that states no version gets the old form.
pub fn has_severity(version: Option<(u8, u8)>) -> bool {
    version >= Some((2, 5))
}

/// The segment without its line end.
pub fn segment(fault: &Fault, severity: Severity, version: Option<(u8, u8)>, delimiters: Delimiters) -> Vec<u8> {
    if !has_severity(version) {
        return fields(&[&[], &old_form(fault, delimiters)], delimiters);
    }
    let severity: &[u8] = match severity {
        Severity::Error => b"E",
        Severity::Warning => b"W",
    };
    let location = fault.location.as_ref().map(|at| location(at, delimiters)).unwrap_or_default();
    let code = coded(fault.code, delimiters.component, delimiters);
    let text = escaped(&fault.text, delimiters);
    fields(&[&[], &[], &location, &code, severity, &[], &[], &[], &text], delimiters)
}

/// `ERR` and the fields from ERR-1 on; the first element stands for the segment's name.
fn fields(list: &[&[u8]], delimiters: Delimiters) -> Vec<u8> {
    let mut line = b"ERR".to_vec();
    line.extend_from_slice(&list.join(&delimiters.field));
    line
}

/// ELD: segment, sequence, field, then the code with subcomponents.
fn old_form(fault: &Fault, delimiters: Delimiters) -> Vec<u8> {
    let place = fault.location.as_ref().map_or([const { Vec::new() }; 3], |at| {
        [escaped(&at.segment, delimiters), number(at.sequence), number(at.field)]
    });
    let mut out = place.join(&delimiters.component);
    out.push(delimiters.component);
    out.extend(coded(fault.code, delimiters.subcomponent, delimiters));
    out
}

/// ERL: segment, sequence, field, repetition, component. Positions that are not known end the list.
fn location(at: &Location, delimiters: Delimiters) -> Vec<u8> {
    let repetition = if at.component > 0 { number(1) } else { Vec::new() };
    let mut parts =
        vec![escaped(&at.segment, delimiters), number(at.sequence), number(at.field), repetition, number(at.component)];
    while parts.last().is_some_and(Vec::is_empty) {
        parts.pop();
    }
    parts.join(&delimiters.component)
}

fn number(n: usize) -> Vec<u8> {
    if n == 0 { Vec::new() } else { n.to_string().into_bytes() }
}

/// `101^Required field missing^HL70357`, the parts joined by `separator`.
fn coded(code: u16, separator: u8, delimiters: Delimiters) -> Vec<u8> {
    [code.to_string().into_bytes(), escaped(meaning(code), delimiters), b"HL70357".to_vec()].join(&separator)
}

/// HL7 table 0357.
fn meaning(code: u16) -> &'static str {
    match code {
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        104 => "Value too long",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        204 => "Unknown key identifier",
        205 => "Duplicate key identifier",
        206 => "Application record locked",
        _ => "Application internal error",
    }
}

/// Text of ours, safe between the sender's delimiters. The ack declares no character set of its own, so what is not
/// ASCII becomes a question mark, and a control byte a blank.
pub fn escaped(text: &str, delimiters: Delimiters) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        let byte = match u8::try_from(c) {
            Ok(byte) if byte.is_ascii_control() => b' ',
            Ok(byte) if byte.is_ascii() => byte,
            _ => b'?',
        };
        match escape_letter(byte, delimiters) {
            Some(letter) => out.extend_from_slice(&[delimiters.escape, letter, delimiters.escape]),
            None => out.push(byte),
        }
    }
    out
}

/// HL7 v2.5.1 ch. 2.7.1.
fn escape_letter(byte: u8, delimiters: Delimiters) -> Option<u8> {
    match byte {
        b if b == delimiters.field => Some(b'F'),
        b if b == delimiters.component => Some(b'S'),
        b if b == delimiters.repetition => Some(b'R'),
        b if b == delimiters.escape => Some(b'E'),
        b if b == delimiters.subcomponent => Some(b'T'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mllp::validator::FaultClass;

    fn missing_pid3() -> Fault {
        let location = Some(Location { segment: "PID".into(), sequence: 1, field: 3, component: 0 });
        Fault { class: FaultClass::Error, code: 101, location, text: "PID-3 is empty".into() }
    }

    fn text(fault: &Fault, version: Option<(u8, u8)>) -> String {
        String::from_utf8(segment(fault, Severity::Error, version, Delimiters::default())).unwrap()
    }

    #[test]
    fn before_2_5_the_place_and_the_code_share_one_field() {
        assert_eq!(text(&missing_pid3(), Some((2, 4))), "ERR|PID^1^3^101&Required field missing&HL70357");
        let nowhere = Fault { location: None, ..missing_pid3() };
        assert_eq!(text(&nowhere, None), "ERR|^^^101&Required field missing&HL70357");
    }

    #[test]
    fn from_2_5_place_code_severity_and_text_have_fields_of_their_own() {
        let expected = "ERR||PID^1^3|101^Required field missing^HL70357|E||||PID-3 is empty";
        assert_eq!(text(&missing_pid3(), Some((2, 5))), expected);
        let nowhere = Fault { location: None, ..missing_pid3() };
        assert_eq!(text(&nowhere, Some((2, 8))), "ERR|||101^Required field missing^HL70357|E||||PID-3 is empty");
    }

    #[test]
    fn a_component_is_located_in_its_first_repetition() {
        let location = Some(Location { segment: "MSH".into(), sequence: 1, field: 9, component: 2 });
        let fault = Fault { location, code: 201, ..missing_pid3() };
        assert!(text(&fault, Some((2, 6))).starts_with("ERR||MSH^1^9^1^2|201^Unsupported event code^HL70357|"));
    }

    #[test]
    fn texts_cannot_break_the_senders_delimiters() {
        let delimiters = Delimiters {
            field: b'$',
            component: b' ',
            repetition: b'!',
            escape: b'?',
            subcomponent: b'%',
            truncation: b'#',
        };
        let fault = Fault { text: "a$b%c!d?e\rf\u{e9}|".into(), ..missing_pid3() };
        let line = segment(&fault, Severity::Warning, Some((2, 5)), delimiters);
        let expected = "ERR$$PID 1 3$101 Required?S?field?S?missing HL70357$W$$$$a?F?b?T?c?R?d?E?e?S?f?E?|";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
