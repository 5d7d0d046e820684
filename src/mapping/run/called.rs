//! What a template can read of the thing it was called with, as bits for the quick way past its rules
//! ([`crate::mapping::plan::prefilter`]).

use super::reader::SourceValue;
use crate::mapping::plan::prefilter::{CallPresence, MessagePresence, bit, name_bit};
use crate::mapping::plan::variables::{GLOBALS, VariableValue};
use crate::v2::{Message, Part};

impl MessagePresence {
    /// What a template can read. What is known of the thing already is `passed_on`.
    pub fn called(
        &self,
        message: &Message<'_>,
        with: &SourceValue<'_, '_>,
        args: &[(&str, VariableValue<'_>)],
        table: bool,
        passed_on: Option<CallPresence>,
    ) -> CallPresence {
        let args = args.iter().fold(0, |bits, (name, _)| bits | name_bit(name));
        let names = self.globals | args | u64::from(table) << GLOBALS.len();
        let (parts, divided) = match (passed_on, with) {
            (Some(CallPresence { slots: [parts, divided, ..] }), _) => (parts, divided),
            (None, SourceValue::Part(part)) => parts(*part),
            (None, SourceValue::Segment(segment)) => {
                let fields = message.sent(*segment);
                (fields, fields)
            }
            (None, SourceValue::Text(_) | SourceValue::Fixed(_)) => (bit(1), 0),
        };
        CallPresence::new(parts, divided, names)
    }
}

fn parts(part: Part<'_, '_>) -> (u64, u64) {
    let (mut parts, mut divided) = (0, 0);
    match part {
        Part::Repetition(repetition) => {
            for (n, component) in repetition.components().iter().enumerate() {
                parts |= u64::from(!component.raw().is_empty()) << (n + 1).min(63);
                divided |= u64::from(component.is_divided()) << (n + 1).min(63);
            }
        }
        Part::Component(component) => {
            for (n, subcomponent) in component.subcomponents().enumerate() {
                parts |= u64::from(!subcomponent.is_empty()) << (n + 1).min(63);
            }
        }
        Part::Plain(_) => parts = bit(1),
    }
    (parts, divided)
}
