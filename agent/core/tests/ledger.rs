//! Whatever processes do, no counter falls, and what every process used is counted once.

use procagent_core::Error;
use procagent_core::group::{Conditions, Groups, Label, OTHER, Rule, RuleText, Settings};
use procagent_core::metric::{Counter, Unit};
use procagent_core::plugin::{Collector, Needs, Tick};
use procagent_core::process::{Io, Pid};
use procagent_core::registry::{Families, Registry, Samples};
use procagent_core::snapshot::{Snapshot, Users};
use procagent_core::testing::{Bench, at, details, reading, used};
use procagent_core::time::{Ns, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

static CPU: Counter<0> = Counter::per_group("test.cpu", Unit::Seconds, &[], "CPU time");
static IO: Counter<1> = Counter::per_group("test.io", Unit::Bytes, &["direction"], "Bytes");
static EXITS: Counter<0> = Counter::per_group("test.exits", Unit::Count("process"), &[], "Ends");

struct Summing;

impl Collector for Summing {
    fn needs(&self) -> Needs {
        Needs::IO
    }

    fn collect(&mut self, tick: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
        for seen in tick.seen() {
            out.add(&CPU, seen.group, [], seen.delta.runtime.0);
            if let Some(io) = seen.delta.io {
                out.add(&IO, seen.group, ["read"], io.read_bytes);
            }
        }
        for ended in tick.exited() {
            out.add(&EXITS, ended.group, [], 1);
        }
        Ok(())
    }
}

const PIDS: u32 = 8;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "kernel", "other"];

#[derive(Clone, Debug)]
enum Step {
    /// A process is born at this number; who had it has ended. Perhaps in the tick of the last scan.
    Birth {
        pid: u32,
        name: usize,
        early: bool,
        readable: bool,
    },
    Death(u32),
    Exec {
        pid: u32,
        name: usize,
    },
    Use {
        pid: u32,
        cpu: u64,
        io: u64,
    },
    IoReadable {
        pid: u32,
        readable: bool,
    },
    /// The next scan cannot read it at all.
    Miss(u32),
    /// The next scan reads less CPU than it has used.
    Contradict {
        pid: u32,
        less: u64,
    },
    /// The collector fails at the next scan.
    Fail,
    /// Other settings are in force, by their number.
    Reload(usize),
    /// Time passes, then a scan.
    Scan {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let pid = 0..PIDS;
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (pid.clone(), name.clone(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(pid, name, early, readable)| Step::Birth { pid, name, early, readable }),
        2 => pid.clone().prop_map(Step::Death),
        2 => (pid.clone(), name).prop_map(|(pid, name)| Step::Exec { pid, name }),
        8 => (pid.clone(), 0..1000_u64, 0..1000_u64).prop_map(|(pid, cpu, io)| Step::Use { pid, cpu, io }),
        1 => (pid.clone(), any::<bool>()).prop_map(|(pid, readable)| Step::IoReadable { pid, readable }),
        1 => pid.clone().prop_map(Step::Miss),
        1 => (pid, 1..500_u64).prop_map(|(pid, less)| Step::Contradict { pid, less }),
        1 => Just(Step::Fail),
        1 => (0..5_usize).prop_map(Step::Reload),
        6 => (1..4_u64).prop_map(|seconds| Step::Scan { seconds }),
    ]
}

/// A process as the kernel has it, and what the ledger says of it.
#[derive(Clone, Debug)]
struct Truth {
    start: u64,
    name: usize,
    cpu: u64,
    io: u64,
    readable: bool,
    missed: bool,
    less: u64,
    /// Its program was not told yet.
    told: bool,
    /// The most CPU time that a scan has read, once one has.
    counted_cpu: Option<u64>,
    counted_io: Option<u64>,
}

/// What the kernel would say, and beside it the reference: a second, simpler ledger.
#[derive(Default)]
struct World {
    second: u64,
    scanned: Option<u64>,
    born: u64,
    processes: BTreeMap<u32, Truth>,
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Birth { pid, name, early, readable } => {
                self.born += 1;
                let after = self.processes.get(pid).map_or(0, |before| before.start + 1);
                let start = if *early { self.second * 100 } else { self.second * 100 + self.born % 90 };
                let truth = Truth {
                    start: start.max(after),
                    name: *name,
                    cpu: 0,
                    io: 0,
                    readable: *readable,
                    missed: false,
                    less: 0,
                    told: false,
                    counted_cpu: None,
                    counted_io: None,
                };
                self.processes.insert(*pid, truth);
            }
            Step::Death(pid) => drop(self.processes.remove(pid)),
            Step::Exec { pid, name } => self.change(*pid, |truth| {
                truth.name = *name;
                truth.told = false;
            }),
            Step::Use { pid, cpu, io } => self.change(*pid, |truth| {
                truth.cpu += cpu;
                truth.io += io;
            }),
            Step::IoReadable { pid, readable } => self.change(*pid, |truth| truth.readable = *readable),
            Step::Miss(pid) => self.change(*pid, |truth| truth.missed = true),
            Step::Contradict { pid, less } => self.change(*pid, |truth| truth.less = *less),
            Step::Fail | Step::Reload(_) | Step::Scan { .. } => {}
        }
    }

    fn change(&mut self, pid: u32, how: impl FnOnce(&mut Truth)) {
        if let Some(truth) = self.processes.get_mut(&pid) {
            how(truth);
        }
    }

    /// What a scan reads now, and what of it is to be counted: CPU time and bytes.
    fn scan(&mut self, seconds: u64) -> (Snapshot, u64, u64) {
        self.second += seconds;
        let mut snapshot = Snapshot { begun: at(self.second), ended: at(self.second), ..Snapshot::default() };
        let (mut cpu_due, mut io_due) = (0, 0);
        for (pid, truth) in &mut self.processes {
            if std::mem::take(&mut truth.missed) {
                truth.told = false;
                continue;
            }
            let cpu = truth.cpu.saturating_sub(std::mem::take(&mut truth.less));
            let mut read = used(reading(100 + pid, truth.start), Ns(cpu));
            read.parent = Pid(100 + pid / 2);
            read.users = Some(Users { real: *pid, effective: *pid % 3 });
            read.usage.io = truth.readable.then_some(Io { read_bytes: truth.io, ..Io::default() });
            let before = match truth.counted_cpu {
                Some(before) => before,
                None if self.scanned.is_some_and(|scan| truth.start >= scan * 100) => {
                    truth.counted_io = Some(0);
                    0
                }
                None => cpu,
            };
            cpu_due += cpu.saturating_sub(before);
            truth.counted_cpu = Some(before.max(cpu));
            if truth.readable {
                io_due += truth.io - truth.counted_io.unwrap_or(truth.io);
                truth.counted_io = Some(truth.io);
            }
            if !std::mem::replace(&mut truth.told, true) {
                snapshot.details.push(details(read.id, NAMES[truth.name]));
            }
            snapshot.processes.push(read);
        }
        self.scanned = Some(self.second);
        (snapshot, cpu_due, io_due)
    }
}

/// Settings of several kinds: the same groups, others, with labels, with descendants.
fn settings(number: usize, limit: usize, forget: u64) -> Settings {
    let rule = |group: &str, names: &[&str], descendants, expect| {
        let name = names.iter().map(|name| (*name).to_owned()).collect();
        let conditions = Conditions { name, ..Conditions::default() };
        let text = RuleText { group: group.into(), conditions, descendants, expect, version: None };
        Rule::build(&text).ok()
    };
    let rules = match number {
        0 | 1 => vec![],
        2 => vec![rule("x", &["a", "b"], false, false)],
        3 => vec![rule("x", &["a"], true, true), rule("{name}", &["b"], false, false)],
        _ => vec![rule("a", &["a"], false, true), rule("a", &["c"], true, false)],
    };
    let labels = if number == 1 || number == 4 { vec![Label::User] } else { vec![] };
    let rules = rules.into_iter().flatten().collect();
    Settings { rules, labels, ..Settings::bounded(limit, Ns::from_secs(forget)) }
}

type Key = (String, Vec<(String, String)>);

/// All series with their value and start time.
fn all(families: &Families) -> HashMap<Key, (u64, Ns)> {
    let mut out = HashMap::new();
    for family in &families.families {
        for point in &family.points {
            let labels = point.labels(family.desc).map(|(name, value)| (name.to_owned(), value.to_owned()));
            let key = (family.desc.name.to_owned(), labels.collect());
            assert_eq!(out.insert(key, (point.value, point.start)), None, "a series twice on one page");
        }
    }
    out
}

/// An expected group takes the user of who comes; its series go on.
fn renamed<'a>(
    key: &Key,
    before: &'a HashMap<Key, (u64, Ns)>,
    now: &HashMap<Key, (u64, Ns)>,
) -> Option<&'a (u64, Ns)> {
    let plain = |key: &Key| {
        let labels = key.1.iter().filter(|(label, _)| label != Label::User.name()).cloned();
        (key.0.clone(), labels.collect::<Vec<_>>())
    };
    let gone = before.iter().filter(|(other, _)| !now.contains_key(*other) && plain(other) == plain(key));
    let start = now.get(key)?.1;
    gone.map(|(_, series)| series).find(|series| series.1 == start)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_counter_falls(
        groups in 1..6_usize,
        forget in 0..6_u64,
        series in prop_oneof![3 => Just(1000_usize), 1 => 0..12_usize],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let groups_of_all = Groups::new(settings(0, groups, forget));
        let mut bench = Bench::new(groups_of_all, Registry::new(series));
        let mut world = World { second: 100, ..World::default() };
        let mut before = HashMap::new();
        let mut fails = false;
        let mut previous: Option<Timestamp> = None;
        for step in steps {
            world.step(&step);
            fails |= matches!(step, Step::Fail);
            if let Step::Reload(number) = step {
                for group in bench.groups.reload(settings(number, groups, forget)) {
                    bench.registry.end_group(group);
                }
                bench.table.regroup_all();
            }
            let Step::Scan { seconds } = step else { continue };
            let (snapshot, cpu_due, io_due) = world.scan(seconds);
            let families = bench.tick(&mut Summing, &snapshot);
            // What the members of each group used, by where they count: no series may grow by more.
            let mut used: HashMap<String, u64> = HashMap::new();
            for seen in bench.table.seen(&snapshot) {
                let group = bench.groups.labels(bench.groups.resolve(seen.group)).map(|labels| labels.name());
                *used.entry(group.unwrap_or_default().to_owned()).or_default() += seen.delta.runtime.0;
            }
            prop_assert!(bench.registry.len() <= series);
            let own = bench.groups.ids().filter(|id| {
                bench.groups.labels(*id).is_some_and(|labels| labels.name() != OTHER)
            });
            prop_assert!(own.count() <= groups);
            prop_assert!(bench.groups.len() <= groups + 1);
            if std::mem::take(&mut fails) {
                bench.registry.end_plugin("test");
                prop_assert!(bench.registry.is_empty());
                before.clear();
                previous = Some(snapshot.begun);
                continue;
            }
            let now = all(&families);
            let mut grown: HashMap<&str, u64> = HashMap::new();
            for (key, (value, start)) in &now {
                prop_assert!(!key.1.is_empty() && key.1[0].0 == "group", "a series of nobody: {:?}", key);
                let same = before.get(key).or_else(|| renamed(key, &before, &now)).filter(|(_, began)| began == start);
                prop_assert!(
                    same.is_some() || *start == previous.unwrap_or(snapshot.begun).wall,
                    "{:?} is new and has an old start time", key
                );
                let last: u64 = same.map_or(0, |(last, _)| *last);
                prop_assert!(*value >= last, "{:?} fell from {} to {}", key, last, value);
                *grown.entry(key.0.as_str()).or_default() += value - last;
                if key.0 == "test.cpu" {
                    let left = used.entry(key.1[0].1.clone()).or_default();
                    prop_assert!(value - last <= *left, "{:?} grew by {} of {}", key, value - last, left);
                    *left -= value - last;
                }
            }
            previous = Some(snapshot.begun);
            if bench.registry.refused().next().is_none() {
                prop_assert_eq!(grown.get("test.cpu").copied().unwrap_or(0), cpu_due);
                prop_assert_eq!(grown.get("test.io").copied().unwrap_or(0), io_due);
                let ends = bench.table.ended_now().count() as u64;
                prop_assert_eq!(grown.get("test.exits").copied().unwrap_or(0), ends);
            }
            before = now;
        }
    }
}
