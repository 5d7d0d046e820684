//! Escapes in field text (HL7 v2.5.1 ch. 2.7): `\F\ \S\ \T\ \R\ \E\ \P\`, `\Xhh..\`, highlighting, formatting.
//!
//! Text that needs no change is borrowed. What is not an escape is text, kept as sent: unknown sequences, an escape
//! character that stands alone (`C:\temp`), character set switches that the whole message's decoding left, and
//! `\Zxx\`, whose meaning only the two sites know. Output is never longer than five times the input, whatever a
//! `\.sp9999999\` asks for.
//!
//! Control characters other than tab, CR and LF carry no text and may not stand in a FHIR string (FHIR R4,
//! datatypes: string); they are left out.

use std::borrow::Cow;

use super::Delimiters;
use super::header::NULL;
use crate::work;

/// How formatting commands come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Names, codes, single lines: a break or a skip is one blank.
    Line,
    /// FT and TX: a break is a line end, a skip is blanks.
    Page,
}

/// A command such as `\.sk80\` gives this many blanks or lines at most.
const SKIP_LIMIT: usize = 80;

/// A text without blanks around it. That of most fields has none, and then ends in plain letters or digits.
#[must_use]
pub fn trim(text: &str) -> &str {
    let bare = |byte: Option<&u8>| byte.is_some_and(|byte| (b'!'..=b'~').contains(byte));
    let bytes = text.as_bytes();
    if bare(bytes.first()) && bare(bytes.last()) { text } else { text.trim() }
}

/// Whether a text is something other than blanks and the explicit null. Nearly every one begins with a letter or digit.
#[must_use]
pub fn says_something(text: &str) -> bool {
    text.as_bytes().first().is_some_and(|first| (b'#'..=b'~').contains(first))
        || (text != NULL && !trim(text).is_empty())
}

/// The text of a field of one line (ST, a name, a code). `\.br\` and the like become one blank.
#[must_use]
pub fn unescape<'a>(raw: &'a str, delimiters: &Delimiters) -> Cow<'a, str> {
    decode(raw, delimiters, Layout::Line)
}

/// The text of FT and TX, with `\n` at line ends: `\.br\` and `\.ce\` end a line, `\.sp3\` ends it and leaves three
/// empty, `\.sk4\` is four blanks. Indents and word wrap are dropped; CR and CR LF become `\n`.
#[must_use]
pub fn unescape_formatted<'a>(raw: &'a str, delimiters: &Delimiters) -> Cow<'a, str> {
    decode(raw, delimiters, Layout::Page)
}

fn decode<'a>(raw: &'a str, delimiters: &Delimiters, layout: Layout) -> Cow<'a, str> {
    work::text(raw.len());
    let escape = delimiters.escape;
    let special = |b: &u8| *b == escape || *b < b' ' || *b == 0x7F;
    // Without a way out of the loop, eight and more bytes are looked at in one step.
    if !raw.as_bytes().iter().fold(false, |found, byte| found | special(byte)) {
        return Cow::Borrowed(raw);
    }
    let first = raw.as_bytes().iter().position(special).unwrap_or_default();
    let mut writer = TextWriter { out: String::with_capacity(raw.len()), layout, room: raw.len().saturating_mul(4) };
    writer.out.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(&byte) = rest.as_bytes().first() {
        let taken = if byte == escape {
            escaped(rest, delimiters, &mut writer)
        } else if special(&byte) {
            writer.control(rest)
        } else {
            let run = rest.as_bytes().iter().position(special).unwrap_or(rest.len());
            writer.out.push_str(&rest[..run]);
            run
        };
        rest = &rest[taken..];
    }
    Cow::Owned(writer.out)
}

/// Reads the escape at the start of `rest` and says how many bytes it took.
fn escaped(rest: &str, delimiters: &Delimiters, writer: &mut TextWriter) -> usize {
    let closing = rest.as_bytes()[1..].iter().position(|&b| b == delimiters.escape);
    work::text(closing.unwrap_or(rest.len()));
    let decoded = closing.is_some_and(|length| sequence(&rest[1..=length], delimiters, writer));
    match closing {
        Some(length) if decoded => length + 2,
        // A backslash that opens nothing. Reading goes on behind it: `C:\a \T\ b` still has its ampersand.
        _ => {
            writer.out.push_str(&rest[..1]);
            1
        }
    }
}

/// Writes what stands between two escape characters; false where that is no escape sequence.
fn sequence(code: &str, delimiters: &Delimiters, writer: &mut TextWriter) -> bool {
    let delimiter = match code {
        "F" => delimiters.field,
        "S" => delimiters.component,
        "T" => delimiters.subcomponent,
        "R" => delimiters.repetition,
        "E" => delimiters.escape,
        "P" => delimiters.truncation,
        "H" | "N" => return true,
        _ => {
            return match code.as_bytes() {
                [b'.', ..] => writer.command(&code[1..]),
                [b'X' | b'x', digits @ ..] => hexadecimal(digits).is_some_and(|text| writer.characters(&text)),
                [b'C' | b'M' | b'Z', ..] => kept(code, delimiters.escape, writer),
                _ => false,
            };
        }
    };
    writer.out.push(char::from(delimiter));
    true
}

/// `\Cxxyy\`, `\Mxxyyzz\` and `\Zxx\` go through whole, so that their end opens nothing.
fn kept(code: &str, escape: u8, writer: &mut TextWriter) -> bool {
    let digits = &code.as_bytes()[1..];
    let wanted: &[usize] = match code.as_bytes()[0] {
        b'C' => &[4],
        b'M' => &[4, 6],
        _ => &[],
    };
    let hexadecimal = wanted.contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let local = wanted.is_empty() && !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric);
    if !hexadecimal && !local {
        return false;
    }
    writer.out.push(char::from(escape));
    writer.out.push_str(code);
    writer.out.push(char::from(escape));
    true
}

/// The bytes of `\Xhh..\` as UTF-8 where they are that, else as ISO 8859-1.
fn hexadecimal(digits: &[u8]) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks_exact(2).map(|pair| Some(value(&pair[0])? << 4 | value(&pair[1])?)).collect();
    let bytes = bytes?;
    let text = String::from_utf8(bytes);
    Some(text.unwrap_or_else(|fault| encoding_rs::mem::decode_latin1(fault.as_bytes()).into_owned()))
}

struct TextWriter {
    out: String,
    layout: Layout,
    /// How many blanks and line ends formatting commands may still add.
    room: usize,
}

impl TextWriter {
    /// A formatting command (ch. 2.7.6) without its dot; false where it is none.
    fn command(&mut self, command: &str) -> bool {
        let Some(name) = command.get(..2) else {
            return false;
        };
        let Some(count) = count(&command[2..]) else {
            return false;
        };
        match (name.to_ascii_lowercase().as_str(), count) {
            ("br" | "ce", None) => self.line_ends(1),
            ("sp", lines) => self.line_ends(1 + lines.unwrap_or(1)),
            ("sk", blanks) => self.blanks(blanks.unwrap_or(1)),
            ("fi" | "nf", None) | ("in" | "ti", _) => {}
            _ => return false,
        }
        true
    }

    fn line_ends(&mut self, count: usize) {
        match self.layout {
            Layout::Line => self.one_blank(),
            Layout::Page => self.repeat('\n', count),
        }
    }

    fn blanks(&mut self, count: usize) {
        match self.layout {
            Layout::Line => self.one_blank(),
            Layout::Page => self.repeat(' ', count),
        }
    }

    fn one_blank(&mut self) {
        if !self.out.ends_with(' ') {
            self.out.push(' ');
        }
    }

    fn repeat(&mut self, character: char, count: usize) {
        let count = count.min(SKIP_LIMIT).min(self.room);
        self.room -= count;
        self.out.extend(std::iter::repeat_n(character, count));
    }

    /// Text out of `\Xhh..\`. False, and so kept as sent, where it holds what no text holds.
    fn characters(&mut self, text: &str) -> bool {
        if text.bytes().any(is_forbidden) {
            return false;
        }
        let mut rest = text;
        while let Some(at) = rest.find(['\r', '\n']) {
            self.out.push_str(&rest[..at]);
            rest = &rest[at + self.control(&rest[at..])..];
        }
        self.out.push_str(rest);
        true
    }

    /// The control character at the start of `rest`; says how many bytes it took.
    fn control(&mut self, rest: &str) -> usize {
        match (rest.as_bytes(), self.layout) {
            ([b'\r', b'\n', ..], Layout::Page) => {
                self.out.push('\n');
                return 2;
            }
            ([b'\r', ..], Layout::Page) => self.out.push('\n'),
            ([b, ..], _) if !is_forbidden(*b) => self.out.push_str(&rest[..1]),
            _ => {}
        }
        1
    }
}

fn is_forbidden(byte: u8) -> bool {
    byte == 0x7F || (byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n'))
}

/// The number behind a command: `3`, `+3`, `-3`, none at all. Outer `None` where it is not a number.
fn count(text: &str) -> Option<Option<usize>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Too many digits for a number are only a very large one.
    Some(Some(digits.parse().unwrap_or(SKIP_LIMIT).min(SKIP_LIMIT)))
}

#[cfg(test)]
mod tests;
