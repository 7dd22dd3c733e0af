//! Builders for tests: made-up processes, snapshots and ticks.

use crate::group::{Groups, Settings};
use crate::plugin::{Collector, Host, Origin, Tick};
use crate::process::{CommandLine, Pid, Process, ProcessId, State, Usage};
use crate::registry::{Families, Registry, Samples};
use crate::snapshot::{Details, Reading, Smaps, Snapshot};
use crate::table::Table;
use crate::time::{Ns, Ticks, Timestamp};
use std::sync::Arc;

/// A process that is called `name` and nothing more.
pub fn process(pid: u32, name: &str) -> Process {
    Process {
        id: ProcessId { pid: Pid(pid), start: Ticks(0) },
        parent: None,
        parent_pid: Pid(1),
        name: name.into(),
        comm: name.into(),
        exe: None,
        argv: None,
        user: None,
        cgroup: None,
        kernel_thread: false,
    }
}

/// The numbers of a sleeping process that has used nothing.
pub fn reading(pid: u32, start: u64) -> Reading {
    Reading {
        id: ProcessId { pid: Pid(pid), start: Ticks(start) },
        parent: Pid(1),
        state: State::Sleeping,
        kernel_thread: false,
        usage: Usage { io: None, context_switches: None, delay: None, ..Usage::NEWBORN },
        threads: Some(1),
        nice: Some(0),
        virtual_memory: None,
        resident_memory: None,
        smaps: Smaps::Unread,
        threads_read: None,
        memory_limit: None,
        descriptors: None,
        descriptor_limit: None,
        users: None,
    }
}

/// The same with this much CPU time, all of it in user mode.
pub fn used(mut reading: Reading, cpu: Ns) -> Reading {
    reading.usage.runtime = cpu;
    reading.usage.user = Some(cpu);
    reading
}

/// `second` seconds after a boot at 2024-01-01T00:00:00Z.
pub fn at(second: u64) -> Timestamp {
    let passed = Ns::from_secs(second);
    Timestamp { mono: passed, boot: passed, wall: Ns::from_secs(1_704_067_200).plus(passed) }
}

/// A scan at this second; each process is its numbers and its program.
pub fn snapshot(second: u64, processes: impl IntoIterator<Item = (Reading, &'static str)>) -> Snapshot {
    let mut snapshot = Snapshot { begun: at(second), ended: at(second), ..Snapshot::default() };
    for (reading, program) in processes {
        snapshot.details.push(details(reading.id, program));
        snapshot.processes.push(reading);
    }
    snapshot
}

/// What a source says of a program in /bin.
pub fn details(id: ProcessId, program: &str) -> Details {
    Details {
        id,
        comm: program.as_bytes()[..program.len().min(15)].into(),
        exe: Some(Arc::from(format!("/bin/{program}"))),
        argv: Some(CommandLine::new(format!("{program}\0").as_bytes())),
        cgroup: None,
    }
}

/// Everything between a snapshot and frozen families, around one collector.
pub struct Bench {
    /// The table.
    pub table: Table,
    /// The groups.
    pub groups: Groups,
    /// The registry.
    pub registry: Registry,
    samples: Samples,
    previous: Option<Timestamp>,
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::new(Groups::new(Settings::bounded(500, Ns::from_secs(3600))), Registry::new(50_000))
    }
}

impl Bench {
    /// With room for these groups and series.
    pub fn new(groups: Groups, registry: Registry) -> Bench {
        Bench { table: Table::new(1000, 100), groups, registry, samples: Samples::default(), previous: None }
    }

    /// Runs one tick. Panics where the collector fails.
    #[allow(clippy::expect_used)]
    pub fn tick(&mut self, collector: &mut dyn Collector, snapshot: &Snapshot) -> Families {
        let now = snapshot.begun;
        self.table.merge(snapshot);
        self.table.assign(&mut self.groups, now.mono);
        for group in self.groups.settle(&self.table, snapshot) {
            self.registry.end_group(group);
        }
        let host = Host { table: &self.table, groups: &self.groups, origin: Origin::Live };
        let tick = Tick { host, now, previous: self.previous, current: snapshot };
        self.samples.begin("test", self.previous.unwrap_or(now));
        collector.collect(&tick, &mut self.samples).expect("the collector works");
        self.registry.commit(&mut self.samples);
        self.previous = Some(now);
        self.registry.freeze(&self.groups, now)
    }
}

/// The value of the one series of `metric` whose labels are exactly `labels` (the group as label `group`), in
/// the unit's grain.
pub fn value(families: &Families, metric: &str, labels: &[(&str, &str)]) -> Option<u64> {
    let family = families.families.iter().find(|family| family.desc.name == metric)?;
    let mut wanted: Vec<_> = labels.to_vec();
    wanted.sort_unstable();
    let mut found = family.points.iter().filter(|point| {
        let mut have: Vec<_> = point.labels(family.desc).collect();
        have.sort_unstable();
        have == wanted
    });
    found.next().map(|point| point.value)
}
