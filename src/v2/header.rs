//! The MSH segment, read from bytes (HL7 v2.5.1 ch. 2.15.9).
//!
//! An acknowledgement echoes the sender's control id and delimiters byte for byte, also when the message's text
//! cannot be decoded. So this reads the first segment as bytes, allocates nothing, and refuses only what has no MSH.

/// The delimiters a sender declares in MSH-1 and MSH-2. Those it left out hold HL7's recommended ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiters {
    pub field: u8,
    pub component: u8,
    pub repetition: u8,
    pub escape: u8,
    pub subcomponent: u8,
    /// From v2.7 the fifth of MSH-2: stands at the end of a value that was cut short. Only `\P\` needs it.
    pub truncation: u8,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { field: b'|', component: b'^', repetition: b'~', escape: b'\\', subcomponent: b'&', truncation: b'#' }
    }
}

/// The longest MSH that is read.
const LONGEST: usize = 64 << 10;

/// Why bytes have no readable MSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    #[error("the frame is empty")]
    Empty,
    #[error("the message does not start with an MSH segment")]
    NoMsh,
    #[error("MSH-1 or MSH-2 does not declare usable delimiters")]
    Delimiters,
    /// It is echoed in each acknowledgement.
    #[error("MSH is longer than 64 KiB")]
    TooLong,
}

/// One message's MSH. Fields are numbered as in the standard: MSH-1 is the field separator itself.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    line: &'a [u8],
    delimiters: Delimiters,
}

/// Where a header stands in the bytes that it was read from, for those who keep both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderPlace {
    start: usize,
    end: usize,
    delimiters: Delimiters,
}

impl HeaderPlace {
    /// Where it ends.
    #[must_use]
    pub fn end(self) -> usize {
        self.end
    }

    /// The header in the very bytes that [`Header::place_in`] was asked about.
    #[must_use]
    pub fn of(self, raw: &[u8]) -> Header<'_> {
        Header { line: &raw[self.start..self.end], delimiters: self.delimiters }
    }
}

impl<'a> Header<'a> {
    /// Where it stands in `raw`, which it was read from.
    #[must_use]
    pub fn place_in(&self, raw: &[u8]) -> HeaderPlace {
        let start = self.line.as_ptr() as usize - raw.as_ptr() as usize;
        HeaderPlace { start, end: start + self.line.len(), delimiters: self.delimiters }
    }

    /// Reads the MSH at the start of `raw`, past a byte order mark and blank space.
    ///
    /// # Errors
    /// [`HeaderFault`] when there is nothing that could be acknowledged by its control id.
    pub fn peek(raw: &'a [u8]) -> Result<Self, HeaderFault> {
        let raw = raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw).trim_ascii_start();
        if raw.is_empty() {
            return Err(HeaderFault::Empty);
        }
        if !raw.starts_with(b"MSH") {
            return Err(HeaderFault::NoMsh);
        }
        let end = memchr::memchr2(b'\r', b'\n', raw).unwrap_or(raw.len());
        if end > LONGEST {
            return Err(HeaderFault::TooLong);
        }
        let line = &raw[..end];
        let field = *line.get(3).ok_or(HeaderFault::Delimiters)?;
        if !is_delimiter(field) {
            return Err(HeaderFault::Delimiters);
        }
        let declared = line[4..].split(|&b| b == field).next().unwrap_or_default();
        Ok(Self { line, delimiters: delimiters(field, declared)? })
    }

    #[must_use]
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// The raw bytes of MSH-`n`, all repetitions; empty when the segment ends before it.
    #[must_use]
    pub fn field(&self, n: usize) -> &'a [u8] {
        match n {
            0 => &self.line[..3],
            1 => &self.line[3..4],
            _ => self.line[4..].split(|&b| b == self.delimiters.field).nth(n - 2).unwrap_or_default(),
        }
    }

    /// The raw bytes of one component of the first repetition of MSH-`field`.
    #[must_use]
    pub fn component(&self, field: usize, component: usize) -> &'a [u8] {
        let first = self.field(field).split(|&b| b == self.delimiters.repetition).next().unwrap_or_default();
        first.split(|&b| b == self.delimiters.component).nth(component - 1).unwrap_or_default()
    }

    /// MSH-10, byte for byte.
    #[must_use]
    pub fn control_id(&self) -> &'a [u8] {
        self.field(10)
    }

    /// MSH-9.1 as text, where it is ASCII.
    #[must_use]
    pub fn message_type(&self) -> &'a str {
        std::str::from_utf8(self.component(9, 1)).unwrap_or_default().trim()
    }

    /// MSH-9.2 as text, where it is ASCII. MSH-9.3 is often wrong and is never asked.
    #[must_use]
    pub fn trigger(&self) -> &'a str {
        std::str::from_utf8(self.component(9, 2)).unwrap_or_default().trim()
    }

    /// Whether the sender asks for enhanced mode: MSH-15 or MSH-16 valued (HL7 v2.5.1 ch. 2.9.3).
    #[must_use]
    pub fn enhanced(&self) -> bool {
        !self.field(15).is_empty() || !self.field(16).is_empty()
    }
}

/// Not a line end, and not a byte of MLLP framing: an ack in the sender's own delimiters would break its own frame.
fn is_delimiter(byte: u8) -> bool {
    let reserved = matches!(byte, b'\r' | b'\n' | 0x0B | 0x1C);
    byte.is_ascii_punctuation() || byte == b' ' || (byte.is_ascii_control() && !reserved)
}

/// MSH-2 in its order: component, repetition, escape, subcomponent, and from v2.7 truncation.
fn delimiters(field: u8, declared: &[u8]) -> Result<Delimiters, HeaderFault> {
    let standard = Delimiters::default();
    let at = |n: usize, otherwise: u8| declared.get(n).copied().unwrap_or(otherwise);
    let found = Delimiters {
        field,
        component: at(0, standard.component),
        repetition: at(1, standard.repetition),
        escape: at(2, standard.escape),
        subcomponent: at(3, standard.subcomponent),
        truncation: declared.get(4).copied().filter(|&b| is_delimiter(b)).unwrap_or(standard.truncation),
    };
    let all = [found.field, found.component, found.repetition, found.escape, found.subcomponent];
    let distinct = all.iter().enumerate().all(|(i, d)| !all[..i].contains(d));
    if !distinct || !all.iter().all(|&d| is_delimiter(d)) {
        return Err(HeaderFault::Delimiters);
    }
    Ok(found)
}

/// HL7's explicit null: "delete what you hold" (HL7 v2.5.1 ch. 2.5.3).
pub const NULL: &str = "\"\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_from_the_separator() {
        let header = Header::peek(b"MSH|^~\\&|APP|FAC|||20240101||ADT^A01^ADT_A01|42|P|2.5\rPID|1").unwrap();
        assert_eq!(header.field(1), b"|");
        assert_eq!(header.field(2), b"^~\\&");
        assert_eq!(header.field(3), b"APP");
        assert_eq!(header.control_id(), b"42");
        assert_eq!(header.trigger(), "A01");
        assert_eq!(header.field(12), b"2.5");
        assert_eq!(header.field(30), b"");
    }

    #[test]
    fn the_truncation_character_does_not_shift_the_fields() {
        let header = Header::peek(b"MSH|^~\\&#|APP|FAC|||20240101||ADT^A01|42").unwrap();
        assert_eq!(header.control_id(), b"42");
        assert_eq!(header.delimiters().truncation, b'#');
        let other = Header::peek(b"MSH|^~\\&@|APP|FAC|||20240101||ADT^A01|42").unwrap();
        assert_eq!((other.delimiters().truncation, other.control_id()), (b'@', b"42".as_slice()));
    }

    #[test]
    fn delimiters_are_the_senders() {
        let header = Header::peek(b"MSH$*!?%$APP$$$$$$ADT*A08$7").unwrap();
        assert_eq!(header.delimiters().component, b'*');
        assert_eq!(header.trigger(), "A08");
    }

    #[test]
    fn two_delimiters_that_are_the_same_are_refused() {
        assert_eq!(Header::peek(b"MSH|||APP").err(), None);
        assert_eq!(Header::peek(b"MSH|^^\\&|APP").err(), Some(HeaderFault::Delimiters));
        assert_eq!(Header::peek(b"MSH\x0B^~\\&\x0BAPP").err(), Some(HeaderFault::Delimiters));
        assert_eq!(Header::peek(b"PID|1").err(), Some(HeaderFault::NoMsh));
        assert_eq!(Header::peek(b" \r\n").err(), Some(HeaderFault::Empty));
    }
}
