//! Rows in aligned columns. On a terminal the last column is cut where the line ends; in a file nothing is cut.

use unicode_width::UnicodeWidthStr as _;

use crate::cli::terminal::columns::{head, pad, plain, screen};
use crate::cli::terminal::output;

/// The widest that a column but the last may be on a terminal.
const WIDEST: usize = 28;

/// Lines of a table, its heading first.
pub fn lines<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let limit = output::stdout().is_terminal().then(screen);
    within(heading, rows, limit)
}

fn within<const N: usize>(heading: [&str; N], rows: &[[String; N]], limit: Option<usize>) -> Vec<String> {
    let cut = |text: &str| if limit.is_some() { head(text, WIDEST) } else { plain(text) };
    let rows: Vec<[String; N]> = std::iter::once(heading.map(str::to_owned))
        .chain(rows.iter().cloned())
        .map(|row| {
            let mut cells = row.each_ref().map(|cell| cut(cell));
            if let (Some(last), Some(whole)) = (cells.last_mut(), row.last()) {
                *last = plain(whole);
            }
            cells
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    rows.iter().map(|row| line(row, &widths, limit)).collect()
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N], limit: Option<usize>) -> String {
    let mut text = String::new();
    for (n, cell) in row.iter().enumerate() {
        let room = limit.map(|limit| limit.saturating_sub(text.width()));
        let cell = if n + 1 < N { pad(cell, widths[n]) + "  " } else { cell.clone() };
        text.push_str(&room.filter(|_| n + 1 == N).map_or(cell.clone(), |room| head(&cell, room)));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_the_last_is_cut_at_the_end_of_the_line() {
        let rows = [["1".into(), "a long reason".into()], ["12345".into(), "x\u{1b}y".into()]];
        assert_eq!(within(["no", "why"], &rows, Some(14)), ["no     why", "1      a long…", "12345  x·y"]);
        assert_eq!(within(["no", "why"], &rows, None)[1], "1      a long reason");
    }
}
