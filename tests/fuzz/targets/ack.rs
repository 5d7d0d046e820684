//! An acknowledgement to any bytes: it cannot break the framing, can be read, and names the control id as sent.
#![no_main]

use jiff::Zoned;
use libfuzzer_sys::fuzz_target;
use stoker::mllp::ack::{AckVerdict, build};
use stoker::mllp::validator::{FaultClass, Fault};
use stoker::mllp::ack::reply::Ack;
use stoker::v2::Header;

fuzz_target!(|input: (u8, u16, &str, &[u8])| {
    let (verdict, code, text, raw) = input;
    let header = Header::peek(raw).ok();
    let class = if verdict & 1 == 0 { FaultClass::Error } else { FaultClass::Reject };
    let fault = Fault::new(class, code, text).at("PID", usize::from(verdict), 1);
    let warnings = [fault.clone()];
    let verdict = match verdict & 6 {
        0 => AckVerdict::Accepted { warnings: &[] },
        2 => AckVerdict::Accepted { warnings: &warnings },
        _ => AckVerdict::Refused(&fault),
    };
    let now = Zoned::default();
    let Some(ack) = build(header.as_ref(), verdict, &now, "20240101-1") else { return };
    assert!(!ack.iter().any(|byte| matches!(byte, 0x0B | 0x1C)), "it would break the framing");
    assert!(ack.ends_with(b"\r"), "its last segment does not end");
    assert!(!ack.windows(2).any(|two| two == b"\r\r"), "it has an empty segment");
    let positive = matches!(verdict, AckVerdict::Accepted { .. });
    let read = Ack::parse(ack.into()).expect("it cannot be read");
    assert_eq!(read.is_positive(), positive);
    let sent = header.as_ref().map(Header::control_id).unwrap_or_default();
    let sent: Vec<u8> = sent.iter().copied().filter(|byte| !matches!(byte, 0x0B | 0x1C)).collect();
    assert_eq!(read.control_id, sent, "MSA-2 is not MSH-10");
});
