//! What is sent back.

use super::connections::InFlight;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer whose body is shared with all others that were sent the same.
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub fn new(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.into() }.with(CONTENT_TYPE, kind)
    }

    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, TEXT, body)
    }

    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.headers.insert(name, value);
        self
    }

    pub fn into_response(self, in_flight: InFlight) -> Response<Pieces> {
        let mut response = Response::new(Pieces { rest: self.body, _in_flight: in_flight });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// How much of a body is handed over at a time. What was handed over counts as sent, so a request is in flight
/// until all but this much has left the agent.
const PIECE: usize = 64 * 1024;

/// A body in pieces.
pub(crate) struct Pieces {
    rest: Bytes,
    _in_flight: InFlight,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
