//! The host as a whole: CPU, memory, processes. OpenTelemetry's `system.*` names.

use procagent_core::Error;
use procagent_core::metric::{Counter, Gauge, Unit};
use procagent_core::plugin::{Collector, CollectorPlugin, Needs, Tick};
use procagent_core::process::State;
use procagent_core::registry::Samples;
use procagent_core::snapshot::{CpuTimes, Memory};

static CPU_TIME: Counter<1> = Counter::per_host(
    "system.cpu.time",
    Unit::Seconds,
    &["cpu.mode"],
    "CPU time of all logical CPUs together since the agent started, by mode; user includes guests",
);
static CPU_COUNT: Gauge<0> =
    Gauge::per_host("system.cpu.logical.count", Unit::Count("cpu"), &[], "Logical CPUs that are online");
static MEMORY_LIMIT: Gauge<0> =
    Gauge::per_host("system.memory.limit", Unit::Bytes, &[], "Physical memory of the host");
static MEMORY_USAGE: Gauge<1> = Gauge::per_host(
    "system.memory.usage",
    Unit::Bytes,
    &["system.memory.state"],
    "Physical memory of the host by state; where all four are known, they add up to the limit",
);
static MEMORY_AVAILABLE: Gauge<0> = Gauge::per_host(
    "system.memory.linux.available",
    Unit::Bytes,
    &[],
    "Memory that new programs can have without swapping, by the kernel's estimate (MemAvailable)",
);
static PROCESS_COUNT: Gauge<1> = Gauge::per_host(
    "system.process.count",
    Unit::Count("process"),
    &["process.state"],
    "Processes of the host by state; blocked is uninterruptible sleep",
);
static PROCESS_CREATED: Counter<0> = Counter::per_host(
    "system.process.created",
    Unit::Count("process"),
    &[],
    "Tasks created on the host since the agent started, threads included, as the kernel counts forks",
);

/// Listed in [`crate::ALL`].
pub const PLUGIN: CollectorPlugin<crate::Settings> = CollectorPlugin {
    name: "host",
    metrics: &[
        CPU_TIME.desc(),
        CPU_COUNT.desc(),
        MEMORY_LIMIT.desc(),
        MEMORY_USAGE.desc(),
        MEMORY_AVAILABLE.desc(),
        PROCESS_COUNT.desc(),
        PROCESS_CREATED.desc(),
    ],
    build: |_| Some(Box::new(Host::default())),
};

#[derive(Default)]
struct Host {
    cpu: Option<CpuTimes>,
    forks: Option<u64>,
}

impl Collector for Host {
    fn needs(&self) -> Needs {
        Needs::HOST
    }

    fn collect(&mut self, tick: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
        let host = &tick.current.host;
        if let Some(now) = host.cpu {
            // The kernel may take idle and iowait back (proc(5)); a counter must not, so such a step adds 0.
            let before = self.cpu.replace(now).unwrap_or(now);
            for (mode, now, before) in [
                ("user", now.user, before.user),
                ("nice", now.nice, before.nice),
                ("system", now.system, before.system),
                ("idle", now.idle, before.idle),
                ("iowait", now.iowait, before.iowait),
                ("interrupt", now.interrupt, before.interrupt),
                ("softirq", now.softirq, before.softirq),
                ("steal", now.steal, before.steal),
            ] {
                out.add_host(&CPU_TIME, [mode], now.since(before).0);
            }
        }
        if let Some(cpus) = host.cpus {
            out.set_host(&CPU_COUNT, [], u64::from(cpus));
        }
        if let Some(memory) = host.memory {
            memory_usage(&memory, out);
        }
        if let Some(now) = host.forks {
            let before = self.forks.replace(now).unwrap_or(now);
            out.add_host(&PROCESS_CREATED, [], now.saturating_sub(before));
        }
        let mut states = [0; State::ALL.len()];
        for reading in &tick.current.processes {
            states[reading.state.index()] += 1;
        }
        for (state, count) in State::ALL.iter().zip(states) {
            out.set_host(&PROCESS_COUNT, [state.as_str()], count);
        }
        Ok(())
    }
}

fn memory_usage(memory: &Memory, out: &mut Samples) {
    let Memory { total, free, buffers, cached, available } = *memory;
    out.set_host(&MEMORY_LIMIT, [], total);
    // What is neither free nor a cache is known only where the caches are.
    let caches = buffers.zip(cached).map(|(buffers, cached)| buffers.saturating_add(cached));
    let used = caches.map(|caches| total.saturating_sub(free).saturating_sub(caches));
    for (state, bytes) in [("used", used), ("free", Some(free)), ("buffers", buffers), ("cached", cached)] {
        if let Some(bytes) = bytes {
            out.set_host(&MEMORY_USAGE, [state], bytes);
        }
    }
    if let Some(available) = available {
        out.set_host(&MEMORY_AVAILABLE, [], available);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::testing::{Bench, reading, snapshot, value};
    use procagent_core::time::Ns;

    #[test]
    fn cpu_time_counts_from_the_agents_start_and_never_falls() {
        let (mut bench, mut host) = (Bench::default(), Host::default());
        let at = |second, user, idle| {
            let mut snapshot = snapshot(second, []);
            let cpu = CpuTimes { user: Ns(user), idle: Ns(idle), ..CpuTimes::default() };
            snapshot.host.cpu = Some(cpu);
            snapshot
        };
        let families = bench.tick(&mut host, &at(10, 1000, 500));
        assert_eq!(value(&families, "system.cpu.time", &[("cpu.mode", "user")]), Some(0));
        let families = bench.tick(&mut host, &at(15, 1700, 400));
        assert_eq!(value(&families, "system.cpu.time", &[("cpu.mode", "user")]), Some(700));
        assert_eq!(value(&families, "system.cpu.time", &[("cpu.mode", "idle")]), Some(0));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let (mut bench, mut host) = (Bench::default(), Host::default());
        let families = bench.tick(&mut host, &snapshot(10, [(reading(1, 0), "init")]));
        assert_eq!(value(&families, "system.cpu.time", &[("cpu.mode", "user")]), None);
        assert_eq!(value(&families, "system.memory.limit", &[]), None);
        assert_eq!(value(&families, "system.process.created", &[]), None);
        assert_eq!(value(&families, "system.process.count", &[("process.state", "sleeping")]), Some(1));
    }

    #[test]
    fn memory_states_add_up() {
        let (mut bench, mut host) = (Bench::default(), Host::default());
        let mut snapshot = snapshot(10, []);
        snapshot.host.memory =
            Some(Memory { total: 100, free: 40, buffers: Some(5), cached: Some(25), available: Some(60) });
        let families = bench.tick(&mut host, &snapshot);
        let of = |state| value(&families, "system.memory.usage", &[("system.memory.state", state)]).unwrap();
        assert_eq!((of("used"), of("free") + of("buffers") + of("cached")), (30, 70));
    }
}
