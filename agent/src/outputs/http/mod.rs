//! The web server: `/metrics`, `/-/healthy`, `/-/ready` and a landing page. It never scans; it serves what the
//! last scan left.
//!
//! Clients are hostile: heads have a deadline and a size, answers must be taken, a request must end,
//! connections are limited ([`connections`]), bodies of requests are never read.
//!
//! | module | part |
//! |---|---|
//! | [`negotiate`] | what a client may be sent |
//! | [`pages`] | bodies, encoded once |
//! | [`connections`] | who is connected, and who gives way |
//! | [`health`] | whether the agent does its work |

pub mod connections;
pub mod health;
mod landing;
pub mod negotiate;
pub mod pages;
mod routes;

pub use health::Health;

use connections::{Connections, Place};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use pages::Pages;
use procagent_core::registry::Families;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutStream;

/// What clients are granted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// For the head of a request to arrive; also how long a connection may idle between two requests.
    pub head: Duration,
    /// For the client to take the next bytes of its answer.
    pub progress: Duration,
    /// For a whole request, from its head to the last piece of its response; checked in sixths.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 128,
            head: Duration::from_secs(5),
            progress: Duration::from_secs(10),
            request: Duration::from_secs(30),
        }
    }
}

/// Bytes of a request's head, lines of it, and bytes that wait to be written.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const BUFFER_MAX: usize = 128 * 1024;

/// Waits this long after a failed accept: what it lacks, mostly descriptors, does not come at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const ROUNDS_PER_REQUEST: u32 = 6;

/// Listens on `address`. Must run inside a tokio runtime.
///
/// # Errors
/// Those of bind(2) and listen(2), such as a port that is taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves for ever with the default [`Limits`]; see [`serve_within`].
pub async fn serve(listener: TcpListener, families: watch::Receiver<Arc<Families>>, health: Health) {
    serve_within(Limits::default(), listener, families, health).await;
}

/// Serves for ever. To stop, drop the future: all connections end at once, no client is waited for.
///
/// `families` has no family until the first scan has been judged, and from then on those of the last one. Must run
/// inside a tokio runtime; one thread is enough.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    families: watch::Receiver<Arc<Families>>,
    health: Health,
) {
    let site = Arc::new(routes::Site { pages: Pages::new(families), health });
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
            Ok((stream, _)) => {
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

async fn connection(stream: TcpStream, site: Arc<routes::Site>, place: Place, limits: Limits) {
    let mut stream = TimeoutStream::new(stream);
    // Heads have their own deadline and bodies are not read; a client that waits for its answer says nothing.
    stream.set_write_timeout(Some(limits.progress));
    let place = Arc::new(place);
    let service = hyper::service::service_fn(|request| {
        let (site, in_flight) = (Arc::clone(&site), place.request());
        async move { Ok::<_, std::convert::Infallible>(site.answer(&request, in_flight).await) }
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
