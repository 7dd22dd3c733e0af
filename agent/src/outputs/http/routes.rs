//! What is found under which path.

use super::connections::InFlight;
use super::pages::{Form, Pages};
use super::{Health, landing, negotiate};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What the server has to show.
pub struct Site {
    pub pages: Pages,
    pub health: Health,
}

impl Site {
    /// Answers a request. Its body is not read; hyper closes the connection where there is one.
    pub async fn answer(&self, request: &Request<Incoming>, in_flight: InFlight) -> Response<Pieces> {
        let answer = if matches!(*request.method(), Method::GET | Method::HEAD) {
            match request.uri().path() {
                "/" => Answer::new(StatusCode::OK, HTML, landing::page()),
                "/metrics" => self.metrics(request.headers()).await,
                "/-/healthy" => self.healthy(),
                "/-/ready" => self.ready(),
                _ => Answer::text(StatusCode::NOT_FOUND, "not found; see /\n"),
            }
        } else {
            Answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"))
        };
        let mut response = Response::new(Pieces { rest: answer.body, _in_flight: in_flight });
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn metrics(&self, headers: &HeaderMap) -> Answer {
        let Some(page) = self.pages.last() else {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the first scan is not finished\n");
        };
        let form = Form { format: negotiate::format(headers), gzip: negotiate::gzip(headers) };
        match page.body(form).await {
            Ok(body) => {
                let kind = HeaderValue::from_static(form.format.content_type());
                let answer = Answer::new(StatusCode::OK, kind, body)
                    .with(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
                if form.gzip {
                    return answer.with(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                answer
            }
            Err(error) => {
                tracing::error!(%error, "the page could not be encoded");
                Answer::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the page could not be encoded; see the log\n",
                )
            }
        }
    }

    fn healthy(&self) -> Answer {
        match self.health.check() {
            Ok(()) => Answer::text(StatusCode::OK, "healthy\n"),
            Err(why) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    }

    fn ready(&self) -> Answer {
        match self.pages.last() {
            Some(_) => Answer::text(StatusCode::OK, "ready\n"),
            None => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the first scan is not finished\n"),
        }
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn new(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.into() }.with(CONTENT_TYPE, kind)
    }

    fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::new(status, TEXT, body)
    }

    fn with(mut self, name: hyper::header::HeaderName, value: HeaderValue) -> Answer {
        self.headers.insert(name, value);
        self
    }
}

/// How much of a body is handed over at a time. What was handed over counts as sent, so a request is in flight
/// until all but this much has left the agent.
const PIECE: usize = 64 * 1024;

/// A body in pieces, shared with all others that were sent the same.
pub struct Pieces {
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
