//! Where a rule stands.

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RulePlace {
    pub file: u16,
    pub line: u32,
}
