//! What is remembered of one process between two scans.

use super::budget::Kept;
use super::cgroup::MemoryCgroup;
use super::parse::{Comm, Stat};
use super::smaps::SmapsState;
use super::threads::ThreadsState;
use procagent_core::plugin::Needs;
use procagent_core::process::{Io, Pid, ProcessId};
use procagent_core::snapshot::{Field, Users};
use procagent_core::time::{Ns, Ticks};
use std::collections::VecDeque;
use std::sync::Arc;

/// One process, by pid and start: another start is another process, and another entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub stat: Stat,
    /// The line that `stat` was parsed from; empty on first sight.
    pub line: Vec<u8>,
    /// Whether an earlier scan saw it too. Only then is it worth a descriptor.
    pub seen_before: bool,
    /// How much CPU it used of late; halves with every scan.
    pub busy: u32,
    pub kept: KeptFiles,
    pub values: Values,
    /// For which needs `values` were read.
    pub covered: Needs,
    /// When `values` are read again even if it has not moved.
    pub due: Ns,
    pub denied: Denied,
    pub details: DetailsState,
    /// The control group that limits its memory.
    pub memory: MemoryLimit,
    pub smaps: SmapsState,
    pub threads: ThreadsState,
}

/// Every process of the last scan, by ascending pid. Boxed, so that taking them out and putting them back in each
/// scan moves a pointer each.
pub(super) type Entries = VecDeque<Box<Entry>>;

/// Its open files of /proc. They are bound to the process, not to its number: after its end reads fail with ESRCH.
#[derive(Debug, Default)]
pub(super) struct KeptFiles {
    pub stat: Option<Kept>,
    pub statm: Option<Kept>,
    pub status: Option<Kept>,
    pub io: Option<Kept>,
    pub schedstat: Option<Kept>,
}

/// What is not read in every scan, as last read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values {
    pub resident_pages: Option<u64>,
    pub io: Option<Io>,
    pub users: Option<Users>,
    pub descriptors: Option<u32>,
    pub descriptor_limit: Option<u64>,
}

/// The fields whose reading was refused; they rest until `values` are due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Denied(u16);

impl Denied {
    pub fn add(&mut self, field: Field) {
        self.0 |= 1 << field as u16;
    }

    pub fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u16) != 0
    }
}

/// How far the readers are with its executable, arguments and control group.
#[derive(Debug, Default)]
pub(super) struct DetailsState {
    /// The job that a reader has, also while it is in quarantine.
    pub job: Option<u64>,
    /// The program that the job is about, or the last one was.
    pub program: Option<Program>,
    /// Whether nothing was told of this program yet, or only its name.
    pub owed: bool,
    /// How many of the three were found. What is missing is tried again.
    pub found: u8,
    /// When that is, and how long to wait the time after.
    pub retry_at: Ns,
    pub retry_wait: Ns,
}

/// What changes when a process calls exec. The name alone also changes by prctl(PR_SET_NAME).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub comm: Comm,
    pub start_code: u64,
    pub arg_start: u64,
}

impl Program {
    pub fn of(stat: &Stat) -> Program {
        Program { comm: stat.comm, start_code: stat.start_code, arg_start: stat.arg_start }
    }

    /// Whether no more than the name differs.
    pub fn renamed_from(&self, other: &Program) -> bool {
        self.start_code == other.start_code && self.arg_start == other.arg_start && self.comm != other.comm
    }
}

/// What limits the memory of a process.
#[derive(Debug, Default)]
pub(super) enum MemoryLimit {
    /// Its control group could not be read, or not yet.
    #[default]
    Unknown,
    /// Nothing but the host: there are no control groups.
    Host,
    /// A control group.
    Cgroup(Arc<MemoryCgroup>),
}

impl Entry {
    pub fn new(stat: Stat) -> Entry {
        Entry {
            stat,
            line: Vec::new(),
            seen_before: false,
            busy: 0,
            kept: KeptFiles::default(),
            values: Values::default(),
            covered: Needs::NOTHING,
            due: Ns(0),
            denied: Denied::default(),
            details: DetailsState::default(),
            memory: MemoryLimit::default(),
            smaps: SmapsState::default(),
            threads: ThreadsState::default(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.stat.pid
    }

    pub fn id(&self) -> ProcessId {
        ProcessId { pid: Pid(self.stat.pid), start: Ticks(self.stat.start) }
    }
}

impl KeptFiles {
    /// Closes all but `stat`.
    pub fn close_others(&mut self) {
        *self = KeptFiles { stat: self.stat.take(), ..KeptFiles::default() };
    }
}
