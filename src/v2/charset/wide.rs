//! UTF-16 and UTF-32: known by a byte order mark, or by the zeros around the first segment's name.
//!
//! MLLP should not carry these (its end block may stand inside a character), files do, and so do some senders on Windows.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE};

use super::set::{Charset, Misfit};

/// How a text in wide characters is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WideForm {
    Utf16Le,
    Utf16Be,
    Utf32Le,
    Utf32Be,
}

/// The form of a message in wide characters, and its bytes after the mark.
#[must_use]
pub fn wide_form(raw: &[u8]) -> Option<(WideForm, &[u8])> {
    match raw {
        [0xFF, 0xFE, 0, 0, rest @ ..] => Some((WideForm::Utf32Le, rest)),
        [0, 0, 0xFE, 0xFF, rest @ ..] => Some((WideForm::Utf32Be, rest)),
        [0xFF, 0xFE, rest @ ..] => Some((WideForm::Utf16Le, rest)),
        [0xFE, 0xFF, rest @ ..] => Some((WideForm::Utf16Be, rest)),
        [b'A'..=b'Z', 0, 0, 0, ..] => Some((WideForm::Utf32Le, raw)),
        [0, 0, 0, b'A'..=b'Z', ..] => Some((WideForm::Utf32Be, raw)),
        [b'A'..=b'Z', 0, b'A'..=b'Z', 0, ..] => Some((WideForm::Utf16Le, raw)),
        [0, b'A'..=b'Z', 0, b'A'..=b'Z', ..] => Some((WideForm::Utf16Be, raw)),
        _ => None,
    }
}

impl WideForm {
    #[must_use]
    pub fn is_utf16(self) -> bool {
        matches!(self, Self::Utf16Le | Self::Utf16Be)
    }

    /// The text as far as it can be read, for who must answer a message that cannot be taken. What holds a message goes
    /// by [`decode`](super::decode), which replaces nothing.
    #[must_use]
    pub fn lossy(self, body: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf16Le => UTF_16LE.decode_without_bom_handling(body).0,
            Self::Utf16Be => UTF_16BE.decode_without_bom_handling(body).0,
            Self::Utf32Le | Self::Utf32Be => self.decode(body).unwrap_or_else(|misfit| misfit.before).into(),
        }
    }

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
