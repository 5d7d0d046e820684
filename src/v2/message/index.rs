//! Where the segments and fields of a text stand: what is worked out once for a message, and handed on with it.

use crate::v2::header::Delimiters;

#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub span: Span,
    pub first_field: u32,
    /// Which one of its name, from 1.
    pub occurrence: u32,
    /// A bit for each field that is not empty, by its number; those from 63 on have one together.
    pub sent: u64,
}

/// The index of one text. It borrows nothing, so that it goes from thread to thread with the bytes it belongs to.
#[derive(Debug)]
pub struct Index {
    pub delimiters: Delimiters,
    pub segments: Vec<Segment>,
    /// The segments of each name, names in alphabetical order.
    pub names: Vec<([u8; 3], Vec<usize>)>,
    pub fields: Vec<Span>,
    pub strays: Vec<Span>,
    /// Nothing in its fields is escaped, and no control character stands in them.
    pub plain: bool,
}

impl Index {
    /// Of a text that begins with MSH and is no longer than 4 GiB.
    pub fn of(text: &str, delimiters: Delimiters) -> Self {
        let mut index = Self {
            delimiters,
            segments: Vec::with_capacity(16),
            names: Vec::with_capacity(12),
            fields: Vec::with_capacity(text.len() / 12 + 8),
            strays: Vec::new(),
            plain: false,
        };
        index.lines(text.as_bytes());
        index
    }

    /// Gives back the room that was taken in advance: an index that waits with its message should hold what it needs.
    pub fn shrink(&mut self) {
        self.segments.shrink_to_fit();
        self.names.shrink_to_fit();
        self.fields.shrink_to_fit();
    }

    /// What it takes in memory.
    pub fn size(&self) -> usize {
        let names = self.names.iter().map(|(_, segments)| segments.capacity() * size_of::<usize>()).sum::<usize>();
        let spans = self.fields.capacity() + self.strays.capacity();
        size_of::<Self>()
            + names
            + spans * size_of::<Span>()
            + self.names.capacity() * size_of::<([u8; 3], Vec<usize>)>()
            + self.segments.capacity() * size_of::<Segment>()
    }

    fn lines(&mut self, bytes: &[u8]) {
        let mut start = 0;
        self.plain = is_plain(bytes, &self.delimiters);
        while start < bytes.len() {
            let end = line_end(bytes, start, self.delimiters.field);
            // A line end that is text has been passed by.
            self.plain &= !bytes[start..end].contains(&b'\n');
            if !bytes[start..end].trim_ascii().is_empty() {
                self.line(bytes, start, end);
            }
            start = end + 1;
        }
    }

    fn line(&mut self, bytes: &[u8], start: usize, end: usize) {
        let bytes = &bytes[..end];
        if !starts_segment(&bytes[start..], self.delimiters.field) {
            self.strays.push(span(start, end));
            return;
        }
        let name = [bytes[start], bytes[start + 1], bytes[start + 2]];
        let occurrence = self.note(name);
        self.segments.push(Segment {
            span: span(start, end),
            first_field: self.fields.len() as u32,
            occurrence,
            sent: 0,
        });
        let (mut field, mut number, mut sent) = (start + 3, 1_usize, 0_u64);
        if &name == b"MSH" {
            self.fields.push(span(field, (field + 1).min(end)));
            sent |= u64::from(field < end) << 1;
            number += 1;
        }
        while field < end {
            let from = field + 1;
            let to = memchr::memchr(self.delimiters.field, &bytes[from..]).map_or(end, |n| from + n);
            self.fields.push(span(from, to));
            sent |= u64::from(from < to) << number.min(63);
            number += 1;
            field = to;
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.sent = sent;
        }
    }

    /// Files the segment about to be added under its name; answers which one of that name it is, from 1.
    fn note(&mut self, name: [u8; 3]) -> u32 {
        let slot = match self.names.binary_search_by_key(&name, |(known, _)| *known) {
            Ok(slot) => slot,
            Err(slot) => {
                self.names.insert(slot, (name, Vec::with_capacity(1)));
                slot
            }
        };
        let of_name = &mut self.names[slot].1;
        of_name.push(self.segments.len());
        of_name.len() as u32
    }
}

impl Span {
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Offsets fit: [`super::Message::parse`] refuses a text over 4 GiB.
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// A segment's start: a letter, two letters or digits, and the field separator (or nothing more).
fn starts_segment(line: &[u8], separator: u8) -> bool {
    matches!(line, [a, b, c, rest @ ..]
        if a.is_ascii_alphabetic() && b.is_ascii_alphanumeric() && c.is_ascii_alphanumeric()
            && rest.first().is_none_or(|&next| next == separator))
}

/// Whether a text holds no control character besides line ends, and the escape character nowhere but in MSH-2.
fn is_plain(bytes: &[u8], d: &Delimiters) -> bool {
    let behind_msh_1 = bytes.get(4..).unwrap_or_default();
    let msh_2 = memchr::memchr(d.field, behind_msh_1).unwrap_or(behind_msh_1.len());
    let (msh_2, rest) = behind_msh_1.split_at(msh_2);
    let odd = |&byte: &u8| byte == d.escape || byte == 0x7F || (byte < b' ' && byte != b'\r' && byte != b'\n');
    // Without a way out of the loop, many bytes are looked at in one step.
    let once = msh_2.iter().filter(|&&byte| byte == d.escape).count() <= 1;
    once && msh_2.iter().all(|byte| *byte == d.escape || !odd(byte))
        && !rest.iter().fold(false, |found, byte| found | odd(byte))
}

/// The end of the line that starts at `start`: a CR, or an LF with a segment, another line end or nothing behind it.
fn line_end(bytes: &[u8], start: usize, separator: u8) -> usize {
    let mut from = start;
    while let Some(n) = memchr::memchr2(b'\r', b'\n', &bytes[from..]) {
        let at = from + n;
        let rest = &bytes[at + 1..];
        let next = &rest[..rest.len().min(4)];
        if bytes[at] == b'\r' || next.is_empty() || matches!(next[0], b'\r' | b'\n') || starts_segment(next, separator)
        {
            return at;
        }
        from = at + 1;
    }
    bytes.len()
}
