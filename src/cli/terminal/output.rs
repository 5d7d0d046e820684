//! What the commands write to stdout and stderr, when whoever reads it may be gone: `stoker explain FILE | head`.
//!
//! The standard library's macros panic then, so these stand in their place below `cli`. A command whose reader has gone
//! ends at once and without a word, as one ends that SIGPIPE stops. What is told on stderr and read by nobody is dropped:
//! the command still has its work to do.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process;

/// What a shell says of a program that SIGPIPE stopped: 128 and the signal's number.
const NOBODY_READS: i32 = 141;

macro_rules! println {
    () => { println!("") };
    ($($text:tt)*) => { $crate::cli::terminal::output::tell(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::terminal::output::tell(format_args!($($text)*)) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::cli::terminal::output::remark(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::terminal::output::remark(format_args!($($text)*)) };
}

/// Results.
pub fn tell(text: fmt::Arguments<'_>) {
    if let Err(error) = stdout().write_fmt(text) {
        remark(format_args!("stoker: stdout cannot be written: {error}\n"));
        process::exit(2);
    }
}

/// Everything else.
pub fn remark(text: fmt::Arguments<'_>) {
    drop(io::stderr().lock().write_fmt(text));
}

/// Stdout, where a reader that has gone ends the command.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn stdout() -> Stdout {
    Stdout(io::stdout())
}

pub struct Stdout(io::Stdout);

impl Stdout {
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        quietly(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        quietly(self.0.flush())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        quietly(self.0.write_all(bytes))
    }
}

fn quietly<T>(written: io::Result<T>) -> io::Result<T> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(NOBODY_READS),
        other => other,
    }
}
