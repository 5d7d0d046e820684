//! Lines of a file, of whatever ends, read as a stream and with their place.

use std::io::{self, BufRead};

use super::fault::FileFault;

/// MLLP's framing, which a capture of a connection holds.
const START: u8 = 0x0B;
const END: u8 = 0x1C;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    Cr,
    Lf,
    /// MLLP's end of a message.
    Frame,
    File,
}

/// What a line is, by its first three letters.
pub enum LineKind {
    Blank,
    Message,
    Batch,
    Other,
}

/// Lines of at most `max` bytes; what a longer one has more is counted and not kept.
#[derive(Debug)]
pub struct Lines<R> {
    file: R,
    pub buffer: Vec<u8>,
    max: usize,
    /// Where the line starts, its framing byte passed over.
    pub start: u64,
    /// From 1, as an editor counts: CR, LF and CRLF end a line, 0x1C does not.
    pub number: u64,
    /// How many lines have ended.
    ended: u64,
    pub length: u64,
    /// How far the file has been read.
    offset: u64,
    /// How the line ended.
    pub end: LineEnd,
}

impl<R: BufRead> Lines<R> {
    pub fn new(file: R, max: usize) -> Self {
        Self { file, buffer: Vec::new(), max, start: 0, number: 1, ended: 0, length: 0, offset: 0, end: LineEnd::Lf }
    }

    /// `false` at the end of the file.
    pub fn read(&mut self) -> Result<bool, FileFault> {
        let first = self.offset == 0;
        let after_cr = self.end == LineEnd::Cr;
        self.skip_starts()?;
        self.buffer.clear();
        (self.start, self.length, self.number) = (self.offset, 0, self.ended + 1);
        self.end = self.read_to_end_of_line()?;
        let second_half = after_cr && self.end == LineEnd::Lf && self.length == 0;
        if matches!(self.end, LineEnd::Cr | LineEnd::Lf) && !second_half {
            self.ended += 1;
        }
        if first {
            self.strip_mark()?;
        }
        Ok(self.end != LineEnd::File || self.length > 0)
    }

    fn read_to_end_of_line(&mut self) -> Result<LineEnd, FileFault> {
        loop {
            let chunk = fill(&mut self.file)?;
            if chunk.is_empty() {
                return Ok(LineEnd::File);
            }
            let end = memchr::memchr3(b'\r', b'\n', END, chunk);
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.max.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&text[..text.len().min(room)]);
            self.length += text.len() as u64;
            let ended = end.map(|at| match chunk[at] {
                b'\r' => LineEnd::Cr,
                b'\n' => LineEnd::Lf,
                _ => LineEnd::Frame,
            });
            let used = text.len() + usize::from(ended.is_some());
            self.file.consume(used);
            self.offset += used as u64;
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// MLLP's start of a message, where a line starts.
    fn skip_starts(&mut self) -> Result<(), FileFault> {
        loop {
            let run = fill(&mut self.file)?.iter().take_while(|&&byte| byte == START).count();
            if run == 0 {
                return Ok(());
            }
            self.file.consume(run);
            self.offset += run as u64;
        }
    }

    /// The byte order mark, in the first line of the file.
    fn strip_mark(&mut self) -> Result<(), FileFault> {
        if self.buffer.starts_with(b"\xFF\xFE") || self.buffer.starts_with(b"\xFE\xFF") {
            return Err(FileFault::Utf16);
        }
        if self.buffer.starts_with(b"\xEF\xBB\xBF") {
            self.buffer.drain(..3);
            self.start += 3;
            self.length -= 3;
        }
        Ok(())
    }

    pub fn kind(&self) -> LineKind {
        let line = self.buffer.as_slice();
        if line.trim_ascii().is_empty() {
            LineKind::Blank
        } else if is_segment(line, b"MSH") {
            LineKind::Message
        } else if is_batch_segment(line) {
            LineKind::Batch
        } else {
            LineKind::Other
        }
    }
}

/// Whether a line is a segment of this name.
#[must_use]
pub fn is_segment(line: &[u8], name: &[u8; 3]) -> bool {
    line.starts_with(name) && line.get(name.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// Whether a line is a segment around messages: FHS, BHS, BTS, FTS.
#[must_use]
pub fn is_batch_segment(line: &[u8]) -> bool {
    [b"FHS", b"BHS", b"BTS", b"FTS"].iter().any(|name| is_segment(line, name))
}

/// `fill_buf`, tried again when a signal came between.
fn fill<R: BufRead>(file: &mut R) -> io::Result<&[u8]> {
    while let Err(error) = file.fill_buf() {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    file.fill_buf()
}
