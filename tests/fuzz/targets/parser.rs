//! Any bytes through all that reads a message: header, character set, index, parts, text, time, files of many.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use stoker::v2::batch::Messages;
use stoker::v2::charset::{declared, decode};
use stoker::v2::text::{unescape, unescape_formatted};
use stoker::v2::time::Stamp;
use stoker::v2::{Header, Message, Part};

fuzz_target!(|raw: &[u8]| {
    let header = Header::peek(raw);
    let sets = header.as_ref().map(declared).unwrap_or_default();
    if let Ok(text) = decode(raw, &sets, None)
        && let Ok(message) = Message::parse(&text)
    {
        walk(&message);
    }
    file(raw);
});

fn walk(message: &Message<'_>) {
    for segment in 0..message.len() {
        assert!(message.offset(message.segment_text(segment)).is_some(), "a segment stands outside its message");
        for field in 1..=message.field_count(segment) {
            let repetitions = (0..message.repetitions(segment, field)).filter_map(|n| message.repetition(segment, field, n));
            repetitions.for_each(|part| read(message, part));
        }
    }
}

fn read(message: &Message<'_>, part: Part<'_, '_>) {
    assert!(message.offset(part.raw()).is_some_and(|at| message.text()[at..].starts_with(part.raw())), "a part moved");
    for text in [unescape(part.leaf(), message.delimiters()), unescape_formatted(part.raw(), message.delimiters())] {
        assert!(text.len() <= 5 * part.raw().len(), "an escape grew");
    }
    if let Ok(stamp) = Stamp::parse(part.leaf()) {
        let mut out = String::new();
        let written = stamp.to_fhir_date_time(None, &mut out);
        assert!(out.len() <= 40, "{written:?}");
    }
    for component in 1..8 {
        for subcomponent in 1..4 {
            let leaf = part.part(component).and_then(|part| part.part(subcomponent)).map(|part| part.leaf().to_owned());
            assert!(leaf.is_none_or(|leaf| part.raw().contains(&leaf)), "a subcomponent is no part of its field");
        }
    }
}

/// A file of messages: none is longer than the file, and none is lost to another's fault.
fn file(raw: &[u8]) {
    let found = Messages::new(Cursor::new(raw), 1 << 20).filter_map(Result::ok);
    assert!(found.map(|found| found.raw.len()).sum::<usize>() <= raw.len(), "a file became longer");
}
