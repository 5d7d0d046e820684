//! What can be refused by the MSH alone, before any mapping is asked.

use crate::mllp::config::{ListenerConfig, Policy};
use crate::mllp::validator::{Fault, FaultClass};
use crate::v2::Header;
use crate::v2::header::HeaderFault;

/// The first fault of a message whose MSH can be read, in the order of HL7's table 0357: what is not acceptable at all
/// (AR) before what is wrong with the content (AE). `raw` is what `header` was read from.
pub fn message(config: &ListenerConfig, header: &Header<'_>, raw: &[u8]) -> Option<Fault> {
    version(header)
        .or_else(|| processing_id(config, header))
        .or_else(|| control_id(config, header))
        .or_else(|| second_message(header, raw))
}

/// Of a frame that has no MSH to read.
pub fn no_header(fault: HeaderFault) -> Fault {
    Fault::new(FaultClass::Reject, 100, fault.to_string())
}

pub fn oversize(length: u64, max_frame: usize) -> Fault {
    let text = format!("the message of {length} bytes is longer than the {max_frame} that this listener takes");
    Fault::new(FaultClass::Reject, 207, text)
}

/// The sender used the control id before, for other bytes. Counters do get reset, so it is taken.
pub fn reused_control_id() -> Fault {
    Fault::new(FaultClass::Error, 205, "the control id was used before for another message").at("MSH", 10, 0)
}

/// An empty MSH-12 is common and harmless: no segment is read by its version.
fn version(header: &Header<'_>) -> Option<Fault> {
    let version = header.component(12, 1).trim_ascii();
    if version.is_empty() || version == b"2" || version.starts_with(b"2.") {
        return None;
    }
    Some(Fault::new(FaultClass::Reject, 203, "MSH-12 names no HL7 version 2").at("MSH", 12, 1))
}

fn processing_id(config: &ListenerConfig, header: &Header<'_>) -> Option<Fault> {
    let id = header.component(11, 1).trim_ascii();
    if id.is_empty() || config.processing_ids.iter().any(|taken| taken.as_bytes().eq_ignore_ascii_case(id)) {
        return None;
    }
    let text = format!("this listener takes messages with processing id {}", config.processing_ids.join(", "));
    Some(Fault::new(FaultClass::Reject, 202, text).at("MSH", 11, 1))
}

fn control_id(config: &ListenerConfig, header: &Header<'_>) -> Option<Fault> {
    let missing = header.control_id().trim_ascii().is_empty();
    (missing && config.empty_control_id == Policy::Reject)
        .then(|| Fault::new(FaultClass::Error, 101, "MSH-10 is empty").at("MSH", 10, 0))
}

/// Two messages in one frame get one ack; the second would be lost without a word.
fn second_message(header: &Header<'_>, raw: &[u8]) -> Option<Fault> {
    let name = [b'M', b'S', b'H', header.delimiters().field];
    let starts_line = |at: usize| at > 0 && matches!(raw[at - 1], b'\r' | b'\n');
    let later = |at: &usize| starts_line(*at) && raw[..*at].contains(&name[3]);
    memchr::memmem::find_iter(raw, &name).find(later)?;
    let text = "the frame holds a second message; each needs a frame of its own";
    let mut fault = Fault::new(FaultClass::Error, 100, text).at("MSH", 0, 0);
    if let Some(location) = &mut fault.location {
        location.sequence = 2;
    }
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(config: &ListenerConfig, raw: &[u8]) -> Option<String> {
        message(config, &Header::peek(raw).unwrap(), raw).map(|fault| fault.to_string())
    }

    fn code(raw: &[u8]) -> Option<u16> {
        let config = ListenerConfig { processing_ids: vec!["P".into()], ..ListenerConfig::default() };
        message(&config, &Header::peek(raw).unwrap(), raw).map(|fault| fault.code)
    }

    #[test]
    fn a_version_that_is_not_2_is_unusable() {
        assert_eq!(code(b"MSH|^~\\&|||||||ADT^A01|1|P|3.0"), Some(203));
        assert_eq!(code(b"MSH|^~\\&|||||||ADT^A01|1|P|20"), Some(203));
        for usable in ["", "2", "2.3", "2.5.1^NOR"] {
            assert_eq!(code(format!("MSH|^~\\&|||||||ADT^A01|1|P|{usable}").as_bytes()), None);
        }
    }

    #[test]
    fn test_messages_are_refused_where_only_production_is_taken() {
        let raw = b"MSH|^~\\&|||||||ADT^A01|1|T|2.5";
        assert_eq!(fault(&ListenerConfig::default(), raw), None);
        let config = ListenerConfig { processing_ids: vec!["P".into()], ..ListenerConfig::default() };
        let text = "error 202 at MSH-11.1: this listener takes messages with processing id P";
        assert_eq!(fault(&config, raw).as_deref(), Some(text));
        for taken in ["", "P", "p^T"] {
            assert_eq!(code(format!("MSH|^~\\&|||||||ADT^A01|1|{taken}|2.5").as_bytes()), None);
        }
    }

    #[test]
    fn a_missing_control_id_is_refused_by_choice_only() {
        let raw = b"MSH|^~\\&|||||||ADT^A01||P|2.5";
        assert_eq!(fault(&ListenerConfig::default(), raw), None);
        let config = ListenerConfig { empty_control_id: Policy::Reject, ..ListenerConfig::default() };
        assert_eq!(fault(&config, raw).as_deref(), Some("error 101 at MSH-10: MSH-10 is empty"));
    }

    #[test]
    fn a_second_message_in_one_frame_is_not_lost_silently() {
        let raw = b"\r\nMSH|^~\\&|||||||ADT^A01|1|P|2.5\rPID|1\rMSH|^~\\&|||||||ADT^A01|2|P|2.5";
        let text = "error 100 at MSH[2]: the frame holds a second message; each needs a frame of its own";
        assert_eq!(fault(&ListenerConfig::default(), raw).as_deref(), Some(text));
        assert_eq!(code(b" \r\nMSH|^~\\&|||||||ADT^A01|1|P|2.5\rNTE|1||MSH| here\rMSHX|"), None);
    }
}
