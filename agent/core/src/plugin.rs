//! What a newcomer implements: a [`Collector`] turns a tick into numbers, a [`Rule`] into findings.

use crate::Error;
use crate::alert::Findings;
use crate::event::Event;
use crate::group::{GroupId, Groups};
use crate::metric::Desc;
use crate::registry::Samples;
use crate::snapshot::Snapshot;
use crate::table::{Ended, Seen, Table};
use crate::time::{Ns, Timestamp};
use std::ops::BitOr;

/// What has to be read for someone. Sources read the union of what plugins, groups and outputs need, no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u32);

impl Needs {
    /// Identity, state and CPU time: always there. Its modes, faults and threads where the source knows them.
    pub const NOTHING: Needs = Needs(0);
    /// Bytes and operations of storage.
    pub const IO: Needs = Needs(1);
    /// Resident memory and the limits on it.
    pub const MEMORY: Needs = Needs(1 << 1);
    /// Open descriptors and their limit.
    pub const DESCRIPTORS: Needs = Needs(1 << 2);
    /// Users.
    pub const USERS: Needs = Needs(1 << 3);
    /// The host's own numbers: memory, and those of [`Needs::HOST_CPU`].
    pub const HOST: Needs = Needs(1 << 4);
    /// The executable, arguments and control group.
    pub const DETAILS: Needs = Needs(1 << 5);
    /// Proportional, unique and swapped memory.
    pub const SMAPS: Needs = Needs(1 << 6);
    /// Context switches and delays of all threads.
    pub const THREADS: Needs = Needs(1 << 7);

    // What sources differ in. Nobody has to ask for it: it comes with the above where it is offered.
    /// How CPU time is shared by user and system mode.
    pub const CPU_MODES: Needs = Needs(1 << 24);
    /// Page faults.
    pub const FAULTS: Needs = Needs(1 << 25);
    /// Number of threads.
    pub const THREAD_COUNT: Needs = Needs(1 << 26);
    /// Operations of storage; comes with [`Needs::IO`].
    pub const OPERATIONS: Needs = Needs(1 << 27);
    /// The host's own CPU time and forks; come with [`Needs::HOST`].
    pub const HOST_CPU: Needs = Needs(1 << 28);
    /// All that only some sources offer.
    pub const WHOLE: Needs = Needs(0b1_1111 << 24);

    /// Whether all of `other` is among these.
    pub const fn contain(self, other: Needs) -> bool {
        self.0 & other.0 == other.0
    }

    /// Those that are among `others` too.
    pub const fn among(self, others: Needs) -> Needs {
        Needs(self.0 & others.0)
    }
}

impl BitOr for Needs {
    type Output = Needs;
    fn bitor(self, other: Needs) -> Needs {
        Needs(self.0 | other.0)
    }
}

/// Where what is looked at comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This host, now.
    Live,
    /// An imported capture, by its number in the journal.
    Capture(u64),
    /// The journal, looked at once more.
    Replay,
}

/// The host as collectors and rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// All processes.
    pub table: &'a Table,
    /// Their groups.
    pub groups: &'a Groups,
    /// Where this comes from.
    pub origin: Origin,
}

/// A process whose end a scan has noticed.
#[derive(Clone, Copy, Debug)]
pub struct Exited<'a> {
    /// What is known of it.
    pub ended: &'a Ended,
    /// Where it counts.
    pub group: GroupId,
}

/// One scan, merged: the same immutable view for everyone.
#[derive(Clone, Copy, Debug)]
pub struct Tick<'a> {
    /// Processes and groups.
    pub host: Host<'a>,
    /// When the scan began.
    pub now: Timestamp,
    /// When the one before it began; `None` on the first. Rates divide by the time between.
    pub previous: Option<Timestamp>,
    /// What the scan read.
    pub current: &'a Snapshot,
}

impl<'a> Tick<'a> {
    /// Every process of this scan, with its delta and its group.
    pub fn seen(&self) -> impl Iterator<Item = Seen<'a>> {
        let groups = self.host.groups;
        self.host.table.seen(self.current).map(|seen| Seen { group: groups.resolve(seen.group), ..seen })
    }

    /// Those born since the last scan.
    pub fn started(&self) -> impl Iterator<Item = Seen<'a>> {
        self.seen().filter(|seen| seen.started)
    }

    /// Those whose end this scan noticed.
    pub fn exited(&self) -> impl Iterator<Item = Exited<'a>> {
        let groups = self.host.groups;
        let ended = self.host.table.ended_now();
        ended.map(|ended| Exited { ended, group: groups.resolve(ended.member.group) })
    }

    /// The time between this scan and the one before, as measured: a late scan has a long one.
    pub fn elapsed(&self) -> Option<Ns> {
        self.previous.map(|previous| self.now.mono.since(previous.mono)).filter(|elapsed| *elapsed > Ns(0))
    }

    /// A delta of this tick per second of [`Tick::elapsed`]; `None` on the first tick, never 0 for unknown.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_second(&self, delta: u64) -> Option<f64> {
        self.elapsed().map(|elapsed| delta as f64 / elapsed.as_secs_f64())
    }

    /// The groups that have series.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.host.groups.ids()
    }
}

/// Turns a tick into numbers. Runs on the judge's thread: no I/O, no waiting. What must be waited for belongs to a
/// source.
pub trait Collector: Send {
    /// What it wants read.
    fn needs(&self) -> Needs;

    /// Writes its numbers. On an error, a panic or a run longer than the interval its series end and
    /// `procagent.collector.up` is 0; all others go on.
    fn collect(&mut self, tick: &Tick<'_>, out: &mut Samples) -> Result<(), Error>;
}

/// What makes a collector known: its file exports one as `PLUGIN`, the list in `procagent-collectors` names it.
#[derive(Clone, Copy, Debug)]
pub struct CollectorPlugin<S: 'static> {
    /// The name in configuration and labels: that of its file.
    pub name: &'static str,
    /// All it can publish, for `procagent metrics`, the README and the checks.
    pub metrics: &'static [&'static Desc],
    /// Builds it; `None` when the configuration switches it off.
    pub build: fn(&S) -> Option<Box<dyn Collector>>,
}

/// A predicate over what happens. Findings are remembered, held and resolved by [`crate::alert::Alerts`].
pub trait Rule: Send {
    /// What it wants read.
    fn needs(&self) -> Needs;

    /// Decides what an event decides, when it arrives.
    fn on_event(&mut self, _event: &Event, _host: &Host<'_>, _findings: &mut Findings) -> Result<(), Error> {
        Ok(())
    }

    /// Decides what a scan decides.
    fn check(&mut self, _tick: &Tick<'_>, _findings: &mut Findings) -> Result<(), Error> {
        Ok(())
    }
}

/// What makes a rule known: its file exports one as `PLUGIN`, the list in `procagent-rules` names it.
#[derive(Clone, Copy, Debug)]
pub struct RulePlugin<S: 'static> {
    /// The name in configuration, labels and the journal: that of its file.
    pub name: &'static str,
    /// Builds it; `None` when the configuration switches it off.
    pub build: fn(&S) -> Option<Box<dyn Rule>>,
}
