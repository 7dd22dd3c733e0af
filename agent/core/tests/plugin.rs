//! What a tick says of time: collectors divide by what was measured, never by what was configured.

use procagent_core::Error;
use procagent_core::group::{Groups, Settings};
use procagent_core::metric::{Counter, Unit};
use procagent_core::plugin::{Collector, Host, Needs, Origin, Tick};
use procagent_core::registry::Samples;
use procagent_core::table::Table;
use procagent_core::testing::{Bench, at, reading, snapshot, used};
use procagent_core::time::{Ns, Timestamp};

static SEEN: Counter<0> = Counter::per_group("test.seen", Unit::Count("process"), &[], "Processes");

/// Keeps what each tick said of the CPU time of the only process: the time passed, and the rate.
#[derive(Default)]
struct Rates(Vec<(Option<Ns>, Option<f64>)>);

impl Collector for Rates {
    fn needs(&self) -> Needs {
        Needs::NOTHING
    }

    fn collect(&mut self, tick: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
        for seen in tick.seen() {
            self.0.push((tick.elapsed(), tick.per_second(seen.delta.runtime.0)));
            out.add(&SEEN, seen.group, [], 1);
        }
        Ok(())
    }
}

/// One process that uses half a second of CPU a second, scanned at these times.
fn rates(scans: impl IntoIterator<Item = Timestamp>) -> Vec<(Option<Ns>, Option<f64>)> {
    let mut bench = Bench::default();
    let mut rates = Rates::default();
    for now in scans {
        let half = Ns(now.mono.0 / 2);
        let mut snapshot = snapshot(0, [(used(reading(50, 100), half), "steady")]);
        (snapshot.begun, snapshot.ended) = (now, now);
        bench.tick(&mut rates, &snapshot);
    }
    rates.0
}

/// Half a second of CPU a second, in nanoseconds a second.
const HALF: Option<f64> = Some(0.5e9);

fn seconds(seconds: u64) -> Option<Ns> {
    Some(Ns::from_secs(seconds))
}

/// a7: scans of every 5 s, the third 55 s late, the last one early.
#[test]
fn sp_rate_uses_elapsed_of_a_late_scan() {
    let rates = rates([10, 15, 20, 80, 85, 86].map(at));
    assert_eq!(rates[0], (None, None), "one sample makes no rate: absent, not 0");
    let passed = [5, 5, 60, 5, 1].map(|passed| (seconds(passed), HALF));
    assert_eq!(rates[1..], passed);
}

/// a7: the wall clock jumps back and ahead, and a suspend moves the clock of process start times.
#[test]
fn a7_only_the_monotonic_clock_counts() {
    let jumps: [(u64, i64, u64); 5] =
        [(10, 0, 0), (15, -3600, 0), (20, 86_400, 0), (25, 0, 7200), (30, 0, 7200)];
    let scans = jumps.map(|(second, wall, boot)| {
        let mut now = at(second);
        now.wall = Ns(now.wall.0.saturating_add_signed(wall * 1_000_000_000));
        now.boot = now.boot.plus(Ns::from_secs(boot));
        now
    });
    assert_eq!(rates(scans)[1..], [(seconds(5), HALF); 4]);
}

/// Two scans at one time, and a clock that went back, which CLOCK_MONOTONIC never does: no rate, rather than an
/// infinite or a negative one.
#[test]
fn no_time_gives_no_rate() {
    let (table, groups) = (Table::new(10, 10), Groups::new(Settings::bounded(10, Ns::from_secs(60))));
    let current = snapshot(20, []);
    for previous in [None, Some(at(20)), Some(at(21))] {
        let host = Host { table: &table, groups: &groups, origin: Origin::Live };
        let tick = Tick { host, now: at(20), previous, current: &current };
        assert_eq!((tick.elapsed(), tick.per_second(7)), (None, None), "{previous:?}");
    }
}

/// Nothing happened is a rate of 0; nothing known is none.
#[test]
fn a_delta_of_0_is_a_rate_of_0() {
    let (table, groups) = (Table::new(10, 10), Groups::new(Settings::bounded(10, Ns::from_secs(60))));
    let current = snapshot(20, []);
    let host = Host { table: &table, groups: &groups, origin: Origin::Live };
    let tick = Tick { host, now: at(20), previous: Some(at(18)), current: &current };
    assert_eq!((tick.per_second(0), tick.per_second(3)), (Some(0.0), Some(1.5)));
}
