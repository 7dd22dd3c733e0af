//! The ended processes: a ring of bounded length.

use crate::event::ExitStatus;
use crate::group::Member;
use crate::process::{Process, ProcessId, Usage};
use crate::time::Timestamp;
use std::collections::{HashMap, VecDeque};

/// Of the arguments of ended processes, this many bytes are kept.
const ARGV_MAX: usize = 256;

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was known of it.
    pub process: Process,
    /// Its group at the end, folded or not; [`crate::plugin::Tick::exited`] says where it counts.
    pub member: Member,
    /// When its end was noticed.
    pub at: Timestamp,
    /// How it ended; scans alone cannot tell.
    pub status: Option<ExitStatus>,
    /// What it had used when last seen.
    pub usage: Usage,
    /// Its program changed after its group was last chosen.
    pub(super) unassigned: bool,
}

/// Oldest first: those remembered, those the last scan reports, those that events have ended since. However few are
/// to be remembered, each stays until it was reported; there are no more of these than processes the last scan
/// saw and births that events told of since.
#[derive(Debug)]
pub(super) struct EndedRing {
    by_id: HashMap<ProcessId, Ended>,
    /// May hold the id of a process that was taken back by [`EndedRing::take`].
    order: VecDeque<ProcessId>,
    /// How many at the end of `order` have not been dropped from the report.
    fresh: usize,
    /// How many at the begin of those the last scan reports.
    reported: usize,
    remember: usize,
}

impl EndedRing {
    pub(super) fn new(remember: usize) -> EndedRing {
        EndedRing { by_id: HashMap::new(), order: VecDeque::new(), fresh: 0, reported: 0, remember }
    }

    /// Changes how many are remembered; those too many go with the next scan.
    pub(super) fn set_remember(&mut self, remember: usize) {
        self.remember = remember;
    }

    /// Forgets what the last scan reported, but for those to be remembered.
    pub(super) fn begin_scan(&mut self) {
        self.fresh -= self.reported;
        self.reported = 0;
        while self.order.len() > self.remember.max(self.fresh) {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// All that has ended since [`EndedRing::begin_scan`] of the scan before is reported now.
    pub(super) fn end_scan(&mut self) {
        self.reported = self.fresh;
    }

    pub(super) fn push(&mut self, mut ended: Ended) {
        if let Some(argv) = &mut ended.process.argv {
            argv.shorten(ARGV_MAX);
        }
        self.order.push_back(ended.process.id);
        self.fresh += 1;
        self.by_id.insert(ended.process.id, ended);
    }

    /// Takes a process back that had only been missed.
    pub(super) fn take(&mut self, id: ProcessId) -> Option<Ended> {
        self.by_id.remove(&id)
    }

    pub(super) fn get(&self, id: ProcessId) -> Option<&Ended> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ProcessId) -> Option<&mut Ended> {
        self.by_id.get_mut(&id)
    }

    /// Those that the last scan reports.
    pub(super) fn reported(&self) -> impl Iterator<Item = &Ended> {
        let first = self.order.len() - self.fresh;
        self.order.range(first..first + self.reported).filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn all_mut(&mut self, each: impl FnMut(&mut Ended)) {
        self.by_id.values_mut().for_each(each);
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}
