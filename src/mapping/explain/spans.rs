//! Pieces of a message's text: where the values that rules take stand, and what Stoker knows of a message as a whole.

use smallvec::SmallVec;

use crate::mapping::plan::primitive::Primitive;
use crate::mapping::plan::rule::Convert;
use crate::v2::{Message, Part};

/// A piece of the message's text, as byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextSpan {
    pub start: usize,
    pub end: usize,
}

pub type TextSpans = SmallVec<[TextSpan; 2]>;

/// The pieces of a part that a conversion uses.
pub fn part_spans(message: &Message<'_>, convert: Convert, part: Part<'_, '_>) -> TextSpans {
    let leaf = |n: usize| part.part(n).filter(Part::valued).map(|part| part.leaf());
    let texts: SmallVec<[&str; 3]> = match convert {
        Convert::Template(_) | Convert::Simple(Primitive::Text) => SmallVec::from_elem(part.raw(), 1),
        Convert::System | Convert::VisitSystem => (1..=3).filter_map(leaf).collect(),
        Convert::TypeCode => leaf(5).or_else(|| leaf(4)).into_iter().collect(),
        _ => SmallVec::from_elem(part.leaf(), 1),
    };
    texts.into_iter().filter_map(|text| span_of(message, text)).collect()
}

pub fn span_of(message: &Message<'_>, text: &str) -> Option<TextSpan> {
    message.offset(text).map(|start| TextSpan { start, end: start + text.len() })
}

/// The leaf of the first repetition of a field's first segment.
pub fn field_spans(message: &Message<'_>, segment: &str, field: usize) -> TextSpans {
    let part = message.find(segment).and_then(|segment| message.repetition(segment, field, 0));
    part.filter(Part::valued).and_then(|part| span_of(message, part.leaf())).into_iter().collect()
}

/// Where what Stoker knows of a message as a whole comes from.
pub fn global_spans(message: &Message<'_>, name: &str) -> TextSpans {
    let header = |field| field_spans(message, "MSH", field);
    match name {
        "event" | "status" | "fhirEvent" | "fhirEventSystem" | "absorbed" => trigger(message),
        "visitSystem" => header(4).into_iter().chain(header(3)).collect(),
        "facility" => Some(header(4)).filter(|spans| !spans.is_empty()).unwrap_or_else(|| header(3)),
        "timestamp" => header(7),
        "messageId" => header(10).into_iter().chain(header(4)).chain(header(3)).collect(),
        "controlId" => header(10),
        _ => TextSpans::new(),
    }
}

/// MSH-9.2, else EVN-1.
fn trigger(message: &Message<'_>) -> TextSpans {
    let part = message.repetition(0, 9, 0).and_then(|part| part.part(2)).filter(Part::valued);
    match part.and_then(|part| span_of(message, part.leaf())) {
        Some(span) => SmallVec::from_elem(span, 1),
        None => field_spans(message, "EVN", 1),
    }
}
