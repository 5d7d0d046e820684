//! A field's inside: repetitions, components, subcomponents.
//!
//! Repetitions and components are found like the fields themselves, by their delimiters, because nearly all that rules
//! read is a component, which needs no more than its two ends. A component that has parts of its own is handed to
//! `hl7-parser`. Escapes stay as they were sent: a delimiter that is text is never written as itself (HL7 v2.5.1 ch. 2.7).

use hl7_parser::message::{Component as Parsed, Separators};
use smallvec::{Array, SmallVec};

use super::header::{Delimiters, NULL};
use super::text;
use crate::work;

/// One repetition of a field.
#[derive(Debug)]
pub struct Repetition<'a> {
    raw: &'a str,
    components: Box<[Component<'a>]>,
}

/// A component of a repetition.
#[derive(Debug)]
pub struct Component<'a> {
    raw: &'a str,
    /// Its subcomponents, where there are several.
    divided: Option<Box<Parsed<'a>>>,
}

/// A field, taken apart where it has parts.
#[derive(Debug, Clone, Copy)]
pub struct Field<'m, 'a> {
    /// As sent.
    pub raw: &'a str,
    repetitions: Option<&'m [Repetition<'a>]>,
}

/// Takes a field apart, in one pass over its bytes.
pub(super) fn take_apart<'a>(raw: &'a str, d: &Delimiters) -> Box<[Repetition<'a>]> {
    work::text(raw.len());
    let mut repetitions: SmallVec<[Repetition<'a>; 2]> = SmallVec::new();
    let mut components: SmallVec<[Component<'a>; 12]> = SmallVec::new();
    let (mut repetition, mut component, mut divided) = (0, 0, false);
    for (at, &byte) in raw.as_bytes().iter().enumerate() {
        if byte == d.repetition || byte == d.component {
            components.push(Component::of(&raw[component..at], divided, d));
            (component, divided) = (at + 1, false);
            if byte == d.repetition {
                repetitions.push(Repetition { raw: &raw[repetition..at], components: boxed(&mut components) });
                repetition = at + 1;
            }
        } else {
            divided |= byte == d.subcomponent;
        }
    }
    components.push(Component::of(&raw[component..], divided, d));
    repetitions.push(Repetition { raw: &raw[repetition..], components: boxed(&mut components) });
    boxed(&mut repetitions)
}

/// What was gathered, in a list of its size.
fn boxed<A: Array>(gathered: &mut SmallVec<A>) -> Box<[A::Item]> {
    let mut list = Vec::with_capacity(gathered.len());
    list.extend(gathered.drain(..));
    list.into_boxed_slice()
}

impl<'a> Repetition<'a> {
    #[must_use]
    pub fn components(&self) -> &[Component<'a>] {
        &self.components
    }
}

impl<'a> Component<'a> {
    fn of(raw: &'a str, divided: bool, d: &Delimiters) -> Self {
        Self { raw, divided: divided.then(|| divide(raw, d)).flatten() }
    }

    /// As sent.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Whether it has several parts.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        self.divided.is_some()
    }

    /// What its parts hold, as sent; none where it is not divided.
    pub fn subcomponents(&self) -> impl Iterator<Item = &'a str> {
        self.divided.iter().flat_map(|parsed| &parsed.subcomponents).map(|part| part.value)
    }

    fn part(&self) -> Part<'_, 'a> {
        if self.is_divided() { Part::Component(self) } else { Part::Plain(self.raw) }
    }
}

/// Lets hl7-parser take a component apart. It reads up to the next separator or line end; a line feed inside, which
/// senders do put into text, is kept out of its sight by not being lenient.
fn divide<'a>(raw: &'a str, d: &Delimiters) -> Option<Box<Parsed<'a>>> {
    let separators = Separators {
        field: d.field as char,
        component: d.component as char,
        subcomponent: d.subcomponent as char,
        repetition: d.repetition as char,
        escape: d.escape as char,
        lenient_newlines: false,
    };
    let parsed = hl7_parser::parser::parse_component_with_separators(raw, separators).ok()?;
    (parsed.raw_value().len() == raw.len()).then(|| Box::new(parsed))
}

impl<'m, 'a> Field<'m, 'a> {
    pub(super) fn plain(raw: &'a str) -> Self {
        Self { raw, repetitions: None }
    }

    pub(super) fn parsed(raw: &'a str, repetitions: &'m [Repetition<'a>]) -> Self {
        Self { raw, repetitions: Some(repetitions) }
    }

    /// How many repetitions it has; an empty field has none.
    #[must_use]
    pub fn len(&self) -> usize {
        self.repetitions.map_or(usize::from(!self.raw.is_empty()), <[_]>::len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One repetition, from 0.
    #[must_use]
    pub fn get(&self, n: usize) -> Option<Part<'m, 'a>> {
        match self.repetitions {
            Some(repetitions) => repetitions.get(n).map(Part::Repetition),
            None => (n == 0 && !self.raw.is_empty()).then_some(Part::Plain(self.raw)),
        }
    }
}

/// A piece of a field: a repetition, a component, a subcomponent.
///
/// Going down into something that has no parts gives the thing itself as its first part, so that a field which was a
/// plain code in v2.3 and a coded element in v2.5 is read by one path.
#[derive(Debug, Clone, Copy)]
pub enum Part<'m, 'a> {
    Repetition(&'m Repetition<'a>),
    Component(&'m Component<'a>),
    Plain(&'a str),
}

impl<'m, 'a> Part<'m, 'a> {
    /// The piece as sent, escapes and delimiters included.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        match self {
            Self::Repetition(r) => r.raw,
            Self::Component(c) => c.raw,
            Self::Plain(s) => s,
        }
    }

    /// Its `n`th part, from 1; `None` where it was not sent.
    #[must_use]
    pub fn part(&self, n: usize) -> Option<Part<'m, 'a>> {
        let index = n.checked_sub(1)?;
        match self {
            Self::Repetition(r) => r.components.get(index).map(Component::part),
            Self::Component(c) => {
                work::steps(1);
                c.divided.as_ref()?.subcomponents.get(index).map(|part| Part::Plain(part.value))
            }
            Self::Plain(_) => (n == 1).then_some(*self),
        }
    }

    /// The text of the first leaf: what a simple value is, whatever shape it was sent in.
    #[must_use]
    pub fn leaf(&self) -> &'a str {
        match self {
            Self::Repetition(r) => r.components.first().map_or("", |c| c.part().leaf()),
            Self::Component(c) => c.subcomponents().next().unwrap_or_default(),
            Self::Plain(s) => s,
        }
    }

    /// Whether there is a value: something other than delimiters, blanks and the explicit null.
    #[must_use]
    pub fn valued(&self) -> bool {
        match self {
            Self::Repetition(r) => first_valued(r.components.iter().map(Component::part)),
            Self::Component(c) => first_valued(c.subcomponents().map(Part::Plain)),
            Self::Plain(s) => text::says_something(s),
        }
    }

    /// Whether it is the explicit null `""`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.raw() == NULL
    }
}

/// Whether one of them is. What is looked through on the way is counted.
fn first_valued<'m, 'a: 'm>(mut parts: impl Iterator<Item = Part<'m, 'a>>) -> bool {
    parts.any(|part| {
        work::steps(1);
        part.valued()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(raw: &str) -> Vec<Vec<Vec<String>>> {
        let parts = |component: &Component<'_>| match component.is_divided() {
            true => component.subcomponents().map(str::to_owned).collect(),
            false => vec![component.raw().to_owned()],
        };
        let repetitions = take_apart(raw, &Delimiters::default());
        repetitions.iter().map(|r| r.components().iter().map(parts).collect()).collect()
    }

    proptest::proptest! {
        #[test]
        fn a_field_is_taken_apart_as_hl7_parser_takes_it_apart(raw in "[a-zé^~&\\\\ \n\"]{0,40}") {
            let theirs = hl7_parser::parser::parse_field(&raw).unwrap();
            let theirs: Vec<Vec<Vec<String>>> = theirs
                .repeats
                .iter()
                .map(|r| r.components.iter().map(|c| c.subcomponents.iter().map(|s| s.value.to_owned()).collect()).collect())
                .collect();
            proptest::prop_assert_eq!(texts(&raw), theirs);
        }
    }
}
