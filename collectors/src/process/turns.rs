//! What is read of each process in its turn: proportional memory, context switches, delays. A group says how old the
//! oldest reading is, and of how many members there is none.

use procagent_core::group::GroupId;
use procagent_core::metric::{Counter, Desc, Gauge, Unit};
use procagent_core::plugin::Needs;
use procagent_core::process::Switches;
use procagent_core::registry::Samples;
use procagent_core::snapshot::Smaps;
use procagent_core::table::Seen;
use procagent_core::time::Ns;

static PSS: Gauge<0> = Gauge::per_group(
    "process.linux.memory.pss",
    Unit::Bytes,
    &[],
    "Proportional memory of the members: each page divided by the number of processes that map it",
);
static USS: Gauge<0> = Gauge::per_group(
    "process.linux.memory.uss",
    Unit::Bytes,
    &[],
    "Unique memory of the members: pages that no other process maps",
);
static SWAP: Gauge<0> = Gauge::per_group(
    "process.linux.memory.swap",
    Unit::Bytes,
    &[],
    "Memory of the members that was swapped out",
);
static MEMORY_AGE: Gauge<0> = Gauge::per_group(
    "process.linux.memory.age",
    Unit::Seconds,
    &[],
    "Age of the oldest reading in pss, uss and swap of the group, which are read in turns",
);
static SWITCHES: Counter<1> = Counter::per_group(
    "process.context_switches",
    Unit::Count("context_switch"),
    &["process.context_switch.type"],
    "How often threads of the members gave up a CPU: by their own will, or for another one's turn",
);
static DELAY: Counter<1> = Counter::per_group(
    "process.linux.delay.time",
    Unit::Seconds,
    &["type"],
    "Time that threads of the members waited, ready to run, for a CPU, and for storage (block_io, which needs kernel.task_delayacct)",
);
static THREADS_AGE: Gauge<0> = Gauge::per_group(
    "process.linux.thread.age",
    Unit::Seconds,
    &[],
    "Age of the oldest reading in the context switches and delays of the group, which are read in turns",
);
static UNREAD: Gauge<1> = Gauge::per_group(
    "procagent.process.unread",
    Unit::Count("process"),
    &["field"],
    "Members that smaps and threads leave out: not their turn yet, too large, or not to be read; absent where none",
);
static SKIPPED: Gauge<0> = Gauge::per_host(
    "procagent.smaps.skipped",
    Unit::Count("process"),
    &[],
    "Processes whose proportional memory is not read, for they have more resident memory than max_resident",
);

/// All that this file publishes.
pub(super) const METRICS: [&Desc; 9] = [
    PSS.desc(),
    USS.desc(),
    SWAP.desc(),
    MEMORY_AGE.desc(),
    SWITCHES.desc(),
    DELAY.desc(),
    THREADS_AGE.desc(),
    UNREAD.desc(),
    SKIPPED.desc(),
];

/// The sum over a group's members.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    memory: Option<Memory>,
    memory_age: Ns,
    memory_unread: u64,
    switches: Option<Switches>,
    cpu_delay: Option<Ns>,
    block_io_delay: Option<Ns>,
    threads_age: Ns,
    threads_unread: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    pss: u64,
    uss: u64,
    swap: u64,
}

impl Turns {
    /// Of an expected group that nobody belongs to, every sum is known: it is 0.
    pub fn expect(&mut self, needs: Needs) {
        if needs.contain(Needs::SMAPS) {
            self.memory.get_or_insert_default();
        }
        if needs.contain(Needs::THREADS) {
            self.switches.get_or_insert_default();
            self.cpu_delay.get_or_insert_default();
        }
    }

    /// `expected`: whether a process of its kind has such numbers at all.
    pub fn add(&mut self, seen: &Seen<'_>, expected: bool, now: Ns) {
        match seen.reading.smaps {
            Smaps::Read(rollup) => {
                let sum = self.memory.get_or_insert_default();
                sum.pss = sum.pss.saturating_add(rollup.pss);
                sum.uss = sum.uss.saturating_add(rollup.uss);
                sum.swap = sum.swap.saturating_add(rollup.swap);
                self.memory_age = self.memory_age.max(now.since(rollup.at));
            }
            Smaps::TooLarge | Smaps::Unread => self.memory_unread += u64::from(expected),
        }
        let (usage, delta) = (&seen.reading.usage, seen.delta);
        if usage.context_switches.is_some() {
            let sum = self.switches.get_or_insert_default();
            *sum = sum.plus(&delta.context_switches.unwrap_or_default());
        } else {
            self.threads_unread += u64::from(expected);
        }
        if let Some(delay) = usage.delay {
            let delta = delta.delay.unwrap_or_default();
            let sum = self.cpu_delay.get_or_insert_default();
            *sum = sum.plus(delta.cpu);
            if delay.block_io.is_some() {
                let sum = self.block_io_delay.get_or_insert_default();
                *sum = sum.plus(delta.block_io.unwrap_or_default());
            }
        }
        if let Some(at) = seen.reading.threads_read {
            self.threads_age = self.threads_age.max(now.since(at));
        }
    }

    pub fn publish(&self, group: GroupId, members: u64, needs: Needs, out: &mut Samples) {
        if let Some(Memory { pss, uss, swap }) = self.memory {
            out.set(&PSS, group, [], pss);
            out.set(&USS, group, [], uss);
            out.set(&SWAP, group, [], swap);
            if members > 0 {
                out.set(&MEMORY_AGE, group, [], self.memory_age.0);
            }
        }
        if let Some(switches) = self.switches {
            out.add(&SWITCHES, group, ["voluntary"], switches.voluntary);
            out.add(&SWITCHES, group, ["involuntary"], switches.involuntary);
            if members > 0 {
                out.set(&THREADS_AGE, group, [], self.threads_age.0);
            }
        }
        for (kind, delay) in [("cpu", self.cpu_delay), ("block_io", self.block_io_delay)] {
            if let Some(delay) = delay {
                out.add(&DELAY, group, [kind], delay.0);
            }
        }
        for (field, members, needed) in
            [("smaps", self.memory_unread, Needs::SMAPS), ("threads", self.threads_unread, Needs::THREADS)]
        {
            if members > 0 && needs.contain(needed) {
                out.set(&UNREAD, group, [field], members);
            }
        }
    }
}

/// Says how many processes were left out for their size.
pub(super) fn publish_skipped<'a>(seen: impl Iterator<Item = Seen<'a>>, out: &mut Samples) {
    let skipped = seen.filter(|seen| seen.reading.smaps == Smaps::TooLarge).count();
    out.set_host(&SKIPPED, [], skipped as u64);
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use procagent_core::process::{Delay, Switches};
    use procagent_core::registry::Families;
    use procagent_core::snapshot::{Reading, Rollup, Smaps};
    use procagent_core::switch::Switch;
    use procagent_core::testing::{Bench, at, reading, snapshot, value};
    use procagent_core::time::Ns;

    fn mapped(pid: u32, pss: u64, second: u64) -> Reading {
        let smaps = Smaps::Read(Rollup { pss, uss: pss / 2, swap: 1, at: at(second).mono });
        Reading { smaps, ..reading(pid, 50) }
    }

    fn switched(pid: u32, start: u64, count: u64) -> Reading {
        let mut reading = reading(pid, start);
        reading.usage.context_switches = Some(Switches { voluntary: count, involuntary: 2 * count });
        reading.usage.delay = Some(Delay { cpu: Ns(count * 3), block_io: None });
        reading.threads_read = Some(at(10).mono);
        reading
    }

    fn gauge(families: &Families, name: &str) -> Option<u64> {
        value(families, name, &[("group", "a")])
    }

    fn unread(families: &Families, field: &str) -> Option<u64> {
        value(families, "procagent.process.unread", &[("group", "a"), ("field", field)])
    }

    #[test]
    fn memory_sums_what_was_read_and_says_the_rest() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let large = Reading { smaps: Smaps::TooLarge, ..reading(3, 50) };
        let members = [mapped(1, 100, 4), mapped(2, 50, 9), large, reading(4, 50)];
        let families = bench.tick(&mut process, &snapshot(10, members.map(|reading| (reading, "a"))));
        let got = ["pss", "uss", "swap", "age"]
            .map(|name| gauge(&families, &format!("process.linux.memory.{name}")));
        assert_eq!(got, [Some(150), Some(75), Some(2), Some(Ns::from_secs(6).0)]);
        assert_eq!((unread(&families, "smaps"), unread(&families, "threads")), (Some(2), Some(4)));
        assert_eq!(value(&families, "procagent.smaps.skipped", &[]), Some(1));
        let families = bench.tick(&mut process, &snapshot(15, [(reading(4, 50), "a")]));
        assert_eq!(gauge(&families, "process.linux.memory.pss"), None, "nobody was read");
        let off = Settings { smaps: Switch::Off, threads: Switch::Off };
        let families = Bench::default().tick(&mut off.build(), &snapshot(10, [(reading(4, 50), "a")]));
        assert_eq!(
            (unread(&families, "smaps"), value(&families, "procagent.smaps.skipped", &[])),
            (None, None)
        );
    }

    #[test]
    fn switches_and_delays_count_from_second_sight_and_of_the_newborn_all() {
        let (mut bench, mut process) = (Bench::default(), Settings::default().build());
        let counter = |families: &Families, metric: &str, label: &str, value_: &str| {
            value(families, metric, &[("group", "a"), (label, value_)])
        };
        let voluntary = |families: &Families| {
            counter(families, "process.context_switches", "process.context_switch.type", "voluntary")
        };
        let families = bench.tick(&mut process, &snapshot(10, [(reading(1, 50), "a")]));
        assert_eq!(voluntary(&families), None, "nobody was read");
        let families = bench.tick(&mut process, &snapshot(15, [(switched(1, 50, 100), "a")]));
        assert_eq!(voluntary(&families), Some(0));
        let two = [(switched(1, 50, 110), "a"), (switched(2, 1700, 7), "a")];
        let families = bench.tick(&mut process, &snapshot(20, two));
        assert_eq!(voluntary(&families), Some(17));
        assert_eq!(counter(&families, "process.linux.delay.time", "type", "cpu"), Some(51));
        assert_eq!(counter(&families, "process.linux.delay.time", "type", "block_io"), None);
        assert_eq!(gauge(&families, "process.linux.thread.age"), Some(Ns::from_secs(10).0));
        // Born, first read later: all of it counts. A member that ends takes nothing back.
        bench.tick(&mut process, &snapshot(25, [(switched(1, 50, 110), "a"), (reading(3, 2200), "a")]));
        let families = bench.tick(&mut process, &snapshot(30, [(switched(3, 2200, 5), "a")]));
        assert_eq!(voluntary(&families), Some(22));
    }
}
