//! Processes as `<host.root>/proc` shows them, by proc(5). Works on any Linux and without privilege; what may not
//! be read is absent and counted.
//!
//! One scan lists the numbers, reads `stat` of every process, and reads the rest only where a process has moved or
//! its values are 30 seconds old. Reads that may hang are left to the readers.

mod budget;
mod cgroup;
mod describe;
mod details;
mod entry;
mod files;
mod host;
mod ledger;
mod own;
pub mod parse;
mod passwd;
mod pids;
pub mod probe;
mod readers;
mod settings;
mod smaps;
mod threads;
mod visit;

pub use settings::{OpenError, Settings};

use budget::Budget;
use cgroup::MemoryCgroups;
use describe::RENAMES_MAX;
use entry::{Entries, MemoryLimit};
use files::{ProcDir, ReadError};
use own::Own;
use passwd::KnownUsers;
use pids::Pids;
use procagent_core::Error;
use procagent_core::plugin::Needs;
use procagent_core::process::BootId;
use procagent_core::snapshot::{Budgets, Field, Snapshot, Source};
use procagent_core::time::Ns;
use readers::Readers;
use smaps::{Meter, Turns};
use std::sync::Arc;
use threads::ThreadTurns;
use visit::Visit;

/// Holds every file of a process that is read in a scan; of longer ones the beginning is enough.
const BUFFER: usize = 16 << 10;

/// Room for the names in a folder `fd`.
const LISTING: usize = 4096;

/// The source `procfs`.
#[derive(Debug)]
pub struct Procfs {
    settings: Settings,
    proc: Arc<ProcDir>,
    boot_id: BootId,
    own: Option<Own>,
    pids: Pids,
    /// Every process of the last scan; nothing is remembered of those that have ended.
    entries: Entries,
    budget: Budget,
    readers: Readers,
    smaps: Turns,
    threads: ThreadTurns,
    users: KnownUsers,
    offers: Needs,
    cgroups: MemoryCgroups,
    /// When the last scan began.
    last: Option<Ns>,
    buffer: Vec<u8>,
    listing: Vec<u8>,
    host_buffer: Vec<u8>,
}

impl Procfs {
    /// Opens `<root>/proc` and makes sure that it is one.
    ///
    /// # Errors
    /// When the folder or its `stat` cannot be read, or `stat` has no `cpu` line. The text says what to do.
    pub fn open(settings: Settings) -> Result<Procfs, OpenError> {
        let folder = settings.root.join("proc");
        let proc = ProcDir::open(&folder).map_err(|errno| OpenError::new(folder.clone(), errno.into()))?;
        let mut host_buffer = Vec::new();
        host::check(&proc, settings.ticks_per_second, &mut host_buffer)
            .map_err(|error| OpenError::new(folder.join("stat"), error))?;
        let boot_id = host::boot_id(&proc, &mut host_buffer);
        // An open file of a captured tree stays what it was when the tree is exchanged.
        let budget = Budget::new(if proc.live() { settings.descriptors } else { 0 });
        let offers = offers(&proc);
        let proc = Arc::new(proc);
        let passwd = settings.root.join("etc/passwd").into();
        let meter = Meter::new(settings.clock);
        Ok(Procfs {
            readers: Readers::new(Arc::clone(&proc), passwd, meter.clone(), settings.read_deadline),
            smaps: Turns::new(meter),
            threads: ThreadTurns::new(Budgets::default().threads, settings.clock),
            users: KnownUsers::default(),
            offers,
            cgroups: MemoryCgroups::open(&settings.root.join("sys/fs/cgroup")),
            proc,
            boot_id,
            own: Own::open(),
            pids: Pids::new(),
            entries: Entries::new(),
            budget,
            last: None,
            buffer: vec![0; BUFFER],
            listing: Vec::with_capacity(LISTING),
            host_buffer,
            settings,
        })
    }

    /// Descriptors of /proc that are kept open now.
    pub fn kept_descriptors(&self) -> usize {
        self.budget.open()
    }

    /// How many may be: what the settings and RLIMIT_NOFILE allow; less for a while after descriptors had run out.
    pub fn descriptor_bound(&self) -> usize {
        self.budget.bound()
    }

    /// Processes that are remembered: those of the last scan.
    pub fn remembered(&self) -> usize {
        self.entries.len()
    }

    /// Reads every process that is listed. Both lists ascend, so that they are walked side by side.
    fn scan_processes(&mut self, needs: Needs, into: &mut Snapshot) -> Result<(), Error> {
        let now = into.begun.mono;
        let pids = self.pids.list(self.proc.fd()).map_err(|errno| {
            let path = self.settings.root.join("proc");
            format!("cannot list {}: {errno}; is it still mounted?", path.display())
        })?;
        let mut visit = Visit {
            proc: &self.proc,
            budget: &mut self.budget,
            readers: &mut self.readers,
            smaps: &mut self.smaps,
            threads: &mut self.threads,
            buffer: &mut self.buffer,
            listing: &mut self.listing,
            into,
            needs,
            ticks_per_second: self.settings.ticks_per_second,
            page_size: self.settings.page_size,
            now,
            step: now.since(self.last.unwrap_or(now)),
            renames_left: RENAMES_MAX,
            exhausted: false,
        };
        self.last = Some(now);
        // Those of the last scan leave the queue at its front, those that live enter it at its back.
        let mut left = self.entries.len();
        for &pid in pids {
            let mut known = None;
            while left > 0 && self.entries.front().is_some_and(|entry| entry.pid() <= pid) {
                known = self.entries.pop_front().filter(|entry| entry.pid() == pid);
                left -= 1;
            }
            if let Some(entry) = visit.process(pid, known, &mut self.entries) {
                self.entries.push_back(entry);
            }
        }
        self.entries.drain(..left);
        let step = visit.step;
        if needs.contain(Needs::SMAPS) {
            visit.send_for_smaps(&mut self.entries);
        }
        visit.collect(&mut self.entries, &mut self.cgroups, &mut self.users);
        if needs.contain(Needs::THREADS) {
            let room = (&mut self.buffer[..], &mut self.listing);
            self.threads.read(
                &self.proc,
                &mut self.entries,
                into,
                room,
                self.settings.ticks_per_second,
                step,
            );
        }
        self.budget.settle(&mut self.entries);
        self.budget.grow(into.begun.mono);
        Ok(())
    }

    /// Puts into each reading what its control group allows.
    fn limit_memory(&mut self, into: &mut Snapshot) {
        let (now, errors) = (into.begun.mono, &mut into.errors);
        self.cgroups.refresh(now, |error| errors.count(Field::Cgroup, error.reason()));
        let host = into.host.memory.map(|memory| memory.total);
        // Every entry has its reading, in the same order.
        for (reading, entry) in into.processes.iter_mut().zip(&self.entries) {
            reading.memory_limit = match &entry.memory {
                _ if entry.stat.kernel_thread() || entry.stat.zombie() => None,
                MemoryLimit::Unknown => None,
                MemoryLimit::Host => host,
                MemoryLimit::Cgroup(group) => group.limit(host),
            };
        }
    }

    fn read_own(&mut self) -> Option<Result<procagent_core::snapshot::AgentReading, ReadError>> {
        let Settings { ticks_per_second, page_size, .. } = self.settings;
        let own = self.own.as_ref()?;
        Some(own.read(ticks_per_second, page_size, &mut self.buffer, &mut self.listing))
    }
}

/// What can be read here at all. A captured tree may hold anything.
fn offers(proc: &ProcDir) -> Needs {
    let files = Needs::IO | Needs::MEMORY | Needs::DESCRIPTORS | Needs::USERS | Needs::DETAILS;
    // Since Linux 4.14.
    let smaps = !proc.live() || proc.open_file(c"self/smaps_rollup").is_ok();
    let smaps = if smaps { Needs::SMAPS } else { Needs::NOTHING };
    files | smaps | Needs::THREADS | Needs::HOST | Needs::WHOLE
}

impl Source for Procfs {
    fn name(&self) -> &'static str {
        "procfs"
    }

    fn offers(&self) -> Needs {
        self.offers
    }

    fn set_budgets(&mut self, budgets: Budgets) {
        self.smaps.budgets = budgets;
        self.threads.budget = budgets.threads;
    }

    fn scan(&mut self, needs: Needs, into: &mut Snapshot) -> Result<(), Error> {
        into.host.boot_id = self.boot_id;
        let needs = needs.among(self.offers);
        let now = into.begun.mono;
        if needs.contain(Needs::USERS) {
            self.users.send(&mut self.readers, now);
        }
        if needs.contain(Needs::THREADS) {
            self.threads.look(&self.proc, now, &mut self.host_buffer);
        }
        let (ticks, buffer) = (self.settings.ticks_per_second, &mut self.host_buffer);
        host::read(&self.proc, needs, ticks, buffer, &mut into.host, &mut into.errors);
        self.scan_processes(needs, into)?;
        into.users = Arc::clone(self.users.users());
        if needs.contain(Needs::MEMORY) {
            self.limit_memory(into);
        }
        into.agent = self.read_own().and_then(Result::ok);
        Ok(())
    }
}
