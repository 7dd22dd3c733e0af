//! The judge: takes one scan after the other, keeps the table, runs the collectors, and freezes what outputs show.
//! A collector that fails, panics or is too slow costs only its own series.

use crate::explanation::Explanation;
use crate::own::{ConfigState, Fared, Own, ScanCounts};
use procagent_core::Error;
use procagent_core::group::{GroupId, Groups, Settings};
use procagent_core::plugin::{Collector, Host, Needs, Origin, Tick};
use procagent_core::process::Pid;
use procagent_core::registry::{Families, Registry, Samples};
use procagent_core::snapshot::{Budgets, Snapshot};
use procagent_core::table::Table;
use procagent_core::time::{Ns, Timestamp};
use serde::Serialize;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Under this name the agent's own series are committed.
const OWN: &str = "agent";

/// After a run that was too slow, a collector rests for this many times as long; after a panic, for this many
/// intervals.
const REST: u64 = 10;

/// The bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Ended processes.
    pub remember: usize,
    /// Series.
    pub series: usize,
    /// A collector that takes longer is too slow: the interval.
    pub collector: Ns,
}

/// How processes are grouped.
#[derive(Clone, Debug, Default)]
pub struct Grouping {
    /// The rules and all else.
    pub settings: Settings,
    /// Where each rule came from, in the words of the configuration.
    pub origins: Vec<String>,
    /// Whether the agent is to end when an expected group has failed.
    pub exit_on_failed: bool,
}

impl From<Settings> for Grouping {
    /// With rules from nowhere.
    fn from(settings: Settings) -> Grouping {
        Grouping { settings, ..Grouping::default() }
    }
}

/// Another configuration for a judge that runs.
pub struct Change {
    /// The new bounds.
    pub limits: Limits,
    /// How much time the source may take for what costs most.
    pub budgets: Budgets,
    /// Another grouping, if it is another one.
    pub grouping: Option<Grouping>,
    /// Collectors to exchange, by name: for a new one, or for none. Others keep their state.
    pub collectors: Vec<(&'static str, Option<Box<dyn Collector>>)>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Living processes.
    pub processes: usize,
    /// Groups that have series.
    pub groups: usize,
    /// Groups with members that count in `other`, for want of room.
    pub folded: usize,
    /// Series.
    pub series: usize,
}

/// See the module.
pub struct Judge {
    table: Table,
    groups: Groups,
    origins: Vec<String>,
    exit_on_failed: bool,
    registry: Registry,
    samples: Samples,
    collectors: Vec<Running>,
    fared: Vec<Fared>,
    own: Own,
    previous: Option<Timestamp>,
    clock: fn() -> Timestamp,
    limits: Limits,
}

/// A collector and how it fares.
struct Running {
    name: &'static str,
    collector: Box<dyn Collector>,
    state: State,
    took: Ns,
    /// For so many ticks more, counters that it does not write end: after a change of its settings they would stand
    /// still for ever. More than one tick, for a scan may have been under way with the old settings.
    changed: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Failed,
    /// Too slow, or panicked; not run again before this time on the monotonic clock.
    Resting(Ns),
}

impl Judge {
    /// `offers` is what the source can read; `clock` is [`crate::clock::now`] but in tests.
    pub fn new(
        collectors: Vec<(&'static str, Box<dyn Collector>)>,
        grouping: Grouping,
        limits: Limits,
        offers: Needs,
        ticks_per_second: u64,
        clock: fn() -> Timestamp,
    ) -> Judge {
        let mut registry = Registry::new(limits.series);
        registry.exempt(OWN);
        Judge {
            table: Table::new(limits.remember, ticks_per_second),
            groups: Groups::new(grouping.settings),
            origins: grouping.origins,
            exit_on_failed: grouping.exit_on_failed,
            registry,
            samples: Samples::default(),
            collectors: collectors
                .into_iter()
                .map(|(name, collector)| Running::new(name, collector))
                .collect(),
            fared: Vec::new(),
            own: Own::new(offers),
            previous: None,
            clock,
            limits,
        }
    }

    /// What has to be read for all of them together.
    pub fn needs(&self) -> Needs {
        let all = self.collectors.iter().map(|running| running.collector.needs());
        // The ledger of the agent's own numbers needs the host, and names of groups need details.
        all.fold(Needs::HOST | self.groups.needs(), |all, needs| all | needs)
    }

    /// Says how the configuration fares, for the agent's own numbers.
    pub fn set_config_state(&mut self, state: ConfigState) {
        self.own.config = state;
    }

    /// Goes on under another configuration. Counters of groups and collectors that stay are kept.
    pub fn change(&mut self, change: Change) {
        let Change { limits, grouping, collectors, budgets: _ } = change;
        self.limits = limits;
        self.table.set_remember(limits.remember);
        self.registry.set_limit(limits.series);
        if let Some(Grouping { settings, origins, exit_on_failed }) = grouping {
            (self.origins, self.exit_on_failed) = (origins, exit_on_failed);
            let ended = self.groups.reload(settings);
            ended.into_iter().for_each(|group| self.registry.end_group(group));
            self.table.regroup_all();
        }
        for (name, collector) in collectors {
            self.collectors.retain(|running| running.name != name);
            match collector {
                Some(collector) => {
                    self.collectors.push(Running { changed: 3, ..Running::new(name, collector) });
                }
                None => self.registry.end_plugin(name),
            }
        }
    }

    /// How much there is after the last scan.
    pub fn standing(&self) -> Standing {
        Standing {
            processes: self.table.len(),
            groups: self.groups.len(),
            folded: self.groups.folded(),
            series: self.registry.len(),
        }
    }

    /// Samples that found no room below the bound on series.
    pub fn refused(&self) -> u64 {
        self.registry.refused().map(|(_, count)| count).sum()
    }

    /// The expected group that has failed, where the agent is to end for that.
    pub fn fatal(&self) -> Option<String> {
        let failed = |group: &GroupId| self.groups.health(*group).is_some_and(|health| health.failed);
        let group = Some(self.groups.ids()).filter(|_| self.exit_on_failed)?.find(failed)?;
        self.groups.labels(group).map(|labels| labels.name().to_owned())
    }

    /// What is known of a living process, and where it counts; `None` when the last scan saw no such process.
    pub fn explain(&self, pid: Pid) -> Option<Explanation> {
        let process = self.table.living(pid)?;
        let mut explanation = Explanation::of(process, self.table.users());
        if let Some(place) = self.groups.explain(&self.table, process.id) {
            let counts_in = self.groups.labels(place.counts_in).map(|labels| &**labels);
            explanation.add_place(&place, counts_in, &self.origins);
            explanation.add_series(self.registry.series_of(place.counts_in));
        }
        Some(explanation)
    }

    /// Takes in one scan.
    pub fn tick(&mut self, snapshot: &Snapshot, counts: ScanCounts) -> Families {
        let now = snapshot.begun;
        let since = self.previous.unwrap_or(now);
        self.table.merge(snapshot);
        self.table.assign(&mut self.groups, now.mono);
        for group in self.groups.settle(&self.table, snapshot) {
            self.registry.end_group(group);
        }
        let host = Host { table: &self.table, groups: &self.groups, origin: Origin::Live };
        let tick = Tick { host, now, previous: self.previous, current: snapshot };
        self.fared.clear();
        for running in &mut self.collectors {
            self.samples.begin(running.name, since);
            let up = running.run(&tick, &mut self.samples, self.limits.collector, self.clock);
            if up {
                self.registry.commit(&mut self.samples);
                if running.changed > 0 {
                    running.changed -= 1;
                    self.registry.end_unwritten(running.name);
                }
            } else {
                self.registry.end_plugin(running.name);
            }
            self.fared.push(Fared { collector: running.name, up, took: running.took });
        }
        self.samples.begin(OWN, since);
        self.own.write(&tick, counts, &self.fared, &self.registry, &mut self.samples);
        self.registry.commit(&mut self.samples);
        self.previous = Some(now);
        self.registry.freeze(&self.groups, now)
    }
}

impl Running {
    fn new(name: &'static str, collector: Box<dyn Collector>) -> Running {
        Running { name, collector, state: State::Up, took: Ns(0), changed: 0 }
    }

    /// Whether what it wrote may be used. Says in the log when it begins and ceases to fail, not each time.
    fn run(&mut self, tick: &Tick<'_>, out: &mut Samples, limit: Ns, clock: fn() -> Timestamp) -> bool {
        let begun = clock().mono;
        if matches!(self.state, State::Resting(until) if begun < until) {
            return false;
        }
        // Unwinding may leave the collector's own state torn; it gets its chance again at the next tick, and its
        // series start anew.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.collector.collect(tick, out)));
        let ended = clock().mono;
        self.took = ended.since(begun);
        let rest = |after: Ns| State::Resting(ended.plus(Ns(after.0.saturating_mul(REST))));
        let (state, trouble) = match outcome {
            Err(panic) => (rest(limit), Some(format!("panicked: {}", panic_text(&*panic)))),
            _ if self.took > limit => (
                rest(self.took),
                Some(format!("took {:.3} s, longer than the interval", self.took.as_secs_f64())),
            ),
            Ok(Err(error)) => (State::Failed, Some(describe(&error))),
            Ok(Ok(())) => (State::Up, None),
        };
        let was = std::mem::replace(&mut self.state, state);
        match &trouble {
            Some(text) if was == State::Up => {
                tracing::error!(collector = self.name, "collector failed, its series end: {text}");
            }
            None if was != State::Up => tracing::info!(collector = self.name, "collector works again"),
            _ => {}
        }
        trouble.is_none()
    }
}

/// An error with everything below it.
pub fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::metric::{Gauge, Unit};
    use procagent_core::testing::{at, reading, snapshot, value};
    use std::sync::atomic::{AtomicU64, Ordering};

    static STEADY: Gauge<0> = Gauge::per_host("test.steady", Unit::Count("thing"), &[], "Works");
    static SHAKY: Gauge<0> = Gauge::per_host("test.shaky", Unit::Count("thing"), &[], "Works at times");

    /// A clock that tests move; each test has its own, for they run at the same time.
    macro_rules! clock {
        ($name:ident) => {
            static $name: AtomicU64 = AtomicU64::new(0);
        };
    }

    struct Steady;
    impl Collector for Steady {
        fn needs(&self) -> Needs {
            Needs::NOTHING
        }
        fn collect(&mut self, _: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
            out.set_host(&STEADY, [], 1);
            Ok(())
        }
    }

    struct Shaky<F>(F);
    impl<F: FnMut() -> Result<(), Error> + Send> Collector for Shaky<F> {
        fn needs(&self) -> Needs {
            Needs::IO
        }
        fn collect(&mut self, _: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
            out.set_host(&SHAKY, [], 1);
            self.0()
        }
    }

    fn judge(shaky: impl FnMut() -> Result<(), Error> + Send + 'static, clock: fn() -> Timestamp) -> Judge {
        let limits = Limits { remember: 10, series: 1000, collector: Ns::from_secs(5) };
        let grouping = Settings::bounded(10, Ns::from_secs(60)).into();
        let collectors: Vec<(_, Box<dyn Collector>)> =
            vec![("shaky", Box::new(Shaky(shaky))), ("steady", Box::new(Steady))];
        Judge::new(collectors, grouping, limits, Needs::NOTHING, 100, clock)
    }

    /// The values of both collectors and of `procagent.collector.up` of the shaky one.
    fn tick(judge: &mut Judge, second: u64) -> (Option<u64>, Option<u64>, Option<u64>) {
        let families = judge.tick(&snapshot(second, [(reading(1, 0), "init")]), ScanCounts::default());
        (
            value(&families, "test.steady", &[]),
            value(&families, "test.shaky", &[]),
            value(&families, "procagent.collector.up", &[("collector", "shaky")]),
        )
    }

    #[test]
    fn failure_plugin_error_costs_only_its_own_series() {
        let mut calls = 0;
        let fails_second = move || {
            calls += 1;
            if calls == 2 { Err("no luck".into()) } else { Ok(()) }
        };
        let mut judge = judge(fails_second, || at(0));
        assert_eq!(tick(&mut judge, 5), (Some(1), Some(1), Some(1)));
        assert_eq!(tick(&mut judge, 10), (Some(1), None, Some(0)));
        assert_eq!(tick(&mut judge, 15), (Some(1), Some(1), Some(1)));
    }

    #[test]
    fn failure_plugin_panic_costs_only_its_own_series() {
        let mut judge = judge(|| panic!("on purpose"), || at(0));
        assert_eq!(tick(&mut judge, 5), (Some(1), None, Some(0)));
        assert_eq!(tick(&mut judge, 10), (Some(1), None, Some(0)));
    }

    #[test]
    fn failure_plugin_slow_rests_and_comes_back() {
        clock!(NOW);
        let mut slow = true;
        let takes_three_intervals_once = move || {
            if std::mem::take(&mut slow) {
                NOW.fetch_add(15, Ordering::Relaxed);
            }
            Ok(())
        };
        let mut judge = judge(takes_three_intervals_once, || at(NOW.load(Ordering::Relaxed)));
        assert_eq!(tick(&mut judge, 5), (Some(1), None, Some(0)));
        NOW.store(100, Ordering::Relaxed);
        assert_eq!(tick(&mut judge, 100), (Some(1), None, Some(0)), "rests for 150 s");
        NOW.store(165, Ordering::Relaxed);
        assert_eq!(tick(&mut judge, 165), (Some(1), Some(1), Some(1)));
    }

    #[test]
    fn the_agents_own_series_are_there_however_small_the_limit() {
        let mut judge = judge(|| Ok(()), || at(0));
        judge.registry.set_limit(1);
        assert_eq!(tick(&mut judge, 5), (None, Some(1), Some(1)));
        let families = judge.tick(&snapshot(10, []), ScanCounts::default());
        assert_eq!(value(&families, "procagent.series", &[]), Some(1));
        assert_eq!(value(&families, "procagent.series.refused", &[("metric", "test.steady")]), Some(2));
    }

    #[test]
    fn reads_only_what_someone_needs() {
        let judge = judge(|| Ok(()), || at(0));
        assert!(judge.needs().contain(Needs::IO | Needs::HOST));
        assert!(!judge.needs().contain(Needs::DESCRIPTORS));
    }
}
