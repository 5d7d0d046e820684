//! Batches over MLLP: a frame that begins with FHS or BHS and holds any number of messages (HL7 v2.5.1 ch. 2.10.3).
//!
//! Each message is judged, stored and acknowledged as if it had come alone, so that one bad message does not take the
//! others with it. The segments of the envelope are kept in a row of their own, before the messages. A frame gets one
//! frame as its answer: the acks in the order of their messages, in an envelope like the sender's. So does a batch without
//! messages, as long as it has its beginning and its end. What came with an envelope segment in a frame of its own (some senders
//! put each in one) gets no answer for that frame.
//!
//! The messages take their places in the journal one by one, as many at a time as the connection may have under way, and
//! nothing that is sent behind the frame comes between them. When one of them cannot be stored, none behind it is. Where the listener closes in such a case, the whole batch
//! has no answer; sent again, its stored messages are known as duplicates.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Zoned;

use crate::mllp::ack::printable;
use crate::mllp::memory::MemoryGrant;
use crate::v2::batch::{is_batch_segment, is_segment};

/// A frame taken apart.
#[derive(Debug)]
pub struct Batch {
    /// Those that have no place in the journal yet.
    pub messages: VecDeque<Bytes>,
    /// FHS, BHS, BTS, FTS, and whatever else belongs to no message.
    envelope: Vec<Bytes>,
    /// Whether it never had any.
    is_empty: bool,
    /// Of the frame.
    pub size: usize,
    /// The memory of the frame, and of the acks that wait for the last of them.
    pub grant: MemoryGrant,
}

/// The most messages of a batch. Their acks are one answer, which is in memory until the last of them is on disk.
pub const MOST: usize = 32_768;

/// What a message of a batch takes in memory for its ack, until that has been written.
const ACK: usize = 700;

impl Batch {
    /// `None` when the frame is no batch.
    pub fn split(raw: &Bytes) -> Option<Self> {
        if !is_batch_segment(raw.trim_ascii_start()) {
            return None;
        }
        let (messages, envelope, grant) = (VecDeque::new(), Vec::new(), MemoryGrant::default());
        let mut batch = Self { messages, envelope, is_empty: false, size: raw.len(), grant };
        let mut open = None;
        for line in lines(raw) {
            if batch.is_too_long() {
                break;
            }
            if is_segment(&raw[line..], b"MSH") || is_batch_segment(&raw[line..]) {
                batch.close(raw, open.take(), line);
                open = Some(line);
            }
        }
        batch.close(raw, open, raw.len());
        batch.is_empty = batch.messages.is_empty();
        Some(batch)
    }

    /// Whether it has more messages than may be; the others are not among them.
    pub fn is_too_long(&self) -> bool {
        self.messages.len() > MOST
    }

    /// What it takes in memory with the acks to come, as long as all of its messages are to be taken.
    pub fn weight(&self) -> usize {
        self.size + self.messages.len() * ACK
    }

    fn close(&mut self, raw: &Bytes, open: Option<usize>, end: usize) {
        let Some(start) = open else { return };
        let piece = raw.slice(start..end);
        let length = piece.trim_ascii_end().len();
        match is_segment(&piece, b"MSH") {
            true => self.messages.push_back(piece),
            false => self.envelope.push(piece.slice(..length)),
        }
    }

    /// The envelope's segments, as the journal keeps them.
    pub fn kept(&self) -> Bytes {
        self.envelope.join(&b'\r').into()
    }

    /// BTS-1, where it says another number than there are messages.
    fn miscounted(&self) -> Option<u64> {
        let bts = self.envelope.iter().find(|segment| is_segment(segment, b"BTS"))?;
        let said = String::from_utf8_lossy(field(bts, 1)).trim().parse::<u64>().ok()?;
        (said != self.messages.len() as u64).then_some(said)
    }

    pub fn reason(&self) -> String {
        let count = self.messages.len();
        let said = self.miscounted().map(|said| format!("; its BTS-1 says {said}")).unwrap_or_default();
        format!("the envelope of a batch; its {count} messages have rows of their own{said}")
    }

    fn segment(&self, name: &[u8; 3]) -> Option<&Bytes> {
        self.envelope.iter().find(|segment| is_segment(segment, name))
    }

    /// Whether it is a batch from its beginning to its end, and not a part of what comes in several frames.
    pub fn is_whole(&self) -> bool {
        let both = |head, tail| self.segment(head).is_some() && self.segment(tail).is_some();
        both(b"BHS", b"BTS") || both(b"FHS", b"FTS")
    }

    /// The acks in an envelope like the sender's; nothing where there are none though there were messages, or for a part of a
    /// batch.
    pub fn answer(&self, acks: &[Bytes], now: &Zoned, control_id: &str) -> Option<Bytes> {
        if acks.is_empty() && !(self.is_empty && self.is_whole()) {
            return None;
        }
        let segment = |name: &[u8; 3]| self.segment(name);
        let header = |name: &[u8; 3]| segment(name).map(|segment| reply_header(segment, now, control_id));
        let trailer = |of: &[u8; 3], name: &[u8; 3], count: usize| {
            let separator = segment(of)?.get(3).copied().unwrap_or(b'|');
            Some([name.as_slice(), &[separator], count.to_string().as_bytes(), b"\r"].concat())
        };
        let mut out = Vec::new();
        out.extend(header(b"FHS").unwrap_or_default());
        out.extend(header(b"BHS").unwrap_or_default());
        acks.iter().for_each(|ack| out.extend_from_slice(ack));
        out.extend(trailer(b"BHS", b"BTS", acks.len()).unwrap_or_default());
        out.extend(trailer(b"FHS", b"FTS", 1).unwrap_or_default());
        Some(out.into())
    }
}

/// FHS or BHS of the answer: sender and receiver change places, the sender's control id is referred to.
fn reply_header(segment: &[u8], now: &Zoned, control_id: &str) -> Vec<u8> {
    let separator = segment.get(3).copied().unwrap_or(b'|');
    let echo = |n: usize| printable(field(segment, n));
    let time = now.strftime("%Y%m%d%H%M%S%z").to_string().into_bytes();
    let (none, id) = (Vec::new, control_id.as_bytes().to_vec());
    // Fields 8 to 10 are security, name and comment.
    let fields = [echo(2), echo(5), echo(6), echo(3), echo(4), time, none(), none(), none(), id, echo(11)];
    let mut out = segment[..3].to_vec();
    out.push(separator);
    out.extend(fields.join(&separator));
    out.push(b'\r');
    out
}

/// Field `n` of a segment. FHS and BHS count their separator as the first field, BTS and FTS do not.
fn field(segment: &[u8], n: usize) -> &[u8] {
    let separator = segment.get(3).copied().unwrap_or(b'|');
    let at = if is_segment(segment, b"FHS") || is_segment(segment, b"BHS") { n - 1 } else { n };
    segment.split(|&byte| byte == separator).nth(at).unwrap_or_default()
}

/// Where lines begin.
fn lines(raw: &[u8]) -> impl Iterator<Item = usize> {
    let after = memchr::memchr2_iter(b'\r', b'\n', raw).map(|at| at + 1);
    std::iter::once(0).chain(after).filter(|&at| at < raw.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "FHS|^~\\&|APP|FAC|US|HERE|20260110||||F1\rBHS|^~\\&|APP|FAC|US|HERE|20260110||||B7\r\
                        MSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\rPID|2\rBTS|2\rFTS|1\r";

    fn split(text: &'static str) -> Option<Batch> {
        Batch::split(&Bytes::from_static(text.as_bytes()))
    }

    fn texts(pieces: &VecDeque<Bytes>) -> Vec<&str> {
        pieces.iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect()
    }

    #[test]
    fn a_batch_is_its_messages_and_its_envelope() {
        let batch = split(SENT).unwrap();
        assert_eq!(texts(&batch.messages), ["MSH|^~\\&|1\rPID|1\r", "MSH|^~\\&|2\rPID|2\r"]);
        assert_eq!(
            batch.kept().split(|&b| b == b'\r').map(|line| &line[..3]).collect::<Vec<_>>(),
            [b"FHS", b"BHS", b"BTS", b"FTS"]
        );
        assert_eq!(batch.miscounted(), None);
    }

    #[test]
    fn line_feeds_end_segments_too() {
        let batch = split("\r\nBHS|^~\\&\nMSH|1\nPID|1\nBTS|5\n").unwrap();
        assert_eq!(texts(&batch.messages), ["MSH|1\nPID|1\n"]);
        assert_eq!(batch.reason(), "the envelope of a batch; its 1 messages have rows of their own; its BTS-1 says 5");
    }

    #[test]
    fn what_begins_with_a_message_is_no_batch() {
        assert!(["MSH|^~\\&|1\rBTS|1", "BHSX|1", ""].into_iter().all(|text| split(text).is_none()));
    }

    #[test]
    fn an_envelope_segment_alone_is_a_batch_without_messages() {
        let batch = split("BTS|3").unwrap();
        assert!(batch.messages.is_empty() && batch.answer(&[], &Zoned::now(), "N").is_none());
    }

    #[test]
    fn a_whole_batch_without_messages_is_answered_by_one() {
        let clock: Zoned = "2024-03-31T12:30:05+02:00[Europe/Oslo]".parse().unwrap();
        let answer =
            split("BHS|^~\\&|APP|FAC|US|HERE|20260110||||B7\rBTS|0\r").unwrap().answer(&[], &clock, "N1").unwrap();
        let expected = "BHS|^~\\&|US|HERE|APP|FAC|20240331123005+0200||||N1|B7\rBTS|0\r";
        assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
        let unanswered = split(SENT).unwrap();
        assert!(unanswered.answer(&[], &clock, "N1").is_none(), "its senders want no acks");
    }

    #[test]
    fn the_answer_is_a_batch_in_the_senders_terms() {
        let clock: Zoned = "2024-03-31T12:30:05+02:00[Europe/Oslo]".parse().unwrap();
        let acks = [Bytes::from_static(b"MSH|a\rMSA|AA|1\r"), Bytes::from_static(b"MSH|b\rMSA|AE|2\r")];
        let answer = split(SENT).unwrap().answer(&acks, &clock, "N1").unwrap();
        let expected = "FHS|^~\\&|US|HERE|APP|FAC|20240331123005+0200||||N1|F1\r\
                        BHS|^~\\&|US|HERE|APP|FAC|20240331123005+0200||||N1|B7\r\
                        MSH|a\rMSA|AA|1\rMSH|b\rMSA|AE|2\rBTS|2\rFTS|1\r";
        assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
    }
}
