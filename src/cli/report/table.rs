//! A report as text in columns.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr;

use super::sums::{Field, Report, name_of};
use crate::cli::terminal::columns::{Screen, head, pad, plain};

/// Codes shown of a field that missed one table.
const SHOWN: usize = 12;

pub(super) fn write(report: &Report, width: usize, coloured: bool) -> String {
    let mut page = Screen::new(width, coloured);
    page.summary(report);
    page.failures(report);
    page.fields(report);
    page.missed_codes(report);
    page.counted("Warnings", &report.warnings);
    page.out
}

impl Screen {
    fn summary(&mut self, report: &Report) {
        let converted = report.messages - report.failed;
        let mut text = format!("{} messages, {converted} mapped, {} failed", report.messages, report.failed);
        if report.unreadable > 0 {
            text.push_str(&format!(", {} pieces that are no message", report.unreadable));
        }
        self.line(&text);
        let mut line = String::from("events");
        for (event, count) in &report.events {
            let next = format!(" {} {count}", head(event, 12));
            if line.width() + next.width() > self.width {
                self.line(&line);
                line = String::from("      ");
            }
            line.push_str(&next);
        }
        self.line(&line);
    }

    fn failures(&mut self, report: &Report) {
        self.counted("Failed", &report.failures);
    }

    fn counted(&mut self, title: &str, counts: &BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        self.title(title);
        let mut sorted: Vec<_> = counts.iter().collect();
        sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (what, count) in sorted.iter().take(40) {
            let text = head(what, self.width.saturating_sub(12));
            self.line(&format!("{count:>10}  {text}"));
        }
        if sorted.len() > 40 {
            self.line(&format!("            and {} more", sorted.len() - 40));
        }
    }

    fn fields(&mut self, report: &Report) {
        if report.fields.is_empty() {
            return;
        }
        self.title("Fields");
        let heading = format!(
            "    {} {} {:>9} {:>9} {:>9} {:>9}  most often because",
            pad("field", 8),
            pad("", 28),
            "valued",
            "mapped",
            "partly",
            "dropped"
        );
        self.line(&heading);
        let mut segment = "";
        for (place, field) in report.fields.iter().filter(|(_, field)| field.valued > field.used) {
            if place.segment != segment {
                segment = &place.segment;
                self.line("");
            }
            let name = head(name_of(place), 28);
            let path = format!("{}-{}", place.segment, place.field);
            self.field(&path, &name, field);
        }
        let used: u64 = report.fields.values().map(|field| field.used).sum();
        self.line("");
        self.line(&format!("    {used} values more are set ids, asked for by conditions, or read by Stoker itself"));
    }

    fn field(&mut self, path: &str, name: &str, field: &Field) {
        let why = field.why.iter().max_by_key(|(_, count)| **count).map(|(why, _)| why.as_str()).unwrap_or_default();
        let number = |n: u64| if n == 0 { String::from("-") } else { n.to_string() };
        let line = format!(
            "    {} {} {:>9} {:>9} {:>9} {:>9}  ",
            pad(&head(path, 8), 8),
            pad(name, 28),
            field.valued,
            number(field.mapped),
            number(field.partly),
            number(field.dropped)
        );
        let room = self.width.saturating_sub(line.width());
        self.line(&format!("{line}{}", head(why, room)));
    }

    fn missed_codes(&mut self, report: &Report) {
        if report.missed.is_empty() {
            return;
        }
        self.title("Codes without a row in their table");
        for (table, fields) in &report.missed {
            for (place, codes) in fields {
                let mut sorted: Vec<_> = codes.iter().collect();
                sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
                let mut shown: Vec<String> = sorted
                    .iter()
                    .take(SHOWN)
                    .map(|(code, count)| match code.as_str() {
                        "" => format!("(too long to show) {count}"),
                        code => format!("{} {count}", plain(code)),
                    })
                    .collect();
                if sorted.len() > SHOWN {
                    shown.push(format!("and {} more", sorted.len() - SHOWN));
                }
                let path = format!("{}-{}", place.segment, place.field);
                let line = format!("    {} {} ", pad(&head(table, 30), 30), pad(&head(&path, 8), 8));
                let room = self.width.saturating_sub(line.width());
                for (n, text) in crate::cli::terminal::columns::wrap(&shown.join(", "), room).iter().enumerate() {
                    let lead = if n == 0 { line.clone() } else { " ".repeat(line.width()) };
                    self.line(&format!("{lead}{text}"));
                }
            }
        }
    }
}
