use std::io::{self, BufReader};

use proptest::prelude::*;

use super::*;

/// Number, offset, line and text of each message, or the fault.
fn read(bytes: &[u8]) -> Vec<String> {
    show(Messages::new(bytes, 100))
}

fn show<R: BufRead>(messages: Messages<R>) -> Vec<String> {
    messages
        .map(|item| match item {
            Ok(found) => {
                let text = String::from_utf8_lossy(&found.raw).into_owned();
                format!("{} @{} :{} {text:?}", found.number, found.offset, found.line)
            }
            Err(fault) => fault.to_string(),
        })
        .collect()
}

#[test]
fn lines_may_end_in_cr_lf_or_both() {
    assert_eq!(read(b"MSH|1\rPID|1\r"), [r#"1 @0 :1 "MSH|1\rPID|1""#]);
    let lf = [r#"1 @0 :1 "MSH|1\nPID|1""#, r#"2 @12 :3 "MSH|2\nPID|2""#];
    assert_eq!(read(b"MSH|1\nPID|1\nMSH|2\nPID|2"), lf);
    let crlf = [r#"1 @2 :2 "MSH|1\r\nPID|1""#, r#"2 @18 :5 "MSH|2""#];
    assert_eq!(read(b"\r\nMSH|1\r\nPID|1\r\n\r\nMSH|2\r\n"), crlf);
    assert_eq!(read(b"MSH|1\rPID|1\nMSH|2\rPID|2\n"), [r#"1 @0 :1 "MSH|1\rPID|1""#, r#"2 @12 :3 "MSH|2\rPID|2""#]);
}

#[test]
fn an_mllp_capture_comes_apart_at_its_frames() {
    let bytes = b"\x0BMSH|1\rPID|1\r\x1C\r\x0BMSH|2\r\x1C\x0B\x0BMSH|3\x1C\r";
    assert_eq!(read(bytes), [r#"1 @1 :1 "MSH|1\rPID|1""#, r#"2 @16 :4 "MSH|2""#, r#"3 @25 :5 "MSH|3""#]);
}

#[test]
fn batch_segments_stand_between_messages() {
    let bytes = b"FHS|^~\\&|A\rBHS|^~\\&|B\rMSH|1\rPID|1\rMSH|2\rBTS|2\rFTS|1\r";
    assert_eq!(read(bytes), [r#"1 @22 :3 "MSH|1\rPID|1""#, r#"2 @34 :5 "MSH|2""#]);
}

#[test]
fn what_belongs_to_no_message_is_told() {
    let outside = "line 1: 10 bytes that belong to no message; a message starts with an MSH segment";
    assert_eq!(read(b"hello\nworld\nMSH|1\n"), [outside, r#"1 @12 :3 "MSH|1""#]);
    assert_eq!(read(b"MSHA|1\rMSH|1\r").len(), 2);
    let behind = read(b"MSH|1\x1C\rPID|9\r\x0BMSH|2\x1C\r");
    assert!(behind[1].starts_with("line 2: 5 bytes") && behind.len() == 3, "{behind:?}");
    assert!(read(b"\n\r\n \t\n\x1C\r").is_empty());
    assert_eq!(read(b"\xFF\xFEM\0S\0"), ["the file is UTF-16; convert it to UTF-8 first"]);
}

#[test]
fn a_message_over_the_cap_does_not_stop_the_file() {
    let mut bytes = b"MSH|1\rOBX|".to_vec();
    bytes.extend([b'x'; 100]);
    bytes.extend(b"\rNTE|1\rMSH|2\r");
    assert_eq!(read(&bytes), ["line 1: message 1 is longer than 100 bytes", r#"2 @117 :4 "MSH|2""#]);
    let many = b"NTE|123456\r".repeat(10);
    assert_eq!(read(&[b"MSH|1\r", many.as_slice()].concat()), ["line 1: message 1 is longer than 100 bytes"]);
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(read(b"\xEF\xBB\xBFMSH|1\n"), [r#"1 @3 :1 "MSH|1""#]);
}

#[test]
fn on_the_wire_segments_end_in_cr() {
    let wire = |bytes: &[u8]| Messages::new(bytes, 100).next().unwrap().unwrap().on_the_wire();
    assert_eq!(wire(b"MSH|1\nPID|1\n"), b"MSH|1\rPID|1\r");
    assert_eq!(wire(b"MSH|1\r\nPID|1\r\n"), b"MSH|1\rPID|1\r");
    assert_eq!(wire(b"MSH|1\rNTE|a\nb\r"), b"MSH|1\rNTE|a\nb\r");
}

#[test]
fn a_file_that_cannot_be_read_is_told_behind_what_was_read() {
    struct Torn(bool);
    impl io::Read for Torn {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::other("torn"));
            }
            buffer[..6].copy_from_slice(b"MSH|1\r");
            Ok(6)
        }
    }
    let items = show(Messages::new(BufReader::new(Torn(false)), 100));
    assert_eq!(items, [r#"1 @0 :1 "MSH|1""#, "the file cannot be read: torn"]);
}

proptest! {
    #[test]
    fn any_buffer_size_gives_the_same_messages(
        parts in proptest::collection::vec(
            proptest::sample::select(vec!["MSH|1", "PID|", "x", "\r", "\n", "\r\n", "\x0B", "\x1C", "\x1C\r", "BTS", "\u{feff}"]), 0..40),
        size in 1_usize..9,
    ) {
        let bytes = parts.concat().into_bytes();
        let small = show(Messages::new(BufReader::with_capacity(size, bytes.as_slice()), 30));
        prop_assert_eq!(small, show(Messages::new(bytes.as_slice(), 30)));
    }
}
