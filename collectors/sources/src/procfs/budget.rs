//! How many descriptors stay open, and whose. A kept descriptor halves the price of a read and costs 5.4 KiB of
//! kernel memory, so they are bounded: `stat` of every process first, for it is read in every scan; then the other
//! files of those that used most CPU of late, for theirs are read when they move.

use super::entry::{Entries, Entry, KeptFiles};
use procagent_core::time::Ns;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Resource, getrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors that the rest of the agent can count on.
const RESERVE: usize = 256;

/// Files besides `stat`: statm, status, io, schedstat. The last is not everybody's.
const OTHERS: usize = 3;

/// After descriptors had run out, the bound grows back by a quarter each time this has passed; by the next turn the
/// wait is twice as long if they have run out again.
const GROW_WAIT: Ns = Ns::from_secs(300);
const GROW_WAIT_MAX: Ns = Ns::from_secs(3600);

/// The bound and what is open of it.
#[derive(Debug)]
pub(super) struct Budget {
    bound: usize,
    /// What `bound` was at first, and grows back to.
    wanted: usize,
    /// When it grows by a step, and how long until the next one.
    grow_at: Ns,
    grow_wait: Ns,
    open: Arc<AtomicUsize>,
    /// Processes less busy than this keep only `stat`.
    threshold: u32,
    /// Whether somebody found no room since the last [`Budget::settle`].
    refused: bool,
    /// Memory for [`Budget::settle`].
    scores: Vec<u32>,
}

/// A descriptor within the budget; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Kept {
    fd: OwnedFd,
    open: Arc<AtomicUsize>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Budget {
    /// At most `wanted`, and within the soft limit of the agent's own process.
    pub fn new(wanted: usize) -> Budget {
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let bound = wanted.min(limit.unwrap_or(usize::MAX).saturating_sub(RESERVE));
        Budget {
            bound,
            wanted: bound,
            grow_at: Ns(0),
            grow_wait: GROW_WAIT,
            open: Arc::default(),
            threshold: 0,
            refused: false,
            scores: Vec::new(),
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many may be open.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Keeps a descriptor where there is room, else closes it.
    pub fn keep(&mut self, fd: OwnedFd) -> Option<Kept> {
        if self.open() >= self.bound {
            self.refused = true;
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Kept { fd, open: Arc::clone(&self.open) })
    }

    /// Whether a process may keep more than `stat`.
    pub fn admits(&self, entry: &Entry) -> bool {
        entry.busy >= self.threshold
    }

    /// After a scan: where there was no room for all, makes it for `stat`, and then for the busiest.
    pub fn settle(&mut self, entries: &mut Entries) {
        if !std::mem::take(&mut self.refused) && self.threshold == 0 {
            return;
        }
        let first = entries.iter().filter(|entry| entry.seen_before).count();
        let room = self.bound.saturating_sub(first) / OTHERS;
        self.threshold = self.busiest(room, entries);
        for entry in entries.iter_mut().filter(|entry| entry.busy < self.threshold) {
            entry.kept.close_others();
        }
    }

    /// The least score that at most `room` processes reach; 0 where all that move do.
    fn busiest(&mut self, room: usize, entries: &Entries) -> u32 {
        if room == 0 {
            return u32::MAX;
        }
        self.scores.clear();
        self.scores.extend(entries.iter().map(|entry| entry.busy).filter(|busy| *busy > 0));
        if self.scores.len() <= room {
            // Those that rest yield; nobody else has to, and when no one rests nobody does.
            return u32::from(self.scores.len() < entries.len() && self.open() >= self.bound);
        }
        let (_, first_outside, _) = self.scores.select_nth_unstable_by(room, |a, b| b.cmp(a));
        first_outside.saturating_add(1)
    }

    /// After a scan in which descriptors had run out before: allows a few more now and then, as they may be free
    /// again.
    pub fn grow(&mut self, now: Ns) {
        if self.bound < self.wanted && now >= self.grow_at {
            self.grow_at = now.plus(self.grow_wait);
            self.bound = self.wanted.min(self.bound + self.bound / 4 + 1);
            if self.bound == self.wanted {
                self.grow_wait = GROW_WAIT;
                tracing::info!("{} descriptors of /proc may be kept open again", self.bound);
            }
        }
    }

    /// No descriptor was to be had for this process or this host: half of the kept ones are given back, and for a
    /// while no more are kept.
    pub fn give_back_half(&mut self, entries: &mut Entries, now: Ns) {
        if self.bound == self.wanted {
            tracing::warn!(
                "out of file descriptors: giving back half of the {} kept open for /proc; raise RLIMIT_NOFILE \
                 (LimitNOFILE= of the unit) or lower host.descriptors",
                self.open()
            );
        } else {
            // It grew back too early.
            self.grow_wait = GROW_WAIT_MAX.min(Ns(self.grow_wait.0 * 2));
        }
        self.grow_at = now.plus(self.grow_wait);
        self.bound = self.open() / 2;
        for entry in entries.iter_mut() {
            if self.open() <= self.bound {
                return;
            }
            entry.kept.close_others();
        }
        for entry in entries.iter_mut().rev() {
            if self.open() <= self.bound {
                return;
            }
            entry.kept = KeptFiles::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::parse;
    use rustix::fs::{CWD, Mode, OFlags, openat};

    #[allow(clippy::disallowed_methods, reason = "no file of a process")]
    fn descriptor() -> OwnedFd {
        openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// Processes seen twice, with these scores, that have tried to keep `stat` and two more files.
    fn crowd(budget: &mut Budget, scores: &[u32]) -> Entries {
        let line = b"1 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0 0 0 \n";
        let mut entries: Entries =
            scores.iter().map(|_| Box::new(Entry::new(parse::stat(line).unwrap()))).collect();
        for (entry, score) in entries.iter_mut().zip(scores) {
            (entry.seen_before, entry.busy) = (true, *score);
            entry.kept.io = budget.keep(descriptor());
            entry.kept.status = budget.keep(descriptor());
            entry.kept.stat = budget.keep(descriptor());
        }
        entries
    }

    #[test]
    fn with_room_for_all_everything_stays_open() {
        let mut budget = Budget::new(100);
        let mut entries = crowd(&mut budget, &[0, 5, 0]);
        budget.settle(&mut entries);
        assert_eq!(budget.open(), 9);
        drop(entries);
        assert_eq!(budget.open(), 0);
    }

    #[test]
    fn stat_comes_first_then_the_busiest() {
        let mut budget = Budget::new(10);
        let mut entries = crowd(&mut budget, &[1, 9, 3, 0, 7]);
        assert_eq!(budget.open(), 10);
        budget.settle(&mut entries);
        // Five places for `stat`, room for the three others of one process: the busiest.
        let others: Vec<bool> = entries.iter().map(|entry| entry.kept.io.is_some()).collect();
        assert_eq!(others, [false, true, false, false, false]);
        assert!(budget.open() < 10, "there is room for `stat` of the others in the next scan");
        assert!(budget.admits(&entries[1]) && !budget.admits(&entries[4]));
    }

    #[test]
    fn where_there_is_no_room_only_stat_is_kept() {
        let mut budget = Budget::new(4);
        let mut entries = crowd(&mut budget, &[1, 9, 3, 0, 7]);
        budget.settle(&mut entries);
        assert!(entries.iter().all(|entry| entry.kept.io.is_none() && entry.kept.status.is_none()));
    }

    #[test]
    fn half_is_given_back() {
        let mut budget = Budget::new(100);
        let mut entries = crowd(&mut budget, &[1, 1, 1, 1]);
        budget.give_back_half(&mut entries, Ns(0));
        assert_eq!((budget.open() <= 6, budget.bound()), (true, 6));
        assert!(entries.iter().all(|entry| entry.kept.stat.is_some()), "`stat` last");
        assert!(budget.open() < 6 || budget.keep(descriptor()).is_none());
    }

    #[test]
    fn the_bound_grows_back_slowly_and_slower_where_that_was_too_early() {
        let mut budget = Budget::new(100);
        let mut entries = crowd(&mut budget, &[1, 1, 1, 1]);
        let after = |budget: &mut Budget, from: u64, to: u64| {
            for second in (from..to).step_by(5) {
                budget.grow(Ns::from_secs(second));
            }
            budget.bound()
        };
        budget.give_back_half(&mut entries, Ns(0));
        assert_eq!(after(&mut budget, 0, 300), 6);
        assert_eq!(after(&mut budget, 300, 600), 8);
        budget.give_back_half(&mut entries, Ns::from_secs(600));
        let low = budget.bound();
        assert_eq!(after(&mut budget, 600, 1200), low);
        assert_eq!(after(&mut budget, 1200, 1800), low + low / 4 + 1);
        assert_eq!(after(&mut budget, 1800, 20_000), 100);
    }
}
