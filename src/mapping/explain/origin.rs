//! Where in the message a value stands, and what the standard calls it.

use std::collections::HashSet;

use super::report::{Origin, Segment};
use super::spans::{TextSpan, TextSpans, span_of};
use crate::fhir::known::FEW;
use crate::v2::{Message, standard};
use crate::work;

/// A part of a field without parts of its own.
#[derive(Debug, Clone, Copy)]
pub struct Leaf {
    pub segment: usize,
    pub field: usize,
    pub span: TextSpan,
    /// Its field has other parts.
    pub in_part: bool,
}

pub fn origins(message: &Message<'_>, spans: &TextSpans) -> Vec<Origin> {
    // What a place is called follows from where it is: two are the same where their spans are.
    let mut seen: HashSet<TextSpan> = HashSet::new();
    let few = spans.len() <= FEW;
    let mut list: Vec<Origin> = Vec::new();
    for span in spans {
        let is = |known: &Origin| known.start == span.start && known.end == span.end;
        if if few { !list.iter().any(is) } else { seen.insert(*span) } {
            list.push(origin(message, *span));
        }
    }
    list
}

/// A piece of the message with its name.
pub fn origin(message: &Message<'_>, span: TextSpan) -> Origin {
    work::text(span.end - span.start);
    let raw = message.text()[span.start..span.end].to_owned();
    let d = message.delimiters();
    let holds = |delimiter: u8| raw.as_bytes().contains(&delimiter);
    let Some(mut path) = message.locate(span.start.max(1)) else {
        return Origin { path: String::new(), name: None, start: span.start, end: span.end, raw };
    };
    let segment = message.segment_at(span.start);
    if message.segment_text(segment).len() == raw.len() && holds(d.field) {
        let text = segment_path(message, segment);
        return Origin { path: text, name: None, start: span.start, end: span.end, raw };
    }
    if holds(d.component) {
        (path.component, path.subcomponent) = (0, 0);
    } else if holds(d.subcomponent) {
        path.subcomponent = 0;
    }
    if path.repetition == 0 && message.repetitions(segment, usize::from(path.field)) > 1 {
        path.repetition = 1;
    }
    let text = path.to_string();
    let text = format!("{}{}", segment_path(message, segment), text.get(3..).unwrap_or_default());
    let name = name(&path);
    Origin { path: text, name, start: span.start, end: span.end, raw }
}

pub fn name(path: &crate::v2::path::Path) -> Option<String> {
    let (segment, field) = (path.segment(), usize::from(path.field));
    let named = standard::field_name(segment, field)?;
    let component = match path.component {
        0 => None,
        n => standard::component_name(segment, field, usize::from(n)),
    };
    Some(component.map_or_else(|| named.to_owned(), |component| format!("{named}: {}", component.to_lowercase())))
}

/// `PID`, or `DG1[2]` where there are several.
pub fn segment_path(message: &Message<'_>, segment: usize) -> String {
    let name = message.name(segment);
    if message.all(name).len() > 1 { format!("{name}[{}]", message.occurrence(segment)) } else { name.to_owned() }
}

pub fn stray(message: &Message<'_>, span: TextSpan) -> Origin {
    let raw = message.text()[span.start..span.end].to_owned();
    Origin { path: String::new(), name: None, start: span.start, end: span.end, raw }
}

/// The lines of a message.
pub fn segments(message: &Message<'_>, ignored: impl Fn(usize) -> bool) -> Vec<Segment> {
    let lines = (0..message.len()).filter_map(|segment| {
        let span = span_of(message, message.segment_text(segment))?;
        Some(Segment {
            name: message.name(segment).to_owned(),
            occurrence: message.occurrence(segment),
            start: span.start,
            end: span.end,
            ignored: ignored(segment),
        })
    });
    lines.collect()
}

/// Every part of every field that has no parts of its own, empty ones left out.
pub fn leaves(message: &Message<'_>) -> Vec<Leaf> {
    let d = message.delimiters();
    let mut leaves = Vec::new();
    for segment in 0..message.len() {
        for field in 1..=message.field_count(segment) {
            if message.name(segment) == "MSH" && field <= 2 {
                continue;
            }
            let raw = message.field(segment, field);
            let Some(whole) = span_of(message, raw) else { continue };
            let mut start = whole.start;
            let splits = |byte: u8| byte == d.repetition || byte == d.component || byte == d.subcomponent;
            let in_part = raw.bytes().any(splits);
            for piece in raw.as_bytes().split(|byte| splits(*byte)) {
                let span = TextSpan { start, end: start + piece.len() };
                work::steps(1);
                if !piece.trim_ascii().is_empty() {
                    leaves.push(Leaf { segment, field, span, in_part });
                }
                start = span.end + 1;
            }
        }
    }
    leaves
}
