//! One connection: frames in, acks out, in the order of the messages.
//!
//! In comes a peer's byte stream, out go acks on the same connection. Messages are handed to the journal as they arrive,
//! several at a time, so that one commit serves many of them; each has its place there as soon as it is taken. It promises that
//! the acks leave in the order of the messages, and that a message which could not be stored is overtaken by none that was sent
//! behind it: those are not stored either. It refuses to hold more than a bounded number of messages and bytes: beyond that
//! nothing is read, and TCP holds the sender back. So it is while the journal has as much to do as it takes.
//!
//! - [`listener`]: accepts, as many as are allowed, until it is told to stop
//! - [`admission`]: which peers may connect ([`network`]), and how often each
//! - this file: reads, takes and answers
//! - [`in_flight`]: what has its place in the journal and no answer yet

pub(super) mod network;
pub(super) mod admission;
pub(super) mod in_flight;
pub mod listener;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::Encoder;
use tokio_util::sync::CancellationToken;

use super::connections::LaterAck;
use super::intake::Intake;
use super::intake::batch::Batch;
use super::intake::posted::{Acknowledgement, Sender, Taken};
use super::wire::frame::{Codec, MAX_NOISE, Piece};
use super::wire::reader::{End, FrameReader, GrantedPiece};
use crate::journal::Line;
use crate::log_throttle::{LogThrottle, throttled};
use in_flight::InFlight;

/// How long the peer may take to close its half after we closed ours. Closing for good with unread bytes would reset
/// the connection, and the acks just written might never be read.
const LINGER: Duration = Duration::from_secs(1);

/// With so many bytes of acks that the peer has not read, no more are made.
const MOST_UNREAD: usize = 64 << 10;

/// Why a connection was closed from this side without more ado.
#[derive(Debug, thiserror::Error)]
enum ConnectionFailure {
    #[error("a message could not be stored")]
    Unstored,
    #[error("the peer did not read its acks for {0:?}")]
    WriteTimeout(Duration),
    #[error("an ack could not be written: {0}")]
    Write(#[from] io::Error),
}

pub(super) struct Connection<IO> {
    intake: Arc<Intake>,
    source: Sender,
    /// What began before this byte came before its sender could hear our last answer.
    unheard: u64,
    /// Where the piece begins that comes next.
    next: u64,
    reader: FrameReader<ReadHalf<IO>>,
    writer: WriteHalf<IO>,
    /// Messages on their way to the disk.
    pending: InFlight,
    /// A frame whose messages are taken one by one, before anything behind it.
    batch: Option<Batch>,
    out: BytesMut,
    /// What is to be said later; only where the listener does that.
    later: Option<mpsc::Receiver<LaterAck>>,
    noisy: bool,
}

impl<IO: AsyncRead + AsyncWrite> Connection<IO> {
    pub fn new(io: IO, peer: SocketAddr, intake: Arc<Intake>) -> Self {
        let (read, write) = tokio::io::split(io);
        let later = intake.answers_later().then(|| intake.connections().open(peer));
        Self {
            reader: FrameReader::new(read, intake.config(), Arc::clone(intake.memory())),
            writer: write,
            intake,
            source: Sender { peer, line: Line::default() },
            unheard: 0,
            next: 0,
            pending: InFlight::default(),
            batch: None,
            out: BytesMut::new(),
            later,
            noisy: false,
        }
    }

    /// Serves until the peer closes, patience ends, or `shutdown`: then the frames that have been read are still stored
    /// and acknowledged.
    pub async fn serve(mut self, shutdown: CancellationToken) {
        tracing::debug!(listener = self.name(), peer = %self.source.peer, "connection opened");
        match self.exchange(&shutdown).await {
            Ok(true) => self.part().await,
            Ok(false) => {}
            // The intake has raised that alarm, once; each reconnecting sender would raise it again.
            Err(ConnectionFailure::Unstored) => {
                tracing::debug!(listener = self.name(), peer = %self.source.peer, "closed without an ack");
                self.wait_for_the_journal().await;
            }
            Err(broken) => {
                self.complain(&self.intake.complaints().broken, format_args!("connection given up: {broken}"));
                self.store_unanswered().await;
            }
        }
        if self.later.is_some() {
            self.intake.connections().close(self.source.peer);
        }
        tracing::debug!(listener = self.name(), peer = %self.source.peer, "connection closed");
    }

    /// Whether the peer is still there in the end.
    async fn exchange(&mut self, shutdown: &CancellationToken) -> Result<bool, ConnectionFailure> {
        let mut peer_waits = true;
        let mut reading = true;
        let mut stopped = std::pin::pin!(shutdown.cancelled());
        while reading || !self.pending.is_empty() {
            let room = self.has_room();
            tokio::select! {
                biased;
                answer = self.pending.next(&self.intake), if !self.pending.is_empty() => {
                    self.answer(answer).await?;
                    self.reader.resume();
                }
                Some(later) = next(&mut self.later), if reading => self.say(later).await?,
                () = &mut stopped, if reading => {
                    reading = false;
                    self.take_the_rest().await?;
                }
                () = ready_for_part(&self.intake, &mut self.batch), if room && self.batch.is_some() => self.take_part(),
                read = read(&self.intake, &mut self.reader), if reading && room && self.batch.is_none() => match read {
                    Ok(piece) => reading = self.take(piece).await,
                    Err(end) => {
                        reading = false;
                        peer_waits = !matches!(end, End::Closed | End::Broken(_));
                        self.report(&end);
                        self.take_the_rest().await?;
                    }
                },
            }
        }
        Ok(peer_waits)
    }

    fn name(&self) -> &str {
        &self.intake.config().name
    }

    fn has_room(&self) -> bool {
        let config = self.intake.config();
        self.pending.messages() < config.pipeline && self.pending.bytes() <= config.max_frame
    }

    /// Gives one piece its place in the journal. `false` when this peer does not speak MLLP.
    async fn take(&mut self, granted: GrantedPiece) -> bool {
        let begins = std::mem::replace(&mut self.next, self.reader.taken());
        if self.pending.is_empty() && begins >= self.unheard {
            self.source.line.mend(); // its sender has heard what became of everything before
        }
        let speaks_mllp = match &granted.piece {
            Piece::Noise(bytes) => self.hear(bytes.len()),
            _ => true,
        };
        match self.intake.take(&self.source, granted).await {
            Taken::Posted(posted) => self.pending.push(posted),
            Taken::Batch(envelope, batch) => {
                self.pending.push(envelope);
                self.batch = Some(batch);
            }
        }
        speaks_mllp
    }

    fn take_part(&mut self) {
        if let Some(posted) = self.intake.take_part(&self.source, &mut self.batch) {
            self.pending.push(posted);
        }
    }

    /// What is left of a batch, what is complete in the buffer, then what will never be.
    async fn take_the_rest(&mut self) -> io::Result<()> {
        loop {
            while self.batch.is_some() {
                self.intake.ready().await;
                self.take_part();
            }
            let Some(piece) = self.reader.remainder()? else { return Ok(()) };
            self.intake.ready().await;
            self.take(piece).await;
        }
    }

    /// The peer hears no more of it, but what it sent is not thrown away.
    async fn store_unanswered(&mut self) {
        if let Err(error) = self.take_the_rest().await {
            tracing::debug!(listener = self.name(), peer = %self.source.peer, %error, "the rest cannot be read");
        }
        self.wait_for_the_journal().await;
    }

    /// What the journal still has to do is in memory until then, and counted.
    async fn wait_for_the_journal(&mut self) {
        while !self.pending.is_empty() {
            self.pending.next(&self.intake).await;
        }
    }

    /// Tells of noise once for each connection: a sender that ends every frame oddly would fill the log.
    fn hear(&mut self, bytes: usize) -> bool {
        if bytes >= MAX_NOISE {
            let noise = &self.intake.complaints().noise;
            self.complain(noise, format_args!("{bytes} bytes without a frame: this peer does not speak MLLP"));
            return false;
        }
        if !std::mem::replace(&mut self.noisy, true) {
            let noise = &self.intake.complaints().noise;
            self.complain(noise, format_args!("{bytes} bytes outside a frame; further ones are counted and not told"));
        }
        true
    }

    fn report(&self, end: &End) {
        if matches!(end, End::Slow(_) | End::Crowding) {
            self.intake.counters().frame_timeouts.add(1);
        }
        match end {
            End::Slow(_) | End::Crowding | End::Broken(_) => {
                self.complain(&self.intake.complaints().broken, format_args!("connection ends: {end}"));
            }
            End::Closed | End::Idle(_) => {
                tracing::debug!(listener = self.name(), peer = %self.source.peer, "connection ends: {end}");
            }
        }
    }

    /// Tells what is wrong with a connection.
    fn complain(&self, log: &LogThrottle, what: std::fmt::Arguments<'_>) {
        let (listener, peer) = (self.name(), self.source.peer);
        throttled!(warn, log, listener, %peer, "{what}");
    }

    /// Writes this answer, and with it those that are ready behind it.
    async fn answer(&mut self, answer: Acknowledgement) -> Result<(), ConnectionFailure> {
        self.collect(answer)?;
        // Where one of them could not be stored, those before it still have their acks.
        let collected = self.collect_ready();
        self.write(collected).await
    }

    /// An application ack of an earlier message.
    async fn say(&mut self, later: LaterAck) -> Result<(), ConnectionFailure> {
        let collected = self.collect(Acknowledgement::Ack(later.ack));
        self.write(collected).await?;
        // Who waited for it may have stopped waiting.
        later.written.send(()).ok();
        Ok(())
    }

    fn collect_ready(&mut self) -> Result<(), ConnectionFailure> {
        while self.out.len() < MOST_UNREAD
            && let Some(answer) = self.pending.next(&self.intake).now_or_never()
        {
            self.collect(answer)?;
        }
        Ok(())
    }

    /// Writes what has been collected, and where that takes time what is answered meanwhile: a peer that does not read its acks
    /// keeps no messages in memory. `collected` is what is to come of it in the end.
    async fn write(&mut self, mut collected: Result<(), ConnectionFailure>) -> Result<(), ConnectionFailure> {
        self.unheard = self.reader.begun().unwrap_or_default();
        let patience = self.intake.config().write_timeout;
        let mut late = std::pin::pin!(tokio::time::sleep(patience));
        while !self.out.is_empty() {
            let more = collected.is_ok() && !self.pending.is_empty() && self.out.len() < MOST_UNREAD;
            tokio::select! {
                biased;
                written = self.writer.write_buf(&mut self.out) => {
                    if written? == 0 {
                        return Err(io::Error::from(io::ErrorKind::WriteZero).into());
                    }
                }
                answer = self.pending.next(&self.intake), if more => collected = self.collect(answer),
                () = &mut late => {
                    self.intake.counters().write_timeouts.add(1);
                    return Err(ConnectionFailure::WriteTimeout(patience));
                }
            }
        }
        if self.out.capacity() > MOST_UNREAD {
            self.out = BytesMut::new();
        }
        match timeout(patience, self.writer.flush()).await {
            Ok(flushed) => flushed?,
            Err(_) => {
                self.intake.counters().write_timeouts.add(1);
                return Err(ConnectionFailure::WriteTimeout(patience));
            }
        }
        collected
    }

    fn collect(&mut self, answer: Acknowledgement) -> Result<(), ConnectionFailure> {
        match answer {
            Acknowledgement::Ack(ack) => Ok(Codec::new(ack.len()).encode(ack, &mut self.out)?),
            Acknowledgement::Nothing => Ok(()),
            Acknowledgement::Close => Err(ConnectionFailure::Unstored),
        }
    }

    /// Closes our half and gives the peer a moment to read the last acks.
    async fn part(&mut self) {
        let goodbye = async {
            self.writer.shutdown().await?;
            self.reader.discard().await
        };
        if let Ok(Err(error)) = timeout(LINGER, goodbye).await {
            tracing::debug!(listener = self.name(), peer = %self.source.peer, %error, "the peer left before the end");
        }
    }
}

/// The next piece, when the journal can follow. Loses nothing when it is dropped before it is ready.
async fn read<IO: AsyncRead>(intake: &Intake, reader: &mut FrameReader<ReadHalf<IO>>) -> Result<GrantedPiece, End> {
    if intake.ready().await {
        reader.resume();
    }
    reader.next().await
}

/// Loses nothing when it is dropped before it is ready.
async fn ready_for_part(intake: &Intake, batch: &mut Option<Batch>) {
    if let Some(batch) = batch {
        intake.make_room_for(batch).await;
    }
    intake.ready().await;
}

async fn next(later: &mut Option<mpsc::Receiver<LaterAck>>) -> Option<LaterAck> {
    match later {
        Some(later) => later.recv().await,
        None => std::future::pending().await,
    }
}
