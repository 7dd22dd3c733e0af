//! Takes connections and serves what a [`Site`] answers, within [`Limits`]: the same for TCP and for local sockets.

use super::Limits;
use super::answer::Answer;
use super::connections::{Connections, Place};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutStream;

/// Bytes of a request's head, lines of it, and bytes that wait to be written.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const BUFFER_MAX: usize = 128 * 1024;

/// Waits this long after a failed accept: what it lacks, mostly descriptors, does not come at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const ROUNDS_PER_REQUEST: u32 = 6;

/// What a server has to show.
pub(crate) trait Site: Send + Sync + 'static {
    /// Answers a request. Its body is not read; hyper closes the connection where there is one.
    fn answer(&self, request: &Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Where connections come from.
pub(crate) trait Listener {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + 'static;

    /// The next one. Can be given up without losing one.
    async fn accept(&self) -> io::Result<Self::Stream>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(TcpListener::accept(self).await?.0)
    }
}

/// Serves for ever. To stop, drop the future: all connections end at once, no client is waited for.
pub(crate) async fn serve_site(limits: Limits, listener: impl Listener, site: impl Site) {
    let site = Arc::new(site);
    let connections = Connections::new(limits.connections);
    let mut rounds =
        tokio::time::interval((limits.request / ROUNDS_PER_REQUEST).max(Duration::from_millis(1)));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut accepting = true;
    // Dropped with this future, and all connections with it.
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = rounds.tick() => {
                connections.drop_overdue(ROUNDS_PER_REQUEST.into());
                continue;
            }
            Some(_ended) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(stream) => {
                let place = connections.enter();
                let id = place.id();
                let task = tasks.spawn(connection(stream, Arc::clone(&site), place, limits));
                connections.started(id, task);
                accepting = true;
                // Lets the newcomer speak before the next one may take its place: its task has to be told that
                // there is something to read, and then to read it.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if accepting {
                    tracing::warn!(%error, "cannot accept HTTP connections; trying on");
                }
                accepting = false;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors of a connection that died before it was accepted (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    site: Arc<impl Site>,
    place: Place,
    limits: Limits,
) {
    let mut stream = TimeoutStream::new(stream);
    // Heads have their own deadline and bodies are not read; a client that waits for its answer says nothing.
    stream.set_write_timeout(Some(limits.progress));
    let place = Arc::new(place);
    let service = hyper::service::service_fn(|request| {
        let (site, in_flight) = (Arc::clone(&site), place.request());
        async move {
            let answer = site.answer(&request).await;
            Ok::<_, std::convert::Infallible>(answer.into_response(in_flight))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "HTTP connection ended");
    }
}
