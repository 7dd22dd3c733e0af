//! What the processes of a group use. OpenTelemetry's `process.*` names, summed over the group's members; what has
//! no sum is said of the worst or the oldest member.

mod settings;
mod turns;

pub use settings::{Settings, Smaps, Threads};

use procagent_core::Error;
use procagent_core::group::GroupId;
use procagent_core::metric::{Counter, Desc, Gauge, Unit};
use procagent_core::plugin::{Collector, CollectorPlugin, Needs, Tick};
use procagent_core::process::{State, Usage};
use procagent_core::registry::Samples;
use procagent_core::snapshot::Reading;
use procagent_core::table::Seen;
use procagent_core::time::Ns;
use turns::Turns;

static CPU_TIME: Counter<1> = Counter::per_group(
    "process.cpu.time",
    Unit::Seconds,
    &["cpu.mode"],
    "CPU time used by the members, those that have ended meanwhile included; without a mode where only the sum is known",
);
static MEMORY_USAGE: Gauge<0> = Gauge::per_group(
    "process.memory.usage",
    Unit::Bytes,
    &[],
    "Resident memory of the members; pages that they share count once for each",
);
static MEMORY_VIRTUAL: Gauge<0> =
    Gauge::per_group("process.memory.virtual", Unit::Bytes, &[], "Address space of the members");
static MEMORY_UTILIZATION: Gauge<0> = Gauge::per_group(
    "process.memory.utilization",
    Unit::Ratio,
    &[],
    "Resident memory of the worst member as a share of its control group's limit, else of the host's memory",
);
static DISK_IO: Counter<1> = Counter::per_group(
    "process.disk.io",
    Unit::Bytes,
    &["disk.io.direction"],
    "Bytes that the members fetched from storage and sent to it (read_bytes and write_bytes of proc(5))",
);
static DISK_OPERATIONS: Counter<1> = Counter::per_group(
    "process.disk.operations",
    Unit::Count("operation"),
    &["disk.io.direction"],
    "Read and write system calls of the members (syscr and syscw of proc(5)), whatever they reach",
);
static THREADS: Gauge<0> =
    Gauge::per_group("process.thread.count", Unit::Count("thread"), &[], "Threads of the members");
static DESCRIPTORS: Gauge<0> = Gauge::per_group(
    "process.unix.file_descriptor.count",
    Unit::Count("file_descriptor"),
    &[],
    "Open file descriptors of the members",
);
static DESCRIPTOR_UTILIZATION: Gauge<0> = Gauge::per_group(
    "process.linux.file_descriptor.utilization",
    Unit::Ratio,
    &[],
    "Open file descriptors of the worst member as a share of its soft limit",
);
static FAULTS: Counter<1> = Counter::per_group(
    "process.paging.faults",
    Unit::Count("fault"),
    &["system.paging.fault.type"],
    "Page faults of the members; major ones waited for storage",
);
static UPTIME: Gauge<0> =
    Gauge::per_group("process.uptime", Unit::Seconds, &[], "Time since the oldest living member was started");
static COUNT: Gauge<1> = Gauge::per_group(
    "procagent.process.count",
    Unit::Count("process"),
    &["process.state"],
    "Members by state; blocked is uninterruptible sleep",
);
static STARTED: Counter<0> = Counter::per_group(
    "procagent.process.started",
    Unit::Count("process"),
    &[],
    "Processes that began and were seen; one that lives between two scans is missed",
);
static UNREADABLE: Gauge<1> = Gauge::per_group(
    "procagent.process.unreadable",
    Unit::Count("process"),
    &["field"],
    "Members that the sums of this group leave out, because the field could not be read; absent where none",
);

static GROUP_INFO: Gauge<1> = Gauge::per_group(
    "procagent.group.info",
    Unit::None,
    &["version"],
    "Always 1; the version that the configuration gives to the group",
);
static GROUP_RESTARTS: Counter<0> = Counter::per_group(
    "procagent.group.restarts",
    Unit::Count("restart"),
    &[],
    "How often an expected group came back with none of the processes that its rule had named before; their children do not count",
);
static GROUP_FAILED: Gauge<0> = Gauge::per_group(
    "procagent.group.failed",
    Unit::None,
    &[],
    "1 while an expected group has had no process that its rule names for longer than groups.health allows, else 0",
);

/// Listed in [`crate::ALL`].
pub const PLUGIN: CollectorPlugin<crate::Settings> = CollectorPlugin {
    name: "process",
    metrics: METRICS,
    build: |settings| Some(Box::new(settings.process.on()?.build())),
};

const METRICS: &[&Desc] = &{
    let [pss, uss, swap, memory_age, switches, delay, threads_age, unread, skipped] = turns::METRICS;
    [
        CPU_TIME.desc(),
        MEMORY_USAGE.desc(),
        MEMORY_VIRTUAL.desc(),
        MEMORY_UTILIZATION.desc(),
        DISK_IO.desc(),
        DISK_OPERATIONS.desc(),
        THREADS.desc(),
        DESCRIPTORS.desc(),
        DESCRIPTOR_UTILIZATION.desc(),
        FAULTS.desc(),
        UPTIME.desc(),
        COUNT.desc(),
        STARTED.desc(),
        UNREADABLE.desc(),
        GROUP_INFO.desc(),
        GROUP_RESTARTS.desc(),
        GROUP_FAILED.desc(),
        pss,
        uss,
        swap,
        memory_age,
        switches,
        delay,
        threads_age,
        unread,
        skipped,
    ]
};

impl Settings {
    fn build(&self) -> Process {
        Process { in_turns: self.needs(), totals: Vec::new(), known: Known::default() }
    }
}

struct Process {
    /// What is read in turns.
    in_turns: Needs,
    /// One entry a group, by its number; kept from tick to tick for its memory.
    totals: Vec<Total>,
    known: Known,
}

/// What the source has told of any process so far. A group without members has 0 of that, and nothing of the rest.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    cpu_modes: bool,
    faults: bool,
    operations: bool,
    threads: bool,
}

impl Known {
    fn add(&mut self, reading: &Reading) {
        let Usage { user, system, minor_faults, major_faults, io, .. } = &reading.usage;
        self.cpu_modes |= user.is_some() && system.is_some();
        self.faults |= minor_faults.is_some() && major_faults.is_some();
        self.operations |= io.is_some_and(|io| io.read_operations.is_some());
        self.threads |= reading.threads.is_some();
    }
}

/// The sum over a group's members in one tick.
#[derive(Clone, Debug, Default)]
struct Total {
    members: u64,
    started: u64,
    user: Ns,
    system: Ns,
    /// CPU time of which the mode is not known.
    unsplit: Ns,
    minor_faults: u64,
    major_faults: u64,
    /// Bytes read and written.
    io: Option<(u64, u64)>,
    read_operations: u64,
    write_operations: u64,
    io_unreadable: u64,
    resident: Sum,
    virtual_memory: Sum,
    memory_utilization: Option<u64>,
    threads: u64,
    descriptors: Sum,
    descriptor_utilization: Option<u64>,
    oldest: Ns,
    states: [u64; State::ALL.len()],
    turns: Turns,
}

/// A sum that knows whether anything went into it.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    value: Option<u64>,
    unreadable: u64,
}

impl Sum {
    fn add(&mut self, value: Option<u64>, expected: bool) {
        match value {
            Some(value) => self.value = Some(self.value.unwrap_or(0).saturating_add(value)),
            None => self.unreadable += u64::from(expected),
        }
    }
}

impl Collector for Process {
    fn needs(&self) -> Needs {
        Needs::IO | Needs::MEMORY | Needs::DESCRIPTORS | Needs::DETAILS | self.in_turns
    }

    fn collect(&mut self, tick: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
        self.totals.clear();
        self.totals.resize(tick.host.groups.capacity(), Total::default());
        for seen in tick.seen() {
            self.known.add(seen.reading);
            let age = tick.now.boot.since(tick.host.table.began(seen.process.id));
            if let Some(total) = self.totals.get_mut(seen.group.index()) {
                total.add(&seen, age, tick.now.mono);
            }
        }
        let groups = tick.host.groups;
        for group in tick.groups() {
            let total = &mut self.totals[group.index()];
            if let Some(version) = groups.version(group) {
                out.set(&GROUP_INFO, group, [version], 1);
            }
            if let Some(health) = groups.health(group) {
                out.add(&GROUP_RESTARTS, group, [], u64::from(health.restarted));
                out.set(&GROUP_FAILED, group, [], u64::from(health.failed));
                total.expect(self.in_turns);
            }
            total.publish(group, self.known, out);
            total.turns.publish(group, total.members, self.in_turns, out);
        }
        if self.in_turns.contain(Needs::SMAPS) {
            turns::publish_skipped(tick.seen(), out);
        }
        Ok(())
    }
}

impl Total {
    /// Of an expected group that nobody belongs to, every sum is known: it is 0.
    fn expect(&mut self, in_turns: Needs) {
        if self.members == 0 {
            self.turns.expect(in_turns);
            self.io.get_or_insert_default();
            for sum in [&mut self.resident, &mut self.virtual_memory, &mut self.descriptors] {
                sum.value = Some(0);
            }
        }
    }

    fn add(&mut self, seen: &Seen<'_>, age: Ns, now: Ns) {
        let (reading, delta) = (seen.reading, seen.delta);
        // Kernel threads have no memory, files or I/O of their own, and what has ended has let go of them.
        let expected = !reading.kernel_thread && reading.state != State::Defunct;
        self.members += 1;
        self.started += u64::from(seen.started);
        match delta.cpu() {
            Some((user, system)) => {
                self.user = self.user.plus(user);
                self.system = self.system.plus(system);
            }
            None => self.unsplit = self.unsplit.plus(delta.runtime),
        }
        self.minor_faults += delta.minor_faults.unwrap_or(0);
        self.major_faults += delta.major_faults.unwrap_or(0);
        match (reading.usage.io, delta.io) {
            (Some(_), delta) => {
                let (sum, delta) = (self.io.get_or_insert_default(), delta.unwrap_or_default());
                sum.0 += delta.read_bytes;
                sum.1 += delta.write_bytes;
                self.read_operations += delta.read_operations.unwrap_or(0);
                self.write_operations += delta.write_operations.unwrap_or(0);
            }
            (None, _) => self.io_unreadable += u64::from(expected),
        }
        self.resident.add(reading.resident_memory, expected);
        self.virtual_memory.add(reading.virtual_memory, false);
        let share = ratio(reading.resident_memory, reading.memory_limit);
        self.memory_utilization = self.memory_utilization.max(share);
        self.threads += u64::from(reading.threads.unwrap_or(0));
        self.descriptors.add(reading.descriptors.map(u64::from), expected);
        let share = ratio(reading.descriptors.map(u64::from), reading.descriptor_limit);
        self.descriptor_utilization = self.descriptor_utilization.max(share);
        self.oldest = self.oldest.max(age);
        self.states[reading.state.index()] += 1;
        self.turns.add(seen, expected, now);
    }

    fn publish(&self, group: GroupId, known: Known, out: &mut Samples) {
        if known.cpu_modes {
            out.add(&CPU_TIME, group, ["user"], self.user.0);
            out.add(&CPU_TIME, group, ["system"], self.system.0);
        }
        // Points either all have a mode or none has one (OpenTelemetry, semantic conventions of process.cpu.time).
        if !known.cpu_modes || self.unsplit > Ns(0) {
            out.add(&CPU_TIME, group, [""], self.unsplit.0);
        }
        if known.faults {
            out.add(&FAULTS, group, ["minor"], self.minor_faults);
            out.add(&FAULTS, group, ["major"], self.major_faults);
        }
        out.add(&STARTED, group, [], self.started);
        if let Some((read, written)) = self.io {
            out.add(&DISK_IO, group, ["read"], read);
            out.add(&DISK_IO, group, ["write"], written);
            if known.operations {
                out.add(&DISK_OPERATIONS, group, ["read"], self.read_operations);
                out.add(&DISK_OPERATIONS, group, ["write"], self.write_operations);
            }
        }
        for (state, count) in State::ALL.iter().zip(self.states) {
            out.set(&COUNT, group, [state.as_str()], count);
        }
        if known.threads {
            out.set(&THREADS, group, [], self.threads);
        }
        if self.members > 0 {
            out.set(&UPTIME, group, [], self.oldest.0);
        }
        for (gauge, value) in [
            (&MEMORY_USAGE, self.resident.value),
            (&MEMORY_VIRTUAL, self.virtual_memory.value),
            (&MEMORY_UTILIZATION, self.memory_utilization),
            (&DESCRIPTORS, self.descriptors.value),
            (&DESCRIPTOR_UTILIZATION, self.descriptor_utilization),
        ] {
            if let Some(value) = value {
                out.set(gauge, group, [], value);
            }
        }
        for (field, members) in [
            ("memory", self.resident.unreadable),
            ("io", self.io_unreadable),
            ("file_descriptors", self.descriptors.unreadable),
        ] {
            if members > 0 {
                out.set(&UNREADABLE, group, [field], members);
            }
        }
    }
}

/// `part` of `whole` in billionths; `None` where either is unknown, or there is no limit.
fn ratio(part: Option<u64>, whole: Option<u64>) -> Option<u64> {
    let (part, whole) = (part?, whole.filter(|whole| *whole != 0 && *whole != u64::MAX)?);
    let billionths = u128::from(part) * u128::from(Unit::Ratio.grain()) / u128::from(whole);
    u64::try_from(billionths).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::group::{self, Conditions, Groups, Health, Rule, RuleText};
    use procagent_core::process::Io;
    use procagent_core::registry::{Families, Registry};
    use procagent_core::snapshot::Snapshot;
    use procagent_core::testing::{Bench, reading, snapshot, used, value};

    fn cpu(families: &Families, group: &str) -> Option<u64> {
        let mode = |mode| value(families, "process.cpu.time", &[("group", group), ("cpu.mode", mode)]);
        Some(mode("user")? + mode("system")?)
    }

    fn gauge(families: &Families, metric: &str, group: &str) -> Option<u64> {
        value(families, metric, &[("group", group)])
    }

    fn scan(second: u64, processes: &[(Reading, &'static str)]) -> Snapshot {
        snapshot(second, processes.iter().cloned())
    }

    #[test]
    fn a2_found_running_counts_from_second_sight_and_born_counts_all() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let old = |cpu| (used(reading(10, 50), Ns(cpu)), "old");
        let families = bench.tick(&mut process, &scan(10, &[old(700)]));
        assert_eq!(cpu(&families, "old"), Some(0));
        let young = (used(reading(11, 1200), Ns(90)), "young");
        let families = bench.tick(&mut process, &scan(15, &[old(750), young]));
        assert_eq!(cpu(&families, "old"), Some(50));
        assert_eq!(cpu(&families, "young"), Some(90));
        assert_eq!(gauge(&families, "procagent.process.started", "young"), Some(1));
        assert_eq!(gauge(&families, "procagent.process.started", "old"), Some(0));
    }

    #[test]
    fn the_exit_of_a_member_takes_nothing_back() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let member = |pid, cpu| (used(reading(pid, 50), Ns(cpu)), "a");
        bench.tick(&mut process, &scan(10, &[member(1, 100), member(2, 100)]));
        bench.tick(&mut process, &scan(15, &[member(1, 150), member(2, 130)]));
        let families = bench.tick(&mut process, &scan(20, &[member(1, 150)]));
        assert_eq!(cpu(&families, "a"), Some(80));
        let families = bench.tick(&mut process, &scan(25, &[]));
        assert_eq!(cpu(&families, "a"), Some(80));
        assert_eq!(gauge(&families, "process.thread.count", "a"), Some(0));
    }

    #[test]
    fn empty_group_start_time_is_absent() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let families = bench.tick(&mut process, &scan(10, &[(reading(1, 500), "a")]));
        assert_eq!(gauge(&families, "process.uptime", "a"), Some(Ns::from_secs(5).0));
        let families = bench.tick(&mut process, &scan(15, &[]));
        assert_eq!(gauge(&families, "process.uptime", "a"), None);
    }

    #[test]
    fn a10_unreadable_is_absent_and_counted_and_leaves_the_other_fields() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let mut full = reading(1, 0);
        full.resident_memory = Some(4096);
        full.usage.io = Some(Io { read_bytes: 1, ..Io::default() });
        let members = [(full, "mixed"), (reading(2, 0), "mixed"), (reading(3, 0), "bare")];
        let families = bench.tick(&mut process, &scan(10, &members));
        assert_eq!(gauge(&families, "process.memory.usage", "mixed"), Some(4096));
        let unreadable =
            |group| value(&families, "procagent.process.unreadable", &[("group", group), ("field", "io")]);
        assert_eq!((unreadable("mixed"), unreadable("bare")), (Some(1), Some(1)));
        let read = [("group", "bare"), ("disk.io.direction", "read")];
        assert_eq!(value(&families, "process.disk.io", &read), None);
        assert_eq!(gauge(&families, "process.memory.usage", "bare"), None);
        assert_eq!(gauge(&families, "process.thread.count", "bare"), Some(1));
    }

    #[test]
    fn what_the_source_cannot_know_is_absent_and_a_total_is_no_user_time() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let bare = |cpu, bytes| {
            let mut reading = reading(1, 0);
            (reading.threads, reading.nice) = (None, None);
            let io = Io { read_bytes: bytes, ..Io::default() };
            reading.usage = Usage { runtime: Ns(cpu), io: Some(io), ..Usage::default() };
            (reading, "a")
        };
        bench.tick(&mut process, &scan(10, &[bare(100, 1)]));
        for (second, members) in [(15, vec![bare(170, 4)]), (20, vec![])] {
            let families = bench.tick(&mut process, &scan(second, &members));
            let no_mode = [("group", "a"), ("cpu.mode", "")];
            assert_eq!(value(&families, "process.cpu.time", &no_mode), Some(70));
            assert_eq!(cpu(&families, "a"), None);
            let read = [("group", "a"), ("disk.io.direction", "read")];
            assert_eq!(value(&families, "process.disk.io", &read), Some(3));
            for absent in ["process.paging.faults", "process.thread.count", "process.disk.operations"] {
                assert!(!families.families.iter().any(|family| family.desc.name == absent), "{absent}");
            }
        }
    }

    /// Version, zeros from the start, restarts and failure.
    #[test]
    fn an_expected_group_has_zeros_a_version_restarts_and_may_fail() {
        let text = RuleText {
            group: "db".into(),
            conditions: Conditions { name: vec!["db".into()], ..Conditions::default() },
            expect: true,
            version: Some("16.2".into()),
            ..RuleText::default()
        };
        let rules = vec![Rule::build(&text).unwrap()];
        let health = Health { every: Ns::from_secs(5), retries: 2 };
        let groups = Groups::new(group::Settings { rules, health, ..group::Settings::default() });
        let (mut bench, mut process) = (Bench::new(groups, Registry::new(1000)), Settings::default().build());
        let families = bench.tick(&mut process, &scan(10, &[(reading(1, 0), "plain")]));
        assert_eq!(
            (cpu(&families, "db"), gauge(&families, "process.memory.usage", "db")),
            (Some(0), Some(0))
        );
        let read = [("group", "db"), ("disk.io.direction", "read")];
        assert_eq!(value(&families, "process.disk.io", &read), Some(0));
        let sleeping = [("group", "db"), ("process.state", "sleeping")];
        assert_eq!(value(&families, "procagent.process.count", &sleeping), Some(0));
        assert_eq!(gauge(&families, "process.uptime", "db"), None);
        let info = |group| value(&families, "procagent.group.info", &[("group", group), ("version", "16.2")]);
        assert_eq!((info("db"), info("plain")), (Some(1), None));
        let health = |families: &Families, group| {
            let gauge = |metric| gauge(families, metric, group);
            (gauge("procagent.group.restarts"), gauge("procagent.group.failed"))
        };
        assert_eq!((health(&families, "db"), health(&families, "plain")), ((Some(0), Some(0)), (None, None)));
        let families = bench.tick(&mut process, &scan(20, &[]));
        assert_eq!(health(&families, "db"), (Some(0), Some(1)));
        let mut here = |second, pid| bench.tick(&mut process, &scan(second, &[(reading(pid, 0), "db")]));
        assert_eq!(health(&here(25, 2), "db"), (Some(0), Some(0)));
        assert_eq!(health(&here(30, 3), "db"), (Some(1), Some(0)));
        assert_eq!(health(&here(35, 3), "db"), (Some(1), Some(0)));
    }

    #[test]
    fn memory_is_a_level() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let with = |bytes| {
            let mut reading = reading(1, 0);
            reading.resident_memory = Some(bytes);
            (reading, "a")
        };
        bench.tick(&mut process, &scan(10, &[with(1000)]));
        let families = bench.tick(&mut process, &scan(15, &[with(400)]));
        assert_eq!(gauge(&families, "process.memory.usage", "a"), Some(400));
    }

    #[test]
    fn a4_a5_utilization_is_that_of_the_worst_member() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let with = |pid, resident, limit, open, most| {
            let mut reading = reading(pid, 0);
            (reading.resident_memory, reading.memory_limit) = (Some(resident), limit);
            (reading.descriptors, reading.descriptor_limit) = (Some(open), most);
            (reading, "a")
        };
        let members = [with(1, 50, Some(100), 512, Some(1024)), with(2, 30, None, 900, Some(u64::MAX))];
        let families = bench.tick(&mut process, &scan(10, &members));
        assert_eq!(gauge(&families, "process.memory.utilization", "a"), Some(500_000_000));
        assert_eq!(gauge(&families, "process.linux.file_descriptor.utilization", "a"), Some(500_000_000));
        assert_eq!(gauge(&families, "process.unix.file_descriptor.count", "a"), Some(1412));
    }

    #[test]
    fn kernel_threads_and_zombies_are_not_called_unreadable() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let mut thread = reading(2, 0);
        thread.kernel_thread = true;
        let mut zombie = reading(3, 0);
        zombie.state = State::Defunct;
        let families = bench.tick(&mut process, &scan(10, &[(thread, "kthreadd"), (zombie, "gone")]));
        assert!(!families.families.iter().any(|family| family.desc.name == "procagent.process.unreadable"));
        assert_eq!(
            value(&families, "procagent.process.count", &[("group", "gone"), ("process.state", "defunct")]),
            Some(1)
        );
    }
}
