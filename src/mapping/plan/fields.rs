//! Which fields the rules of a plan read, for those who ask by field.

use crate::mapping::source::place::RulePlace;
use crate::v2::path::Path;

/// What a rule reads a field for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldUse {
    /// Its value goes into the resource.
    Value,
    /// It finds the resource, or makes its id.
    Identity,
    /// A `when` asks for it.
    Test,
    /// A fixed value goes out because of it.
    Set,
}

/// A part of a field that a rule reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldReading {
    /// Down to the first leaf of what is read; as far as the path goes where `whole`.
    pub path: Path,
    /// Everything below the path is read, not only its first leaf.
    pub whole: bool,
    /// Index into the plan's resources.
    pub resource: usize,
    pub used_for: FieldUse,
    /// The rule, and the rule of the resource file that called its template.
    pub place: RulePlace,
    pub outer: RulePlace,
}

impl FieldReading {
    /// Whether it takes in the leaf at `leaf`, whatever the repetition.
    pub fn covers(&self, leaf: &Path) -> bool {
        let same = self.path.segment() == leaf.segment() && (self.path.field == leaf.field || self.path.is_segment());
        let at = |own: u16, other: u16| own == other.max(1) || (self.whole && own == 0);
        same && at(self.path.component, leaf.component) && at(self.path.subcomponent, leaf.subcomponent)
    }
}

/// All readings of a plan, by path.
#[derive(Debug, Default)]
pub struct FieldUsage {
    pub readings: Vec<FieldReading>,
}

impl FieldUsage {
    pub fn all(&self) -> &[FieldReading] {
        &self.readings
    }

    /// What is read of a segment.
    pub fn of_segment(&self, name: &str) -> &[FieldReading] {
        let from = self.readings.partition_point(|reading| reading.path.segment() < name);
        let to = self.readings.partition_point(|reading| reading.path.segment() <= name);
        &self.readings[from..to]
    }

    /// What takes in a leaf.
    pub fn of_leaf<'s>(&'s self, leaf: &'s Path) -> impl Iterator<Item = &'s FieldReading> {
        self.of_segment(leaf.segment()).iter().filter(|reading| reading.covers(leaf))
    }
}
