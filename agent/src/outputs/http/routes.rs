//! What is found under which path.

use super::answer::Answer;
use super::pages::{Form, Pages};
use super::{Health, landing, negotiate, server};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};
use hyper::{Method, Request, StatusCode};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What the server has to show.
pub struct Site {
    pub pages: Pages,
    pub health: Health,
}

impl server::Site for Site {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
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
        }
    }
}

impl Site {
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
