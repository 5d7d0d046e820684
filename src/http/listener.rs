//! A listener for HTTP: a bounded number of connections, with TLS or without.
//!
//! A place is taken before a connection is accepted, so that the system's queue and not our memory holds those that are
//! too many. TLS is 1.2 or later; handshakes run beside each other and are given up after a while, so that one slow
//! client does not keep the others out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::server::TlsStream;

use crate::log_throttle::{LogThrottle, throttled};
use crate::tls::Acceptor;

pub use crate::tls::{TlsConfig, TlsError};

/// What HTTP is called in a TLS handshake.
pub const PROTOCOLS: &[&str] = &["http/1.1"];

static UNACCEPTED: LogThrottle = LogThrottle::minutely();

/// Connections that are ready for HTTP.
pub struct Bounded {
    ready: mpsc::Receiver<(Held, SocketAddr)>,
    address: SocketAddr,
}

/// Who is at the other end of a connection, for handlers that ask (`ConnectInfo<Peer>`).
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Bounded {
    /// Takes connections of `listener`, at most `most` at a time.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, tls: Option<Acceptor>, most: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(1);
        tokio::spawn(accept(listener, tls, Arc::new(Semaphore::new(most.max(1))), sender));
        Ok(Self { ready, address })
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Acceptor>,
    places: Arc<Semaphore>,
    ready: mpsc::Sender<(Held, SocketAddr)>,
) {
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        match accepted {
            Ok((stream, peer)) => drop(tokio::spawn(greet(stream, peer, tls.clone(), place, ready.clone()))),
            Err(error) => {
                throttled!(warn, UNACCEPTED, %error, "an HTTP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Acceptor>,
    place: OwnedSemaphorePermit,
    ready: mpsc::Sender<(Held, SocketAddr)>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(error) => return tracing::debug!(%peer, %error, "a TLS handshake failed"),
        },
    };
    if ready.send((Held { stream, _place: place }, peer)).await.is_err() {
        tracing::debug!(%peer, "a connection came too late");
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ends after this one only; nothing comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection with its place.
pub struct Held {
    stream: Stream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
