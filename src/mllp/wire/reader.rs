//! The reading half of a connection: pieces, the memory for them, and the patience.
//!
//! It reads into a small buffer of its own. A frame that is longer than that grows as its memory is
//! [granted](crate::mllp::memory); the grant goes with the piece, and the next one begins in a small buffer again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::codec::Decoder;

use super::frame::{Codec, Piece};
use crate::mllp::config::ListenerConfig;
use crate::mllp::memory::{BASE, FrameMemory, MemoryGrant};

/// Room for what one read may bring.
const READ: usize = 16 * 1024;

/// With less room than this left a new piece of memory is begun, so that one serves several messages of the usual size.
const LEAST: usize = 4 * 1024;

/// A frame that holds memory others wait for has to bring so many bytes within [`PACE`].
const SLOWEST: u64 = 64 * 1024 * PACE.as_secs();
const PACE: Duration = Duration::from_secs(3);

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
    #[error("a long frame came slower than 64 KiB a second while others waited for its memory ([mllp] frame_memory)")]
    Crowding,
}

/// A piece, and the memory that it has been granted.
#[derive(Debug)]
pub struct GrantedPiece {
    pub piece: Piece,
    pub grant: MemoryGrant,
}

pub struct FrameReader<R> {
    io: R,
    codec: Codec,
    buffer: BytesMut,
    max_frame: usize,
    memory: Arc<FrameMemory>,
    /// For the part of the buffer that is more than a connection's own.
    grant: MemoryGrant,
    /// Decoded, and waiting for memory.
    decoded: Option<Piece>,
    idle_timeout: Duration,
    frame_timeout: Duration,
    /// Bytes that came so far.
    received: u64,
    /// When the last message ended, or the connection began.
    idle_since: Instant,
    /// When the frame that is being read began.
    frame_since: Option<Instant>,
    /// Since when it waits for memory.
    starved_since: Option<Instant>,
    /// From when the pace of a long frame is measured, and what had come by then.
    paced: (Instant, u64),
    /// Rings at the deadline or before it, and is then set anew: to set it for each message costs more than that.
    alarm: Pin<Box<Sleep>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(io: R, config: &ListenerConfig, memory: Arc<FrameMemory>) -> Self {
        let now = Instant::now();
        Self {
            io,
            codec: Codec::new(config.max_frame),
            buffer: BytesMut::new(),
            max_frame: config.max_frame,
            memory,
            grant: MemoryGrant::default(),
            decoded: None,
            received: 0,
            idle_timeout: config.idle_timeout,
            frame_timeout: config.frame_timeout,
            idle_since: now,
            frame_since: None,
            starved_since: None,
            paced: (now, 0),
            alarm: Box::pin(sleep(config.idle_timeout)),
        }
    }

    /// The next piece. Loses nothing when it is dropped before it is ready.
    pub async fn next(&mut self) -> Result<GrantedPiece, End> {
        loop {
            if self.decoded.is_none() {
                self.decoded = self.decode()?;
            }
            if let Some(granted) = self.granted().await {
                return Ok(granted);
            }
            // Asked before each read: a peer that always has more to send never lets the timer win.
            self.check_pace()?;
            self.make_room().await;
            self.read().await?;
        }
    }

    /// Waits for more bytes, or for a moment at which the pace is to be checked.
    async fn read(&mut self) -> Result<(), End> {
        let (deadline, end) = self.deadline();
        if self.alarm.deadline() > deadline {
            self.alarm.as_mut().reset(deadline);
        }
        // No more than that: what follows a long frame must not share its memory.
        let mut room = (&mut self.buffer).limit(BASE);
        tokio::select! {
            biased;
            read = self.io.read_buf(&mut room) => match read? {
                0 => Err(End::Closed),
                read => {
                    self.received += read as u64;
                    Ok(())
                }
            },
            () = &mut self.alarm => {
                let now = Instant::now();
                match end {
                    Some(end) if now >= deadline => Err(end),
                    // The pace of the frame is to be looked at: by whoever calls, before the next read.
                    _ => {
                        let next = if now >= deadline { now + PACE } else { deadline };
                        self.alarm.as_mut().reset(next);
                        Ok(())
                    }
                }
            }
        }
    }

    /// What has been decoded, when there is memory for it.
    async fn granted(&mut self) -> Option<GrantedPiece> {
        let size = self.decoded.as_ref()?.kept();
        if self.grant.is_empty() {
            self.starve();
            self.grant = self.memory.small(size).await;
            self.fed();
        } else {
            self.memory.shrink(&mut self.grant, size);
        }
        let grant = std::mem::take(&mut self.grant);
        self.decoded.take().map(|piece| GrantedPiece { piece, grant })
    }

    /// Room for the next read: in the connection's own memory, or in what is granted for a long frame.
    async fn make_room(&mut self) {
        let (length, capacity) = (self.buffer.len(), self.buffer.capacity());
        if capacity - length >= LEAST {
            return;
        }
        if length + LEAST <= BASE {
            return self.buffer.reserve(READ.min(BASE - length));
        }
        let wanted = (length * 2).min(self.max_frame + 2 * BASE).max(length + READ);
        self.starve();
        self.memory.grow(&mut self.grant, wanted).await;
        self.fed();
        self.buffer.reserve(wanted - length);
    }

    fn decode(&mut self) -> io::Result<Option<Piece>> {
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
        if piece.is_some() && self.buffer.capacity() > BASE {
            self.buffer = BytesMut::from(&self.buffer[..]);
        } else if piece.is_none() && self.buffer.capacity() <= BASE && !self.grant.is_empty() {
            self.grant = MemoryGrant::default(); // the frame is too long, and is not kept any more
        }
        Ok(piece)
    }

    /// How many bytes have been made pieces of.
    pub fn taken(&self) -> u64 {
        self.received - self.buffer.len() as u64
    }

    /// How many bytes have come, where they are the beginning of another piece at least.
    pub fn begun(&self) -> Option<u64> {
        let begun = self.decoded.is_some() || self.codec.mid_frame() || !self.buffer.trim_ascii_start().is_empty();
        begun.then_some(self.received)
    }

    /// What was begun and will not be finished. To be called until `None`, when nothing more is read.
    pub fn remainder(&mut self) -> io::Result<Option<GrantedPiece>> {
        let piece = match self.decoded.take() {
            Some(piece) => Some(piece),
            None => self.codec.decode_eof(&mut self.buffer)?,
        };
        Ok(piece.map(|piece| GrantedPiece { piece, grant: std::mem::take(&mut self.grant) }))
    }

    /// Starts the clocks again after a time in which it was us who did not read.
    pub fn resume(&mut self) {
        let now = Instant::now();
        self.idle_since = now;
        self.frame_since = self.frame_since.map(|_| now);
        self.starved_since = self.starved_since.map(|_| now);
        self.paced = (now, self.received);
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

    /// It is us who do not read, from here until it is [fed](Self::fed).
    fn starve(&mut self) {
        self.starved_since.get_or_insert_with(Instant::now);
    }

    fn fed(&mut self) {
        let Some(waited) = self.starved_since.take().map(|since| since.elapsed()) else { return };
        self.idle_since += waited;
        self.frame_since = self.frame_since.map(|since| since + waited);
        self.paced.0 += waited;
    }

    fn check_pace(&mut self) -> Result<(), End> {
        if self.frame_since.is_some_and(|since| since.elapsed() >= self.frame_timeout) {
            return Err(End::Slow(self.frame_timeout));
        }
        if self.grant.is_empty() {
            self.paced = (Instant::now(), self.received);
        } else if self.paced.0.elapsed() >= PACE {
            if self.memory.is_contended() && self.received - self.paced.1 < SLOWEST {
                return Err(End::Crowding);
            }
            self.paced = (Instant::now(), self.received);
        }
        Ok(())
    }

    /// The next moment at which something is to be done though nothing comes; `None`: the pace is to be looked at.
    fn deadline(&self) -> (Instant, Option<End>) {
        let Some(since) = self.frame_since else {
            return (self.idle_since + self.idle_timeout, Some(End::Idle(self.idle_timeout)));
        };
        let (end, pace) = (since + self.frame_timeout, self.paced.0 + PACE);
        if !self.grant.is_empty() && pace < end {
            return (pace, None);
        }
        (end, Some(End::Slow(self.frame_timeout)))
    }
}
