//! Proportional memory: whose turn it is, and how much reading time is left. The kernel walks all page tables of a
//! process for it and halts whoever wants to change them meanwhile, so it is read seldom, by the readers, within a
//! budget, and not at all of processes above a size.

use super::entry::{Entries, Entry};
use super::files::ReadError;
use super::parse::{SmapsRollup, Stat};
use super::readers::{Answer, Ask, End, Readers};
use procagent_core::snapshot::{Budgets, Field, Reason, Rollup, Smaps, Snapshot};
use procagent_core::time::Ns;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What a process that was not read before is taken to cost: 22 ms a GiB were seen, and a little for the rest.
const EXPECTED: Ns = Ns(30_000);
const EXPECTED_PER_MIB: u64 = 25_000;

/// A smaps_rollup, or that the time was used up.
pub(super) type Mapped = Option<(SmapsRollup, Ns)>;

/// Reading time, shared with the readers: what is left of it, in nanoseconds. The last read may overdraw it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    left: Arc<AtomicI64>,
    clock: fn() -> Ns,
}

impl Meter {
    pub fn new(clock: fn() -> Ns) -> Meter {
        Meter { left: Arc::new(AtomicI64::new(0)), clock }
    }

    /// Reads if time is left; `None` if not.
    pub fn measure(
        &self,
        read: impl FnOnce() -> Result<SmapsRollup, ReadError>,
    ) -> Result<Mapped, ReadError> {
        if self.left.load(Ordering::Relaxed) <= 0 {
            return Ok(None);
        }
        let begun = (self.clock)();
        let read = read();
        let took = (self.clock)().since(begun);
        self.left.fetch_sub(signed(took), Ordering::Relaxed);
        Ok(Some((read?, took)))
    }

    /// Gives more time, up to `most` in all.
    fn refill(&self, more: Ns, most: Ns) -> i64 {
        let left = self.left.load(Ordering::Relaxed);
        let now = left.saturating_add(signed(more)).min(signed(most));
        // Readers may have used some meanwhile.
        self.left.fetch_add(now - left, Ordering::Relaxed);
        now
    }
}

/// What is remembered of one process.
#[derive(Debug, Default)]
pub(super) struct SmapsState {
    /// As last read; stays until it is replaced.
    pub value: Smaps,
    /// The job that a reader has, also while it is in quarantine.
    job: Option<u64>,
    /// When it was last asked for.
    asked: Ns,
    /// When it is its turn; `None` before it was seen.
    due: Option<Ns>,
    /// When it is its turn after the one that it has now; `None` before it had one.
    next: Option<Ns>,
    /// What the last read took.
    took: Option<Ns>,
}

/// The turns of all processes.
#[derive(Debug)]
pub(super) struct Turns {
    pub budgets: Budgets,
    meter: Meter,
    /// Those whose turn it is in this scan: since when, and their places.
    due: Vec<(Ns, usize)>,
    begun: bool,
}

impl Turns {
    pub fn new(meter: Meter) -> Turns {
        Turns { budgets: Budgets::default(), meter, due: Vec::new(), begun: false }
    }

    /// Looks at one process of this scan, the one at `place`.
    pub fn look(&mut self, entry: &mut Entry, before: &Stat, resident: Option<u64>, place: usize, now: Ns) {
        let (stat, state) = (&entry.stat, &mut entry.smaps);
        if stat.kernel_thread() || stat.zombie() {
            state.value = Smaps::Unread;
            return;
        }
        // After an exec it is other memory.
        if (stat.start_code, stat.arg_start) != (before.start_code, before.arg_start) {
            *state = SmapsState::default();
        }
        match resident {
            Some(resident) if resident > self.budgets.smaps_max_resident => {
                state.value = Smaps::TooLarge;
                return;
            }
            // What may be large is not read.
            None => return,
            Some(_) if state.value == Smaps::TooLarge => state.value = Smaps::Unread,
            Some(_) => {}
        }
        let due = *state.due.get_or_insert(now);
        if state.job.is_none() && now >= due {
            self.due.push((due, place));
        }
    }

    /// Sends for as many as there is time for, those that have waited longest first.
    pub fn send(&mut self, entries: &mut Entries, readers: &mut Readers, into: &mut Snapshot, step: Ns) {
        let Budgets { smaps_every: every, smaps: budget, .. } = self.budgets;
        let now = into.begun.mono;
        // At first there is a whole budget, later a part with each scan.
        let share = u128::from(budget.0) * u128::from(step.0) / u128::from(every.0.max(1));
        let share = if self.begun { Ns(u64::try_from(share).unwrap_or(u64::MAX)) } else { budget };
        self.begun = true;
        let mut left = self.meter.refill(share, budget);
        self.due.sort_unstable();
        for (_, place) in self.due.drain(..) {
            if left <= 0 {
                break;
            }
            let Some(entry) = entries.get_mut(place) else { continue };
            let resident = into.processes.get(place).and_then(|reading| reading.resident_memory);
            let (id, pid) = (entry.id(), entry.pid());
            let state = &mut entry.smaps;
            left -= signed(state.expected(resident));
            // The second turns of a crowd are spread, so that it does not come due in one scan.
            let share = if state.next.is_none() { u64::from(pid % 16 + 1) } else { 16 };
            (state.asked, state.next) = (now, Some(now.plus(Ns(every.0 / 16 * share))));
            state.job = readers.ask(Ask::Smaps(id));
            if state.job.is_none() {
                state.due = state.next;
                into.errors.count(Field::Smaps, Reason::Failed);
            }
        }
        self.due.clear();
    }
}

impl SmapsState {
    fn expected(&self, resident: Option<u64>) -> Ns {
        let new = || EXPECTED.plus(Ns((resident.unwrap_or(0) >> 20).saturating_mul(EXPECTED_PER_MIB)));
        self.took.unwrap_or_else(new)
    }

    /// Takes in what became of a job. Whether there is a new value.
    pub fn take(&mut self, job: u64, end: End, into: &mut Snapshot) -> bool {
        if self.job != Some(job) {
            return false;
        }
        self.job = None;
        if let End::Read(Answer::Smaps(Ok(None))) = end {
            // The time was used up by others: it keeps its place in the queue.
            self.next = None;
            return false;
        }
        self.due = self.next;
        match end {
            End::Read(Answer::Smaps(Ok(Some((SmapsRollup { pss, uss, swap }, took))))) => {
                self.took = Some(took);
                if self.value == Smaps::TooLarge {
                    return false;
                }
                self.value = Smaps::Read(Rollup { pss, uss, swap, at: self.asked });
                return true;
            }
            End::Read(Answer::Smaps(Err(error))) => into.errors.count(Field::Smaps, error.reason()),
            End::Read(_) => {}
            End::Stuck => {
                self.job = Some(job);
                into.errors.count(Field::Smaps, Reason::Timeout);
            }
            End::Refused => into.errors.count(Field::Smaps, Reason::Failed),
        }
        false
    }
}

fn signed(time: Ns) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
