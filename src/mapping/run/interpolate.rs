//! What a rule reads besides its `from`: the arguments it hands on, the pieces of a text with braces, its conditions.

use super::build::{Builder, Scoped};
use super::reader::SourceValue;
use super::recorder::Recorder;
use crate::mapping::plan::identifier::plain;
use crate::mapping::plan::rule::{Argument, Condition, Piece, Rule, Test};
use crate::mapping::plan::variables::VariableValue;

impl<'r, 'a, R: Recorder> Builder<'r, 'a, R> {
    /// An argument of a simple type: `minutes` moves a dateTime on, `code` is what a coding system must have. Empty
    /// where the rule names it and it has no value.
    pub fn named_argument(&mut self, rule: &'a Rule, name: &str, scope: Scoped<'_, 'r, 'a>) -> Option<&'a str> {
        if rule.with.is_empty() {
            return None;
        }
        let (_, argument) = rule.with.iter().find(|(given, _)| &**given == name)?;
        let argument = self.argument(argument, scope);
        self.recorder.filled();
        match argument {
            Some(VariableValue::Fixed(text) | VariableValue::Data(text)) => Some(text),
            None => Some(""),
        }
    }

    pub fn argument(&mut self, argument: &'a Argument, scope: Scoped<'_, 'r, 'a>) -> Option<VariableValue<'a>> {
        match argument {
            Argument::Constant(text) => Some(VariableValue::Fixed(text)),
            Argument::Filled(pieces) => self.fill(pieces, scope, false).map(VariableValue::Data),
            Argument::Variable(expr) => {
                let value = self.reader.first(expr, scope)?;
                self.recorder.piece(self.reader, expr, &value);
                match value {
                    SourceValue::Fixed(text) => Some(VariableValue::Fixed(text)),
                    value => self.reader.text(&value).map(VariableValue::Data),
                }
            }
        }
    }

    /// A `value` with braces filled in; `None` when a piece that must be there is empty.
    /// What a sender sent is percent-encoded within a URI.
    pub fn fill(&mut self, pieces: &'a [Piece], scope: Scoped<'_, 'r, 'a>, uri: bool) -> Option<&'a str> {
        let mut text = bumpalo::collections::String::new_in(self.reader.arena);
        for piece in pieces {
            match piece {
                Piece::Fixed(fixed) => text.push_str(fixed),
                Piece::Read { expr, optional } => {
                    let first = self.reader.first(expr, scope);
                    let value = first.as_ref().and_then(|value| Some((value, self.reader.text(value)?)));
                    if let Some((value, _)) = &value {
                        self.recorder.piece(self.reader, expr, value);
                    }
                    match value {
                        Some((SourceValue::Part(_), value)) if uri => text.push_str(&plain(value)),
                        Some((_, value)) => text.push_str(value),
                        None if *optional => {}
                        None => return None,
                    }
                }
            }
        }
        // What an optional piece leaves behind: blanks that belong to nothing.
        let text = text.into_bump_str();
        let text = if text.contains("  ") {
            let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
            self.reader.arena.alloc_str(&words.join(" "))
        } else {
            text
        };
        Some(text.trim()).filter(|text| !text.is_empty())
    }

    pub fn holds(&self, condition: &'a Condition, scope: Scoped<'_, 'r, 'a>) -> bool {
        if condition.on_event {
            let event = self.reader.globals.event;
            let named = |codes: &[Box<str>]| {
                let told = self.reader.present.is_one_of(condition.events);
                told.unwrap_or_else(|| codes.iter().any(|code| **code == *event))
            };
            return match &condition.test {
                Test::Is(codes) => named(codes),
                Test::IsNot(codes) => !named(codes),
                Test::Valued => true,
                Test::Absent => false,
            };
        }
        if let ([expr], Test::Valued) = (condition.exprs.as_slice(), &condition.test)
            && let Some(single) = self.reader.single(expr, scope)
        {
            return single.is_some();
        }
        let mut read = condition.exprs.iter().map(|expr| self.reader.read(expr, scope));
        let mut is_one_of = |codes: &[Box<str>]| {
            read.any(|read| {
                let mut texts = read.values.iter().filter_map(|value| self.reader.text(value));
                texts.any(|text| codes.iter().any(|code| **code == *text))
            })
        };
        match &condition.test {
            Test::Is(codes) => is_one_of(codes),
            Test::IsNot(codes) => !is_one_of(codes),
            Test::Valued => read.any(|read| !read.values.is_empty()),
            Test::Absent => read.all(|read| read.values.is_empty() && read.null.is_none()),
        }
    }
}
