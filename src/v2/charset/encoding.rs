//! Bytes to text, by the tables of a library or one byte at a time.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding};

use super::set::Misfit;

pub fn byte_by_byte(body: &[u8], single: impl Fn(u8) -> Option<char>) -> Result<String, Misfit> {
    let mut text = String::with_capacity(body.len() + body.len() / 2);
    for (offset, &byte) in body.iter().enumerate() {
        match single(byte) {
            Some(c) => text.push(c),
            None => return Err(Misfit { before: text, offset }),
        }
    }
    Ok(text)
}

pub fn by_encoding<'a>(encoding: &'static Encoding, body: &'a [u8]) -> Result<Cow<'a, str>, Misfit> {
    if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(body) {
        return Ok(text);
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let room = decoder.max_utf8_buffer_length_without_replacement(body.len()).unwrap_or(body.len());
    let mut before = String::with_capacity(room);
    let (result, read) = decoder.decode_to_string_without_replacement(body, &mut before, true);
    let back = match result {
        DecoderResult::Malformed(bytes, after) => usize::from(bytes) + usize::from(after),
        DecoderResult::InputEmpty | DecoderResult::OutputFull => 0,
    };
    Err(Misfit { before, offset: read.saturating_sub(back) })
}
