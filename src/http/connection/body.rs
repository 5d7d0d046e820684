//! Bodies that tell how they get on: one that is read from the peer, one that is written to it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::progress::Progress;

/// Of a request. The peer's time runs from when the body is first asked for.
pub struct RequestBody {
    body: Incoming,
    progress: Arc<Progress>,
    asked: bool,
}

impl RequestBody {
    pub fn new(body: Incoming, progress: Arc<Progress>) -> Self {
        Self { body, progress, asked: false }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if !self.asked && !self.body.is_end_stream() {
            self.asked = true;
            self.progress.awaits_body();
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => {
                self.progress.body_moved();
                if self.body.is_end_stream() {
                    self.progress.body_ended();
                }
            }
            Poll::Ready(Some(Err(_)) | None) => self.progress.body_ended(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Given up in the midst of it, as a body that is too large.
impl Drop for RequestBody {
    fn drop(&mut self) {
        self.progress.body_ended();
    }
}

/// Of an answer. The peer's time runs until it is written.
pub struct AnswerBody {
    body: Body,
    progress: Arc<Progress>,
}

impl AnswerBody {
    pub fn new(body: Body, progress: Arc<Progress>) -> Self {
        progress.answers();
        Self { body, progress }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.progress.answered();
    }
}
