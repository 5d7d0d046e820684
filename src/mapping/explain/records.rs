//! What a trace keeps of a walk, one record for each thing that happened.

use smallvec::SmallVec;

use super::spans::{TextSpan, TextSpans};
use crate::mapping::plan::rule::TableId;
use crate::mapping::run::recorder::Stage;
use crate::mapping::source::place::RulePlace;

/// A member of a marked object: where a value was put.
#[derive(Debug, Clone)]
pub struct Spot {
    pub mark: u32,
    pub name: Box<str>,
}

/// A value and where it went.
#[derive(Debug, Clone)]
pub struct Put {
    pub stage: Stage,
    pub entry: usize,
    /// The rule, behind those whose templates led to it: the resource file's rule first.
    pub rules: SmallVec<[RulePlace; 4]>,
    pub sources: TextSpans,
    pub spot: Spot,
    /// The value as JSON.
    pub value: String,
    /// It refers to a resource; what it was read from is mapped by what stands there.
    pub reference: bool,
}

/// Something a value ran into, and where the value stands.
#[derive(Debug, Clone)]
pub struct Hitch {
    pub sources: TextSpans,
    pub rule: RulePlace,
    pub what: HitchKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HitchKind {
    Unconvertible(&'static str),
    /// Went out with less than was sent.
    Noted(&'static str),
    Missed(TableId),
    /// The element takes one, and another was taken.
    Surplus,
    /// The rule's conversion has nothing for it.
    Nothing,
}

/// "Erase yours", by an explicit null or because a rule says so.
#[derive(Debug, Clone)]
pub struct Erasure {
    pub null: Option<TextSpan>,
    pub rule: RulePlace,
    /// `None` where the element has a value.
    pub mark: Option<u32>,
}

/// What a rule came to over the whole message, where it gave nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turns {
    pub set: u32,
    pub unmet: u32,
}

/// From what an entry's fullUrl, or its id, was made.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub entry: usize,
    pub rules: SmallVec<[RulePlace; 4]>,
    pub sources: TextSpans,
}
