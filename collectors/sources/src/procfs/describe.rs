//! What seldom changes about a process: when to send for it, and what to make of the answers.

use super::cgroup::MemoryCgroups;
use super::details::Found;
use super::entry::{Entries, Entry, MemoryLimit, Program};
use super::files::ReadError;
use super::passwd::KnownUsers;
use super::readers::{Answer, Ask, End, Job, Outcome};
use super::visit::{REFRESH, Visit};
use procagent_core::plugin::Needs;
use procagent_core::snapshot::{Details, Field, Reason};
use procagent_core::time::Ns;
use rustix::io::Errno;

/// So many processes that did no more than change their name are described anew in one scan; the others have their
/// turn in the next. A process can do it as often as it likes.
pub(super) const RENAMES_MAX: usize = 64;

/// Executable, arguments, control group.
const ALL: u8 = 3;

/// The longest wait between two attempts to read what could not be read; each is twice as long as the one before.
const RETRY_MAX: Ns = Ns::from_secs(3600);

impl Visit<'_> {
    /// Sends for the details of a process that is new, has called exec or changed its name; and now and then for
    /// what could not be read.
    pub fn describe(&mut self, entry: &mut Entry) {
        let id = entry.id();
        let details = &mut entry.details;
        if details.job.is_some() {
            return;
        }
        let program = Program::of(&entry.stat);
        let changed = match details.program {
            None => true,
            // What a thread of the kernel does is its name, which workers change all the time.
            Some(_) if entry.stat.kernel_thread() => return,
            Some(told) if program.renamed_from(&told) && self.renames_left == 0 => return,
            Some(told) => {
                self.renames_left -= usize::from(program.renamed_from(&told));
                told != program
            }
        };
        if changed {
            details.program = Some(program);
            details.owed = true;
            details.found = 0;
            details.retry_at = self.now;
            details.retry_wait = REFRESH;
        }
        let needed = self.needs.contain(Needs::DETAILS) || self.needs.contain(Needs::MEMORY);
        if !needed || entry.stat.kernel_thread() {
            self.tell_name(entry);
        } else if details.found < ALL && self.now >= details.retry_at {
            details.retry_at = self.now.plus(details.retry_wait);
            details.retry_wait = RETRY_MAX.min(Ns(details.retry_wait.0 * 2));
            details.job = self.readers.ask(Ask::Details(id));
            if details.job.is_none() {
                self.into.errors.count(Field::Cmdline, Reason::Failed);
                self.tell_name(entry);
            }
        }
    }

    /// Waits for what was sent for, and takes in what comes late.
    pub fn collect(&mut self, entries: &mut Entries, cgroups: &mut MemoryCgroups, users: &mut KnownUsers) {
        while let Some(Outcome { job: Job { number, ask }, end }) = self.readers.next() {
            let (Ask::Details(id) | Ask::Smaps(id)) = ask else {
                users.take(number, end, &mut self.into.errors);
                continue;
            };
            let Ok(place) = entries.binary_search_by_key(&id.pid.0, |entry| entry.pid()) else { continue };
            let entry = &mut entries[place];
            if matches!(ask, Ask::Smaps(_)) {
                if entry.smaps.take(number, end, self.into) {
                    self.into.processes[place].smaps = entry.smaps.value;
                }
            } else if entry.details.job == Some(number) {
                // Else the process has ended meanwhile, and another one has its number.
                self.described(entry, end, cgroups);
            }
        }
    }

    fn described(&mut self, entry: &mut Entry, end: End, cgroups: &mut MemoryCgroups) {
        match end {
            End::Read(Answer::Details(found)) => {
                entry.details.job = None;
                self.tell(entry, found, cgroups);
            }
            End::Stuck => {
                self.into.errors.count(Field::Cmdline, Reason::Timeout);
                self.tell_name(entry);
            }
            End::Refused | End::Read(_) => {
                entry.details.job = None;
                self.into.errors.count(Field::Cmdline, Reason::Failed);
                self.tell_name(entry);
            }
        }
    }

    /// Tells what was found, if it is more than was told before.
    fn tell(&mut self, entry: &mut Entry, found: Result<Found, ReadError>, cgroups: &mut MemoryCgroups) {
        let Found { exe, argv, cgroup } = match found {
            Ok(found) => found,
            Err(error) => {
                self.into.errors.count(Field::Cmdline, error.reason());
                return self.tell_name(entry);
            }
        };
        let mut count = |field, error: ReadError| {
            if !entry.stat.zombie() {
                self.into.errors.count(field, error.reason());
            }
        };
        let no_cgroups = matches!(cgroup, Err(ReadError::System(Errno::NOENT)));
        let exe = exe.map_err(|error| count(Field::Exe, error)).ok();
        let argv = argv.map_err(|error| count(Field::Cmdline, error)).ok();
        // The memory that held the arguments is gone.
        let argv = argv.filter(|_| !entry.stat.zombie());
        let cgroup = cgroup.map_err(|error| count(Field::Cgroup, error)).ok();
        let memory = cgroup.as_ref().and_then(|cgroup| cgroup.memory.clone());
        entry.memory = match memory.map(|(controller, path)| cgroups.get(controller, path, self.now)) {
            Some(Ok(group)) => MemoryLimit::Cgroup(group),
            Some(Err(error)) => {
                count(Field::Cgroup, error);
                MemoryLimit::Unknown
            }
            None if cgroup.is_some() || no_cgroups => MemoryLimit::Host,
            None => MemoryLimit::Unknown,
        };
        let found = u8::from(exe.is_some()) + u8::from(argv.is_some()) + u8::from(cgroup.is_some());
        if entry.details.owed || found > entry.details.found {
            let cgroup = cgroup.and_then(|cgroup| cgroup.path);
            self.into.details.push(Details { exe, argv, cgroup, ..name_of(entry) });
        }
        entry.details.owed = false;
        entry.details.found = found;
    }

    /// Tells the name alone, if nothing was told yet.
    fn tell_name(&mut self, entry: &mut Entry) {
        if std::mem::take(&mut entry.details.owed) {
            self.into.details.push(name_of(entry));
        }
    }
}

/// What can be said of a process without its files.
fn name_of(entry: &Entry) -> Details {
    let comm = entry.stat.comm.as_bytes().into();
    Details { id: entry.id(), comm, exe: None, argv: None, cgroup: None }
}
