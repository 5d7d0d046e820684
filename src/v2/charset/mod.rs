//! The message's bytes as text: MSH-18 and HL7 table 0211 (HL7 v2.5.1 ch. 2.9.2, 2.15.9.18).
//!
//! A character that cannot be read is an error that names its place; nothing is ever replaced by U+FFFD, because a
//! name with a hole in it matches no one. The whole message is decoded before it is taken apart: the second byte of
//! a GB 18030, Big5 or JIS character may look like `|` or `^`.
//!
//! What decides, in this order: a byte order mark or the shape of UTF-16 and UTF-32, MSH-18, the listener's
//! `charset`, and with none of these UTF-8, which is refused where it does not fit. A listener whose sender declares
//! something wrong sets `charset_override`; its messages are decoded as if MSH-18 were empty.
//!
//! Text that is ASCII throughout means the same in every set of the table and is borrowed, whatever MSH-18 says.

pub(super) mod encoding;
pub(super) mod set;
mod fault;
mod iso2022;
mod names;
mod wide;

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::v2::Header;
use encoding::{by_encoding, byte_by_byte};

pub use set::{Charset, Misfit};

pub use fault::{CharsetFault, FaultPlace};
pub use names::UnknownCharset;
pub use wide::{WideForm, wide_form};

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ascii => "ASCII",
            Self::Utf8 => "UNICODE UTF-8",
            Self::Latin1 => "8859/1",
            Self::Latin5 => "8859/9",
            Self::Thai => "8859/11",
            Self::JisX0201 => "ISO IR14",
            Self::Iso2022Jp => "ISO IR87",
            Self::Utf16 => "UNICODE UTF-16",
            Self::Utf32 => "UNICODE UTF-32",
            Self::Cns11643 => "CNS 11643-1992",
            Self::Other(encoding) => encoding.name(),
        })
    }
}

/// The repetitions of MSH-18, as [`decode`] takes them; none where the field is empty.
#[must_use]
pub fn declared<'a>(header: &Header<'a>) -> SmallVec<[&'a [u8]; 2]> {
    let field = header.field(18);
    if field.is_empty() || field == b"\"\"" {
        return SmallVec::new();
    }
    field.split(|&b| b == header.delimiters().repetition).collect()
}

/// Decodes a whole message. `declared` holds the repetitions of MSH-18, the first being the set that the message is
/// in and the others those that it switches to; `fallback` is used where the first is empty.
///
/// # Errors
/// [`CharsetFault`] with the place of the first character that does not fit, or when MSH-18 names no set we know.
pub fn decode<'a>(raw: &'a [u8], declared: &[&[u8]], fallback: Option<Charset>) -> Result<Cow<'a, str>, CharsetFault> {
    if let Some((form, body)) = wide_form(raw) {
        return form.decode(body).map(Cow::Owned).map_err(|m| CharsetFault::misfit(m, raw, form.charset()));
    }
    let body = raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw);
    let base = if body.len() < raw.len() { Ok(Some(Charset::Utf8)) } else { base(declared, fallback) };
    let switching = declared.len() > 1 || matches!(base, Ok(Some(Charset::Iso2022Jp)));
    let escape = switching.then(|| Header::peek(body).map_or(b'\\', |header| header.delimiters().escape));
    if let Some(text) = plain(body, escape) {
        return Ok(Cow::Borrowed(text));
    }
    let misfit = |set| move |m: Misfit| CharsetFault::misfit(m.behind(raw.len() - body.len()), raw, set);
    match base? {
        None if body.is_ascii() && iso2022::announced(body) => {
            iso2022::decode(body, Charset::Ascii, None).map(Cow::Owned).map_err(misfit(Charset::Ascii))
        }
        None => utf8(body).map_err(|m| CharsetFault::undeclared(m, raw)),
        Some(set) if iso2022::switches(set) && (switching || iso2022::announced(body)) => {
            iso2022::decode(body, set, escape).map(Cow::Owned).map_err(misfit(set))
        }
        Some(charset @ (Charset::Utf16 | Charset::Utf32)) => Err(CharsetFault::NotWide { charset }),
        Some(charset @ Charset::Cns11643) => Err(CharsetFault::Unsupported { charset }),
        Some(set) => set.decode(body).map_err(misfit(set)),
    }
}

/// The set of the first repetition, else the listener's; `None` where neither says anything.
fn base(declared: &[&[u8]], fallback: Option<Charset>) -> Result<Option<Charset>, CharsetFault> {
    let name = declared.first().map(|name| name.trim_ascii()).unwrap_or_default();
    if !name.is_empty() {
        return names::find(name).map(Some).ok_or_else(|| CharsetFault::unknown(name));
    }
    // `~ISO IR87`: the default is ASCII, and what follows says what it switches to.
    Ok(fallback.or(if declared.len() > 1 { Some(Charset::Ascii) } else { None }))
}

/// The bytes themselves where they are ASCII and switch to nothing else. `escape` is given where they may switch.
fn plain(body: &[u8], escape: Option<u8>) -> Option<&str> {
    if !body.is_ascii() || memchr::memchr(iso2022::ESC, body).is_some() {
        return None;
    }
    if escape.is_some_and(|escape| iso2022::spelled_out(body, escape)) {
        return None;
    }
    std::str::from_utf8(body).ok()
}

fn utf8(body: &[u8]) -> Result<Cow<'_, str>, Misfit> {
    std::str::from_utf8(body).map(Cow::Borrowed).map_err(|fault| {
        let offset = fault.valid_up_to();
        Misfit { before: String::from_utf8_lossy(&body[..offset]).into_owned(), offset }
    })
}

impl Charset {
    /// Decodes text that stays within this set.
    fn decode(self, body: &[u8]) -> Result<Cow<'_, str>, Misfit> {
        match self {
            Self::Utf8 => utf8(body),
            Self::Latin1 => Ok(encoding_rs::mem::decode_latin1(body)),
            Self::Other(encoding) => by_encoding(encoding, body),
            _ => byte_by_byte(body, |byte| self.single(byte)).map(Cow::Owned),
        }
    }

    /// What one byte means in a set of single bytes.
    fn single(self, byte: u8) -> Option<char> {
        if byte.is_ascii() {
            return Some(char::from(byte));
        }
        match self {
            Self::Latin1 => Some(char::from(byte)),
            Self::Latin5 => Some(match byte {
                0xD0 => 'Ğ',
                0xDD => 'İ',
                0xDE => 'Ş',
                0xF0 => 'ğ',
                0xFD => 'ı',
                0xFE => 'ş',
                other => char::from(other),
            }),
            Self::Thai => match byte {
                0x80..=0xA0 => Some(char::from(byte)),
                0xA1..=0xDA | 0xDF..=0xFB => char::from_u32(0x0E00 + u32::from(byte) - 0xA0),
                _ => None,
            },
            Self::JisX0201 => iso2022::katakana(byte),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
