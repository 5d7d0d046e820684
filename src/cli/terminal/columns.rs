//! Text in columns on a terminal: cut and padded by what it takes on the screen, and harmless there.
//!
//! What senders put into their messages goes to a terminal here, so control characters are shown and never sent. A
//! [`Screen`] is what a table is written on; what stands on it is said where the table is made.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How wide a table may be: as the shell says, else as wide as the terminal is, else what reads well in a file.
#[must_use]
pub fn screen() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let there = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    told.or_else(there).unwrap_or(120).clamp(80, 240)
}

/// Whether what is written goes to a terminal that wants colours (<https://no-color.org>).
#[must_use]
pub fn coloured(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Lines being written, for a screen of a width.
#[derive(Debug)]
pub struct Screen {
    pub out: String,
    pub width: usize,
    coloured: bool,
}

impl Screen {
    #[must_use]
    pub fn new(width: usize, coloured: bool) -> Self {
        Self { out: String::new(), width, coloured }
    }

    pub fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    /// A text in a style of the terminal's (an SGR code), where colours are wanted.
    #[must_use]
    pub fn styled(&self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn title(&mut self, text: &str) {
        let title = self.styled("1", text);
        self.line("");
        self.line(&title);
    }
}

/// A text with control characters shown as what they are.
#[must_use]
pub fn plain(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => out.push('⏎'),
            '\t' => out.push(' '),
            c if harmless(c) => out.push(c),
            _ => out.push('·'),
        }
    }
    out
}

/// Cut to a width, with the end left out.
#[must_use]
pub fn head(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.width() <= width {
        return text;
    }
    let mut out = String::new();
    let mut room = width.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        out.push(c);
    }
    out.push('…');
    out
}

/// Cut to a width, with the middle left out: the ends of a path say the most.
#[must_use]
pub fn ends(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.width() <= width || width < 8 {
        return head(&text, width);
    }
    let first = head(&text, width / 3);
    let mut room = width - first.width();
    let tail: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= room;
            room = room.saturating_sub(wide);
            fits
        })
        .collect();
    first + &tail.into_iter().rev().collect::<String>()
}

/// Filled up with blanks to a width.
#[must_use]
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// A text broken into lines between words.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.width());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.width() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_wrote_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\u{202e}c\nd"), "a·[2Jb·c⏎d");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(head("循環器内科", 6), "循環…");
        assert_eq!(pad("外科", 6), "外科  ");
        assert_eq!(head("short", 6), "short");
    }

    #[test]
    fn a_long_path_keeps_its_ends() {
        let cut = ends("Encounter.contained[3].identifier[0].type.coding[0].code", 30);
        assert_eq!(cut.width(), 30);
        assert!(cut.starts_with("Encounter") && cut.ends_with("coding[0].code"), "{cut}");
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
    }
}
