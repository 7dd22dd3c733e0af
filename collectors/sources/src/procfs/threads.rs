//! Context switches and delays. What /proc/PID says of them is of the first thread alone, so a process of several
//! has every thread of /proc/PID/task read: in turns, within a budget of reading time, at the end of the scan.
#![allow(clippy::disallowed_methods, reason = "opens folders of threads")]

use super::entry::{Entries, Entry};
use super::files::{PidPath, ProcDir, ReadError, open_at, read_start};
use super::ledger::{Ledger, Thread};
use super::parse::{self, Schedstat, Stat};
use procagent_core::process::Usage;
use procagent_core::snapshot::{Field, FieldErrors, Reading, Reason, Snapshot};
use procagent_core::time::{Ns, Ticks};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

/// Of a process with more threads, none is read.
const THREADS_MAX: usize = 16_384;

/// How often is looked whether the kernel accounts for waiting for storage.
const REFRESH: Ns = Ns::from_secs(30);

/// What is remembered of one process.
#[derive(Debug, Default)]
pub(super) struct ThreadsState {
    pub ledger: Ledger,
    /// Its threads are to be read.
    pub wanted: bool,
    pass: Option<Pass>,
}

/// A walk over the threads of a process, which may take several scans.
#[derive(Debug)]
struct Pass {
    begun: Ns,
    threads: Vec<u32>,
    next: usize,
}

/// The turns of all processes with several threads.
#[derive(Debug)]
pub(super) struct ThreadTurns {
    pub budget: Ns,
    clock: fn() -> Ns,
    /// Those whose turn it is in this scan: when they were last read, and their places.
    due: Vec<(Option<Ns>, usize)>,
    /// Whether the kernel accounts for waiting for storage, and when to look again.
    block_io: bool,
    look_at: Ns,
}

/// What reading threads needs.
struct Reader<'a> {
    buffer: &'a mut [u8],
    listing: &'a mut Vec<u8>,
    errors: &'a mut FieldErrors,
    ticks_per_second: u64,
    now: Ns,
}

impl ThreadsState {
    /// Takes in the first thread of a process that has no other.
    pub fn single(&mut self, thread: Thread, now: Ns) {
        self.ledger.begin();
        self.ledger.add(thread);
        self.finish(now);
    }

    /// The same where it has not been on a CPU since it was last read. Whether that is so.
    pub fn rests(&mut self, tid: u32, schedstat: Schedstat, now: Ns) -> bool {
        self.ledger.begin();
        let rests = self.ledger.rests(tid, schedstat);
        if rests {
            self.finish(now);
        }
        rests
    }

    fn finish(&mut self, begun: Ns) {
        self.ledger.end(begun);
        (self.pass, self.wanted) = (None, false);
    }
}

impl ThreadTurns {
    pub fn new(budget: Ns, clock: fn() -> Ns) -> ThreadTurns {
        ThreadTurns { budget, clock, due: Vec::new(), block_io: false, look_at: Ns(0) }
    }

    /// Looks whether the kernel accounts for waiting for storage. Before Linux 5.14 it does not say.
    pub fn look(&mut self, proc: &ProcDir, now: Ns, buffer: &mut Vec<u8>) {
        if now >= self.look_at {
            self.look_at = now.plus(REFRESH);
            let read = proc.read_host_file(c"sys/kernel/task_delayacct", buffer);
            self.block_io = read.is_ok() && buffer.first() == Some(&b'1');
        }
    }

    /// Puts what is known of a process into its numbers.
    pub fn tell(&self, entry: &Entry, usage: &mut Usage) -> Option<Ns> {
        let ledger = &entry.threads.ledger;
        (usage.context_switches, usage.delay) = (ledger.switches(), ledger.delay(self.block_io));
        ledger.read_at()
    }

    /// The process at this place of the scan has several threads that are to be read.
    pub fn queue(&mut self, entry: &Entry, place: usize) {
        self.due.push((entry.threads.ledger.read_at(), place));
    }

    /// Reads as many threads as there is time for, first those of the processes that have waited longest. Takes at
    /// most a tenth of the time from scan to scan, whatever the budget.
    #[allow(clippy::too_many_arguments, reason = "each is a part of the source that is borrowed by itself")]
    pub fn read(
        &mut self,
        proc: &ProcDir,
        entries: &mut Entries,
        into: &mut Snapshot,
        (buffer, listing): (&mut [u8], &mut Vec<u8>),
        ticks_per_second: u64,
        step: Ns,
    ) {
        let allowed = if step == Ns(0) { self.budget } else { self.budget.min(Ns(step.0 / 10)) };
        let begun = (self.clock)();
        let mut due = std::mem::take(&mut self.due);
        due.sort_unstable();
        for (_, place) in due.drain(..) {
            let (Some(entry), Some(reading)) = (entries.get_mut(place), into.processes.get_mut(place)) else {
                continue;
            };
            let (errors, now) = (&mut into.errors, into.begun.mono);
            let mut reader = Reader { buffer, listing, errors, ticks_per_second, now };
            let late = || (self.clock)().since(begun) >= allowed;
            let done = !late() && reader.process(proc, entry, late);
            self.patch(entry, reading);
            if !done {
                break;
            }
        }
        due.clear();
        self.due = due;
    }

    fn patch(&self, entry: &Entry, reading: &mut Reading) {
        reading.threads_read = self.tell(entry, &mut reading.usage);
    }
}

impl Reader<'_> {
    /// Reads the threads of a process, or goes on with them. Whether there was time enough.
    fn process(&mut self, proc: &ProcDir, entry: &mut Entry, late: impl Fn() -> bool) -> bool {
        let (pid, state) = (entry.stat.pid, &mut entry.threads);
        let folder = match open_folder(proc, pid) {
            Ok(folder) => folder,
            Err(error) => {
                self.give_up(state, error.into());
                return true;
            }
        };
        if state.pass.is_none() {
            match self.list(&folder) {
                Ok(threads) => state.pass = Some(Pass { begun: self.now, threads, next: 0 }),
                Err(error) => {
                    self.give_up(state, error);
                    return true;
                }
            }
            state.ledger.begin();
        }
        let Some(pass) = &mut state.pass else { return true };
        while let Some(&tid) = pass.threads.get(pass.next) {
            if pass.next > 0 && late() {
                return false;
            }
            pass.next += 1;
            match self.thread(&folder, tid, &entry.stat, &mut state.ledger) {
                Ok(()) => {}
                // It has ended.
                Err(error) if error.reason() == Reason::Vanished => {}
                Err(error) if state.ledger.read_at().is_none() => {
                    self.give_up(state, error);
                    return true;
                }
                Err(error) => {
                    self.errors.count(Field::Task, error.reason());
                    state.ledger.keep(tid);
                }
            }
        }
        let begun = pass.begun;
        state.finish(begun);
        true
    }

    /// Until the process moves, or its values are old.
    fn give_up(&mut self, state: &mut ThreadsState, error: ReadError) {
        if error.reason() != Reason::Vanished {
            self.errors.count(Field::Task, error.reason());
        }
        (state.pass, state.wanted) = (None, false);
    }

    fn list(&mut self, folder: &OwnedFd) -> Result<Vec<u32>, ReadError> {
        let mut threads = Vec::new();
        let mut entries = RawDir::new(folder, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            threads.extend(parse::decimal_u32(entry?.file_name().to_bytes()));
            if threads.len() > THREADS_MAX {
                return Err(ReadError::System(Errno::TOOBIG));
            }
        }
        Ok(threads)
    }

    fn thread(
        &mut self,
        folder: &OwnedFd,
        tid: u32,
        of: &Stat,
        ledger: &mut Ledger,
    ) -> Result<(), ReadError> {
        let schedstat = match self.file(folder, tid, "schedstat") {
            Ok(line) => parse::schedstat(line)?,
            // A kernel without CONFIG_SCHED_INFO; if the thread has ended, the next file says so.
            Err(ReadError::System(Errno::NOENT)) => Schedstat::default(),
            Err(error) => return Err(error),
        };
        if ledger.rests(tid, schedstat) {
            return Ok(());
        }
        let switches = parse::switches(self.file(folder, tid, "status")?)?;
        let ticks_per_second = self.ticks_per_second;
        let stat = parse::stat(self.file(folder, tid, "stat")?)?;
        if tid == of.pid && stat.start != of.start {
            // Another process has the number.
            return Err(ReadError::System(Errno::SRCH));
        }
        let block_io = Ticks(stat.block_io_ticks).to_ns(ticks_per_second);
        ledger.add(Thread { tid, start: stat.start, switches, schedstat, block_io });
        Ok(())
    }

    fn file(&mut self, folder: &OwnedFd, tid: u32, name: &str) -> Result<&[u8], ReadError> {
        let open = open_at(folder.as_fd(), PidPath::new(tid, name).as_c_str())?;
        Ok(read_start(&open, self.buffer)?)
    }
}

fn open_folder(proc: &ProcDir, pid: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(proc.fd(), PidPath::new(pid, "task").as_c_str(), flags, Mode::empty())
}
