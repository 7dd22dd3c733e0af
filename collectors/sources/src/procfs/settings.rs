//! What a [`super::Procfs`] is opened with, and why it cannot be.

use super::files::ReadError;
use procagent_core::snapshot::Reason;
use procagent_core::time::Ns;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What a [`super::Procfs`] is opened with. Facts of the system are given, so that a tree captured elsewhere is
/// read with the facts of where it was captured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the host's `/proc` and `/sys` are: `host.root`.
    pub root: PathBuf,
    /// Descriptors of /proc that stay open at most; also bounded by RLIMIT_NOFILE less 256.
    pub descriptors: usize,
    /// `sysconf(_SC_CLK_TCK)`.
    pub ticks_per_second: u64,
    /// Bytes a page.
    pub page_size: u64,
    /// What measures reading time: the monotonic clock. While it stands still no budget is used up.
    pub clock: fn() -> Ns,
    /// So long is waited for the next answer of the threads that read what may hang. Whoever is being read then
    /// goes into quarantine.
    pub read_deadline: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            root: PathBuf::from("/"),
            descriptors: 4096,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            page_size: rustix::param::page_size() as u64,
            clock: || Ns(0),
            read_deadline: Duration::from_millis(20),
        }
    }
}

/// Why a `host.root` cannot be read at all.
#[derive(Debug)]
pub struct OpenError {
    /// The file or folder that was tried.
    pub path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    System(rustix::io::Errno),
    NotProc,
}

impl OpenError {
    pub(super) fn new(path: PathBuf, error: ReadError) -> OpenError {
        let why = match error {
            ReadError::System(errno) => Why::System(errno),
            ReadError::Malformed => Why::NotProc,
        };
        OpenError { path, why }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let errno = match self.why {
            Why::System(errno) => errno,
            Why::NotProc => {
                return write!(
                    f,
                    "{path} has no `cpu` line, so its folder is not the /proc of a Linux host; \
                     set host.root to the folder that holds the host's proc and sys"
                );
            }
        };
        let advice = match ReadError::System(errno).reason() {
            Reason::Vanished => {
                "set host.root to the folder that holds the host's proc and sys; in a container, mount the host's \
                 /proc below it"
            }
            Reason::Denied => "run the agent as a user that may read it",
            _ => "host.root must name a folder that holds the host's proc and sys",
        };
        write!(f, "cannot read {path}: {errno}; {advice}")
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::System(errno) => Some(errno),
            Why::NotProc => None,
        }
    }
}
