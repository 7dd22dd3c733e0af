//! The agent's own numbers: what it costs, what it could not see, and whether its parts work.

use procagent_core::group::GroupId;
use procagent_core::metric::{Counter, Desc, Gauge, Unit};
use procagent_core::plugin::{Needs, Tick};
use procagent_core::registry::{Registry, Samples};
use procagent_core::snapshot::{Field, FieldErrors, Reason};
use procagent_core::time::Ns;
use std::collections::BTreeMap;

static SCAN_DURATION: Gauge<0> =
    Gauge::per_host("procagent.scan.duration", Unit::Seconds, &[], "Time that the last scan took");
static SCAN_TIME: Gauge<0> = Gauge::per_host(
    "procagent.scan.time",
    Unit::Seconds,
    &[],
    "When the last scan began, in seconds since 1970: the time of the page; what rests on it may be older by up to 30 s",
);
static SCAN_MISSED: Counter<0> = Counter::per_host(
    "procagent.scan.missed",
    Unit::Count("scan"),
    &[],
    "Scans left out because the one before, or what follows it, took longer than the interval",
);
static SCAN_FAILED: Counter<0> = Counter::per_host(
    "procagent.scan.failed",
    Unit::Count("scan"),
    &[],
    "Scans that could not read the host at all",
);
static COLLECTOR_DURATION: Gauge<1> = Gauge::per_host(
    "procagent.collector.duration",
    Unit::Seconds,
    &["collector"],
    "Time that the collector took in the last tick in which it ran",
);
static COLLECTOR_UP: Gauge<1> = Gauge::per_host(
    "procagent.collector.up",
    Unit::None,
    &["collector"],
    "1 when the collector works; 0 when it failed or was too slow, and its series are absent",
);
static SUPPORTED: Gauge<2> = Gauge::per_host(
    "procagent.supported",
    Unit::None,
    &["collector", "field"],
    "1 when the source can read the field on this host at all, else 0",
);
static ERRORS: Counter<3> = Counter::per_host(
    "procagent.errors",
    Unit::Count("error"),
    &["collector", "field", "reason"],
    "Reads that gave nothing, by file of /proc and reason; the value concerned is absent",
);
static CONTRADICTIONS: Counter<0> = Counter::per_host(
    "procagent.contradictions",
    Unit::Count("reading"),
    &[],
    "Readings in which a cumulative number of a process was below what it had been; the difference counts as 0",
);
static GROUPS: Gauge<0> =
    Gauge::per_host("procagent.groups", Unit::Count("group"), &[], "Groups that have series");
static FOLDED: Gauge<0> = Gauge::per_host(
    "procagent.groups.folded",
    Unit::Count("group"),
    &[],
    "Groups with members that count in the group other because groups.limit is reached",
);
static TURNED_AWAY: Counter<0> = Counter::per_host(
    "procagent.groups.turned_away",
    Unit::Count("process"),
    &[],
    "Processes that went to the group other unweighed because far more groups than groups.limit were there",
);
static SERIES: Gauge<0> = Gauge::per_host(
    "procagent.series",
    Unit::Count("series"),
    &[],
    "Series that count against outputs.series_limit: all but the agent's own",
);
static SERIES_REFUSED: Counter<1> = Counter::per_host(
    "procagent.series.refused",
    Unit::Count("sample"),
    &["metric"],
    "Samples that found no room below outputs.series_limit",
);
static CPU_ATTRIBUTED: Counter<0> = Counter::per_host(
    "procagent.cpu.attributed",
    Unit::Seconds,
    &[],
    "CPU time that was credited to a group",
);
static CPU_UNATTRIBUTED: Counter<0> = Counter::per_host(
    "procagent.cpu.unattributed",
    Unit::Seconds,
    &[],
    "CPU time that processes used by /proc/stat and no group was credited with: mostly of processes that lived between two scans",
);
static RELOAD_TIME: Gauge<0> = Gauge::per_host(
    "procagent.config.reload.time",
    Unit::Seconds,
    &[],
    "When the configuration in force was loaded, in seconds since 1970",
);
static RELOAD_SUCCESS: Gauge<0> = Gauge::per_host(
    "procagent.config.reload.success",
    Unit::None,
    &[],
    "1 when the configuration was right when last looked at; 0 when it was refused, and the one before is in force",
);
static BUILD_INFO: Gauge<2> = Gauge::per_host(
    "procagent.build.info",
    Unit::None,
    &["version", "revision"],
    "Always 1; what this agent was built from",
);
static OWN_CPU: Counter<0> =
    Counter::per_host("process.cpu", Unit::Seconds, &[], "CPU time of the agent itself since it started");
static OWN_MEMORY: Gauge<0> =
    Gauge::per_host("process.resident_memory", Unit::Bytes, &[], "Resident memory of the agent itself");
static OWN_DESCRIPTORS: Gauge<0> = Gauge::per_host(
    "process.open_fds",
    Unit::Count("file_descriptor"),
    &[],
    "Open descriptors of the agent itself",
);
static OWN_START: Gauge<0> = Gauge::per_host(
    "process.start_time",
    Unit::Seconds,
    &[],
    "When the agent itself started, in seconds since 1970",
);

/// The part of the page that is always there.
pub const METRICS: &[&Desc] = &[
    SCAN_DURATION.desc(),
    SCAN_TIME.desc(),
    SCAN_MISSED.desc(),
    SCAN_FAILED.desc(),
    COLLECTOR_DURATION.desc(),
    COLLECTOR_UP.desc(),
    SUPPORTED.desc(),
    ERRORS.desc(),
    CONTRADICTIONS.desc(),
    GROUPS.desc(),
    FOLDED.desc(),
    TURNED_AWAY.desc(),
    SERIES.desc(),
    SERIES_REFUSED.desc(),
    CPU_ATTRIBUTED.desc(),
    CPU_UNATTRIBUTED.desc(),
    RELOAD_TIME.desc(),
    RELOAD_SUCCESS.desc(),
    BUILD_INFO.desc(),
    OWN_CPU.desc(),
    OWN_MEMORY.desc(),
    OWN_DESCRIPTORS.desc(),
    OWN_START.desc(),
];

/// What a source may or may not be able to read, as `procagent.supported` names it.
const FIELDS: [(&str, &str, Needs); 13] = [
    ("host", "cpu", Needs::HOST_CPU),
    ("host", "memory", Needs::HOST),
    ("process", "cmdline", Needs::DETAILS),
    ("process", "context_switches_and_delays", Needs::THREADS),
    ("process", "cpu_modes", Needs::CPU_MODES),
    ("process", "faults", Needs::FAULTS),
    ("process", "file_descriptors", Needs::DESCRIPTORS),
    ("process", "io", Needs::IO),
    ("process", "io_operations", Needs::OPERATIONS),
    ("process", "memory", Needs::MEMORY),
    ("process", "proportional_memory", Needs::SMAPS),
    ("process", "threads", Needs::THREAD_COUNT),
    ("process", "user", Needs::USERS),
];

/// How one collector fared in a tick.
#[derive(Clone, Copy, Debug)]
pub struct Fared {
    /// Its name.
    pub collector: &'static str,
    /// Whether its numbers are on the page.
    pub up: bool,
    /// How long it took when it last ran.
    pub took: Ns,
}

/// What the scan thread counts on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCounts {
    /// Scans left out.
    pub missed: u64,
    /// Scans that failed as a whole.
    pub failed: u64,
}

/// How the configuration fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigState {
    /// When the one in force was loaded, wall clock, if that is known.
    pub time: Option<Ns>,
    /// Whether it was right when last looked at.
    pub success: bool,
}

/// Keeps what the agent's own counters need from tick to tick.
#[derive(Debug)]
pub struct Own {
    /// How the configuration fares; right at first.
    pub config: ConfigState,
    offers: Needs,
    missed: Cumulative,
    failed: Cumulative,
    contradictions: Cumulative,
    turned_away: Cumulative,
    refused: BTreeMap<&'static str, Cumulative>,
    cpu: Cumulative,
    /// When the agent's process started, wall clock.
    started: Option<Ns>,
    /// Whether the log has been told that something may not be read.
    told_denied: bool,
    ledger: Ledger,
}

impl Own {
    /// `offers` is what the source in use can read at all.
    pub fn new(offers: Needs) -> Own {
        Own {
            config: ConfigState { time: None, success: true },
            offers,
            missed: Cumulative::default(),
            failed: Cumulative::default(),
            contradictions: Cumulative::default(),
            turned_away: Cumulative::default(),
            refused: BTreeMap::new(),
            cpu: Cumulative::default(),
            started: None,
            told_denied: false,
            ledger: Ledger::default(),
        }
    }

    /// Writes all of [`METRICS`] for this tick.
    pub fn write(
        &mut self,
        tick: &Tick<'_>,
        counts: ScanCounts,
        fared: &[Fared],
        registry: &Registry,
        out: &mut Samples,
    ) {
        let (snapshot, table, groups) = (tick.current, tick.host.table, tick.host.groups);
        out.set_host(&BUILD_INFO, [crate::VERSION, crate::REVISION], 1);
        out.set_host(&SCAN_TIME, [], snapshot.begun.wall.0);
        out.set_host(&SCAN_DURATION, [], snapshot.ended.mono.since(snapshot.begun.mono).0);
        out.add_host(&SCAN_MISSED, [], self.missed.step(counts.missed));
        out.add_host(&SCAN_FAILED, [], self.failed.step(counts.failed));
        for Fared { collector, up, took } in fared {
            out.set_host(&COLLECTOR_UP, [collector], u64::from(*up));
            out.set_host(&COLLECTOR_DURATION, [collector], took.0);
        }
        for (collector, field, needs) in FIELDS {
            out.set_host(&SUPPORTED, [collector, field], u64::from(self.offers.contain(needs)));
        }
        for (field, reason, count) in snapshot.errors.iter() {
            out.add_host(&ERRORS, [collector_of(field), field.as_str(), reason.as_str()], count);
        }
        self.tell_denied(&snapshot.errors);
        out.add_host(&CONTRADICTIONS, [], self.contradictions.step(table.contradictions()));
        out.set_host(&GROUPS, [], groups.len() as u64);
        out.set_host(&FOLDED, [], groups.folded() as u64);
        out.add_host(&TURNED_AWAY, [], self.turned_away.step(groups.turned_away()));
        out.set_host(&SERIES, [], registry.len() as u64);
        // All names are known, so that the first refusal is an increase.
        let collectors = procagent_collectors::ALL.iter().flat_map(|plugin| plugin.metrics);
        for desc in collectors {
            out.add_host(&SERIES_REFUSED, [desc.name], 0);
        }
        for (metric, count) in registry.refused() {
            out.add_host(&SERIES_REFUSED, [metric], self.refused.entry(metric).or_default().step(count));
        }
        if let Some(time) = self.config.time {
            out.set_host(&RELOAD_TIME, [], time.0);
        }
        out.set_host(&RELOAD_SUCCESS, [], u64::from(self.config.success));
        let counted = tick.seen().filter(|seen| seen.group != GroupId::NONE);
        let credited = counted.fold(Ns(0), |sum, seen| sum.plus(seen.delta.runtime));
        let unattributed = self.ledger.step(snapshot.host.cpu.map(|cpu| cpu.busy()), credited);
        out.add_host(&CPU_ATTRIBUTED, [], credited.0);
        if let Some(unattributed) = unattributed {
            out.add_host(&CPU_UNATTRIBUTED, [], unattributed.0);
        }
        if let Some(agent) = &snapshot.agent {
            out.add_host(&OWN_CPU, [], self.cpu.step(agent.cpu.0));
            out.set_host(&OWN_MEMORY, [], agent.resident_memory);
            out.set_host(&OWN_DESCRIPTORS, [], agent.descriptors);
            // Said once: two readings of two clocks differ by some nanoseconds, and a clock may be set.
            let started =
                *self.started.get_or_insert_with(|| tick.now.wall.since(tick.now.boot.since(agent.started)));
            out.set_host(&OWN_START, [], started.0);
        }
    }

    /// One line in the log, not one a process; the metrics and `procagent doctor` have the details.
    fn tell_denied(&mut self, errors: &FieldErrors) {
        let denied = errors.iter().filter(|(_, reason, count)| *reason == Reason::Denied && *count > 0);
        let fields: Vec<_> =
            denied.map(|(field, _, count)| format!("{} of {count}", field.as_str())).collect();
        if !self.told_denied && !fields.is_empty() {
            tracing::warn!(
                "denied by the kernel: {} processes; these values are absent and counted, `procagent doctor` says what would help",
                fields.join(", ")
            );
            self.told_denied = true;
        }
    }
}

/// Whose trouble an unreadable file is.
fn collector_of(field: Field) -> &'static str {
    match field {
        Field::HostStat | Field::Meminfo | Field::Passwd => "host",
        _ => "process",
    }
}

/// A cumulative number of ours, turned into steps for the registry.
#[derive(Clone, Copy, Debug, Default)]
struct Cumulative(u64);

impl Cumulative {
    fn step(&mut self, now: u64) -> u64 {
        let step = now.saturating_sub(self.0);
        self.0 = self.0.max(now);
        step
    }
}

/// CPU time by the host's account against what was credited to groups. The difference swings from tick to tick, for
/// the two are not read at one instant, so its high-water mark is what counts.
#[derive(Debug, Default)]
struct Ledger {
    /// Busy and attributed at the first account.
    first: Option<(Ns, Ns)>,
    attributed: Ns,
    unattributed: Ns,
}

impl Ledger {
    /// Returns by how much the high-water mark has risen; `None` where the host's account could not be read.
    fn step(&mut self, busy: Option<Ns>, credited: Ns) -> Option<Ns> {
        self.attributed = self.attributed.plus(credited);
        let busy = busy?;
        // What was credited before the first account is not part of it.
        let first = *self.first.get_or_insert((busy, self.attributed));
        let rise = busy.since(first.0).since(self.attributed.since(first.1)).since(self.unattributed);
        self.unattributed = self.unattributed.plus(rise);
        Some(rise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_sound_and_differ_from_those_of_collectors() {
        let collectors = procagent_collectors::ALL.iter().flat_map(|plugin| plugin.metrics.iter().copied());
        let mut names: Vec<String> =
            collectors.chain(METRICS.iter().copied()).map(Desc::prometheus_name).collect();
        METRICS.iter().for_each(|desc| desc.check().unwrap());
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn unattributed_is_a_high_water_mark() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.step(Some(Ns(1000)), Ns(0)), Some(Ns(0)));
        assert_eq!(ledger.step(Some(Ns(1100)), Ns(70)), Some(Ns(30)));
        assert_eq!(ledger.step(Some(Ns(1200)), Ns(120)), Some(Ns(0)), "10 are open, 30 were");
        assert_eq!(ledger.step(Some(Ns(1300)), Ns(60)), Some(Ns(20)), "50 are open");
    }

    #[test]
    fn what_is_credited_while_the_host_cannot_be_read_stays_credited() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.step(Some(Ns(1000)), Ns(0)), Some(Ns(0)));
        assert_eq!(ledger.step(None, Ns(500)), None);
        assert_eq!(ledger.step(Some(Ns(1600)), Ns(100)), Some(Ns(0)));
    }

    #[test]
    fn every_reason_has_a_label() {
        let mut labels: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        labels.dedup();
        assert_eq!(labels.len(), Reason::ALL.len());
    }
}
