//! `stoker convert --report`: what became of the fields of a whole corpus, summed up.
//!
//! It holds no patient data: fields are counted, and of values only codes that missed their table are named, as far as
//! they are short enough to be codes.

pub(super) mod sums;
mod table;

use super::terminal::{columns, output};
pub use sums::Report;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal
    #[default]
    Table,
    /// For programs
    Json,
}

impl Report {
    pub fn write(&self, format: Format) -> anyhow::Result<String> {
        Ok(match format {
            Format::Table => table::write(self, columns::screen(), columns::coloured(output::stdout().is_terminal())),
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::sums::{Field, FieldPlace};
    use super::*;
    use crate::mapping::Plan;
    use crate::mapping::{Identifiers, MappingConfig};

    fn report(messages: &[&str]) -> Report {
        let plan = Plan::load(&MappingConfig::default(), &Identifiers::default()).unwrap();
        let give = |take: &mut dyn FnMut(Vec<u8>)| {
            messages.iter().for_each(|message| take(message.replace('\n', "\r").into_bytes()));
            Ok(0)
        };
        Report::of(&plan, give).unwrap()
    }

    const HEAD: &str = "MSH|^~\\&|APP|FAC|||20240101||ADT^A08|1|P|2.5\n";

    fn field<'r>(report: &'r Report, segment: &str, field: usize) -> &'r Field {
        &report.fields[&FieldPlace { segment: segment.into(), field }]
    }

    #[test]
    fn a_field_is_counted_as_mapped_partly_or_dropped() {
        let report = report(&[
            &format!("{HEAD}PID|1||7^^^H||Doe^Jane||19800101|F||||||||||||||||||||||||||||||S"),
            &format!("{HEAD}PID|1||7^^^H||Doe^Jane^^^^^^^ctx||female|\"\""),
        ]);
        assert_eq!((report.messages, report.events["A08"]), (2, 2));
        let name = field(&report, "PID", 5);
        assert_eq!((name.valued, name.mapped, name.partly), (2, 1, 1));
        let birth = field(&report, "PID", 7);
        assert_eq!((birth.valued, birth.mapped, birth.dropped), (2, 1, 1));
        assert_eq!(field(&report, "PID", 8).null, 1);
        assert_eq!(field(&report, "PID", 38).dropped, 1);
        assert_eq!(field(&report, "PID", 1).used, 2);
    }

    #[test]
    fn a_text_in_the_place_of_a_code_is_counted_and_not_named() {
        let long = "Mrs Jane Doe of 12 Elm Street";
        let report = report(&[&format!("{HEAD}PID|1||7^^^H|||||{long}"), &format!("{HEAD}PID|1||7^^^H|||||XX")]);
        let missed = &report.missed["administrative-sex"][&FieldPlace { segment: "PID".into(), field: 8 }];
        assert_eq!((missed[""], missed["XX"]), (1, 1));
        assert!(!report.write(Format::Json).unwrap().contains("Jane"));
        assert!(!report.write(Format::Table).unwrap().contains("Jane"));
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let report = report(&[&HEAD.replace("A08", "A99"), &HEAD.replace("A08", "A99"), HEAD]);
        assert_eq!((report.failed, report.failures.len()), (3, 2));
    }
}
