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
//! | `routes` | what is found under which path |
//! | `answer` | what is sent back |
//! | `server` | takes connections and serves a site, here and on the control socket |
//! | [`connections`] | who is connected, and who gives way |
//! | [`health`] | whether the agent does its work |

pub(crate) mod answer;
pub mod connections;
pub mod health;
mod landing;
pub mod negotiate;
pub mod pages;
mod routes;
pub(crate) mod server;

pub use health::Health;

use pages::Pages;
use procagent_core::registry::Families;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

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
    server::serve_site(limits, listener, routes::Site { pages: Pages::new(families), health }).await;
}
