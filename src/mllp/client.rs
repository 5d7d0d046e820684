//! A sender: messages out, acks in, matched by MSA-2.
//!
//! One at a time with [`send`](Client::send), or several in flight with [`post`](Client::post) and
//! [`next_ack`](Client::next_ack). An answer that nobody waits for (late, twice, from another message) is counted and
//! never taken for another message's.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::ack;
use super::ack::reply::Ack;
use super::wire::frame::{Codec, Piece};
use super::wire::utf16::Readable;

/// The longest answer that is read.
const MAX_ACK: usize = 1 << 20;

/// Why a message has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("the message was not sent: {0}")]
    Send(#[source] io::Error),
    #[error("the receiver did not read the message within {0:?}")]
    SendTimeout(Duration),
    #[error("no ack for control id '{control_id}' within {after:?}")]
    AckTimeout { control_id: String, after: Duration },
    #[error("the receiver closed the connection; {unanswered} messages have no ack")]
    Closed { unanswered: usize },
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    #[error("the receiver answered with something that is no acknowledgement")]
    NotAnAck,
}

/// Numbers the messages of one client, from 0.
pub type Ticket = u64;

/// A connection to an MLLP receiver.
#[derive(Debug)]
pub struct Client<IO = TcpStream> {
    io: Framed<IO, Codec>,
    patience: Duration,
    next: Ticket,
    waiting: VecDeque<Unanswered>,
    strays: u64,
}

#[derive(Debug)]
struct Unanswered {
    ticket: Ticket,
    control_id: Vec<u8>,
    until: Instant,
}

/// A connection to a receiver, for [`Client::over`].
///
/// # Errors
/// When there is none in time.
pub async fn connect(to: impl ToSocketAddrs, patience: Duration) -> Result<TcpStream, ClientError> {
    let connected = timeout(patience, TcpStream::connect(to)).await;
    let stream = connected.map_err(|_| ClientError::ConnectTimeout(patience))?.map_err(ClientError::Connect)?;
    stream.set_nodelay(true).map_err(ClientError::Connect)?;
    Ok(stream)
}

/// [`connect`] and a TLS handshake; `name` is the host that the receiver's certificate must be for.
///
/// # Errors
/// When there is no connection in time, or no handshake.
pub async fn connect_tls(
    to: impl ToSocketAddrs,
    name: ServerName<'static>,
    tls: &TlsConnector,
    patience: Duration,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let stream = connect(to, patience).await?;
    let greeted = timeout(patience, tls.connect(name, stream)).await;
    greeted.map_err(|_| ClientError::ConnectTimeout(patience))?.map_err(ClientError::Connect)
}

impl Client {
    /// `patience` bounds each step: connecting, sending one message, waiting for one ack.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn connect(to: impl ToSocketAddrs, patience: Duration) -> Result<Self, ClientError> {
        let stream = connect(to, patience).await?;
        Ok(Self::over(stream, patience))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    /// Over a connection that exists already.
    pub fn over(io: IO, patience: Duration) -> Self {
        let io = Framed::new(io, Codec::new(MAX_ACK));
        Self { io, patience, next: 0, waiting: VecDeque::new(), strays: 0 }
    }

    /// Sends one message and waits for its ack; `None` when the message asks for none (MSH-15, or it is an ack itself).
    ///
    /// # Errors
    /// When it could not be sent, or the ack did not come in time.
    pub async fn send(&mut self, message: &[u8]) -> Result<Option<Ack>, ClientError> {
        let sent = self.post(message).await?;
        while self.waiting.iter().any(|waiting| waiting.ticket == sent) {
            match self.next_ack().await? {
                Some((ticket, ack)) if ticket == sent => return Ok(Some(ack)),
                _ => continue,
            }
        }
        Ok(None)
    }

    /// Sends one message without waiting for its ack. The caller keeps [`waiting`](Self::waiting) small: a receiver
    /// whose acks are not read stops reading.
    ///
    /// # Errors
    /// When it could not be sent.
    pub async fn post(&mut self, message: &[u8]) -> Result<Ticket, ClientError> {
        let sent = timeout(self.patience, self.io.send(message)).await;
        sent.map_err(|_| ClientError::SendTimeout(self.patience))?.map_err(ClientError::Send)?;
        let ticket = self.next;
        self.next += 1;
        let readable = Readable::new(Bytes::copy_from_slice(message));
        let header = readable.header().ok();
        if header.as_ref().is_none_or(ack::promised) {
            let control_id = header.map(|header| header.control_id().to_vec()).unwrap_or_default();
            self.waiting.push_back(Unanswered { ticket, control_id, until: Instant::now() + self.patience });
        }
        Ok(ticket)
    }

    /// The next ack that belongs to a message which waits for one; `None` when none waits.
    ///
    /// # Errors
    /// When the oldest message has waited too long (it is then given up), or the connection ends.
    pub async fn next_ack(&mut self) -> Result<Option<(Ticket, Ack)>, ClientError> {
        while let Some(oldest) = self.waiting.front() {
            let Ok(read) = timeout_at(oldest.until, self.io.next()).await else { return Err(self.overdue()) };
            let raw = match read.transpose().map_err(ClientError::Broken)? {
                None | Some(Piece::Partial { .. }) => return Err(self.closed()),
                Some(Piece::Noise(_)) => continue,
                Some(Piece::Oversize { .. }) => return Err(ClientError::NotAnAck),
                Some(Piece::Frame(raw)) => raw,
            };
            let ack = Ack::parse(raw).ok_or(ClientError::NotAnAck)?;
            match self.claim(&ack.control_id) {
                Some(ticket) => return Ok(Some((ticket, ack))),
                None => self.strays += 1,
            }
        }
        Ok(None)
    }

    /// How many messages wait for an ack.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Acks that belonged to no waiting message.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// The message that this MSA-2 answers. An empty one answers the oldest: its receiver could not read the id.
    fn claim(&mut self, control_id: &[u8]) -> Option<Ticket> {
        let at = self.waiting.iter().position(|waiting| waiting.control_id == control_id);
        let at = if control_id.is_empty() { at.or(Some(0)) } else { at };
        self.waiting.remove(at?).map(|waiting| waiting.ticket)
    }

    fn overdue(&mut self) -> ClientError {
        let id = self.waiting.pop_front().map(|waiting| waiting.control_id).unwrap_or_default();
        ClientError::AckTimeout { control_id: String::from_utf8_lossy(&id).into_owned(), after: self.patience }
    }

    fn closed(&self) -> ClientError {
        ClientError::Closed { unanswered: self.waiting.len() }
    }
}
