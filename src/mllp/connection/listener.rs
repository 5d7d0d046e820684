//! Accepts connections, as many as are allowed, until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Connection;
use super::admission::PeerAdmission;
use crate::log_throttle::throttled;
use crate::mllp::intake::Intake;

/// First and longest pause after the system refused to hand over a connection (no file descriptors left, mostly).
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often it is looked for refusals that were counted and are to be written down.
const TELL: Duration = Duration::from_secs(10);

/// Serves `listener` until `shutdown`, then stores and acknowledges the frames that have been read, closes the
/// connections, and returns. A journal that hangs can hold that up: the caller bounds the time.
///
/// Beyond `max_connections` nothing is accepted: further peers wait in the system's queue and are served when a place is free.
pub async fn run(listener: TcpListener, intake: Arc<Intake>, shutdown: CancellationToken) {
    let name = intake.config().name.clone();
    let places = Arc::new(Semaphore::new(intake.config().max_connections));
    let admission = PeerAdmission::new(intake.config());
    let telling = AbortOnDropHandle::new(tokio::spawn(tell_refusals(Arc::clone(&intake), shutdown.clone())));
    let mut connections = JoinSet::new();
    let mut pause = PAUSE.0;
    let log = intake.complaints();
    loop {
        let (place, accepted) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(&intake, ended);
                continue;
            }
            Some(accepted) = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = PAUSE.0;
                if log.accept.over() {
                    tracing::info!(listener = name, "connections are accepted again");
                }
                if places.available_permits() == 0 {
                    throttled!(
                        warn,
                        log.full,
                        listener = name,
                        "all max_connections places are taken; further peers will wait"
                    );
                }
                let permit = match admission.admit(peer) {
                    Ok(permit) => permit,
                    Err(refusal) => {
                        intake.counters().connections_refused.add(1);
                        intake.counters().turned_away.note(peer.ip(), Timestamp::now(), &refusal);
                        throttled!(warn, log.admission, listener = name, %peer, "connection refused: {refusal}");
                        continue;
                    }
                };
                // An ack is small and somebody waits for it.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(listener = name, %peer, %error, "TCP_NODELAY not set");
                }
                let (intake, shutdown) = (Arc::clone(&intake), shutdown.clone());
                intake.counters().connections_opened.add(1);
                connections.spawn(async move {
                    serve(stream, peer, intake, shutdown).await;
                    drop((place, permit));
                });
            }
            // The peer was gone before it was its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                throttled!(error, log.accept, listener = name, %error, "no connection can be accepted; trying again");
                shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
    drop(listener);
    tracing::info!(listener = name, connections = connections.len(), "listener closed; finishing what is in hand");
    while let Some(ended) = connections.join_next().await {
        report(&intake, ended);
    }
    if telling.await.is_ok() {
        intake.tell_refusals(true).await;
    }
}

async fn tell_refusals(intake: Arc<Intake>, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(TELL)).await.is_some() {
        intake.tell_refusals(false).await;
    }
}

/// One connection, after the TLS handshake where the listener speaks TLS.
async fn serve(stream: TcpStream, peer: SocketAddr, intake: Arc<Intake>, shutdown: CancellationToken) {
    let Some(tls) = intake.tls().cloned() else {
        return Connection::new(stream, peer, intake).serve(shutdown).await;
    };
    match shutdown.run_until_cancelled(tls.accept(stream)).await {
        Some(Ok(stream)) => Connection::new(stream, peer, intake).serve(shutdown).await,
        Some(Err(error)) => {
            intake.counters().handshake_faults.add(1);
            let listener = intake.config().name.as_str();
            intake.counters().turned_away.note(peer.ip(), Timestamp::now(), format_args!("no TLS handshake: {error}"));
            throttled!(warn, intake.complaints().handshake, listener, %peer, "no TLS handshake: {error}");
        }
        None => {}
    }
}

/// A place first, then a connection, so that none is taken that cannot be served.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(OwnedSemaphorePermit, io::Result<(TcpStream, SocketAddr)>)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    Some((place, listener.accept().await))
}

/// A connection that panicked takes no other with it, and its messages got no ack.
fn report(intake: &Intake, ended: Result<(), JoinError>) {
    intake.counters().connections_closed.add(1);
    if ended.is_err() {
        let listener = intake.config().name.as_str();
        let log = &intake.complaints().panics;
        throttled!(error, log, listener, "a connection ended in a panic: this is a bug; its sender will try again");
    }
}
