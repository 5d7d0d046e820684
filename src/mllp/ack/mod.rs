//! Acknowledgements: the sender's MSH and a verdict in, the bytes of the ACK out (HL7 v2.5.1 ch. 2.9.2, 2.9.3).
//!
//! A pure function: the clock and the new control id come from the caller. What it promises:
//!
//! - MSA-2 is the sender's MSH-10 byte for byte, in the sender's delimiters.
//! - Nothing that the sender wrote can break the framing: control bytes are taken out of what is echoed.
//! - An acknowledgement is never acknowledged.
//!
//! Original mode (MSH-15 and MSH-16 empty) is answered AA, AE or AR. In enhanced mode the accept ack CA, CE or CR goes out
//! when MSH-15 asks for it. A sender that asks for no accept ack but, in MSH-16, for an application ack gets that one at
//! once: its message is then on disk. A sender that asks for both gets the accept ack only; a second ack to one message
//! puts senders that count acks out of step. Where the site has `application_acks = "later"`, what MSH-16 asks for is
//! [`application`], a message of its own that is sent when the outcome of the delivery is known.
//!
//! This file decides the code and writes MSH and MSA, [`err_segment`] writes ERR as each version has it, and [`reply`] reads the
//! acks of others, for the client.

pub(super) mod err_segment;
pub mod reply;

use std::io::Write as _;

use jiff::Zoned;

use super::validator::{Fault, FaultClass};
use crate::v2::{Delimiters, Header};
use err_segment::Severity;

/// What became of the message, as its sender is told.
#[derive(Debug, Clone, Copy)]
pub enum AckVerdict<'a> {
    /// The bytes are on disk.
    Accepted {
        warnings: &'a [Fault],
    },
    Refused(&'a Fault),
}

/// Whether a message is itself an answer, and so never gets one (HL7 table 0076).
#[must_use]
pub fn is_ack(header: &Header<'_>) -> bool {
    matches!(header.message_type(), "ACK" | "MCF")
}

/// Whether the sender of `header` is told of a positive verdict: `stoker send` must know what it can wait for.
#[must_use]
pub fn promised(header: &Header<'_>) -> bool {
    !is_ack(header) && family(header, true).is_some()
}

/// The acknowledgement, its segments ending in CR, without framing. `None` when the sender wants none.
///
/// `header` is `None` when the message has no readable MSH: then MSA-2 is empty.
#[must_use]
pub fn build(header: Option<&Header<'_>>, verdict: AckVerdict<'_>, now: &Zoned, control_id: &str) -> Option<Vec<u8>> {
    let positive = matches!(verdict, AckVerdict::Accepted { .. });
    let family = match header {
        Some(header) if is_ack(header) => return None,
        Some(header) => family(header, positive)?,
        None => Family::Original,
    };
    Some(write(header, family, verdict, now, control_id, b""))
}

/// `acks` stands in MSH-15 and MSH-16.
fn write(
    header: Option<&Header<'_>>,
    family: Family,
    verdict: AckVerdict<'_>,
    now: &Zoned,
    control_id: &str,
    acks: &[u8],
) -> Vec<u8> {
    let delimiters = header.map(Header::delimiters).unwrap_or_default();
    let mut out = Vec::with_capacity(USUAL);
    msh(&mut out, header, delimiters, now, control_id, acks);
    msa(&mut out, header, delimiters, code(family, verdict), verdict);
    for err in errs(header, delimiters, verdict) {
        out.extend(err);
        out.push(b'\r');
    }
    out
}

/// Room for an ack without errors.
const USUAL: usize = 256;

/// Whether the sender asks for an application ack in some case.
#[must_use]
pub fn asks_for_outcome(header: &Header<'_>) -> bool {
    let application = condition(header, 16);
    !is_ack(header) && (asked(application, true) || asked(application, false))
}

/// Whether the sender of a good message hears nothing before its outcome is known.
#[must_use]
pub(super) fn waits_for_outcome(header: &Header<'_>) -> bool {
    asks_for_outcome(header) && !asked(condition(header, 15), true)
}

/// The application acknowledgement of what became of a message: delivered, or failed for a reason. `None` when the sender
/// does not want to be told of that. It asks for no acknowledgement itself.
#[must_use]
pub fn application(header: &Header<'_>, failure: Option<&str>, now: &Zoned, control_id: &str) -> Option<Vec<u8>> {
    if !asks_for_outcome(header) || !asked(condition(header, 16), failure.is_none()) {
        return None;
    }
    let fault = failure.map(|reason| Fault::new(FaultClass::Error, 207, reason));
    let verdict = match &fault {
        None => AckVerdict::Accepted { warnings: &[] },
        Some(fault) => AckVerdict::Refused(fault),
    };
    Some(write(Some(header), Family::Original, verdict, now, control_id, b"NE"))
}

/// Which codes of table 0008 are spoken: AA, AE, AR, or CA, CE, CR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Original,
    Accept,
}

/// `None` when the sender asked not to be told.
fn family(header: &Header<'_>, positive: bool) -> Option<Family> {
    let (accept, application) = (condition(header, 15), condition(header, 16));
    if accept.is_empty() && application.is_empty() {
        Some(Family::Original)
    } else if asked(accept, positive) {
        Some(Family::Accept)
    } else if asked(application, positive) {
        Some(Family::Original)
    } else {
        None
    }
}

/// MSH-15 or MSH-16; `""` says no more than an empty field does.
fn condition<'a>(header: &Header<'a>, field: usize) -> &'a [u8] {
    let value = header.component(field, 1).trim_ascii();
    if value == b"\"\"" { b"" } else { value }
}

/// HL7 table 0155. What is not in the table is taken as "always": an ack too many does less harm than none.
fn asked(condition: &[u8], positive: bool) -> bool {
    let is = |code: &[u8]| condition.eq_ignore_ascii_case(code);
    if condition.is_empty() || is(b"NE") {
        false
    } else if is(b"ER") {
        !positive
    } else {
        positive || !is(b"SU")
    }
}

fn code(family: Family, verdict: AckVerdict<'_>) -> [u8; 2] {
    let letter = match family {
        Family::Original => b'A',
        Family::Accept => b'C',
    };
    let outcome = match verdict {
        AckVerdict::Accepted { .. } => b'A',
        AckVerdict::Refused(Fault { class: FaultClass::Error, .. }) => b'E',
        AckVerdict::Refused(Fault { class: FaultClass::Reject, .. }) => b'R',
    };
    [letter, outcome]
}

fn msh(
    out: &mut Vec<u8>,
    header: Option<&Header<'_>>,
    delimiters: Delimiters,
    now: &Zoned,
    control_id: &str,
    acks: &[u8],
) {
    let Delimiters { field, component, repetition, escape, subcomponent, .. } = delimiters;
    let sent = |n: usize| header.map(|header| header.field(n)).unwrap_or_default();
    out.extend_from_slice(b"MSH");
    out.extend([field, component, repetition, escape, subcomponent]);
    for n in [5, 6, 3, 4] {
        out.push(field);
        echo(out, sent(n));
    }
    out.push(field);
    // Writing to memory does not fail; where the clock cannot be written, the time is left out.
    write!(out, "{}", now.strftime("%Y%m%d%H%M%S%z")).ok();
    out.extend([field, field]);
    message_type(out, header, component);
    out.push(field);
    out.extend_from_slice(control_id.as_bytes());
    for (n, otherwise) in [(11, b"P".as_slice()), (12, b"2.5")] {
        out.push(field);
        echo(out, if header.is_some() { sent(n) } else { otherwise });
    }
    // What is echoed is in the sender's character set, so that set is declared again.
    let charset = sent(18);
    if is_shown(charset) || !acks.is_empty() {
        out.extend([field, field]);
        for _ in 15..=16 {
            out.push(field);
            out.extend_from_slice(acks);
        }
    }
    if is_shown(charset) {
        out.extend([field, field]);
        echo(out, charset);
    }
    out.push(b'\r');
}

/// `ACK^A01^ACK`, and `ACK` alone where the trigger is not known.
fn message_type(out: &mut Vec<u8>, header: Option<&Header<'_>>, component: u8) {
    let trigger = header.map(|header| header.component(9, 2)).unwrap_or_default();
    out.extend_from_slice(b"ACK");
    if is_shown(trigger) {
        out.push(component);
        echo(out, trigger);
        out.push(component);
        out.extend_from_slice(b"ACK");
    }
}

fn msa(out: &mut Vec<u8>, header: Option<&Header<'_>>, delimiters: Delimiters, code: [u8; 2], verdict: AckVerdict<'_>) {
    out.extend_from_slice(b"MSA");
    out.push(delimiters.field);
    out.extend_from_slice(&code);
    out.push(delimiters.field);
    let control_id = header.map(Header::control_id).unwrap_or_default();
    extend_without(out, control_id, breaks_the_frame);
    if let AckVerdict::Refused(fault) = verdict
        && has_text_in_msa(header)
    {
        out.push(delimiters.field);
        out.extend(err_segment::escaped(&fault.text, delimiters));
    }
    out.push(b'\r');
}

/// MSA-3 was withdrawn in v2.7; before that it is the text that most senders show.
fn has_text_in_msa(header: Option<&Header<'_>>) -> bool {
    header.and_then(err_segment::version).is_none_or(|version| version < (2, 7))
}

fn errs(header: Option<&Header<'_>>, delimiters: Delimiters, verdict: AckVerdict<'_>) -> Vec<Vec<u8>> {
    let version = match header {
        Some(header) => err_segment::version(header),
        None => Some((2, 5)),
    };
    let (faults, severity) = match verdict {
        AckVerdict::Refused(fault) => (std::slice::from_ref(fault), Severity::Error),
        // In the old form nothing says that it is only a warning, and a sender would read an error.
        AckVerdict::Accepted { .. } if !err_segment::has_severity(version) => (&[][..], Severity::Warning),
        AckVerdict::Accepted { warnings } => (warnings, Severity::Warning),
    };
    faults.iter().map(|fault| err_segment::segment(fault, severity, version, delimiters)).collect()
}

/// An echoed field without control bytes.
pub(super) fn printable(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    echo(&mut out, field);
    out
}

fn echo(out: &mut Vec<u8>, field: &[u8]) {
    extend_without(out, field, |byte| byte.is_ascii_control());
}

/// Most fields hold nothing that has to go, and are copied in one piece.
fn extend_without(out: &mut Vec<u8>, field: &[u8], goes: impl Fn(u8) -> bool) {
    if field.iter().any(|byte| goes(*byte)) {
        out.extend(field.iter().filter(|byte| !goes(**byte)));
    } else {
        out.extend_from_slice(field);
    }
}

/// Whether [`echo`] leaves anything of it.
fn is_shown(field: &[u8]) -> bool {
    field.iter().any(|byte| !byte.is_ascii_control())
}

/// MSA-2 is byte for byte but for the two bytes that would end or restart the frame. An id that holds them cannot be
/// echoed.
fn breaks_the_frame(byte: u8) -> bool {
    matches!(byte, 0x0B | 0x1C)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Zoned {
        "2024-03-31T12:30:05+02:00[Europe/Oslo]".parse().unwrap()
    }

    fn fault(class: FaultClass, code: u16) -> Fault {
        Fault { class, code, location: None, text: "why".into() }
    }

    fn ack(message: &[u8], verdict: AckVerdict<'_>) -> Option<String> {
        let header = Header::peek(message).unwrap();
        build(Some(&header), verdict, &clock(), "N1").map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn positive(message: &[u8]) -> Option<String> {
        ack(message, AckVerdict::Accepted { warnings: &[] })
    }

    /// MSA-1 of the answer, or nothing where none is sent.
    fn msa1(message: &str, verdict: AckVerdict<'_>) -> String {
        let Some(text) = ack(message.as_bytes(), verdict) else { return String::new() };
        text.split('\r').find(|line| line.starts_with("MSA")).unwrap()[4..6].to_owned()
    }

    /// An ADT^A01 of this version with MSH-15 and MSH-16.
    fn message(version: &str, accept: &str, application: &str) -> String {
        format!("MSH|^~\\&|APP|FAC|US|HERE|20240101||ADT^A01^ADT_A01|42|P|{version}|||{accept}|{application}\rPID|1")
    }

    #[test]
    fn a_message_is_accepted_in_the_senders_terms() {
        let expected = "MSH|^~\\&|US|HERE|APP|FAC|20240331123005+0200||ACK^A01^ACK|N1|P|2.5.1\rMSA|AA|42\r";
        assert_eq!(positive(message("2.5.1", "", "").as_bytes()).unwrap(), expected);
    }

    #[test]
    fn the_senders_delimiters_are_used() {
        let expected = "MSH$*!?%$US$HERE$APP*x$FAC$20240331123005+0200$$ACK*A08*ACK$N1$T$2.3\rMSA$AA$a|7\r";
        assert_eq!(positive(b"MSH$*!?%$APP*x$FAC$US$HERE$1$$ADT*A08$a|7$T$2.3\r").unwrap(), expected);
    }

    #[test]
    fn every_row_of_the_failure_table_has_its_codes() {
        use FaultClass::{Error, Reject};
        let rows = [
            (100, Reject, "AR", "CR"),
            (200, Reject, "AR", "CR"),
            (201, Reject, "AR", "CR"),
            (202, Reject, "AR", "CR"),
            (203, Reject, "AR", "CR"),
            (100, Error, "AE", "CE"),
            (101, Error, "AE", "CE"),
            (102, Error, "AE", "CE"),
            (207, Reject, "AR", "CR"),
        ];
        for (code, class, original, enhanced) in rows {
            let fault = fault(class, code);
            let refused = AckVerdict::Refused(&fault);
            assert_eq!(msa1(&message("2.5", "", ""), refused), original, "{code}");
            assert_eq!(msa1(&message("2.5", "AL", "NE"), refused), enhanced, "{code}");
            let text = ack(message("2.5", "", "").as_bytes(), refused).unwrap();
            assert!(text.contains(&format!("\rERR|||{code}^")), "{text}");
        }
    }

    #[test]
    fn the_sender_decides_which_acks_it_gets() {
        let error = fault(FaultClass::Error, 101);
        let rows = [
            // MSH-15, MSH-16, answer to a good message, answer to a bad one
            ("", "", "AA", "AE"),
            ("\"\"", "", "AA", "AE"),
            ("AL", "", "CA", "CE"),
            ("al", "AL", "CA", "CE"),
            ("NE", "", "", ""),
            ("NE", "NE", "", ""),
            ("ER", "", "", "CE"),
            ("SU", "NE", "CA", ""),
            ("", "AL", "AA", "AE"),
            ("NE", "ER", "", "AE"),
            ("ER", "AL", "AA", "CE"),
            ("YES", "", "CA", "CE"),
        ];
        for (accept, application, good, bad) in rows {
            let message = message("2.4", accept, application);
            assert_eq!(msa1(&message, AckVerdict::Accepted { warnings: &[] }), good, "{accept} {application}");
            assert_eq!(msa1(&message, AckVerdict::Refused(&error)), bad, "{accept} {application}");
            let header = Header::peek(message.as_bytes()).unwrap();
            assert_eq!(promised(&header), !good.is_empty(), "{accept} {application}");
        }
    }

    #[test]
    fn the_outcome_is_told_to_those_who_ask_for_it_in_a_message_of_its_own() {
        let rows = [
            // MSH-16, whether a delivery is told, whether a failure is
            ("", false, false),
            ("NE", false, false),
            ("AL", true, true),
            ("ER", false, true),
            ("SU", true, false),
        ];
        for (asks, delivered, failed) in rows {
            let message = message("2.5", "AL", asks);
            let header = Header::peek(message.as_bytes()).unwrap();
            let told = |failure| application(&header, failure, &clock(), "N1").is_some();
            assert_eq!((told(None), told(Some("why"))), (delivered, failed), "{asks}");
        }
        let message = message("2.5", "NE", "AL");
        let header = Header::peek(message.as_bytes()).unwrap();
        let text = String::from_utf8(application(&header, Some("HTTP 422"), &clock(), "N1").unwrap()).unwrap();
        let expected = "MSH|^~\\&|US|HERE|APP|FAC|20240331123005+0200||ACK^A01^ACK|N1|P|2.5|||NE|NE\rMSA|AE|42|HTTP 422\r\
                        ERR|||207^Application internal error^HL70357|E||||HTTP 422\r";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_acknowledgement_is_never_acknowledged() {
        let refusal = fault(FaultClass::Reject, 200);
        for kind in ["ACK", "ACK^A01", "MCF"] {
            let message = format!("MSH|^~\\&|A|B|C|D|1||{kind}|42|P|2.5\rMSA|AA|41");
            assert_eq!(positive(message.as_bytes()), None);
            assert_eq!(ack(message.as_bytes(), AckVerdict::Refused(&refusal)), None);
        }
    }

    #[test]
    fn without_a_header_there_is_a_reject_with_an_empty_id() {
        let fault = fault(FaultClass::Reject, 100);
        let text = String::from_utf8(build(None, AckVerdict::Refused(&fault), &clock(), "N1").unwrap()).unwrap();
        let expected = "MSH|^~\\&|||||20240331123005+0200||ACK|N1|P|2.5\rMSA|AR||why\r\
                        ERR|||100^Segment sequence error^HL70357|E||||why\r";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_control_id_comes_back_byte_for_byte_and_other_fields_without_control_bytes() {
        let raw = b"MSH|^~\\&|A\x1C\x0B\x01PP|F\x7FAC|||1||ADT^A0\x0B1| \xC5^~\t../../x |P|2.5\r";
        let header = Header::peek(raw).unwrap();
        let out = build(Some(&header), AckVerdict::Accepted { warnings: &[] }, &clock(), "N1").unwrap();
        let expected = b"MSH|^~\\&|||APP|FAC|20240331123005+0200||ACK^A01^ACK|N1|P|2.5\rMSA|AA| \xC5^~\t../../x \r";
        assert_eq!(out, expected);
    }

    #[test]
    fn the_frame_holds_whatever_the_control_id_is() {
        let header = Header::peek(b"MSH|^~\\&|||||1||ADT^A01|4\x0B\x1C2|P|2.5").unwrap();
        let out = build(Some(&header), AckVerdict::Accepted { warnings: &[] }, &clock(), "N1").unwrap();
        assert!(out.ends_with(b"MSA|AA|42\r"));
    }

    #[test]
    fn the_character_set_of_what_is_echoed_is_declared() {
        let raw = b"MSH|^~\\&|K\xC3\xA5|FAC|||1||ADT^A01|42|P|2.5||||||UNICODE UTF-8\r";
        assert!(
            positive(raw)
                .unwrap()
                .contains("|K\u{e5}|FAC|20240331123005+0200||ACK^A01^ACK|N1|P|2.5||||||UNICODE UTF-8\r")
        );
    }

    #[test]
    fn a_warning_goes_only_to_senders_that_can_tell_it_from_an_error() {
        let warnings = [fault(FaultClass::Error, 205)];
        let verdict = AckVerdict::Accepted { warnings: &warnings };
        let new = ack(message("2.5", "", "").as_bytes(), verdict).unwrap();
        assert!(new.ends_with("MSA|AA|42\rERR|||205^Duplicate key identifier^HL70357|W||||why\r"), "{new}");
        for old in ["2.4", "", "rubbish"] {
            assert!(ack(message(old, "", "").as_bytes(), verdict).unwrap().ends_with("\rMSA|AA|42\r"));
        }
    }

    #[test]
    fn the_text_stands_in_msa_3_until_that_was_withdrawn() {
        let fault = fault(FaultClass::Error, 101);
        let text = |version: &str| ack(message(version, "", "").as_bytes(), AckVerdict::Refused(&fault)).unwrap();
        assert!(text("2.3").contains("\rMSA|AE|42|why\rERR|^^^101&"));
        assert!(text("2.7").contains("\rMSA|AE|42\rERR|||101^"));
    }
}
