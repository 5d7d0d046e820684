//! Files that hold messages, taken apart: one message or many, batches, captures of an MLLP connection.
//!
//! A message begins with an MSH segment at the start of a line and ends before the next one, before a batch segment
//! (FHS, BHS, BTS, FTS; HL7 v2.5.1 ch. 2.10.3), at MLLP's 0x1C, or with the file. Lines end in CR, LF or CRLF, and a
//! file may mix them. The file is read as a stream; what is held at once is one message, up to a cap.
//!
//! Nothing is skipped in silence: lines that belong to no message, and messages over the cap, come out as [`FileFault`]s
//! with their place, and reading goes on behind them. A file in UTF-16 is refused: its line ends are others.
//!
//! `lines` reads lines and says what each is, this file puts them together, `fault` is what may be wrong.

mod fault;
mod lines;

use std::io::BufRead;

pub use fault::FileFault;
use lines::{LineEnd, LineKind, Lines};
pub use lines::{is_batch_segment, is_segment};

/// One message of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMessage {
    /// From 1, counting messages only.
    pub number: u64,
    /// Of the `M` of MSH, in bytes from the start of the file.
    pub offset: u64,
    /// Of the MSH, from 1.
    pub line: u64,
    /// As it stands in the file, without the line ends behind it.
    pub raw: Vec<u8>,
}

impl FoundMessage {
    /// The message as it goes over the wire, each segment ended by CR.
    ///
    /// LF is taken for a segment's end only where the message has no CR: else it is part of somebody's text.
    #[must_use]
    pub fn on_the_wire(&self) -> Vec<u8> {
        let lf_ends = !self.raw.contains(&b'\r');
        let mut out = Vec::with_capacity(self.raw.len() + 1);
        for (at, &byte) in self.raw.iter().enumerate() {
            match byte {
                b'\n' if lf_ends => out.push(b'\r'),
                b'\n' if self.raw[at - 1] == b'\r' => {}
                other => out.push(other),
            }
        }
        out.push(b'\r');
        out
    }
}

/// The messages of one file, in order.
#[derive(Debug)]
pub struct Messages<R> {
    lines: Lines<R>,
    max: usize,
    count: u64,
    open: OpenBlock,
    /// Found together with the end of what came before it.
    next: Option<Result<FoundMessage, FileFault>>,
    done: bool,
}

/// What the lines being read belong to.
#[derive(Debug)]
enum OpenBlock {
    Nothing,
    Message(FoundMessage),
    /// Over the cap; its rest is passed over.
    TooLong {
        number: u64,
        line: u64,
    },
    Outside {
        line: u64,
        bytes: u64,
    },
}

impl<R: BufRead> Messages<R> {
    /// `max` is the longest message in bytes.
    pub fn new(file: R, max: usize) -> Self {
        let lines = Lines::new(file, max);
        Self { lines, max, count: 0, open: OpenBlock::Nothing, next: None, done: false }
    }

    /// What the lines so far came to.
    fn close(&mut self) -> Option<Result<FoundMessage, FileFault>> {
        match std::mem::replace(&mut self.open, OpenBlock::Nothing) {
            OpenBlock::Nothing => None,
            OpenBlock::Message(mut found) => {
                let text = found.raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
                found.raw.truncate(text.map_or(0, |last| last + 1));
                Some(Ok(found))
            }
            OpenBlock::TooLong { number, line } => Some(Err(FileFault::TooLong { number, line, max: self.max })),
            OpenBlock::Outside { line, bytes } => Some(Err(FileFault::Outside { line, bytes })),
        }
    }

    /// Takes the line that was read; gives what it puts an end to.
    fn take_line(&mut self) -> Option<Result<FoundMessage, FileFault>> {
        let closed = match self.lines.kind() {
            LineKind::Blank if !matches!(self.open, OpenBlock::Message(_)) => None,
            LineKind::Message => {
                let closed = self.close();
                self.count += 1;
                let (offset, line) = (self.lines.start, self.lines.number);
                self.open = OpenBlock::Message(FoundMessage { number: self.count, offset, line, raw: Vec::new() });
                self.append();
                closed
            }
            LineKind::Batch => self.close(),
            LineKind::Blank | LineKind::Other => {
                self.append();
                None
            }
        };
        if self.lines.end == LineEnd::Frame {
            return self.end_of_frame(closed);
        }
        closed
    }

    fn end_of_frame(
        &mut self,
        closed: Option<Result<FoundMessage, FileFault>>,
    ) -> Option<Result<FoundMessage, FileFault>> {
        let ended = self.close();
        match (closed, ended) {
            (None, ended) => ended,
            (closed, ended) => {
                self.next = ended;
                closed
            }
        }
    }

    /// Adds the line to what is open.
    fn append(&mut self) {
        match &mut self.open {
            OpenBlock::Message(found) => {
                let (number, line) = (found.number, found.line);
                let whole = self.lines.buffer.len() as u64 == self.lines.length;
                if !whole || found.raw.len() + self.lines.buffer.len() > self.max {
                    self.open = OpenBlock::TooLong { number, line };
                    return;
                }
                found.raw.extend_from_slice(&self.lines.buffer);
                match self.lines.end {
                    LineEnd::Cr => found.raw.push(b'\r'),
                    LineEnd::Lf => found.raw.push(b'\n'),
                    LineEnd::Frame | LineEnd::File => {}
                }
            }
            OpenBlock::TooLong { .. } => {}
            OpenBlock::Outside { bytes, .. } => *bytes += self.lines.length,
            OpenBlock::Nothing => self.open = OpenBlock::Outside { line: self.lines.number, bytes: self.lines.length },
        }
    }
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = Result<FoundMessage, FileFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        while !self.done {
            match self.lines.read() {
                Err(fault) => {
                    self.done = true;
                    self.next = Some(Err(fault));
                    return self.close().or_else(|| self.next.take());
                }
                Ok(false) => self.done = true,
                Ok(true) => {
                    if let Some(item) = self.take_line() {
                        return Some(item);
                    }
                }
            }
        }
        self.close()
    }
}

#[cfg(test)]
mod tests;
