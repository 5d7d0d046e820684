//! One connection: TLS where it is spoken, then requests until either side has enough.
//!
//! In comes a socket with its place; out go requests to the routes, each with its [`Peer`]. It promises that a peer that keeps us
//! waiting is cut off within its limits, and that one that waits for us is not. Refuses everything but what must always be
//! answered on a reserved place.
//!
//! - [`places`]: who gets in, and who gives way
//! - [`progress`]: whom a connection waits for; [`stream`] and [`body`] note it

pub(super) mod progress;
pub(super) mod places;
mod stream;
mod body;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::tls::Acceptor;
use body::{AnswerBody, RequestBody};
use places::Place;
use progress::Progress;
use stream::{Transport, Watched};

/// The header of a request, and what is read ahead of a body. A URL has at most 64 KiB.
const BUFFER: usize = 128 << 10;

/// The two ends of the connection on which a request came, among its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub remote: SocketAddr,
    /// Which address of ours it came to.
    pub local: SocketAddr,
}

/// What every connection of a listener has.
pub(super) struct Served {
    pub app: Router,
    pub tls: Option<Acceptor>,
    /// Paths that are answered on a reserved place too; with those below them.
    pub always: &'static [&'static str],
    pub stop: CancellationToken,
}

/// Until its end, or until it is cut.
pub(super) async fn run(stream: TcpStream, remote: SocketAddr, place: Place, served: Arc<Served>) {
    let cut = place.progress.cut.clone();
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        () = speak(stream, remote, &place, &served) => {}
    }
}

async fn speak(stream: TcpStream, remote: SocketAddr, place: &Place, served: &Arc<Served>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let Ok(local) = stream.local_addr() else { return };
    let transport = match &served.tls {
        None => Transport::Plain(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Transport::Tls(Box::new(stream)),
            Err(error) => return tracing::debug!(%remote, %error, "a TLS handshake failed"),
        },
    };
    place.progress.greeted();
    let stream = Watched { transport, progress: Arc::clone(&place.progress) };
    let (peer, progress, reserved) = (Peer { remote, local }, Arc::clone(&place.progress), place.reserved);
    let service = {
        let served = Arc::clone(served);
        service_fn(move |request| answer(request, Arc::clone(&served), peer, Arc::clone(&progress), reserved))
    };
    let mut builder = http1::Builder::new();
    builder.keep_alive(!reserved).max_buf_size(BUFFER);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = served.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "an HTTP connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    served: Arc<Served>,
    peer: Peer,
    progress: Arc<Progress>,
    reserved: bool,
) -> Result<Response<AnswerBody>, Infallible> {
    progress.works();
    let answer = if reserved && !served.answers_always(request.uri().path()) {
        full()
    } else {
        let mut request = request.map(|body| Body::new(RequestBody::new(body, Arc::clone(&progress))));
        request.extensions_mut().insert(peer);
        TowerToHyperService::new(served.app.clone()).call(request).await?
    };
    Ok(answer.map(|body| AnswerBody::new(body, progress)))
}

impl Served {
    fn answers_always(&self, path: &str) -> bool {
        let below =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.always.iter().any(|prefix| below(prefix))
    }
}

fn full() -> Response<Body> {
    let text = "all connections are in use (max_connections, max_connections_per_peer); try again\n";
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
