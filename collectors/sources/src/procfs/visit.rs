//! One process in one scan: read `stat`, decide who it is and whether it moved, read what that asks for.

use super::budget::{Budget, Kept};
use super::entry::{Denied, Entries, Entry, Values};
use super::files::{PidPath, ProcDir, ReadError, read_start};
use super::parse::{self, Stat};
use super::readers::Readers;
use procagent_core::plugin::Needs;
use procagent_core::process::{Io, Pid, State, Usage};
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
            self.budget.give_back_half(others);
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
        entry.stat = stat;
        self.describe(&mut entry);
        entry.seen_before = true;
        self.into.processes.push(self.reading(&entry));
        if std::mem::take(&mut self.exhausted) {
            self.budget.give_back_half(others);
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
        entry.covered = self.needs;
        let limit = entry.values.descriptor_limit;
        entry.values = if stat.kernel_thread() {
            Values { users: Some(Users { real: 0, effective: 0 }), ..Values::default() }
        } else {
            Values {
                resident_pages: self.resident_pages(entry, stat),
                io: self.io(entry, stat),
                users: self.users(entry, stat),
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

    fn users(&mut self, entry: &mut Entry, stat: &Stat) -> Option<Users> {
        if !self.wanted(entry, Needs::USERS, Field::Status) {
            return None;
        }
        let keep = self.keep_others(entry);
        let kept = &mut entry.kept.status;
        let read = read(self.proc, self.budget, self.buffer, (stat.pid, "status"), kept, keep);
        let parsed = read.and_then(|bytes| Ok(parse::status(bytes)?));
        self.or_count(entry, stat, Field::Status, parsed)
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
                context_switches: None,
                delay: None,
            },
            threads: Some(stat.threads),
            nice: Some(stat.nice),
            virtual_memory: has_memory.then_some(stat.virtual_memory),
            resident_memory: values.resident_pages.map(|pages| pages.saturating_mul(self.page_size)),
            smaps: Smaps::Unread,
            threads_read: None,
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
