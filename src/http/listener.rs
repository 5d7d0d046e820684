//! A listener for HTTP: a bounded number of connections, with TLS or without, and nobody who can hold them all.
//!
//! Every connection is accepted; which of them stay is said by their places. TLS is 1.2 or later; handshakes run beside
//! each other and are given up after a while, so that one slow client does not keep the others out.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::places::Places;
use super::connection::{self, Served};
use super::limits::ConnectionLimits;
use crate::log_throttle::{LogThrottle, throttled};
use crate::metrics::Metrics;
use crate::tls::Acceptor;

pub use super::connection::Peer;
pub use crate::tls::{TlsConfig, TlsError};

/// What HTTP is called in a TLS handshake.
pub const PROTOCOLS: &[&str] = &["http/1.1"];

static UNACCEPTED: LogThrottle = LogThrottle::minutely();

/// How often it is looked whether a peer takes too long.
const SWEEP: Duration = Duration::from_millis(500);

/// How long requests in hand may go on when the listener is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long connections that are cut may take to end.
const CUT: Duration = Duration::from_secs(1);

/// One listener, and what is served on it.
pub struct Door {
    pub listener: TcpListener,
    pub tls: Option<Acceptor>,
    pub app: Router,
    pub limits: ConnectionLimits,
    /// Paths that are answered even when every connection is at work, with those below them.
    pub always: &'static [&'static str],
    pub metrics: Arc<Metrics>,
}

/// What became of connections, told in the log once a minute.
#[derive(Default)]
struct Told {
    throttle: LogThrottle,
    displaced: AtomicU64,
}

/// Serves until `stop`; then no connection is accepted any more, and requests in hand may end within ten seconds.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(door: Door, stop: CancellationToken) -> io::Result<()> {
    let Door { listener, tls, app, limits, always, metrics } = door;
    let address = listener.local_addr()?;
    tracing::debug!(%address, "http is served");
    let places = Places::new(limits);
    places.observe(&metrics);
    let served = Arc::new(Served { app, tls, always, stop: stop.clone() });
    let told = Told::default();
    let connections = TaskTracker::new();
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(&listener, &places, &served, &connections, &told) => {}
        () = sweep(&places, &told) => {}
    }
    drop(listener);
    while places.make_room() {} // nothing is under way there, or its peer has stopped
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(%address, open = places.held(), "HTTP requests have not ended within {DRAIN:?}; they are cut");
        places.cut_all();
        // One that does not end even so is left behind.
        drop(tokio::time::timeout(CUT, connections.wait()).await);
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Places>,
    served: &Arc<Served>,
    connections: &TaskTracker,
    told: &Told,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let place = places.take(remote.ip());
                if place.displaced || place.reserved {
                    told.crowded(remote.ip());
                }
                connections.spawn(connection::run(stream, remote, place, Arc::clone(served)));
            }
            Err(error) => {
                let displaced = places.make_room(); // it may have been the last file descriptor
                throttled!(warn, UNACCEPTED, %error, displaced, "an HTTP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn sweep(places: &Places, told: &Told) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(SWEEP).await;
        let now = Instant::now();
        // Where we did not run ourselves, as in a machine that was stopped, a peer's bytes may wait unread.
        if now.duration_since(last) < SWEEP * 4 {
            places.sweep(now, |peer, overdue| told.cut(peer, overdue.as_str()));
        }
        last = now;
    }
}

impl Told {
    fn crowded(&self, peer: IpAddr) {
        let displaced = self.displaced.fetch_add(1, Ordering::Relaxed) + 1;
        if self.throttle.speak().is_some() {
            tracing::warn!(
                %peer,
                displaced,
                "HTTP connections are used up (max_connections, max_connections_per_peer): the longest idle are closed for new ones"
            );
        }
    }

    fn cut(&self, peer: IpAddr, what: &'static str) {
        tracing::debug!(%peer, what, "an HTTP connection was closed: its peer took too long");
    }
}
