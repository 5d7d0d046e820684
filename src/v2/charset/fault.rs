//! Where a character did not fit, and what can be done about it. Names places, never content.

use std::fmt;

use super::set::{Charset, Misfit};

/// Where in the message: as ERR-2 wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultPlace {
    /// `PID`; `?` where the segment has no readable name.
    pub segment: String,
    /// Which one of the segments of this name, from 1.
    pub sequence: usize,
    /// The field's number; 0 within the segment's name.
    pub field: usize,
    /// The first byte that did not fit, from the start of the frame, and its value.
    pub offset: usize,
    pub byte: u8,
}

impl fmt::Display for FaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, sequence, field, offset, byte } = self;
        write!(f, "{segment}-{field} of {segment} segment {sequence}: byte 0x{byte:02X} at offset {offset}")
    }
}

/// Why a message's bytes are not text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CharsetFault {
    #[error(
        "MSH-18 names the character set '{name}', which is not in HL7 table 0211; correct it at the sender, or set `charset` and `charset_override = true` for this listener"
    )]
    Unknown { name: String },
    #[error("MSH-18 names {charset}, which cannot be decoded here; ask the sender for UNICODE UTF-8")]
    Unsupported { charset: Charset },
    #[error(
        "MSH-18 names {charset}, but the message is in single bytes; correct it at the sender, or set `charset` and `charset_override = true` for this listener"
    )]
    NotWide { charset: Charset },
    #[error(
        "{place} is not UTF-8, and MSH-18 is empty; have the sender fill MSH-18, or set `charset` for this listener"
    )]
    Undeclared { place: FaultPlace },
    #[error(
        "{place} is not {charset}; correct MSH-18 at the sender, or set `charset` (and `charset_override = true`) for this listener"
    )]
    Misfit { charset: Charset, place: FaultPlace },
}

impl CharsetFault {
    /// The character's place; `None` where MSH-18 itself is at fault.
    #[must_use]
    pub fn place(&self) -> Option<&FaultPlace> {
        match self {
            Self::Undeclared { place } | Self::Misfit { place, .. } => Some(place),
            Self::Unknown { .. } | Self::Unsupported { .. } | Self::NotWide { .. } => None,
        }
    }

    pub(super) fn unknown(name: &[u8]) -> Self {
        let shown = name.iter().take(32).map(|&b| if b.is_ascii_graphic() { char::from(b) } else { ' ' });
        Self::Unknown { name: shown.collect() }
    }

    pub(super) fn misfit(misfit: Misfit, raw: &[u8], charset: Charset) -> Self {
        Self::Misfit { charset, place: place(&misfit, raw) }
    }

    pub(super) fn undeclared(misfit: Misfit, raw: &[u8]) -> Self {
        Self::Undeclared { place: place(&misfit, raw) }
    }
}

fn place(misfit: &Misfit, raw: &[u8]) -> FaultPlace {
    let text = misfit.before.as_str();
    let separator = text.trim_start().chars().nth(3).unwrap_or('|');
    let mut segments = text.split(['\r', '\n']).rev();
    let line = segments.next().unwrap_or_default().trim_start();
    let name = segment_name(line);
    let earlier = segments.filter(|s| segment_name(s.trim_start()) == name).count();
    let counted = line.matches(separator).count();
    // MSH-1 is the separator itself.
    let field = if matches!(name, "MSH" | "FHS" | "BHS") { counted + 1 } else { counted };
    let byte = raw.get(misfit.offset).copied().unwrap_or_default();
    FaultPlace { segment: name.to_owned(), sequence: earlier + 1, field, offset: misfit.offset, byte }
}

/// The three characters, where they are a segment's name: a fault's text must hold nothing else of the message.
fn segment_name(line: &str) -> &str {
    match line.get(..3) {
        Some(name) if name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) => name,
        _ => "?",
    }
}
