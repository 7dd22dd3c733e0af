//! One process in one scan: read `stat`, decide who it is and whether it moved, read what that asks for.

use super::budget::{Budget, Kept};
use super::entry::{Denied, Entries, Entry, Values};
use super::files::{PidPath, ProcDir, ReadError, read_start};
use super::ledger::Thread;
use super::parse::{self, Schedstat, Stat};
use super::readers::Readers;
use super::smaps::Turns;
use super::threads::ThreadTurns;
use procagent_core::plugin::Needs;
use procagent_core::process::{Io, Pid, State, Switches, Usage};
use procagent_core::snapshot::{Field, Reading, Reason, Smaps, Snapshot, Users};
use procagent_core::time::{Ns, Ticks};
use rustix::io::Errno;

/// How old a value may get while its process does not move, and how long what was refused is left alone.
pub(super) const REFRESH: Ns = Ns::from_secs(30);

/// What one scan works with.
pub(super) struct Visit<'a> {
    pub proc: &'a ProcDir,
    pub budget: &'a mut Budget,
    pub readers: &'a mut Readers,
    pub smaps: &'a mut Turns,
    pub threads: &'a mut ThreadTurns,
    pub buffer: &'a mut [u8],
    pub listing: &'a mut Vec<u8>,
    pub into: &'a mut Snapshot,
    pub needs: Needs,
    pub ticks_per_second: u64,
    pub page_size: u64,
    /// When the scan began, and how long after the one before.
    pub now: Ns,
    pub step: Ns,
    pub renames_left: usize,
    /// A file could not be opened for want of a descriptor.
    pub exhausted: bool,
}

impl Visit<'_> {
    /// Reads a process. `known` is what is remembered of this number; the result is what to remember, and its
    /// numbers are in the snapshot.
    pub fn process(
        &mut self,
        pid: u32,
        mut known: Option<Box<Entry>>,
        others: &mut Entries,
    ) -> Option<Box<Entry>> {
        let mut stat = self.stat(pid, known.as_deref_mut());
        if stat.is_err_and(ReadError::out_of_descriptors) {
            self.budget.give_back_half(others, self.now);
            stat = self.stat(pid, known.as_deref_mut());
        }
        let stat = match stat {
            Ok(stat) => stat,
            Err(error) => {
                self.into.errors.count(Field::Stat, error.reason());
                return None;
            }
        };
        let mut entry = match known.filter(|entry| entry.stat.start == stat.start) {
            Some(entry) => entry,
            None => Box::new(Entry::new(stat)),
        };
        self.values(&mut entry, &stat);
        let before = std::mem::replace(&mut entry.stat, stat);
        self.describe(&mut entry);
        self.take_turns(&mut entry, &before);
        entry.seen_before = true;
        self.into.processes.push(self.reading(&entry));
        if std::mem::take(&mut self.exhausted) {
            self.budget.give_back_half(others, self.now);
        }
        Some(entry)
    }

    fn stat(&mut self, pid: u32, known: Option<&mut Entry>) -> Result<Stat, ReadError> {
        let Some(entry) = known else {
            let line = read(self.proc, self.budget, self.buffer, (pid, "stat"), &mut None, false)?;
            return of(pid, line);
        };
        let kept = &mut entry.kept.stat;
        let line = read(self.proc, self.budget, self.buffer, (pid, "stat"), kept, true)?;
        // Most processes rest, and comparing takes a tenth of the time of parsing.
        if entry.line == line {
            return Ok(entry.stat);
        }
        let stat = of(pid, line)?;
        entry.line.clear();
        entry.line.reserve_exact(line.len());
        entry.line.extend_from_slice(line);
        Ok(stat)
    }

    /// Reads what is not read in every scan, if the process moved or the values are old.
    fn values(&mut self, entry: &mut Entry, stat: &Stat) {
        let moved = entry.seen_before && *stat != entry.stat;
        let ticks = (stat.user_ticks.saturating_sub(entry.stat.user_ticks))
            .saturating_add(stat.system_ticks.saturating_sub(entry.stat.system_ticks));
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).min(1 << 20);
        entry.busy = entry.busy / 2 + ticks * 16 + u32::from(moved);

        // Due is also what would be late in the next scan.
        let due = !entry.seen_before || self.now.plus(self.step) > entry.due;
        if !moved && !due && entry.covered == self.needs {
            return;
        }
        if due {
            // First refreshes are spread over the time, so that a crowd does not come due in one scan.
            let share = u64::from(stat.pid % 16 + 1);
            let wait = if entry.seen_before { REFRESH } else { Ns(REFRESH.0 / 16 * share) };
            entry.due = self.now.plus(wait);
            entry.denied = Denied::default();
        }
        if (stat.start_code, stat.arg_start) != (entry.stat.start_code, entry.stat.arg_start) {
            entry.threads.ledger.exec();
        }
        entry.threads.wanted = stat.threads > 1;
        entry.covered = self.needs;
        let schedstat = self.first_thread(entry, stat);
        let (users, switches) = self.status(entry, stat, schedstat.is_some());
        if let (Some(schedstat), Some(switches)) = (schedstat, switches) {
            let block_io = Ticks(stat.block_io_ticks).to_ns(self.ticks_per_second);
            let thread = Thread { tid: stat.pid, start: stat.start, switches, schedstat, block_io };
            entry.threads.single(thread, self.now);
        }
        let limit = entry.values.descriptor_limit;
        entry.values = if stat.kernel_thread() {
            Values { users: Some(Users { real: 0, effective: 0 }), ..Values::default() }
        } else {
            Values {
                resident_pages: self.resident_pages(entry, stat),
                io: self.io(entry, stat),
                users,
                descriptors: self.descriptors(entry, stat),
                descriptor_limit: if due || limit.is_none() { self.limits(entry, stat) } else { limit },
            }
        };
    }

    fn resident_pages(&mut self, entry: &mut Entry, stat: &Stat) -> Option<u64> {
        // A zombie has no memory any more, and its statm says 0.
        if !self.wanted(entry, Needs::MEMORY, Field::Statm) || stat.zombie() {
            return None;
        }
        let keep = self.keep_others(entry);
        let kept = &mut entry.kept.statm;
        let read = read(self.proc, self.budget, self.buffer, (stat.pid, "statm"), kept, keep);
        let parsed = read.and_then(|bytes| Ok(parse::statm(bytes)?));
        self.or_count(entry, stat, Field::Statm, parsed).map(|statm| statm.resident_pages)
    }

    fn io(&mut self, entry: &mut Entry, stat: &Stat) -> Option<Io> {
        if !self.wanted(entry, Needs::IO, Field::Io) {
            return None;
        }
        let keep = self.keep_others(entry);
        let kept = &mut entry.kept.io;
        let read = read(self.proc, self.budget, self.buffer, (stat.pid, "io"), kept, keep);
        let parsed = read.and_then(|bytes| Ok(parse::io(bytes)?));
        self.or_count(entry, stat, Field::Io, parsed)
    }

    /// The users, and the context switches of the first thread if they are wanted.
    fn status(
        &mut self,
        entry: &mut Entry,
        stat: &Stat,
        switches: bool,
    ) -> (Option<Users>, Option<Switches>) {
        let users = self.needs.contain(Needs::USERS) && !stat.kernel_thread();
        if !users && !switches || entry.denied.has(Field::Status) {
            return (None, None);
        }
        let keep = self.keep_others(entry);
        let kept = &mut entry.kept.status;
        let read = read(self.proc, self.budget, self.buffer, (stat.pid, "status"), kept, keep);
        let parsed = read.map(|bytes| {
            (
                users.then(|| parse::status(bytes)).transpose(),
                switches.then(|| parse::switches(bytes)).transpose(),
            )
        });
        let Some((users, switches)) = self.or_count(entry, stat, Field::Status, parsed) else {
            return (None, None);
        };
        let users = self.or_count(entry, stat, Field::Status, users.map_err(ReadError::from));
        let switches = self.or_count(entry, stat, Field::Status, switches.map_err(ReadError::from));
        (users.flatten(), switches.flatten())
    }

    /// The times of the first thread of a process that has no other, if it was on a CPU since they were last read.
    fn first_thread(&mut self, entry: &mut Entry, stat: &Stat) -> Option<Schedstat> {
        let wanted = self.wanted(entry, Needs::THREADS, Field::Schedstat);
        if !wanted || stat.threads != 1 || stat.zombie() || stat.kernel_thread() {
            return None;
        }
        let keep = self.keep_others(entry);
        let kept = &mut entry.kept.schedstat;
        let read = read(self.proc, self.budget, self.buffer, (stat.pid, "schedstat"), kept, keep);
        let schedstat = match read.and_then(|bytes| Ok(parse::schedstat(bytes)?)) {
            // A kernel without CONFIG_SCHED_INFO; if the process has ended, the next file says so.
            Err(ReadError::System(Errno::NOENT)) => Some(Schedstat::default()),
            read => self.or_count(entry, stat, Field::Schedstat, read),
        }?;
        if entry.threads.rests(stat.pid, schedstat, self.now) { None } else { Some(schedstat) }
    }

    /// What is not read of every process in every scan.
    fn take_turns(&mut self, entry: &mut Entry, before: &Stat) {
        let place = self.into.processes.len();
        if self.needs.contain(Needs::SMAPS) {
            let resident = self.resident(entry);
            self.smaps.look(entry, before, resident, place, self.now);
        }
        let several = entry.stat.threads > 1 && !entry.stat.kernel_thread() && !entry.stat.zombie();
        if self.needs.contain(Needs::THREADS) && entry.threads.wanted && several {
            self.threads.queue(entry, place);
        }
    }

    /// Sends for the memory of those whose turn it is.
    pub fn send_for_smaps(&mut self, entries: &mut Entries) {
        self.smaps.send(entries, self.readers, self.into, self.step);
    }

    fn resident(&self, entry: &Entry) -> Option<u64> {
        entry.values.resident_pages.map(|pages| pages.saturating_mul(self.page_size))
    }

    fn descriptors(&mut self, entry: &mut Entry, stat: &Stat) -> Option<u32> {
        // A zombie has closed them all.
        if !self.wanted(entry, Needs::DESCRIPTORS, Field::Descriptors) || stat.zombie() {
            return None;
        }
        let count = self.proc.count_descriptors(stat.pid, self.listing).map_err(ReadError::from);
        self.or_count(entry, stat, Field::Descriptors, count)
    }

    fn limits(&mut self, entry: &mut Entry, stat: &Stat) -> Option<u64> {
        if !self.wanted(entry, Needs::DESCRIPTORS, Field::Limits) || stat.zombie() {
            return None;
        }
        let read = read(self.proc, self.budget, self.buffer, (stat.pid, "limits"), &mut None, false);
        let parsed = read.and_then(|bytes| Ok(parse::limits(bytes)?));
        self.or_count(entry, stat, Field::Limits, parsed)
    }

    fn wanted(&self, entry: &Entry, need: Needs, field: Field) -> bool {
        self.needs.contain(need) && !entry.denied.has(field)
    }

    fn keep_others(&self, entry: &Entry) -> bool {
        entry.seen_before && self.budget.admits(entry)
    }

    /// Counts what could not be read, and remembers what is refused. Of a zombie nothing else is expected.
    fn or_count<T>(
        &mut self,
        entry: &mut Entry,
        stat: &Stat,
        field: Field,
        read: Result<T, ReadError>,
    ) -> Option<T> {
        let error = match read {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if error.out_of_descriptors() {
            self.exhausted = true;
            entry.covered = Needs::NOTHING;
        }
        if error.reason() == Reason::Denied {
            entry.denied.add(field);
        }
        if !stat.zombie() {
            self.into.errors.count(field, error.reason());
        }
        None
    }

    fn reading(&self, entry: &Entry) -> Reading {
        let Entry { stat, values, .. } = entry;
        let ns = |ticks: u64| Ticks(ticks).to_ns(self.ticks_per_second);
        let mut usage = Usage::default();
        let mut threads_read = None;
        if self.needs.contain(Needs::THREADS) {
            threads_read = self.threads.tell(entry, &mut usage);
        }
        let has_memory = !stat.kernel_thread() && !stat.zombie();
        Reading {
            id: entry.id(),
            parent: Pid(stat.parent),
            state: State::from_letter(stat.state),
            kernel_thread: stat.kernel_thread(),
            usage: Usage {
                runtime: ns(stat.user_ticks.saturating_add(stat.system_ticks)),
                user: Some(ns(stat.user_ticks)),
                system: Some(ns(stat.system_ticks)),
                minor_faults: Some(stat.minor_faults),
                major_faults: Some(stat.major_faults),
                io: values.io,
                ..usage
            },
            threads: Some(stat.threads),
            nice: Some(stat.nice),
            virtual_memory: has_memory.then_some(stat.virtual_memory),
            resident_memory: self.resident(entry),
            smaps: if self.needs.contain(Needs::SMAPS) { entry.smaps.value } else { Smaps::Unread },
            threads_read,
            memory_limit: None,
            descriptors: values.descriptors,
            descriptor_limit: values.descriptor_limit,
            users: values.users,
        }
    }
}

/// The line of this process. In a captured tree it may be another one's.
fn of(pid: u32, line: &[u8]) -> Result<Stat, ReadError> {
    let stat = parse::stat(line)?;
    if stat.pid == pid { Ok(stat) } else { Err(ReadError::Malformed) }
}

/// Reads a file of a process whole: through the kept descriptor, else by opening it, and then keeps it open if it
/// may and there is room.
fn read<'a>(
    proc: &ProcDir,
    budget: &mut Budget,
    buffer: &'a mut [u8],
    (pid, file): (u32, &str),
    kept: &mut Option<Kept>,
    keep: bool,
) -> Result<&'a [u8], ReadError> {
    if let Some(open) = kept {
        match read_start(&*open, &mut *buffer).map(<[u8]>::len) {
            Ok(length) => return Ok(&buffer[..length]),
            // The process has ended. Its number may have been given to another one before it was listed.
            Err(Errno::SRCH) => *kept = None,
            Err(errno) => return Err(errno.into()),
        }
    }
    let open = proc.open_file(PidPath::new(pid, file).as_c_str())?;
    let length = read_start(&open, &mut *buffer)?.len();
    if keep {
        *kept = budget.keep(open);
    }
    Ok(&buffer[..length])
}
