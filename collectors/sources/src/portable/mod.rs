//! Processes as the crate `sysinfo` shows them: for systems without `/proc`, and on Linux for tests of this source.
//!
//! It knows less than `procfs`, and what it cannot know is absent, never 0: user and system share of CPU time, page
//! faults, threads, nice values, storage operations, control groups, the host's CPU time and forks.
//!
//! What is weaker here:
//! - **Identity.** Start times have whole seconds, so a number that is given out again within a second is taken for
//!   the same process. Its CPU time falls then, which is counted as a contradiction and credited to nobody.
//! - **Hanging reads.** All reads happen on the thread that scans. On Linux a process whose memory is locked holds it
//!   up: use `procfs` there.
//! - **Renaming.** A name is read at first sight, and anew when executable or arguments have changed.
//!
//! | module | part |
//! |---|---|
//! | `mod` | one scan, top-down |
//! | `read` | what `sysinfo` says of one process, in the words of the core |

mod read;

use procagent_core::Error;
use procagent_core::plugin::Needs;
use procagent_core::process::{Pid, ProcessId};
use procagent_core::snapshot::{AgentReading, Details, Field, Memory, Reason, Snapshot, Source};
use procagent_core::time::{Ns, Ticks};
use std::collections::HashMap;
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Process, ProcessRefreshKind, ProcessesToUpdate, System, ThreadKind,
    UpdateKind,
};

/// The grain of [`ProcessId::start`] that this source gives, as for the table.
pub const TICKS_PER_SECOND: u64 = 100;

/// The source `portable`.
#[derive(Debug)]
pub struct Portable {
    system: System,
    /// When the host was started, in seconds since 1970. Read once: some systems work it out from the wall clock,
    /// and identities must not move when that is set.
    booted: u64,
    /// What was told of the processes of the last scan.
    told: HashMap<sysinfo::Pid, Told>,
}

/// The process and program of the last [`Details`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    start: u64,
    program: u64,
}

/// How long the host has been running, of the grain of a second.
pub fn uptime() -> Option<Ns> {
    System::uptime().ok().map(Ns::from_secs)
}

impl Portable {
    /// Makes sure that `sysinfo` works here.
    ///
    /// # Errors
    /// When this system is not one that `sysinfo` knows, or does not say when it was started.
    pub fn open() -> Result<Portable, Error> {
        let failed = |error| format!("sysinfo cannot read this host: {error}; use another source");
        let mut system = System::new().map_err(failed)?;
        system.refresh_cpu_list(CpuRefreshKind::nothing());
        let booted = System::boot_time().map_err(failed)?;
        Ok(Portable { system, booted, told: HashMap::new() })
    }

    /// Numbers that are not needed are not refreshed. Threads are none of ours; on Linux `sysinfo` would list them
    /// among the processes.
    fn refresh(&mut self, needs: Needs) -> usize {
        let mut kind = ProcessRefreshKind::nothing().without_tasks().with_cpu();
        if needs.contain(Needs::MEMORY) {
            kind = kind.with_memory();
        }
        if needs.contain(Needs::IO) {
            kind = kind.with_disk_usage();
        }
        if needs.contain(Needs::USERS) {
            kind = kind.with_user(UpdateKind::Always);
        }
        if needs.contain(Needs::DETAILS) {
            // Nothing else tells of an exec.
            kind = kind.with_exe(UpdateKind::Always).with_cmd(UpdateKind::Always);
        }
        self.system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind)
    }

    fn read_host(&mut self, needs: Needs, into: &mut Snapshot) {
        if needs.contain(Needs::HOST) {
            into.host.cpus = u32::try_from(self.system.cpus().len()).ok().filter(|cpus| *cpus > 0);
        }
        if needs.contain(Needs::HOST) || needs.contain(Needs::MEMORY) {
            self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            let (total, free) = (self.system.total_memory(), self.system.free_memory());
            // The kernel's own estimate is Linux's; what others call available is another thing.
            let available = cfg!(target_os = "linux").then(|| self.system.available_memory());
            let memory = Memory { total, free, buffers: None, cached: None, available };
            into.host.memory = Some(memory).filter(|memory| memory.total > 0);
            if into.host.memory.is_none() {
                into.errors.count(Field::Meminfo, Reason::Failed);
            }
        }
    }

    fn read_processes(&mut self, needs: Needs, into: &mut Snapshot) {
        let mut news = Vec::new();
        let host_memory = into.host.memory.map(|memory| memory.total);
        for process in self.system.processes().values() {
            if process.thread_kind() == Some(ThreadKind::Userland) {
                continue;
            }
            // Without the right to ask when it was started there is no identity: macOS and Windows refuse all
            // else then, too.
            let Some(id) = self.id(process) else {
                into.errors.count(Field::Stat, Reason::Denied);
                continue;
            };
            into.processes.push(read::reading(id, process, needs, host_memory, &mut into.errors));
            let told = Told { start: process.start_time(), program: read::program(process) };
            if self.told.get(&process.pid()) != Some(&told) {
                news.push((id, process.pid(), told));
            }
        }
        // The library keeps them in no order.
        into.processes.sort_unstable_by_key(|reading| reading.id.pid);
        self.told.retain(|pid, _| self.system.process(*pid).is_some());
        self.tell(&news, into);
    }

    /// The library reads a name once in a process's life; a list of its own has the present one.
    fn tell(&mut self, news: &[(ProcessId, sysinfo::Pid, Told)], into: &mut Snapshot) {
        let renamed: Vec<sysinfo::Pid> =
            news.iter().map(|(_, pid, _)| *pid).filter(|pid| self.told.contains_key(pid)).collect();
        let fresh = System::new().ok().filter(|_| !renamed.is_empty()).map(|mut system| {
            let nothing = ProcessRefreshKind::nothing().without_tasks();
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&renamed), true, nothing);
            system
        });
        for (id, pid, told) in news {
            let Some(process) = self.system.process(*pid) else { continue };
            let fresh = fresh.as_ref().and_then(|system| system.process(*pid));
            let named = fresh.filter(|fresh| fresh.start_time() == process.start_time()).unwrap_or(process);
            into.details.push(Details { comm: read::comm(named), ..read::details(*id, process) });
            self.told.insert(*pid, *told);
        }
    }

    /// The last tick of the second in which the process was started: what was born in the second of the last scan
    /// and was not in it, was born after it.
    fn id(&self, process: &Process) -> Option<ProcessId> {
        let start = Some(process.start_time()).filter(|start| *start > 0)?;
        let second = start.saturating_sub(self.booted);
        let start = Ticks(second.saturating_mul(TICKS_PER_SECOND).saturating_add(TICKS_PER_SECOND - 1));
        Some(ProcessId { pid: Pid(process.pid().as_u32()), start })
    }

    fn read_own(&self) -> Option<AgentReading> {
        let process = self.system.process(sysinfo::Pid::from_u32(std::process::id()))?;
        Some(AgentReading {
            cpu: Ns::from_millis(process.accumulated_cpu_time()),
            resident_memory: process.memory(),
            descriptors: process.open_files()? as u64,
            started: Ns::from_secs(process.start_time().saturating_sub(self.booted)),
        })
    }
}

impl Source for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn offers(&self) -> Needs {
        let all = Needs::IO | Needs::MEMORY | Needs::DESCRIPTORS | Needs::HOST | Needs::DETAILS;
        // Windows has no numbers for users.
        if cfg!(unix) { all | Needs::USERS } else { all }
    }

    fn scan(&mut self, needs: Needs, into: &mut Snapshot) -> Result<(), Error> {
        // The agent's own memory is always wanted, and costs a call a process at most.
        let needs = needs | Needs::MEMORY;
        if self.refresh(needs) == 0 {
            return Err("sysinfo lists no process at all, not even the agent; is this a sandbox?".into());
        }
        self.read_host(needs, into);
        self.read_processes(needs, into);
        into.agent = self.read_own();
        Ok(())
    }
}
