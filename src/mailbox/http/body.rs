//! Bodies: those of requests are read within a budget, and to their end also when the answer needs none of it; those of
//! answers are handed out in small pieces, and what is not read yet stays within a budget.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::failure::Failure;
use crate::mailbox::budget::{Budget, MIDDLE, Room};

/// Reads a body of at most `limit` bytes, and holds room for it.
pub(super) async fn read(budget: &Budget, body: Body, limit: usize) -> Result<(Vec<u8>, Room), Failure> {
    let too_large = || {
        let text =
            format!("the body is larger than the {limit} bytes that the mailbox takes: send it in several messages");
        Failure::new(413, "too-long", text)
    };
    let declared = HttpBody::size_hint(&body).exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if declared.is_some_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let mut reserved = declared.unwrap_or(MIDDLE);
    let mut room = budget.body(reserved).await?;
    let mut read = Vec::with_capacity(declared.unwrap_or_default());
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Failure::new(400, "structure", "the body could not be read to its end"))?;
        let length = read.len() + piece.len();
        if length > limit {
            return Err(too_large());
        }
        if length > reserved {
            reserved = limit;
            drop(room);
            room = budget.body(reserved).await?;
        }
        read.extend_from_slice(&piece);
    }
    Ok((read, room))
}

/// Of a body that nobody wants, so much is read, for so long, before its sender is answered.
const MOST_DRAINED: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Reads what the handler left of a body: a client that still writes does not read the answer, and would take the end of
/// the connection for a failure that is worth another attempt.
pub(super) async fn drained(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (give, mut left) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { body: Some(body), give: Some(give) }));
    let mut response = next.run(request).await;
    if let Ok(rest) = left.try_recv()
        && !tokio::time::timeout(DRAIN_TIME, drain(rest)).await.unwrap_or_default()
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether it came to its end.
async fn drain(body: Body) -> bool {
    let (mut pieces, mut bytes) = (body.into_data_stream(), 0);
    while let Some(piece) = pieces.next().await {
        bytes += piece.map_or(MOST_DRAINED, |piece| piece.len());
        if bytes >= MOST_DRAINED {
            return false;
        }
    }
    true
}

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    give: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(give)) = (self.body.take().filter(|body| !body.is_end_stream()), self.give.take()) {
            // Whoever would have it is gone with the connection.
            give.send(body).ok();
        }
    }
}

/// Bytes that are handed out at once. They are copied: a piece that waits to be written must not hold the whole, and
/// whoever compresses it does not take long.
const PIECE: usize = 16 << 10;

/// An answer's texts, one after the other.
pub(super) struct Pieces {
    texts: VecDeque<String>,
    /// How much of the first is handed out.
    done: usize,
    left: u64,
    _room: Room,
}

impl Pieces {
    /// Waits for room for them.
    ///
    /// # Errors
    /// A [`Failure`] when there is none for a while.
    pub(super) async fn body(budget: &Budget, texts: Vec<String>) -> Result<Body, Failure> {
        let bytes: usize = texts.iter().map(String::len).sum();
        let room = budget.answer(bytes).await?;
        Ok(Body::new(Self { texts: texts.into(), done: 0, left: bytes as u64, _room: room }))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        while let Some(text) = self.texts.front() {
            let rest = text.as_bytes().get(self.done..).unwrap_or_default();
            if rest.is_empty() {
                self.texts.pop_front();
                self.done = 0;
                continue;
            }
            let piece = Bytes::copy_from_slice(&rest[..rest.len().min(PIECE)]);
            self.done += piece.len();
            self.left -= piece.len() as u64;
            return Poll::Ready(Some(Ok(http_body::Frame::data(piece))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}
