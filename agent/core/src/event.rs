//! What happens to processes between two scans: the source's words ([`Record`]) and ours ([`Event`]).

use crate::Error;
use crate::process::{Pid, ProcessId, Usage};
use crate::time::{KernelTime, Ticks, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Hears what the kernel tells of processes. Implementations live in `procagent-sources`.
pub trait EventSource: Send {
    /// Appends what has come to `out`, and waits at most `wait` for the first record.
    fn read(&mut self, out: &mut Vec<Record>, wait: Duration) -> Result<(), Error>;
}

/// One thing the kernel told.
#[derive(Clone, Debug)]
pub struct Record {
    /// The source's number of it; gaps are loss.
    pub seq: u64,
    /// The kernel's time of it.
    pub at: KernelTime,
    /// Whom it is about.
    pub pid: Pid,
    /// Its start time, where the source knows it.
    pub start: Option<Ticks>,
    /// What it is.
    pub what: What,
}

/// A record after the table gave it its identity.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of the record.
    pub seq: u64,
    /// When it was heard.
    pub at: Timestamp,
    /// Whom it is about; `None` when that process was never seen, and for the host as a whole.
    pub process: Option<ProcessId>,
    /// What it is.
    pub what: What,
}

/// Kinds of events.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// The process was forked by this parent.
    Fork {
        /// The parent.
        parent: Pid,
    },
    /// It runs another program.
    Exec {
        /// The program, where known.
        exe: Option<Arc<str>>,
    },
    /// It ended.
    Exit {
        /// How.
        status: ExitStatus,
    },
    /// It was released by the kernel: its final use.
    Released(Usage),
    /// Its users or groups changed.
    Credentials {
        /// Real user before and after are in the table; this is the new effective one.
        effective: u32,
        /// The new real one.
        real: u32,
    },
    /// It began a session.
    Session,
    /// It is traced (`Some`) or no longer.
    Ptrace {
        /// By whom.
        tracer: Option<Pid>,
    },
    /// It changed its short name.
    Comm {
        /// The new one.
        comm: Box<[u8]>,
    },
    /// It dumps core.
    Coredump,
    /// Its nice value changed.
    Priority {
        /// The new one.
        nice: i8,
    },
    /// It touched a watched file.
    File {
        /// The file.
        path: PathBuf,
    },
    /// It touched a registry key (imported captures only).
    Registry {
        /// The key.
        key: Box<str>,
    },
    /// It opened or closed a connection.
    Connection,
    /// The source lost this many records here.
    Lost(u64),
}

/// How a process ended, decoded from the wait status (wait(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal {
        /// Its number.
        number: u8,
        /// Whether a core was dumped.
        core: bool,
    },
}

impl ExitStatus {
    /// From the kernel's raw wait status.
    pub fn from_wait_status(status: u32) -> ExitStatus {
        let low = status & 0x7f;
        let byte = |value: u32| u8::try_from(value & 0xff).unwrap_or(u8::MAX);
        if low == 0 {
            ExitStatus::Code(byte(status >> 8))
        } else {
            ExitStatus::Signal { number: byte(low), core: status & 0x80 != 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses() {
        assert_eq!(ExitStatus::from_wait_status(512), ExitStatus::Code(2));
        assert_eq!(ExitStatus::from_wait_status(9), ExitStatus::Signal { number: 9, core: false });
        assert_eq!(ExitStatus::from_wait_status(0x80 | 11), ExitStatus::Signal { number: 11, core: true });
        assert_eq!(ExitStatus::from_wait_status(0), ExitStatus::Code(0));
    }
}
