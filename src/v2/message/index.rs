//! Where the segments and fields of a text stand: what is worked out once for a message, and handed on with it.

use std::collections::HashMap;

use crate::v2::header::Delimiters;
use crate::work;

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
            names: Vec::new(),
            fields: Vec::with_capacity(text.len() / 12 + 8),
            strays: Vec::new(),
            plain: false,
        };
        let mut found = FoundNames::default();
        index.lines(text.as_bytes(), &mut found);
        index.names = found.sorted();
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

    fn lines(&mut self, bytes: &[u8], names: &mut FoundNames) {
        let mut start = 0;
        work::text(bytes.len());
        self.plain = is_plain(bytes, &self.delimiters);
        while start < bytes.len() {
            let end = line_end(bytes, start, self.delimiters.field);
            // A line end that is text has been passed by.
            self.plain &= !bytes[start..end].contains(&b'\n');
            if !bytes[start..end].trim_ascii().is_empty() {
                self.line(bytes, start, end, names);
            }
            start = end + 1;
        }
    }

    fn line(&mut self, bytes: &[u8], start: usize, end: usize, names: &mut FoundNames) {
        let bytes = &bytes[..end];
        if !starts_segment(&bytes[start..], self.delimiters.field) {
            self.strays.push(span(start, end));
            return;
        }
        let name = [bytes[start], bytes[start + 1], bytes[start + 2]];
        let occurrence = names.note(name, self.segments.len());
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
        work::steps(number);
        if let Some(segment) = self.segments.last_mut() {
            segment.sent = sent;
        }
    }
}

/// So many names are looked through; where there are more they are found by a hash. Messages have about a dozen.
const FEW: usize = 32;

/// The names of segments as they are met. A sender can make up a hundred thousand of them.
#[derive(Default)]
struct FoundNames {
    names: Vec<([u8; 3], Vec<usize>)>,
    /// Where each stands, once there are many.
    many: HashMap<[u8; 3], usize>,
}

impl FoundNames {
    /// Files a segment under its name; answers which one of that name it is, from 1.
    fn note(&mut self, name: [u8; 3], segment: usize) -> u32 {
        let at = match self.find(name) {
            Some(at) => at,
            None => self.add(name),
        };
        let of_name = &mut self.names[at].1;
        of_name.push(segment);
        of_name.len() as u32
    }

    fn find(&self, name: [u8; 3]) -> Option<usize> {
        if self.names.len() > FEW {
            work::steps(1);
            return self.many.get(&name).copied();
        }
        let at = self.names.iter().position(|(known, _)| *known == name);
        work::steps(at.unwrap_or(self.names.len()) + 1);
        at
    }

    fn add(&mut self, name: [u8; 3]) -> usize {
        let at = self.names.len();
        if at == 0 {
            self.names.reserve(12);
        }
        self.names.push((name, Vec::with_capacity(1)));
        if at == FEW {
            self.many.extend(self.names.iter().enumerate().map(|(at, (name, _))| (*name, at)));
        } else if at > FEW {
            self.many.insert(name, at);
        }
        at
    }

    /// In alphabetical order.
    fn sorted(mut self) -> Vec<([u8; 3], Vec<usize>)> {
        work::steps(self.names.len());
        self.names.sort_unstable_by_key(|(name, _)| *name);
        self.names
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
