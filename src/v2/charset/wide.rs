//! UTF-16 and UTF-32: known by a byte order mark, or by the zeros around the first segment's name.
//!
//! MLLP does not carry these (its end block may stand inside a character), files do.

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::set::{Charset, Misfit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Utf16Le,
    Utf16Be,
    Utf32Le,
    Utf32Be,
}

/// The form of a message in wide characters, and its bytes after the mark.
pub(super) fn form(raw: &[u8]) -> Option<(Form, &[u8])> {
    match raw {
        [0xFF, 0xFE, 0, 0, rest @ ..] => Some((Form::Utf32Le, rest)),
        [0, 0, 0xFE, 0xFF, rest @ ..] => Some((Form::Utf32Be, rest)),
        [0xFF, 0xFE, rest @ ..] => Some((Form::Utf16Le, rest)),
        [0xFE, 0xFF, rest @ ..] => Some((Form::Utf16Be, rest)),
        [b'A'..=b'Z', 0, 0, 0, ..] => Some((Form::Utf32Le, raw)),
        [0, 0, 0, b'A'..=b'Z', ..] => Some((Form::Utf32Be, raw)),
        [b'A'..=b'Z', 0, b'A'..=b'Z', 0, ..] => Some((Form::Utf16Le, raw)),
        [0, b'A'..=b'Z', 0, b'A'..=b'Z', ..] => Some((Form::Utf16Be, raw)),
        _ => None,
    }
}

impl Form {
    pub(super) fn charset(self) -> Charset {
        match self {
            Self::Utf16Le | Self::Utf16Be => Charset::Utf16,
            Self::Utf32Le | Self::Utf32Be => Charset::Utf32,
        }
    }

    pub(super) fn decode(self, body: &[u8]) -> Result<String, Misfit> {
        match self {
            Self::Utf16Le => super::encoding::by_encoding(UTF_16LE, body).map(|text| text.into_owned()),
            Self::Utf16Be => super::encoding::by_encoding(UTF_16BE, body).map(|text| text.into_owned()),
            Self::Utf32Le => utf32(body, u32::from_le_bytes),
            Self::Utf32Be => utf32(body, u32::from_be_bytes),
        }
    }
}

fn utf32(body: &[u8], number: fn([u8; 4]) -> u32) -> Result<String, Misfit> {
    let mut before = String::with_capacity(body.len() / 3);
    for (n, chunk) in body.chunks(4).enumerate() {
        let character = <[u8; 4]>::try_from(chunk).ok().and_then(|bytes| char::from_u32(number(bytes)));
        match character {
            Some(c) => before.push(c),
            None => return Err(Misfit { before, offset: n * 4 }),
        }
    }
    Ok(before)
}
