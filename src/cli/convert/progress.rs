//! How far `convert` is, on a terminal: messages, rate, time left. Nothing where stderr is no terminal, where the output
//! itself goes to one, or where it is done before anybody could wonder.

use crate::cli::terminal::output;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less than this needs no bar and no rate.
const SOON: Duration = Duration::from_millis(500);

pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// The terminal is somebody's to write to, and nothing has been drawn yet.
    waiting: bool,
}

impl Progress {
    pub fn of(files: &[PathBuf]) -> Self {
        let total = total(files);
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => "{wide_bar} {percent}%  {msg}  {eta} left",
            None => "{spinner} {msg}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let waiting = io::stderr().is_terminal() && !output::stdout().is_terminal();
        Self { bar, started: Instant::now(), waiting }
    }

    /// So many messages are done, and the files read up to `read` bytes.
    pub fn at(&mut self, read: u64, converted: u64, failed: u64) {
        let elapsed = self.started.elapsed();
        if self.waiting && elapsed > SOON {
            self.waiting = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if self.bar.is_hidden() {
            return;
        }
        let failures = if failed > 0 { format!(", {} failed", HumanCount(failed)) } else { String::new() };
        let rate = rate(converted + failed, elapsed);
        self.bar.set_message(format!("{} messages{failures}, {rate} a second", HumanCount(converted + failed)));
        self.bar.set_position(read);
    }

    /// Writes lines to stderr without getting in the bar's way.
    pub fn say(&self, lines: &str) {
        if !lines.is_empty() {
            self.bar.suspend(|| eprint!("{lines}"));
        }
    }

    /// Takes the bar away and says what it came to.
    pub fn finish(self, converted: u64, failed: u64) {
        self.bar.finish_and_clear();
        let elapsed = self.started.elapsed();
        let took = match elapsed {
            short if short < SOON => String::new(),
            _ => format!(" in {}, {} a second", HumanDuration(elapsed), rate(converted + failed, elapsed)),
        };
        eprintln!("{converted} converted, {failed} failed{took}");
    }
}

fn rate(messages: u64, elapsed: Duration) -> HumanCount {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    HumanCount(messages.saturating_mul(1000) / milliseconds)
}

/// The bytes of all files; `None` where one of them is no plain file, as stdin is none.
fn total(files: &[PathBuf]) -> Option<u64> {
    let length = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Some(metadata.len()),
        Ok(_) => None,
        Err(_) if path.as_os_str() == "-" => None,
        Err(_) => Some(0),
    };
    files.iter().map(length).sum()
}
