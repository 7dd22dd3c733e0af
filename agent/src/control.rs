//! The control socket: a local HTTP server by which the running agent is asked. Only its own user and root may.
//!
//! | path | answer (JSON) |
//! |---|---|
//! | `/status` | [`Status`]: how it is going |
//! | `/explain?pid=N` | [`Explanation`](crate::explanation::Explanation): why a process counts where it does |

pub mod client;
mod readable;
mod routes;
pub mod socket;

pub use readable::Reader;
pub use routes::Site;

use crate::config::{Control, Variables};
use crate::outputs::http::{Limits, server};
use serde::{Deserialize, Serialize};
use socket::Socket;
use std::path::PathBuf;

/// How the agent is going.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// What it was built from.
    pub revision: String,
    /// When it started, in seconds since 1970.
    pub started: f64,
    /// Scans judged, left out, and failed.
    pub scans: u64,
    /// See [`Status::scans`].
    pub scans_missed: u64,
    /// See [`Status::scans`].
    pub scans_failed: u64,
    /// Seconds since a scan was last judged.
    pub scan_age: f64,
    /// Living processes.
    pub processes: u64,
    /// Groups that have series.
    pub groups: u64,
    /// Groups with members that count in `other`, for want of room.
    pub groups_folded: u64,
    /// Series.
    pub series: u64,
    /// The configuration's file, if there is one.
    pub config: Option<PathBuf>,
    /// When the configuration in force was loaded, in seconds since 1970.
    pub config_loaded: Option<f64>,
    /// Whether the file was right when last looked at.
    pub config_success: bool,
    /// What became of the last change of the file; `None` before the first.
    pub config_change: Option<String>,
    /// What is wrong, if anything.
    pub warning: Option<String>,
}

/// Serves `site` as the configuration says. What cannot be had is a warning: the agent does its work without. The
/// socket is removed when the result is dropped.
pub async fn start(control: &Control, variables: &Variables, site: Site) -> Option<socket::Made> {
    let path = match socket::path(control, variables) {
        Ok(path) => path?,
        Err(why) => {
            tracing::warn!("no control socket: {why}");
            return None;
        }
    };
    match Socket::bind(&path).await {
        Ok((socket, made)) => {
            tracing::info!("control socket: {}", path.display());
            tokio::spawn(server::serve_site(Limits::default(), socket, site));
            Some(made)
        }
        Err(error) => {
            tracing::warn!(
                "no control socket, `procagent explain` cannot ask this agent: {}: {error}",
                path.display()
            );
            None
        }
    }
}
