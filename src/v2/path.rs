//! The name of a place in a message: `PID-3`, `PID-3[2].4.1`, `NK1`.

use std::fmt;
use std::str::FromStr;

/// A place, counted from 1 as in the standard; 0 means "not given": the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    segment: [u8; 3],
    pub field: u16,
    pub repetition: u32,
    pub component: u16,
    pub subcomponent: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    #[error("a path starts with a segment name of three capital letters or digits, as PID-3")]
    Segment,
    #[error("behind the segment name comes a dash and the field's number, as PID-3")]
    Field,
    #[error("field, repetition, component and subcomponent are numbers from 1 to 65535")]
    Number,
    #[error("a path goes down to the subcomponent and no further, as PID-3.4.2")]
    Deep,
}

impl Path {
    #[must_use]
    pub fn segment(&self) -> &str {
        std::str::from_utf8(&self.segment).unwrap_or_default()
    }

    /// Whether it leads into a segment of this name.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        self.segment == *name.as_bytes()
    }

    /// The path of a whole field.
    #[must_use]
    pub fn field(segment: &str, field: usize) -> Option<Self> {
        let segment = segment.as_bytes().try_into().ok()?;
        let field = u16::try_from(field).ok()?;
        Some(Self { segment, field, repetition: 0, component: 0, subcomponent: 0 })
    }

    /// Goes past a delimiter while a position is being found.
    pub(super) fn pass(&mut self, repetition: bool, component: bool, subcomponent: bool) {
        if repetition {
            (self.repetition, self.component, self.subcomponent) = (self.repetition.max(1).saturating_add(1), 0, 0);
        } else if component {
            (self.component, self.subcomponent) = (self.component.max(1).saturating_add(1), 0);
        } else if subcomponent {
            (self.component, self.subcomponent) = (self.component.max(1), self.subcomponent.max(1).saturating_add(1));
        }
    }

    /// The first component of a field that has parts is named as such.
    pub(super) fn settle(&mut self, has_parts: bool) {
        if has_parts && self.component == 0 {
            self.component = 1;
        }
    }

    /// Whether it names a whole segment.
    #[must_use]
    pub fn is_segment(&self) -> bool {
        self.field == 0
    }
}

impl FromStr for Path {
    type Err = PathFault;

    fn from_str(text: &str) -> Result<Self, PathFault> {
        let name = text.get(..3).ok_or(PathFault::Segment)?;
        if !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(PathFault::Segment);
        }
        let mut segment = [0; 3];
        segment.copy_from_slice(name.as_bytes());
        let mut path = Self { segment, field: 0, repetition: 0, component: 0, subcomponent: 0 };
        let rest = &text[3..];
        if rest.is_empty() {
            return Ok(path);
        }
        let mut parts = rest.strip_prefix('-').ok_or(PathFault::Field)?.split('.');
        let field = parts.next().ok_or(PathFault::Field)?;
        let (field, repetition) = match field.split_once('[') {
            Some((field, rest)) => (field, Some(rest.strip_suffix(']').ok_or(PathFault::Field)?)),
            None => (field, None),
        };
        path.field = number(field)?;
        path.repetition = repetition.map_or(Ok(0), number)?.into();
        path.component = parts.next().map_or(Ok(0), number)?;
        path.subcomponent = parts.next().map_or(Ok(0), number)?;
        if parts.next().is_some() { Err(PathFault::Deep) } else { Ok(path) }
    }
}

fn number(text: &str) -> Result<u16, PathFault> {
    text.parse().ok().filter(|&n| n > 0).ok_or(PathFault::Number)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.segment())?;
        if self.field > 0 {
            write!(f, "-{}", self.field)?;
        }
        if self.repetition > 0 {
            write!(f, "[{}]", self.repetition)?;
        }
        if self.component > 0 {
            write!(f, ".{}", self.component)?;
        }
        if self.subcomponent > 0 {
            write!(f, ".{}", self.subcomponent)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_as_it_was_written() {
        for text in ["NK1", "PID-3", "PID-3[2]", "PID-3.4", "PID-3[2].4.1", "ZPD-12.1"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        assert_eq!("PI".parse::<Path>(), Err(PathFault::Segment));
        assert_eq!("pid-3".parse::<Path>(), Err(PathFault::Segment));
        assert_eq!("PID3".parse::<Path>(), Err(PathFault::Field));
        assert_eq!("PID-".parse::<Path>(), Err(PathFault::Number));
        assert_eq!("PID-0".parse::<Path>(), Err(PathFault::Number));
        assert_eq!("PID-3.1.2.3".parse::<Path>(), Err(PathFault::Deep));
    }
}
