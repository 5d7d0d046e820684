//! The left side: the message, a span for each value.

use super::{HtmlPage, is_quiet};
use crate::mapping::explain::report::Segment;

/// A value's place in the page.
struct ValueSpan {
    start: usize,
    end: usize,
    assignments: Vec<usize>,
    unmapped: Option<usize>,
    null: bool,
}

impl HtmlPage<'_> {
    pub(super) fn message(&mut self) {
        let explanation = self.explanation;
        let values = self.values();
        self.raw("<div class=\"segments\" role=\"list\">\n");
        let mut at = 0;
        for segment in &explanation.segments {
            let of_segment = values[at..].iter().take_while(|value| value.start < segment.end).count();
            self.segment(segment, &values[at..at + of_segment]);
            at += of_segment;
        }
        self.raw("</div>\n");
    }

    fn segment(&mut self, segment: &Segment, values: &[ValueSpan]) {
        let class = if segment.ignored { "segment ignored" } else { "segment" };
        self.out.push_str(&format!("<p class=\"{class}\" role=\"listitem\">"));
        let text = &self.explanation.text;
        let name_end = (segment.start + 3).min(segment.end);
        self.element("b", "", &text[segment.start..name_end]);
        let mut at = name_end;
        for value in values.iter().filter(|value| value.start >= name_end && value.end <= segment.end) {
            if value.start > at {
                self.element("i", "", &text[at..value.start]);
            }
            self.value(value);
            at = value.end;
        }
        if at < segment.end {
            self.element("i", "", &text[at..segment.end]);
        }
        self.raw("</p>\n");
    }

    fn value(&mut self, value: &ValueSpan) {
        let explanation = self.explanation;
        let unmapped = value.unmapped.map(|n| &explanation.unmapped[n]);
        let class = match unmapped {
            _ if value.null => "v x",
            Some(unmapped) if is_quiet(unmapped.why) => "v q",
            Some(_) => "v u",
            None => "v m",
        };
        self.out.push_str(&format!("<span class=\"{class}\" id=\"o{}\" tabindex=\"-1\"", value.start));
        if !value.assignments.is_empty() {
            let numbers: Vec<_> = value.assignments.iter().map(ToString::to_string).collect();
            self.out.push_str(&format!(" data-a=\"{}\"", numbers.join(" ")));
        }
        if let Some(n) = value.unmapped {
            self.out.push_str(&format!(" data-u=\"{n}\""));
        }
        self.raw(">");
        self.text(&explanation.text[value.start..value.end]);
        self.raw("</span>");
    }

    /// All pieces of the message that something is known of, none inside another.
    fn values(&self) -> Vec<ValueSpan> {
        let explanation = self.explanation;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let of_assignments = explanation.assignments.iter().flat_map(|a| &a.from);
        let of_unmapped = explanation.unmapped.iter().map(|u| &u.from);
        let of_nulls = explanation.nulls.iter().map(|n| &n.from);
        spans.extend(of_assignments.chain(of_unmapped).chain(of_nulls).map(|from| (from.start, from.end)));
        spans.sort_unstable_by_key(|&(start, end)| (start, std::cmp::Reverse(end)));
        spans.dedup();
        // A whole field is lit by its parts.
        let innermost = spans
            .iter()
            .enumerate()
            .filter(|(n, (_, end))| spans.get(n + 1).is_none_or(|(next, next_end)| next >= end || next_end > end));
        let mut values: Vec<ValueSpan> = innermost
            .map(|(_, &(start, end))| ValueSpan { start, end, assignments: Vec::new(), unmapped: None, null: false })
            .collect();
        for (n, assignment) in explanation.assignments.iter().enumerate() {
            for from in &assignment.from {
                let first = values.partition_point(|value| value.start < from.start);
                let inside = values[first..].iter_mut().take_while(|value| value.end <= from.end);
                let new = inside.filter(|value| value.assignments.last() != Some(&n));
                new.for_each(|value| value.assignments.push(n));
            }
        }
        for (n, unmapped) in explanation.unmapped.iter().enumerate() {
            if let Ok(at) = values.binary_search_by_key(&unmapped.from.start, |value| value.start) {
                values[at].unmapped = Some(n);
            }
        }
        for null in &explanation.nulls {
            if let Ok(at) = values.binary_search_by_key(&null.from.start, |value| value.start) {
                values[at].null = true;
            }
        }
        values
    }
}
