//! What one scan saw. Two of them are recycled between the scan and the judge; a scan fills one in place.

use crate::Error;
use crate::plugin::Needs;
use crate::process::{BootId, CommandLine, Pid, ProcessId, State, Usage};
use crate::time::{Ns, Timestamp};
use std::sync::Arc;

/// Reads the whole host once. Implementations live in `procagent-sources`.
pub trait Source: Send {
    /// What this source is called in logs and labels: `procfs`, `ebpf`, `portable`.
    fn name(&self) -> &'static str;

    /// What it can read here at all.
    fn offers(&self) -> Needs;

    /// How much time the reads may take that cost most. A source without such reads need not care.
    fn set_budgets(&mut self, _budgets: Budgets) {}

    /// Fills `into`, which [`Snapshot::clear`] has emptied. Fails only when the host as a whole cannot be read;
    /// a process that cannot be read is left out and counted.
    fn scan(&mut self, needs: Needs, into: &mut Snapshot) -> Result<(), Error>;
}

/// How much time may go into [`Needs::SMAPS`] and [`Needs::THREADS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// How old the proportional memory of a process may get before it is read again, if the budget suffices.
    pub smaps_every: Ns,
    /// Reading time for it in each `smaps_every`.
    pub smaps: Ns,
    /// It is not read of processes with more resident memory, in bytes.
    pub smaps_max_resident: u64,
    /// Reading time for threads in each scan.
    pub threads: Ns,
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets {
            smaps_every: Ns::from_secs(60),
            smaps: Ns::from_millis(50),
            smaps_max_resident: 1 << 30,
            threads: Ns::from_millis(50),
        }
    }
}

/// Every process of the host at one time, and the host's own numbers.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// When the scan began.
    pub begun: Timestamp,
    /// When it was done.
    pub ended: Timestamp,
    /// One entry a process, each id at most once.
    pub processes: Vec<Reading>,
    /// What seldom changes, for processes that are new, have called exec, or were unreadable so far.
    pub details: Vec<Details>,
    /// The host's numbers.
    pub host: HostReading,
    /// The agent's own use of the machine.
    pub agent: Option<AgentReading>,
    /// The names of users; the same one in every scan until the file of users changes.
    pub users: Arc<crate::users::Users>,
    /// What could not be read in this scan.
    pub errors: FieldErrors,
}

impl Snapshot {
    /// Makes it ready for the next scan and keeps its memory.
    pub fn clear(&mut self) {
        self.processes.clear();
        self.details.clear();
        self.host = HostReading { boot_id: self.host.boot_id, ..HostReading::default() };
        self.agent = None;
        self.errors = FieldErrors::default();
    }
}

/// The numbers of one process.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Its identity.
    pub id: ProcessId,
    /// Its present parent.
    pub parent: Pid,
    /// What it is doing.
    pub state: State,
    /// Whether it is a thread of the kernel (`PF_KTHREAD` in field 9 of stat).
    pub kernel_thread: bool,
    /// Cumulative use. I/O that was not read again in this scan is as it was last read.
    pub usage: Usage,
    /// Threads, field 20 of stat.
    pub threads: Option<u32>,
    /// Nice value, field 19 of stat.
    pub nice: Option<i8>,
    /// Address space in bytes.
    pub virtual_memory: Option<u64>,
    /// Physical memory in bytes, shared pages included (from statm: that of stat is inexact since Linux 6.2).
    pub resident_memory: Option<u64>,
    /// Proportional, unique and swapped memory.
    pub smaps: Smaps,
    /// When context switches and delays were read, on the clock of [`Timestamp::mono`].
    pub threads_read: Option<Ns>,
    /// What `resident_memory` may grow to: the smallest limit of its control groups, else the host's memory.
    pub memory_limit: Option<u64>,
    /// Open file descriptors.
    pub descriptors: Option<u32>,
    /// Its soft RLIMIT_NOFILE; `u64::MAX` is unlimited.
    pub descriptor_limit: Option<u64>,
    /// Its users.
    pub users: Option<Users>,
}

/// The memory of a process as `/proc/PID/smaps_rollup` has it: proc_pid_smaps(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Smaps {
    /// Not read: not needed, not its turn yet, or not readable. A thread of the kernel has none.
    #[default]
    Unread,
    /// Left out for its size.
    TooLarge,
    /// As it was at some time.
    Read(Rollup),
}

/// Sums over all mappings of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Its share: each page divided by the number of processes that map it (`Pss`).
    pub pss: u64,
    /// What no other process maps (`Private_Clean` and `Private_Dirty`).
    pub uss: u64,
    /// What was swapped out (`Swap`).
    pub swap: u64,
    /// When it was read, on the clock of [`Timestamp::mono`].
    pub at: Ns,
}

/// The real and effective user of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Who started it.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
}

/// What seldom changes about a process. A source gives one with the first sight of a process, one after each
/// exec, and one more when what could not be read at first could be read later.
#[derive(Clone, Debug)]
pub struct Details {
    /// Whose.
    pub id: ProcessId,
    /// The kernel's short name, raw bytes.
    pub comm: Box<[u8]>,
    /// The executable.
    pub exe: Option<Arc<str>>,
    /// The arguments.
    pub argv: Option<CommandLine>,
    /// The control group, without the mount point.
    pub cgroup: Option<Arc<str>>,
}

/// Numbers of the host, each `None` where it could not be read.
#[derive(Clone, Debug, Default)]
pub struct HostReading {
    /// Which boot this is.
    pub boot_id: BootId,
    /// Cumulative CPU time of all CPUs together.
    pub cpu: Option<CpuTimes>,
    /// Logical CPUs that are online.
    pub cpus: Option<u32>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Tasks created since boot, threads included (`processes` of `/proc/stat`).
    pub forks: Option<u64>,
}

/// The `cpu` line of `/proc/stat`. `user` includes guests, as in the kernel's line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CpuTimes {
    pub user: Ns,
    pub nice: Ns,
    pub system: Ns,
    pub idle: Ns,
    pub iowait: Ns,
    pub interrupt: Ns,
    pub softirq: Ns,
    pub steal: Ns,
}

impl CpuTimes {
    /// What processes can have used: user + nice + system. Interrupts and steal are nobody's.
    pub fn busy(&self) -> Ns {
        self.user.plus(self.nice).plus(self.system)
    }
}

/// `/proc/meminfo`, in bytes. `None` where the source, or an old kernel, does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Memory {
    pub total: u64,
    pub free: u64,
    pub buffers: Option<u64>,
    /// Page cache plus reclaimable slab, without shared memory that cannot be dropped.
    pub cached: Option<u64>,
    /// What can be had without swapping; `None` before Linux 3.14.
    pub available: Option<u64>,
}

/// The agent's own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentReading {
    /// CPU time.
    pub cpu: Ns,
    /// Physical memory in bytes.
    pub resident_memory: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// When it started, on the clock of [`Timestamp::boot`].
    pub started: Ns,
}

/// A file of a process or of the host, as label value `field`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    Stat,
    Statm,
    Status,
    Io,
    Descriptors,
    Limits,
    Exe,
    Cmdline,
    Cgroup,
    Smaps,
    Schedstat,
    Task,
    HostStat,
    Meminfo,
    Passwd,
}

impl Field {
    /// All of them.
    pub const ALL: [Field; 15] = [
        Field::Stat,
        Field::Statm,
        Field::Status,
        Field::Io,
        Field::Descriptors,
        Field::Limits,
        Field::Exe,
        Field::Cmdline,
        Field::Cgroup,
        Field::Smaps,
        Field::Schedstat,
        Field::Task,
        Field::HostStat,
        Field::Meminfo,
        Field::Passwd,
    ];

    /// The label value, the name of the file in /proc.
    pub const fn as_str(self) -> &'static str {
        match self {
            Field::Stat => "stat",
            Field::Statm => "statm",
            Field::Status => "status",
            Field::Io => "io",
            Field::Descriptors => "fd",
            Field::Limits => "limits",
            Field::Exe => "exe",
            Field::Cmdline => "cmdline",
            Field::Cgroup => "cgroup",
            Field::Smaps => "smaps_rollup",
            Field::Schedstat => "schedstat",
            Field::Task => "task",
            Field::HostStat => "host_stat",
            Field::Meminfo => "meminfo",
            Field::Passwd => "passwd",
        }
    }
}

/// Why something could not be read, as label value `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The process ended meanwhile (ENOENT, ESRCH).
    Vanished,
    /// Not permitted (EACCES, EPERM).
    Denied,
    /// The read did not come back in time; the process is in quarantine.
    Timeout,
    /// It was read, and is not what proc(5) says.
    Malformed,
    /// Anything else, such as EMFILE or EIO.
    Failed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 5] =
        [Reason::Vanished, Reason::Denied, Reason::Timeout, Reason::Malformed, Reason::Failed];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Vanished => "vanished",
            Reason::Denied => "denied",
            Reason::Timeout => "timeout",
            Reason::Malformed => "malformed",
            Reason::Failed => "failed",
        }
    }
}

/// How often what could not be read, and why, in one scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors([[u64; Reason::ALL.len()]; Field::ALL.len()]);

impl FieldErrors {
    /// Counts one more.
    pub fn count(&mut self, field: Field, reason: Reason) {
        self.0[field as usize][reason as usize] += 1;
    }

    /// How many of this kind.
    pub fn get(&self, field: Field, reason: Reason) -> u64 {
        self.0[field as usize][reason as usize]
    }

    /// All kinds, those at 0 included.
    pub fn iter(&self) -> impl Iterator<Item = (Field, Reason, u64)> {
        Field::ALL.into_iter().flat_map(move |field| {
            Reason::ALL.into_iter().map(move |reason| (field, reason, self.get(field, reason)))
        })
    }
}
