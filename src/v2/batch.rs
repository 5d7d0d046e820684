//! Files that hold messages, taken apart: one message or many, batches, captures of an MLLP connection.
//!
//! A message begins with an MSH segment at the start of a line and ends before the next one, before a batch segment
//! (FHS, BHS, BTS, FTS; HL7 v2.5.1 ch. 2.10.3), at MLLP's 0x1C, or with the file. Lines end in CR, LF or CRLF, and a
//! file may mix them. The file is read as a stream; what is held at once is one message, up to a cap.
//!
//! Nothing is skipped in silence: lines that belong to no message, and messages over the cap, come out as [`FileFault`]s
//! with their place, and reading goes on behind them.

use std::io::{self, BufRead};

const START: u8 = 0x0B;
const END: u8 = 0x1C;

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

/// What is not a message. Only [`FileFault::Read`] ends the file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("line {line}: {bytes} bytes that belong to no message; a message starts with an MSH segment")]
    Outside { line: u64, bytes: u64 },
    #[error("line {line}: message {number} is longer than {max} bytes")]
    TooLong { number: u64, line: u64, max: usize },
    #[error("the file is UTF-16; convert it to UTF-8 first")]
    Utf16,
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// The messages of one file, in order.
#[derive(Debug)]
pub struct Messages<R> {
    lines: Lines<R>,
    max: usize,
    count: u64,
    open: Open,
    /// Found together with the end of what came before it.
    next: Option<Result<FoundMessage, FileFault>>,
    done: bool,
}

/// What the lines being read belong to.
#[derive(Debug)]
enum Open {
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
        let lines = Lines {
            file,
            buffer: Vec::new(),
            max,
            start: 0,
            number: 1,
            ended: 0,
            length: 0,
            offset: 0,
            end: Ended::Lf,
        };
        Self { lines, max, count: 0, open: Open::Nothing, next: None, done: false }
    }

    /// What the lines so far came to.
    fn close(&mut self) -> Option<Result<FoundMessage, FileFault>> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => None,
            Open::Message(mut found) => {
                let text = found.raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
                found.raw.truncate(text.map_or(0, |last| last + 1));
                Some(Ok(found))
            }
            Open::TooLong { number, line } => Some(Err(FileFault::TooLong { number, line, max: self.max })),
            Open::Outside { line, bytes } => Some(Err(FileFault::Outside { line, bytes })),
        }
    }

    /// Takes the line that was read; gives what it puts an end to.
    fn take_line(&mut self) -> Option<Result<FoundMessage, FileFault>> {
        let closed = match self.lines.kind() {
            LineKind::Blank if !matches!(self.open, Open::Message(_)) => None,
            LineKind::Message => {
                let closed = self.close();
                self.count += 1;
                let (offset, line) = (self.lines.start, self.lines.number);
                self.open = Open::Message(FoundMessage { number: self.count, offset, line, raw: Vec::new() });
                self.append();
                closed
            }
            LineKind::Batch => self.close(),
            LineKind::Blank | LineKind::Other => {
                self.append();
                None
            }
        };
        if self.lines.end == Ended::Frame {
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
            Open::Message(found) => {
                let (number, line) = (found.number, found.line);
                let whole = self.lines.buffer.len() as u64 == self.lines.length;
                if !whole || found.raw.len() + self.lines.buffer.len() > self.max {
                    self.open = Open::TooLong { number, line };
                    return;
                }
                found.raw.extend_from_slice(&self.lines.buffer);
                match self.lines.end {
                    Ended::Cr => found.raw.push(b'\r'),
                    Ended::Lf => found.raw.push(b'\n'),
                    Ended::Frame | Ended::File => {}
                }
            }
            Open::TooLong { .. } => {}
            Open::Outside { bytes, .. } => *bytes += self.lines.length,
            Open::Nothing => self.open = Open::Outside { line: self.lines.number, bytes: self.lines.length },
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Cr,
    Lf,
    /// MLLP's end of a message.
    Frame,
    File,
}

enum LineKind {
    Blank,
    Message,
    Batch,
    Other,
}

/// Lines of at most `max` bytes; what a longer one has more is counted and not kept.
#[derive(Debug)]
struct Lines<R> {
    file: R,
    buffer: Vec<u8>,
    max: usize,
    /// Where the line starts, its framing byte passed over.
    start: u64,
    /// From 1, as an editor counts: CR, LF and CRLF end a line, 0x1C does not.
    number: u64,
    /// How many lines have ended.
    ended: u64,
    length: u64,
    /// How far the file has been read.
    offset: u64,
    /// How the line ended.
    end: Ended,
}

impl<R: BufRead> Lines<R> {
    /// `false` at the end of the file.
    fn read(&mut self) -> Result<bool, FileFault> {
        let first = self.offset == 0;
        let after_cr = self.end == Ended::Cr;
        self.skip_starts()?;
        self.buffer.clear();
        (self.start, self.length, self.number) = (self.offset, 0, self.ended + 1);
        self.end = self.read_to_end_of_line()?;
        let second_half = after_cr && self.end == Ended::Lf && self.length == 0;
        if matches!(self.end, Ended::Cr | Ended::Lf) && !second_half {
            self.ended += 1;
        }
        if first {
            self.strip_mark()?;
        }
        Ok(self.end != Ended::File || self.length > 0)
    }

    fn read_to_end_of_line(&mut self) -> Result<Ended, FileFault> {
        loop {
            let chunk = fill(&mut self.file)?;
            if chunk.is_empty() {
                return Ok(Ended::File);
            }
            let end = memchr::memchr3(b'\r', b'\n', END, chunk);
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.max.saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&text[..text.len().min(room)]);
            self.length += text.len() as u64;
            let ended = end.map(|at| match chunk[at] {
                b'\r' => Ended::Cr,
                b'\n' => Ended::Lf,
                _ => Ended::Frame,
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

    fn kind(&self) -> LineKind {
        let line = self.buffer.as_slice();
        let named = |name: &[u8]| {
            line.starts_with(name) && line.get(name.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric())
        };
        if line.trim_ascii().is_empty() {
            LineKind::Blank
        } else if named(b"MSH") {
            LineKind::Message
        } else if [b"FHS", b"BHS", b"BTS", b"FTS"].iter().any(|name| named(*name)) {
            LineKind::Batch
        } else {
            LineKind::Other
        }
    }
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

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    /// Number, offset, line and text of each message, or the fault.
    fn read(bytes: &[u8]) -> Vec<String> {
        show(Messages::new(bytes, 100))
    }

    fn show<R: BufRead>(messages: Messages<R>) -> Vec<String> {
        messages
            .map(|item| match item {
                Ok(found) => {
                    let text = String::from_utf8_lossy(&found.raw).into_owned();
                    format!("{} @{} :{} {text:?}", found.number, found.offset, found.line)
                }
                Err(fault) => fault.to_string(),
            })
            .collect()
    }

    #[test]
    fn lines_may_end_in_cr_lf_or_both() {
        assert_eq!(read(b"MSH|1\rPID|1\r"), [r#"1 @0 :1 "MSH|1\rPID|1""#]);
        let lf = [r#"1 @0 :1 "MSH|1\nPID|1""#, r#"2 @12 :3 "MSH|2\nPID|2""#];
        assert_eq!(read(b"MSH|1\nPID|1\nMSH|2\nPID|2"), lf);
        let crlf = [r#"1 @2 :2 "MSH|1\r\nPID|1""#, r#"2 @18 :5 "MSH|2""#];
        assert_eq!(read(b"\r\nMSH|1\r\nPID|1\r\n\r\nMSH|2\r\n"), crlf);
        assert_eq!(read(b"MSH|1\rPID|1\nMSH|2\rPID|2\n"), [r#"1 @0 :1 "MSH|1\rPID|1""#, r#"2 @12 :3 "MSH|2\rPID|2""#]);
    }

    #[test]
    fn an_mllp_capture_comes_apart_at_its_frames() {
        let bytes = b"\x0BMSH|1\rPID|1\r\x1C\r\x0BMSH|2\r\x1C\x0B\x0BMSH|3\x1C\r";
        assert_eq!(read(bytes), [r#"1 @1 :1 "MSH|1\rPID|1""#, r#"2 @16 :4 "MSH|2""#, r#"3 @25 :5 "MSH|3""#]);
    }

    #[test]
    fn batch_segments_stand_between_messages() {
        let bytes = b"FHS|^~\\&|A\rBHS|^~\\&|B\rMSH|1\rPID|1\rMSH|2\rBTS|2\rFTS|1\r";
        assert_eq!(read(bytes), [r#"1 @22 :3 "MSH|1\rPID|1""#, r#"2 @34 :5 "MSH|2""#]);
    }

    #[test]
    fn what_belongs_to_no_message_is_told() {
        let outside = "line 1: 10 bytes that belong to no message; a message starts with an MSH segment";
        assert_eq!(read(b"hello\nworld\nMSH|1\n"), [outside, r#"1 @12 :3 "MSH|1""#]);
        assert_eq!(read(b"MSHA|1\rMSH|1\r").len(), 2);
        let behind = read(b"MSH|1\x1C\rPID|9\r\x0BMSH|2\x1C\r");
        assert!(behind[1].starts_with("line 2: 5 bytes") && behind.len() == 3, "{behind:?}");
        assert!(read(b"\n\r\n \t\n\x1C\r").is_empty());
        assert_eq!(read(b"\xFF\xFEM\0S\0"), ["the file is UTF-16; convert it to UTF-8 first"]);
    }

    #[test]
    fn a_message_over_the_cap_does_not_stop_the_file() {
        let mut bytes = b"MSH|1\rOBX|".to_vec();
        bytes.extend([b'x'; 100]);
        bytes.extend(b"\rNTE|1\rMSH|2\r");
        assert_eq!(read(&bytes), ["line 1: message 1 is longer than 100 bytes", r#"2 @117 :4 "MSH|2""#]);
        let many = b"NTE|123456\r".repeat(10);
        assert_eq!(read(&[b"MSH|1\r", many.as_slice()].concat()), ["line 1: message 1 is longer than 100 bytes"]);
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert_eq!(read(b"\xEF\xBB\xBFMSH|1\n"), [r#"1 @3 :1 "MSH|1""#]);
    }

    #[test]
    fn on_the_wire_segments_end_in_cr() {
        let wire = |bytes: &[u8]| Messages::new(bytes, 100).next().unwrap().unwrap().on_the_wire();
        assert_eq!(wire(b"MSH|1\nPID|1\n"), b"MSH|1\rPID|1\r");
        assert_eq!(wire(b"MSH|1\r\nPID|1\r\n"), b"MSH|1\rPID|1\r");
        assert_eq!(wire(b"MSH|1\rNTE|a\nb\r"), b"MSH|1\rNTE|a\nb\r");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_behind_what_was_read() {
        struct Torn(bool);
        impl io::Read for Torn {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("torn"));
                }
                buffer[..6].copy_from_slice(b"MSH|1\r");
                Ok(6)
            }
        }
        let items = show(Messages::new(BufReader::new(Torn(false)), 100));
        assert_eq!(items, [r#"1 @0 :1 "MSH|1""#, "the file cannot be read: torn"]);
    }

    proptest! {
        #[test]
        fn any_buffer_size_gives_the_same_messages(
            parts in proptest::collection::vec(
                proptest::sample::select(vec!["MSH|1", "PID|", "x", "\r", "\n", "\r\n", "\x0B", "\x1C", "\x1C\r", "BTS", "\u{feff}"]), 0..40),
            size in 1_usize..9,
        ) {
            let bytes = parts.concat().into_bytes();
            let small = show(Messages::new(BufReader::with_capacity(size, bytes.as_slice()), 30));
            prop_assert_eq!(small, show(Messages::new(bytes.as_slice(), 30)));
        }
    }
}
