//! Switching between character sets inside a message (ISO 2022; HL7 v2.5.1 ch. 2.7.2, 2.9.2).
//!
//! Two spellings of a switch are read: the escape sequence itself (`ESC $ B`), which Japanese senders use, and HL7's
//! `\M2442\` and `\C2842\`, which hold the same bytes in hexadecimal. After a segment's end the message is back in
//! the set it began with. A segment that ends among two-byte characters is a fault: a character was cut in half or
//! the switch back is missing, and the delimiters since then were read as parts of characters.
//!
//! JIS X 0201 Roman is read as ASCII: its yen sign and overline stand where HL7 has its escape and its repetition
//! delimiter, and old senders switch to it where they mean ASCII.

use encoding_rs::{EUC_JP, EUC_KR, Encoding, GBK};

use super::names;
use super::set::{Charset, Misfit};

pub(super) const ESC: u8 = 0x1B;

/// What the lower half of the code (0x21 to 0x7E) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    Ascii,
    Katakana,
    JisX0208,
    JisX0212,
}

/// What the upper half (from 0x80) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upper {
    Single(Charset),
    Pairs(&'static Encoding),
}

#[derive(Debug, Clone, Copy)]
enum Switch {
    Lower(Lower),
    Upper(Upper),
}

/// Whether a message in this set can switch to others. UTF-8, GB 18030 and Big5 cannot.
pub(super) fn switches(set: Charset) -> bool {
    match set {
        Charset::Ascii | Charset::Latin1 | Charset::Latin5 | Charset::Thai => true,
        Charset::JisX0201 | Charset::Iso2022Jp => true,
        Charset::Other(encoding) => encoding == EUC_KR || encoding.is_single_byte(),
        _ => false,
    }
}

/// Whether a switch by escape sequence stands somewhere in the message.
pub(super) fn announced(body: &[u8]) -> bool {
    memchr::memchr_iter(ESC, body).any(|at| designation(&body[at + 1..]).is_some())
}

/// Whether something like HL7's own spelling of a switch, `\C2842\`, may stand in the message.
pub(super) fn spelled_out(body: &[u8], escape: u8) -> bool {
    memchr::memmem::find(body, &[escape, b'C']).is_some() || memchr::memmem::find(body, &[escape, b'M']).is_some()
}

/// Decodes a message that begins in `base`. `escape` is the sender's escape delimiter where MSH-18 announces
/// switches: then HL7's spelling is read too, and a sequence that is not known here is an error. In a message that
/// announces none it is text, such as a printer's control codes in a report.
pub(super) fn decode(body: &[u8], base: Charset, escape: Option<u8>) -> Result<String, Misfit> {
    let start = upper_of(base);
    let mut text = String::with_capacity(body.len() + body.len() / 2);
    let (mut lower, mut upper) = (Lower::Ascii, start);
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        if let Some((switch, length)) = switch(&body[at..], escape) {
            match switch {
                Switch::Lower(set) => lower = set,
                Switch::Upper(set) => upper = set,
            }
            at += length;
            continue;
        }
        let read = match byte {
            b'\r' | b'\n' if matches!(lower, Lower::JisX0208 | Lower::JisX0212) => None,
            b'\r' | b'\n' => {
                (lower, upper) = (Lower::Ascii, start);
                Some((char::from(byte), 1))
            }
            ESC if escape.is_some() => None,
            0..=0x20 | 0x7F => Some((char::from(byte), 1)),
            0x21..=0x7E => lower.read(&body[at..]),
            _ => upper.read(&body[at..]),
        };
        let Some((character, length)) = read else {
            return Err(Misfit { before: text, offset: at });
        };
        text.push(character);
        at += length;
    }
    Ok(text)
}

fn upper_of(base: Charset) -> Upper {
    match base {
        Charset::Other(encoding) if !encoding.is_single_byte() => Upper::Pairs(encoding),
        set => Upper::Single(set),
    }
}

impl Lower {
    fn read(self, rest: &[u8]) -> Option<(char, usize)> {
        let first = *rest.first()?;
        match self {
            Self::Ascii => Some((char::from(first), 1)),
            Self::Katakana => Some((katakana(first | 0x80)?, 1)),
            // EUC-JP holds both JIS sets: 0208 in the upper half, 0212 behind 0x8F.
            Self::JisX0208 => Some((one_character(EUC_JP, &[first | 0x80, trail(rest)? | 0x80])?, 2)),
            Self::JisX0212 => Some((one_character(EUC_JP, &[0x8F, first | 0x80, trail(rest)? | 0x80])?, 2)),
        }
    }
}

fn trail(rest: &[u8]) -> Option<u8> {
    rest.get(1).copied().filter(|b| (0x21..=0x7E).contains(b))
}

impl Upper {
    fn read(self, rest: &[u8]) -> Option<(char, usize)> {
        match self {
            Self::Single(Charset::Other(encoding)) => Some((one_character(encoding, rest.get(..1)?)?, 1)),
            Self::Single(set) => Some((set.single(*rest.first()?)?, 1)),
            Self::Pairs(encoding) => Some((one_character(encoding, rest.get(..2)?)?, 2)),
        }
    }
}

fn one_character(encoding: &'static Encoding, bytes: &[u8]) -> Option<char> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// Half-width katakana in the upper half of JIS X 0201.
pub(super) fn katakana(byte: u8) -> Option<char> {
    (0xA1..=0xDF).contains(&byte).then(|| char::from_u32(0xFF61 + u32::from(byte) - 0xA1)).flatten()
}

/// A switch at the start of `rest`, and its length.
fn switch(rest: &[u8], escape: Option<u8>) -> Option<(Switch, usize)> {
    match rest {
        [ESC, sequence @ ..] => designation(sequence).map(|(switch, length)| (switch, length + 1)),
        [mark, b'C' | b'M', hex @ ..] if Some(*mark) == escape => {
            let digits = hex.iter().take(7).position(|b| b == mark).filter(|n| matches!(n, 4 | 6))?;
            let mut sequence = [0; 3];
            for (byte, pair) in sequence.iter_mut().zip(hex[..digits].chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
            }
            let (switch, length) = designation(&sequence[..digits / 2])?;
            (length == digits / 2).then_some((switch, digits + 3))
        }
        _ => None,
    }
}

/// The set that an escape sequence designates, without its ESC, and the sequence's length.
fn designation(sequence: &[u8]) -> Option<(Switch, usize)> {
    let found = match sequence {
        [b'(', b'B' | b'J', ..] => (Switch::Lower(Lower::Ascii), 2),
        [b'(', b'I', ..] => (Switch::Lower(Lower::Katakana), 2),
        [b'$', b'@' | b'B', ..] => (Switch::Lower(Lower::JisX0208), 2),
        [b'$', b'(', b'B', ..] => (Switch::Lower(Lower::JisX0208), 3),
        [b'$', b'(', b'D', ..] => (Switch::Lower(Lower::JisX0212), 3),
        [b')', b'I', ..] => (Switch::Upper(Upper::Single(Charset::JisX0201)), 2),
        [b'$', b')', b'C', ..] => (Switch::Upper(Upper::Pairs(EUC_KR)), 3),
        [b'$', b')', b'A', ..] => (Switch::Upper(Upper::Pairs(GBK)), 3),
        [b'-', last, ..] => (Switch::Upper(Upper::Single(names::find(registered(*last)?)?)), 2),
        _ => return None,
    };
    Some(found)
}

/// The ISO 8859 part that `ESC - x` puts into the upper half.
fn registered(last: u8) -> Option<&'static [u8]> {
    Some(match last {
        b'A' => b"8859/1",
        b'B' => b"8859/2",
        b'C' => b"8859/3",
        b'D' => b"8859/4",
        b'F' => b"8859/7",
        b'G' => b"8859/6",
        b'H' => b"8859/8",
        b'L' => b"8859/5",
        b'M' => b"8859/9",
        b'T' => b"8859/11",
        b'b' => b"8859/15",
        _ => return None,
    })
}
