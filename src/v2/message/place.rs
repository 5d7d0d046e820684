//! The names of places: which field and part of the message stands at an offset of its text.

use super::Message;
use crate::v2::path::Path;
use crate::v2::pieces::Pieces;

/// So many places of a message are named by looking into their field; for more, all parts of the message are found once.
const LOOKED_UP_ALONE: u32 = 8;

impl Message<'_> {
    /// The path of the piece of text that starts at a byte offset: the innermost part there.
    #[must_use]
    pub fn locate(&self, offset: usize) -> Option<Path> {
        let asked = self.asked.get();
        if asked < LOOKED_UP_ALONE {
            self.asked.set(asked + 1);
            return self.locate_in_field(u32::try_from(offset).ok()?);
        }
        self.pieces.get_or_init(|| self.find_pieces()).at(u32::try_from(offset).ok()?)
    }

    /// The part of the field that holds an offset, or of the last one before it.
    fn locate_in_field(&self, offset: u32) -> Option<Path> {
        let slot = self.index.fields.partition_point(|span| span.start <= offset).checked_sub(1)?;
        // A segment without fields begins where the next one does.
        let segment = self.index.segments.partition_point(|s| s.first_field as usize <= slot).checked_sub(1)?;
        let first = self.index.segments[segment].first_field as usize;
        let number = (slot - first + 1).min(usize::from(u16::MAX)); // past that no path leads anywhere
        let span = self.index.fields[first + number - 1];
        let field = Path::field(self.name(segment), number)?;
        Some(Pieces::in_field(field, span.start, &self.text[span.range()], &self.index.delimiters, offset))
    }

    fn find_pieces(&self) -> Pieces {
        let mut pieces = Pieces::default();
        for segment in 0..self.len() {
            for number in 1..=self.field_count(segment) {
                let Some((path, slot)) = Path::field(self.name(segment), number).zip(self.slot(segment, number)) else {
                    break; // past the 65,535th field no path leads anywhere
                };
                let span = self.index.fields[slot];
                pieces.add(path, span.start, &self.text[span.range()], &self.index.delimiters);
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A01: &str = "MSH|^~\\&|APP|FAC|||20240101||ADT^A01|1|P|2.5\rPID|1||12^^^H&1.2&ISO^MR~34||Doe^Jane\rPV1|1|I";

    #[test]
    fn a_place_is_named_alike_alone_and_among_many() {
        let text = format!("{A01}\rPDA\rZZZ|a~b^c|\rZZ9");
        let message = Message::parse(&text).unwrap();
        let all = message.find_pieces();
        for offset in 0..text.len() {
            let alone = message.locate_in_field(offset as u32);
            assert_eq!(alone, all.at(offset as u32), "{offset}");
        }
    }

    #[test]
    fn a_place_is_named_as_hl7_parser_names_it() {
        let text = format!("{A01}\rZZZ|a~b^c&d|\rZZ9|x");
        let message = Message::parse(&text).unwrap();
        let theirs = hl7_parser::Message::parse(&text).unwrap();
        for offset in 4..text.len() {
            let cursor = hl7_parser::locate::locate_cursor(&theirs, offset).unwrap();
            // A segment's name is no place of ours, and MSH-2 holds what elsewhere divides.
            let Some((field, _)) = cursor.field.filter(|_| offset > 8) else { continue };
            let number = |at: Option<usize>| at.unwrap_or(1);
            let parts = [cursor.repeat.map(|(n, _)| n), cursor.component.map(|(n, _)| n)].map(number);
            let subcomponent = number(cursor.sub_component.map(|(n, _)| n));
            let ours = message.locate(offset).unwrap();
            let at_least_one = |n: u16| usize::from(n.max(1));
            assert_eq!(ours.segment(), cursor.segment.unwrap().0, "{offset}");
            assert_eq!(usize::from(ours.field), field, "{offset}");
            assert_eq!([ours.repetition.max(1) as usize, at_least_one(ours.component)], parts, "{offset}");
            assert_eq!(at_least_one(ours.subcomponent), subcomponent, "{offset}");
        }
    }
}
