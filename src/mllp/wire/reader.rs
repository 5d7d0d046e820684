//! The reading half of a connection: pieces, and the patience for them.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::codec::Decoder;

use super::frame::{Codec, Piece};
use crate::mllp::config::ListenerConfig;

/// Room for what one read may bring.
const READ: usize = 16 * 1024;

/// With less room than this left a new piece of memory is begun, so that one serves several messages of the usual size.
const LEAST: usize = 4 * 1024;

/// Why nothing more is read from a connection.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("no message came for {0:?}")]
    Idle(Duration),
    #[error("a frame was not finished within {0:?}")]
    Slow(Duration),
}

pub struct FrameReader<R> {
    io: R,
    codec: Codec,
    buffer: BytesMut,
    idle_timeout: Duration,
    frame_timeout: Duration,
    /// Bytes that came so far.
    received: u64,
    /// When the last message ended, or the connection began.
    idle_since: Instant,
    /// When the frame that is being read began.
    frame_since: Option<Instant>,
    /// Rings at the deadline or before it, and is then set anew: to set it for each message costs more than that.
    alarm: Pin<Box<Sleep>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(io: R, config: &ListenerConfig) -> Self {
        Self {
            io,
            codec: Codec::new(config.max_frame),
            buffer: BytesMut::new(),
            received: 0,
            idle_timeout: config.idle_timeout,
            frame_timeout: config.frame_timeout,
            idle_since: Instant::now(),
            frame_since: None,
            alarm: Box::pin(sleep(config.idle_timeout)),
        }
    }

    /// The next piece. Loses nothing when it is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Piece, End> {
        loop {
            if let Some(piece) = self.decoded()? {
                return Ok(piece);
            }
            // Asked before each read: a peer that always has more to send never lets the timer win.
            if self.frame_since.is_some_and(|since| since.elapsed() >= self.frame_timeout) {
                return Err(End::Slow(self.frame_timeout));
            }
            let (deadline, end) = self.deadline();
            if self.buffer.capacity() - self.buffer.len() < LEAST {
                self.buffer.reserve(READ);
            }
            if self.alarm.deadline() > deadline {
                self.alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                read = self.io.read_buf(&mut self.buffer) => match read? {
                    0 => return Err(End::Closed),
                    read => self.received += read as u64,
                },
                () = &mut self.alarm => {
                    if Instant::now() >= deadline {
                        return Err(end);
                    }
                    self.alarm.as_mut().reset(deadline);
                }
            }
        }
    }

    /// A piece that has wholly arrived.
    pub fn decoded(&mut self) -> io::Result<Option<Piece>> {
        let piece = self.codec.decode(&mut self.buffer)?;
        match &piece {
            Some(Piece::Noise(_)) => {}
            Some(_) => {
                self.idle_since = Instant::now();
                self.frame_since = None;
            }
            None if self.codec.mid_frame() => {
                self.frame_since.get_or_insert_with(Instant::now);
            }
            None => self.frame_since = None,
        }
        Ok(piece)
    }

    /// How many bytes have been made pieces of.
    pub fn taken(&self) -> u64 {
        self.received - self.buffer.len() as u64
    }

    /// How many bytes have come, where they are the beginning of another piece at least.
    pub fn begun(&self) -> Option<u64> {
        let begun = self.codec.mid_frame() || !self.buffer.trim_ascii_start().is_empty();
        begun.then_some(self.received)
    }

    /// What was begun and will not be finished. To be called until `None`, when nothing more is read.
    pub fn remainder(&mut self) -> io::Result<Option<Piece>> {
        self.codec.decode_eof(&mut self.buffer)
    }

    /// Starts the clocks again after a time in which it was us who did not read.
    pub fn resume(&mut self) {
        self.idle_since = Instant::now();
        if self.frame_since.is_some() {
            self.frame_since = Some(self.idle_since);
        }
    }

    /// Reads and forgets until the peer closes.
    pub async fn discard(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(READ);
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    fn deadline(&self) -> (Instant, End) {
        match self.frame_since {
            Some(since) => (since + self.frame_timeout, End::Slow(self.frame_timeout)),
            None => (self.idle_since + self.idle_timeout, End::Idle(self.idle_timeout)),
        }
    }
}
