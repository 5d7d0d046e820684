//! What the HL7 v2 standard says of its segments: the names of fields and components, and which segments the ADT
//! messages have. For people who read an explanation, and for checking the mapping files; no message is refused by it.
//!
//! The table `standard.txt` is written by `standard.py`; this reads it once.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

static TABLE: &str = include_str!("standard.txt");

#[derive(Debug, Clone, Copy)]
struct Named {
    datatype: &'static str,
    name: &'static str,
}

#[derive(Debug, Default)]
struct Standard {
    /// By `PID-5` and `XPN.2`.
    named: FxHashMap<&'static str, Named>,
    /// The segments of an event's message, names with blanks between.
    events: FxHashMap<&'static str, &'static str>,
}

fn standard() -> &'static Standard {
    static STANDARD: OnceLock<Standard> = OnceLock::new();
    STANDARD.get_or_init(|| {
        let mut standard = Standard::default();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, rest)) = line.split_once(' ') else { continue };
            match (key.strip_prefix('@'), rest.split_once(' ')) {
                (Some(event), _) => {
                    standard.events.insert(event, rest);
                }
                (None, Some((datatype, name))) => {
                    standard.named.insert(key, Named { datatype, name });
                }
                (None, None) => {}
            }
        }
        standard
    })
}

/// What the standard calls a field, `Patient name` for PID-5.
#[must_use]
pub fn field_name(segment: &str, field: usize) -> Option<&'static str> {
    field_of(segment, field).map(|named| named.name)
}

/// The fields of a segment as far as the standard goes, each with its name.
pub fn fields(segment: &str) -> impl Iterator<Item = (usize, &'static str)> {
    (1..).map_while(move |field| Some((field, field_name(segment, field)?)))
}

/// The segments that ADT messages may have, by name.
pub fn segments() -> impl Iterator<Item = &'static str> {
    let firsts = TABLE.lines().filter_map(|line| line.split_once("-1 ").map(|(segment, _)| segment));
    firsts.filter(|segment| segment.len() == 3)
}

/// What the standard calls a component, `Given name` for PID-5.2; by the field's newest datatype.
#[must_use]
pub fn component_name(segment: &str, field: usize, component: usize) -> Option<&'static str> {
    let datatype = field_of(segment, field)?.datatype;
    standard().named.get(format!("{datatype}.{component}").as_str()).map(|named| named.name)
}

/// Whether a field numbers the segments of its name (datatype SI).
#[must_use]
pub fn is_set_id(segment: &str, field: usize) -> bool {
    field == 1 && field_of(segment, field).is_some_and(|named| named.datatype == "SI")
}

/// The segments that a message of an ADT event may have in any version of the standard; `None` for another event.
pub fn segments_of(event: &str) -> Option<impl Iterator<Item = &'static str>> {
    standard().events.get(event).map(|names| names.split(' '))
}

/// Whether the standard has a segment of this name, among those that ADT messages may have.
#[must_use]
pub fn knows(segment: &str) -> bool {
    field_of(segment, 1).is_some()
}

fn field_of(segment: &str, field: usize) -> Option<Named> {
    standard().named.get(format!("{segment}-{field}").as_str()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_components_have_their_names() {
        assert_eq!(field_name("PID", 5), Some("Patient name"));
        assert_eq!(component_name("PID", 5, 2), Some("Given name"));
        assert_eq!(field_name("ZZZ", 1), None);
        assert_eq!(field_name("PID", 400), None);
        assert!(is_set_id("DG1", 1) && !is_set_id("DG1", 3));
    }

    #[test]
    fn an_event_has_the_segments_of_its_structure() {
        let has = |event: &str, segment: &str| segments_of(event).unwrap().any(|name| name == segment);
        assert!(has("A01", "AL1") && has("A08", "PR1") && has("A40", "MRG") && has("A20", "NPU"));
        assert!(!has("A40", "DG1"));
        assert!(segments().any(|name| name == "PID") && fields("PID").count() > 38 && fields("ZZZ").count() == 0);
        assert!(segments_of("A99").is_none() && knows("IAM") && !knows("ZPD"));
    }
}
