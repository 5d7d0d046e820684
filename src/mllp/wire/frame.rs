//! MLLP frames as a tokio-util codec that knows bytes and no sockets (HL7 v2.5.1 appendix C, MLLP release 1).
//!
//! A frame is 0x0B, the message, 0x1C 0x0D. What senders really write is taken as follows:
//!
//! - 0x1C alone ends a frame. Waiting for the 0x0D would hold back the ack of a sender that never writes it.
//! - Line ends between frames are nothing; any other byte there is [`Piece::Noise`].
//! - A run of 0x0B opens one frame.
//! - 0x0B within a frame is a byte like any other, unless `MSH` follows it: then the sender gave up on the frame before
//!   and began again. What it had sent is a [`Piece::Partial`].
//! - A frame over the cap is swallowed to its 0x1C, its head kept, so that it can be answered by its control id.
//!
//! Every byte between the first 0x0B and the last 0x1C comes out in exactly one piece, whatever the reads were cut into.
//! UTF-16 gets through as long as none of its bytes is 0x0B or 0x1C, which is why HL7 does not allow it over MLLP.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};
use tokio_util::codec::{Decoder, Encoder};

const START: u8 = 0x0B;
const END: u8 = 0x1C;

/// How much of an oversize frame is kept: room for any MSH and for a person to see what it was.
const HEAD: usize = 64 * 1024;

/// Noise comes out at least this often, so that a peer which speaks another protocol cannot fill the memory.
pub const MAX_NOISE: usize = 64 * 1024;

/// What the bytes of a connection come apart into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What stood between 0x0B and 0x1C; may be empty.
    Frame(Bytes),
    /// A frame longer than the cap: its first bytes, and how long it was.
    Oversize { head: Bytes, length: u64 },
    /// A frame that began and never ended. `head` is all of it, or its first bytes if it was over the cap.
    Partial { head: Bytes, length: u64 },
    /// Bytes outside any frame.
    Noise(Bytes),
}

impl Piece {
    /// How many of its bytes there are.
    #[must_use]
    pub fn kept(&self) -> usize {
        match self {
            Self::Frame(bytes)
            | Self::Noise(bytes)
            | Self::Oversize { head: bytes, .. }
            | Self::Partial { head: bytes, .. } => bytes.len(),
        }
    }
}

/// The state of one direction of one connection.
#[derive(Debug)]
pub struct Codec {
    max_frame: usize,
    state: DecoderState,
    noise: BytesMut,
}

#[derive(Debug)]
enum DecoderState {
    Between,
    /// The buffer starts with the frame's first byte; `scanned` bytes of it hold no end.
    Inside {
        scanned: usize,
    },
    Swallowing {
        head: Bytes,
        length: u64,
    },
}

enum Scanned {
    Out(Piece),
    Again,
    NeedMore,
}

impl Codec {
    /// `max_frame` is the longest message in bytes, its framing not counted.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame, state: DecoderState::Between, noise: BytesMut::new() }
    }

    /// Whether a frame has begun and not ended: the time when a slow sender must be watched.
    #[must_use]
    pub fn mid_frame(&self) -> bool {
        !matches!(self.state, DecoderState::Between)
    }

    fn step(&mut self, src: &mut BytesMut) -> Scanned {
        match self.state {
            DecoderState::Between => self.between(src),
            DecoderState::Inside { scanned } => self.inside(src, scanned),
            DecoderState::Swallowing { .. } => self.swallow(src),
        }
    }

    fn between(&mut self, src: &mut BytesMut) -> Scanned {
        if self.noise.is_empty() {
            let blank = src.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            src.advance(blank);
        }
        let start = memchr(START, src);
        let stray = start.unwrap_or(src.len()).min(MAX_NOISE - self.noise.len());
        self.noise.extend_from_slice(&src[..stray]);
        src.advance(stray);
        if self.noise.len() == MAX_NOISE || (start.is_some() && !self.noise.is_empty()) {
            return Scanned::Out(Piece::Noise(self.noise.split().freeze()));
        }
        if start.is_none() {
            return Scanned::NeedMore;
        }
        src.advance(1);
        self.state = DecoderState::Inside { scanned: 0 };
        Scanned::Again
    }

    fn inside(&mut self, src: &mut BytesMut, scanned: usize) -> Scanned {
        if scanned == 0 {
            let run = src.iter().take_while(|&&byte| byte == START).count();
            src.advance(run);
        }
        match find(src, scanned) {
            FrameEnd::End(at) => {
                self.state = DecoderState::Between;
                let body = cut(src, at);
                Scanned::Out(if body.len() > self.max_frame { self.oversize(&body) } else { Piece::Frame(body) })
            }
            FrameEnd::Restart(at) => {
                self.state = DecoderState::Inside { scanned: 0 };
                let body = cut(src, at);
                Scanned::Out(self.partial(body))
            }
            FrameEnd::Nothing { resume } => {
                self.state = DecoderState::Inside { scanned: resume };
                if resume > self.max_frame {
                    self.give_up(src, resume);
                }
                Scanned::NeedMore
            }
        }
    }

    /// Keeps the head and hands the rest of the buffer's memory back.
    fn give_up(&mut self, src: &mut BytesMut, scanned: usize) {
        self.state = DecoderState::Swallowing { head: self.head(src), length: scanned as u64 };
        *src = BytesMut::from(&src[scanned..]);
    }

    fn swallow(&mut self, src: &mut BytesMut) -> Scanned {
        let found = find(src, 0);
        let passed = match found {
            FrameEnd::End(at) | FrameEnd::Restart(at) | FrameEnd::Nothing { resume: at } => at,
        };
        let DecoderState::Swallowing { head, length } = &mut self.state else { return Scanned::Again };
        let head = head.clone();
        *length += passed as u64;
        let length = *length;
        src.advance(passed);
        match found {
            FrameEnd::End(_) => {
                src.advance(1);
                self.state = DecoderState::Between;
                Scanned::Out(Piece::Oversize { head, length })
            }
            FrameEnd::Restart(_) => {
                src.advance(1);
                self.state = DecoderState::Inside { scanned: 0 };
                Scanned::Out(Piece::Partial { head, length })
            }
            FrameEnd::Nothing { .. } => Scanned::NeedMore,
        }
    }

    /// Never longer than the cap, so that the head does not depend on how much one read brought.
    fn head(&self, body: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&body[..body.len().min(HEAD).min(self.max_frame)])
    }

    fn oversize(&self, body: &[u8]) -> Piece {
        Piece::Oversize { head: self.head(body), length: body.len() as u64 }
    }

    fn partial(&self, body: Bytes) -> Piece {
        let length = body.len() as u64;
        let head = if body.len() > self.max_frame { self.head(&body) } else { body };
        Piece::Partial { head, length }
    }

    /// What an unfinished frame or unfinished noise comes to when nothing will follow.
    fn remainder(&mut self, src: &mut BytesMut) -> Option<Piece> {
        match std::mem::replace(&mut self.state, DecoderState::Between) {
            DecoderState::Between if self.noise.is_empty() => None,
            DecoderState::Between => Some(Piece::Noise(self.noise.split().freeze())),
            DecoderState::Inside { .. } if src.is_empty() => None,
            DecoderState::Inside { .. } => {
                let body = src.split().freeze();
                Some(self.partial(body))
            }
            DecoderState::Swallowing { head, length } => {
                let rest = src.split().len() as u64;
                Some(Piece::Partial { head, length: length + rest })
            }
        }
    }
}

impl Decoder for Codec {
    type Item = Piece;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> io::Result<Option<Piece>> {
        loop {
            match self.step(src) {
                Scanned::Out(piece) => return Ok(Some(piece)),
                Scanned::NeedMore => return Ok(None),
                Scanned::Again => {}
            }
        }
    }

    /// To be called until `None` at the end of a stream, or when a reader loses patience with its peer.
    fn decode_eof(&mut self, src: &mut BytesMut) -> io::Result<Option<Piece>> {
        Ok(self.decode(src)?.or_else(|| self.remainder(src)))
    }
}

impl<M: AsRef<[u8]>> Encoder<M> for Codec {
    type Error = io::Error;

    /// # Errors
    /// `InvalidInput` when the message holds 0x0B or 0x1C: the receiver would read another message than was sent.
    fn encode(&mut self, message: M, dst: &mut BytesMut) -> io::Result<()> {
        let message = message.as_ref();
        if let Some(at) = memchr2(START, END, message) {
            let why = format!("byte {at} of the message is {:#04x}, which MLLP reserves for framing", message[at]);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        dst.reserve(message.len() + 3);
        dst.extend_from_slice(&[START]);
        dst.extend_from_slice(message);
        dst.extend_from_slice(&[END, b'\r']);
        Ok(())
    }
}

enum FrameEnd {
    End(usize),
    /// 0x0B and then `MSH`.
    Restart(usize),
    /// The search goes on at `resume` when more has come.
    Nothing {
        resume: usize,
    },
}

fn find(body: &[u8], from: usize) -> FrameEnd {
    let mut from = from;
    while let Some(offset) = memchr2(START, END, &body[from..]) {
        let at = from + offset;
        if body[at] == END {
            return FrameEnd::End(at);
        }
        let follows = &body[at + 1..];
        if follows.starts_with(b"MSH") {
            return FrameEnd::Restart(at);
        }
        if b"MSH".starts_with(follows) {
            return FrameEnd::Nothing { resume: at };
        }
        from = at + 1;
    }
    FrameEnd::Nothing { resume: body.len() }
}

/// The first `at` bytes, and past the framing byte that follows them.
fn cut(src: &mut BytesMut, at: usize) -> Bytes {
    let body = src.split_to(at).freeze();
    src.advance(1);
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out when `bytes` arrive in reads that end at `cuts`.
    fn pieces_in_reads(max_frame: usize, bytes: &[u8], cuts: &[usize]) -> Vec<Piece> {
        let mut codec = Codec::new(max_frame);
        let (mut buffer, mut out, mut from) = (BytesMut::new(), Vec::new(), 0);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        for end in ends {
            buffer.extend_from_slice(&bytes[from..end]);
            from = end;
            while let Some(piece) = codec.decode(&mut buffer).unwrap() {
                out.push(piece);
            }
        }
        while let Some(piece) = codec.decode_eof(&mut buffer).unwrap() {
            out.push(piece);
        }
        out
    }

    fn pieces(bytes: &[u8]) -> Vec<Piece> {
        pieces_in_reads(64, bytes, &[])
    }

    fn frame(body: &'static [u8]) -> Piece {
        Piece::Frame(Bytes::from_static(body))
    }

    fn noise(bytes: &'static [u8]) -> Piece {
        Piece::Noise(Bytes::from_static(bytes))
    }

    fn partial(head: &'static [u8]) -> Piece {
        Piece::Partial { head: Bytes::from_static(head), length: head.len() as u64 }
    }

    #[test]
    fn frames_that_arrive_together_come_apart() {
        assert_eq!(pieces(b"\x0Bone\x1C\r\x0Btwo\x1C\r\x0B\x1C\r"), [frame(b"one"), frame(b"two"), frame(b"")]);
    }

    #[test]
    fn the_final_carriage_return_may_be_missing() {
        assert_eq!(pieces(b"\x0Bone\x1C\x0Btwo\x1C"), [frame(b"one"), frame(b"two")]);
    }

    #[test]
    fn a_frame_is_out_before_its_carriage_return_has_come() {
        let mut buffer = BytesMut::from(&b"\x0Bone\x1C"[..]);
        assert_eq!(Codec::new(64).decode(&mut buffer).unwrap(), Some(frame(b"one")));
    }

    #[test]
    fn noise_is_kept_and_line_ends_between_frames_are_not_noise() {
        let bytes = b"GET /\r\n\x0Bone\x1C\r\r\n\n\x0Btwo\x1C\r\x1C\r";
        assert_eq!(pieces(bytes), [noise(b"GET /\r\n"), frame(b"one"), frame(b"two"), noise(b"\x1C\r")]);
    }

    #[test]
    fn endless_noise_comes_out_in_bounded_pieces() {
        let lengths: Vec<usize> = pieces(&vec![b'x'; MAX_NOISE * 2 + 5])
            .iter()
            .map(|piece| match piece {
                Piece::Noise(bytes) => bytes.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [MAX_NOISE, MAX_NOISE, 5]);
    }

    #[test]
    fn a_run_of_start_bytes_opens_one_frame() {
        let mut bytes = vec![START; 100_000];
        bytes.extend_from_slice(b"one\x1C\r");
        assert_eq!(pieces(&bytes), [frame(b"one")]);
    }

    #[test]
    fn a_start_byte_within_text_is_text() {
        assert_eq!(pieces(b"\x0Ba\x0Bb\x0BMS\x1C\r"), [frame(b"a\x0Bb\x0BMS")]);
    }

    #[test]
    fn a_sender_that_begins_again_leaves_a_partial_frame() {
        assert_eq!(pieces(b"\x0BMSH|1\rPI\x0BMSH|2\x1C\r"), [partial(b"MSH|1\rPI"), frame(b"MSH|2")]);
    }

    #[test]
    fn a_frame_cut_off_by_the_end_of_the_stream_is_partial() {
        assert_eq!(pieces(b"\x0Bone\x1C\r\x0BMSH|2"), [frame(b"one"), partial(b"MSH|2")]);
        assert_eq!(pieces(b"\x0Bab\x0BMS"), [partial(b"ab\x0BMS")]);
        assert_eq!(pieces(b"\x0B"), []);
    }

    #[test]
    fn an_oversize_frame_keeps_its_head_and_the_next_one_is_read() {
        let head = Bytes::from_static(b"MSH|^~\\&");
        let expected = [Piece::Oversize { head, length: 11 }, frame(b"next")];
        assert_eq!(pieces_in_reads(8, b"\x0BMSH|^~\\&|xx\x1C\r\x0Bnext\x1C\r", &[]), expected);
    }

    #[test]
    fn a_frame_as_long_as_the_cap_is_taken() {
        assert_eq!(pieces_in_reads(8, b"\x0B12345678\x1C\r", &[]), [frame(b"12345678")]);
    }

    #[test]
    fn an_oversize_frame_does_not_keep_its_memory() {
        let (mut codec, mut buffer) = (Codec::new(1024), BytesMut::new());
        buffer.extend_from_slice(b"\x0BMSH|");
        for _ in 0..1000 {
            buffer.extend_from_slice(&[b'x'; 1024]);
            assert_eq!(codec.decode(&mut buffer).unwrap(), None);
            assert!(buffer.capacity() < 8 * 1024, "{}", buffer.capacity());
        }
    }

    #[test]
    fn a_message_that_would_break_its_own_frame_is_not_sent() {
        let mut out = BytesMut::new();
        assert!(Codec::new(64).encode(b"a\x1Cb", &mut out).is_err());
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same_pieces(
            bytes in proptest::collection::vec(proptest::sample::select(b"\x0B\x0B\x1C\r\nMSHx".to_vec()), 0..120),
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
            max_frame in 1_usize..20,
        ) {
            prop_assert_eq!(pieces_in_reads(max_frame, &bytes, &cuts), pieces_in_reads(max_frame, &bytes, &[]));
        }

        #[test]
        fn what_is_framed_is_read_back_from_any_reads(
            messages in proptest::collection::vec(proptest::collection::vec(0x20_u8.., 0..200), 0..8),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            let mut wire = BytesMut::new();
            for message in &messages {
                Codec::new(0).encode(message, &mut wire).unwrap();
            }
            let expected: Vec<Piece> = messages.into_iter().map(|body| Piece::Frame(body.into())).collect();
            prop_assert_eq!(pieces_in_reads(200, &wire, &cuts), expected);
        }
    }
}
