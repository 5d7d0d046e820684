//! One message: an index of its segments and fields over the text it was sent in.
//!
//! The index is ours because a parser that stops at the first odd line and says nothing loses the segments behind it:
//! here every line of the text is a segment or is named by [`Message::strays`]. What is inside a field is taken apart only
//! when somebody reads it, and once ([`super::field`]); a field without a delimiter in it never is.

pub(super) mod index;
mod place;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use super::field::{Field, Part, Repetition, take_apart};
use super::header::{Delimiters, Header, HeaderFault};
use super::pieces::Pieces;
use super::text;
use crate::v2::header::NULL;
use index::Index;

/// A message over its decoded text.
#[derive(Debug)]
pub struct Message<'a> {
    text: &'a str,
    index: Arc<Index>,
    /// The repetitions of each field that somebody has read.
    parsed: Vec<OnceCell<Box<[Repetition<'a>]>>>,
    pieces: OnceCell<Pieces>,
    /// How many places have been named.
    asked: Cell<u32>,
}

/// A message begins behind a byte order mark and blank space.
pub(super) fn start(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text).trim_start()
}

/// The index of a message's text, of whose MSH the delimiters have been read.
pub(super) fn index_of(text: &str, delimiters: Delimiters) -> Result<Index, MessageFault> {
    let text = start(text);
    if u32::try_from(text.len()).is_err() {
        return Err(MessageFault::TooLarge);
    }
    Ok(Index::of(text, delimiters))
}

/// Why a text is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    #[error(transparent)]
    Header(#[from] HeaderFault),
    #[error("the message is larger than 4 GiB")]
    TooLarge,
}

impl<'a> Message<'a> {
    /// Indexes `text`. Segments end in CR, LF or CRLF; an LF that no segment follows belongs to the field it stands in,
    /// because senders do put line feeds into text.
    ///
    /// # Errors
    /// [`MessageFault`] when it does not start with a usable MSH.
    pub fn parse(text: &'a str) -> Result<Self, MessageFault> {
        let delimiters = Header::peek(start(text).as_bytes())?.delimiters();
        Ok(Self::over(text, Arc::new(index_of(text, delimiters)?)))
    }

    /// Over a text and the index that [`index_of`] made of it.
    pub(super) fn over(text: &'a str, index: Arc<Index>) -> Self {
        let mut parsed = Vec::new();
        parsed.resize_with(index.fields.len(), OnceCell::new);
        Self { text: start(text), index, parsed, pieces: OnceCell::new(), asked: Cell::new(0) }
    }

    #[cfg(test)]
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    #[must_use]
    pub fn delimiters(&self) -> &Delimiters {
        &self.index.delimiters
    }

    /// How many fields the message has in all.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.index.fields.len()
    }

    /// The segment that holds a byte offset, or the last one before it.
    #[must_use]
    pub fn segment_at(&self, offset: usize) -> usize {
        self.index.segments.partition_point(|s| s.span.start as usize <= offset).saturating_sub(1)
    }

    /// How many segments there are; they are numbered from 0 in the order sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.segments.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.segments.is_empty()
    }

    /// The three letters of a segment; empty past the end.
    #[must_use]
    pub fn name(&self, segment: usize) -> &'a str {
        self.index.segments.get(segment).map_or("", |s| &self.text[s.span.start as usize..s.span.start as usize + 3])
    }

    /// Which one of its name a segment is, from 1.
    #[must_use]
    pub fn occurrence(&self, segment: usize) -> usize {
        self.index.segments.get(segment).map_or(0, |s| s.occurrence as usize)
    }

    /// The segment as sent.
    #[must_use]
    pub fn segment_text(&self, segment: usize) -> &'a str {
        self.index.segments.get(segment).map_or("", |s| &self.text[s.span.range()])
    }

    /// The first segment of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.all(name).first().copied()
    }

    /// All segments of a name, in the order sent.
    #[must_use]
    pub fn all(&self, name: &str) -> &[usize] {
        let Ok(name) = <[u8; 3]>::try_from(name.as_bytes()) else { return &[] };
        let found = self.index.names.binary_search_by_key(&name, |(known, _)| *known);
        found.map_or(&[], |slot| &self.index.names[slot].1)
    }

    /// Lines that are no segment: no three-letter name, or no field separator behind it.
    pub fn strays(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.index.strays.iter().map(|s| &self.text[s.range()])
    }

    /// The number of fields a segment was sent with, numbered as in the standard (MSH-1 is the separator).
    #[must_use]
    pub fn field_count(&self, segment: usize) -> usize {
        let Some(this) = self.index.segments.get(segment) else { return 0 };
        let next = self.index.segments.get(segment + 1).map_or(self.index.fields.len(), |s| s.first_field as usize);
        next - this.first_field as usize
    }

    /// A number for each field of the message, from 0.
    #[must_use]
    pub fn slot(&self, segment: usize, field: usize) -> Option<usize> {
        (1..=self.field_count(segment))
            .contains(&field)
            .then(|| self.index.segments[segment].first_field as usize + field - 1)
    }

    /// A field as sent, all repetitions; empty where the segment ends before it. Fields are numbered from 1.
    #[must_use]
    pub fn field(&self, segment: usize, field: usize) -> &'a str {
        self.slot(segment, field).map_or("", |slot| &self.text[self.index.fields[slot].range()])
    }

    /// A bit for each field of a segment that is not empty: bit 5 for the fifth, bit 63 for all from there on.
    #[must_use]
    pub fn sent(&self, segment: usize) -> u64 {
        self.index.segments.get(segment).map_or(0, |segment| segment.sent)
    }

    /// A field's text without its escapes; see [`text::unescape`].
    #[must_use]
    pub fn unescape(&self, raw: &'a str) -> Cow<'a, str> {
        if self.index.plain { Cow::Borrowed(raw) } else { text::unescape(raw, &self.index.delimiters) }
    }

    /// Whether a field has a value: something besides delimiters, blanks and the explicit null. Takes nothing apart.
    #[must_use]
    pub fn says_something(&self, segment: usize, field: usize) -> bool {
        let d = &self.index.delimiters;
        let separates = |byte: &u8| [d.repetition, d.component, d.subcomponent].contains(byte);
        let pieces = self.field(segment, field).as_bytes().split(separates);
        pieces.map(<[u8]>::trim_ascii).any(|piece| !piece.is_empty() && piece != NULL.as_bytes())
    }

    /// Where a piece of this message's text stands, as a byte offset into [`Message::text`].
    #[must_use]
    pub fn offset(&self, piece: &str) -> Option<usize> {
        let offset = (piece.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        (offset + piece.len() <= self.text.len()).then_some(offset)
    }

    /// How many repetitions a field has; an empty field has none.
    #[must_use]
    pub fn repetitions(&self, segment: usize, field: usize) -> usize {
        self.whole(segment, field).len()
    }

    /// One repetition of a field, from 0.
    #[must_use]
    pub fn repetition(&self, segment: usize, field: usize, n: usize) -> Option<Part<'_, 'a>> {
        self.whole(segment, field).get(n)
    }

    /// A field with its repetitions.
    #[must_use]
    pub fn whole(&self, segment: usize, field: usize) -> Field<'_, 'a> {
        let Some(slot) = self.slot(segment, field) else { return Field::plain("") };
        let raw = &self.text[self.index.fields[slot].range()];
        self.taken_apart(segment, field, slot, raw).map_or(Field::plain(raw), |parsed| Field::parsed(raw, parsed))
    }

    /// The repetitions of a field, where there is anything in it to take apart. MSH-1 and MSH-2 hold delimiters and are
    /// never.
    fn taken_apart(&self, segment: usize, field: usize, slot: usize, raw: &'a str) -> Option<&[Repetition<'a>]> {
        if field <= 2 && self.name(segment) == "MSH" {
            return None;
        }
        if let Some(parsed) = self.parsed[slot].get() {
            return Some(parsed);
        }
        let d = &self.index.delimiters;
        memchr::memchr3(d.component, d.repetition, d.subcomponent, raw.as_bytes())?;
        Some(self.parsed[slot].get_or_init(|| take_apart(raw, d)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A01: &str = "MSH|^~\\&|APP|FAC|||20240101||ADT^A01|1|P|2.5\rPID|1||12^^^H&1.2&ISO^MR~34||Doe^Jane\rPV1|1|I";

    fn leafs(message: &Message<'_>, segment: usize, field: usize) -> Vec<String> {
        (0..message.repetitions(segment, field))
            .filter_map(|n| message.repetition(segment, field, n))
            .map(|part| part.leaf().to_owned())
            .collect()
    }

    #[test]
    fn a_second_header_that_ends_behind_its_name_has_an_empty_first_field() {
        let message = Message::parse("MSH|^~\\&|A\rMSH").unwrap();
        assert_eq!((message.len(), message.field_count(1), message.field(1, 1)), (2, 1, ""));
    }

    #[test]
    fn fields_are_numbered_as_in_the_standard() {
        let message = Message::parse(A01).unwrap();
        assert_eq!(message.field(0, 1), "|");
        assert_eq!(message.field(0, 2), "^~\\&");
        assert_eq!(message.field(0, 9), "ADT^A01");
        assert_eq!(message.field(1, 5), "Doe^Jane");
        assert_eq!(message.field(2, 2), "I");
        assert_eq!(message.field(2, 9), "");
        assert_eq!(message.field(2, 0), "");
    }

    #[test]
    fn repetitions_components_and_subcomponents_are_reached() {
        let message = Message::parse(A01).unwrap();
        assert_eq!(message.repetitions(1, 3), 2);
        let first = message.repetition(1, 3, 0).unwrap();
        assert_eq!(first.part(4).unwrap().part(2).unwrap().raw(), "1.2");
        assert_eq!(first.part(5).unwrap().part(1).unwrap().raw(), "MR");
        assert_eq!(message.repetition(1, 3, 1).unwrap().part(1).unwrap().raw(), "34");
        assert!(message.repetition(1, 3, 2).is_none());
    }

    #[test]
    fn any_line_end_gives_the_same_segments() {
        for end in ["\r", "\n", "\r\n", "\r\r", "\n\n"] {
            let text = A01.replace('\r', end);
            let message = Message::parse(&text).unwrap();
            assert_eq!((message.len(), message.field(2, 2)), (3, "I"), "{end:?}");
        }
    }

    #[test]
    fn a_line_feed_inside_a_text_does_not_cut_the_field() {
        let message = Message::parse("MSH|^~\\&|A\rOBX|1|TX|c^d||first line\nsecond ^line|x\rPV1|1|I").unwrap();
        assert_eq!(message.field(1, 5), "first line\nsecond ^line");
        assert_eq!(leafs(&message, 1, 5), ["first line\nsecond "]);
        assert_eq!(message.field(1, 6), "x");
        assert_eq!(message.name(2), "PV1");
    }

    #[test]
    fn odd_lines_are_named_and_the_segments_behind_them_are_kept() {
        for odd in ["PV", "garbage here", "\u{1}PV1|1", "P", "|||"] {
            let text = format!("MSH|^~\\&|A\r{odd}\r\rPID|1||7");
            let message = Message::parse(&text).unwrap();
            assert_eq!(message.name(1), "PID", "{odd:?}");
            assert_eq!(message.strays().count(), 1, "{odd:?}");
        }
        let message = Message::parse("MSH|^~\\&|A\rPDA\rPID|1").unwrap();
        assert_eq!((message.name(1), message.field_count(1), message.name(2)), ("PDA", 0, "PID"));
    }

    #[test]
    fn occurrences_count_per_name() {
        let message = Message::parse("MSH|^~\\&|A\rDG1|1\rDG1|2\rPV1|1\rDG1|3").unwrap();
        assert_eq!(message.all("DG1").iter().map(|&s| message.occurrence(s)).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn null_is_neither_a_value_nor_absence() {
        let message = Message::parse("MSH|^~\\&|A\rPID|\"\"|^&^~ |x").unwrap();
        let null = message.repetition(1, 1, 0).unwrap();
        assert!(null.is_null() && !null.valued());
        assert!(!message.repetition(1, 2, 0).unwrap().valued());
        assert!(message.repetition(1, 3, 0).unwrap().valued());
    }

    #[test]
    fn a_field_of_delimiters_blanks_and_nulls_says_nothing() {
        let message = Message::parse("MSH|^~\\&|A\rPID|\"\"|^&^~ |^\"\"^|^x|").unwrap();
        let says: Vec<_> = (1..=5).map(|field| message.says_something(1, field)).collect();
        assert_eq!(says, [false, false, false, true, false]);
    }

    #[test]
    fn delimiters_as_sent_take_the_field_apart() {
        let message = Message::parse("MSH$*!?%$A\rPID$1$$7***H%9.9%ISO!8").unwrap();
        assert_eq!(message.repetitions(1, 3), 2);
        assert_eq!(message.repetition(1, 3, 0).unwrap().part(4).unwrap().part(2).unwrap().raw(), "9.9");
    }
}
