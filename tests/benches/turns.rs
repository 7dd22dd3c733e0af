//! What is read in turns costs: proportional memory (smaps) and threads, as CPU time of the whole process, readers
//! included; beside it a bare loop over the same files. Crowds of idle processes, and of idle processes with ten
//! threads each.
//!
//! `cargo bench -p procagent-tests --bench turns`; exits with 1 where a round takes more than its budget.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and the files itself")]

use procagent_core::plugin::Needs;
use procagent_core::snapshot::{Budgets, Smaps, Snapshot, Source as _};
use procagent_core::time::Ns;
use procagent_sources::procfs::{Procfs, Settings};
use procagent_tests::crowd::crowd;
use procagent_tests::system::{Program, command};
use rustix::time::{ClockId, clock_gettime};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

const INTERVAL: Ns = Ns::from_secs(5);
/// Scans in a round of memory.
const SCANS: u32 = 12;
/// Set in the processes of the crowd that have threads.
const CROWD: &str = "PROCAGENT_BENCH_THREADS";
const THREADS: usize = 10;

fn main() -> ExitCode {
    if std::env::var_os(CROWD).is_some() {
        for _ in 1..THREADS {
            std::thread::Builder::new().stack_size(64 << 10).spawn(std::thread::park).unwrap();
        }
        loop {
            std::thread::park();
        }
    }
    let single = crowd(3_000);
    let pids: Vec<u32> = single.iter().map(Program::pid).collect();
    println!("3,000 processes of one thread");
    let kept_budget = memory(&pids);
    threads(&pids);
    drop(single);
    let itself = std::env::current_exe().unwrap();
    let many = || {
        let mut command = command(&itself);
        Program::start(command.env(CROWD, "1").stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let many: Vec<Program> = (0..300).map(|_| many()).collect();
    std::thread::sleep(Duration::from_secs(2));
    println!("300 processes of {THREADS} threads");
    threads(&many.iter().map(Program::pid).collect::<Vec<_>>());
    if kept_budget { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A source, and what it scans.
struct Bench {
    procfs: Procfs,
    snapshot: Snapshot,
    needs: Needs,
}

impl Bench {
    fn new(needs: Needs, budgets: Budgets) -> Bench {
        let clock = || Ns(nanoseconds(ClockId::Monotonic));
        let mut procfs = Procfs::open(Settings { clock, ..Settings::default() }).unwrap();
        procfs.set_budgets(budgets);
        let needs = needs | Needs::IO | Needs::MEMORY | Needs::DESCRIPTORS | Needs::HOST | Needs::DETAILS;
        let mut snapshot = Snapshot::default();
        snapshot.begun.mono = Ns::from_secs(1000);
        Bench { procfs, snapshot, needs }
    }

    fn scan(&mut self) {
        self.snapshot.clear();
        self.snapshot.begun.mono = self.snapshot.begun.mono.plus(INTERVAL);
        self.procfs.scan(self.needs, &mut self.snapshot).unwrap();
    }

    /// Microseconds of CPU of all threads that a round of scans takes.
    fn round(&mut self) -> f64 {
        cpu_of(|| (0..SCANS).for_each(|_| self.scan()))
    }

    /// How many processes have a reading of their memory.
    fn mapped(&self) -> usize {
        let read = |smaps| matches!(smaps, Smaps::Read(_));
        self.snapshot.processes.iter().filter(|reading| read(reading.smaps)).count()
    }

    fn with_switches(&self) -> usize {
        let all = &self.snapshot.processes;
        all.iter().filter(|reading| reading.usage.context_switches.is_some()).count()
    }
}

/// Whether a round of reading memory stays within its budget.
fn memory(pids: &[u32]) -> bool {
    let count = pids.len() as f64;
    let (mut without, mut with) =
        (Bench::new(Needs::NOTHING, Budgets::default()), Bench::new(Needs::SMAPS, Budgets::default()));
    let (mut plain, mut more) = (Vec::new(), Vec::new());
    without.round();
    with.scan();
    println!("  smaps: {} have a reading after the first scan", with.mapped());
    with.round();
    println!("  smaps: {} have one after a round of {SCANS} scans", with.mapped());
    for _ in 0..5 {
        plain.push(without.round());
        more.push(with.round());
    }
    println!("  smaps: {} have one after 6 rounds", with.mapped());
    let (plain, more) = (median(&mut plain), median(&mut more));
    let scans = count * f64::from(SCANS);
    println!(
        "  smaps: a scan costs {:.2} us per process without, {:.2} with: {:.1} ms more in a round, budget 50 ms",
        plain / scans,
        more / scans,
        (more - plain) / 1e3
    );
    // Without a budget: what one reading costs.
    let unbounded = Budgets { smaps: Ns::from_secs(3600), ..Budgets::default() };
    let mut all = Bench::new(Needs::SMAPS, unbounded);
    let mut none = Bench::new(Needs::NOTHING, unbounded);
    let (first, base) = (cpu_of(|| all.scan()), cpu_of(|| none.scan()));
    let bare = cpu_of(|| {
        for pid in pids {
            let _text = std::fs::read(format!("/proc/{pid}/smaps_rollup"));
        }
    });
    let ours = (first - base) / all.mapped() as f64;
    println!(
        "  smaps: one reading costs {ours:.1} us, {:.2} x a bare open, read, close",
        ours / (bare / count)
    );
    // Half as much again for handing the readings over.
    more - plain < 75_000.0
}

fn threads(pids: &[u32]) {
    let mut without = Bench::new(Needs::NOTHING, Budgets::default());
    let mut with = Bench::new(Needs::THREADS, Budgets::default());
    let (first, base) = (cpu_of(|| with.scan()), cpu_of(|| without.scan()));
    println!(
        "  threads: the first scan takes {:.1} ms more; {} of {} are known after it",
        (first - base) / 1e3,
        with.with_switches(),
        with.snapshot.processes.len()
    );
    (0..SCANS).for_each(|_| without.scan());
    with.round();
    println!("  threads: {} are known after {SCANS} scans more", with.with_switches());
    let (mut plain, mut more) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        plain.push(without.round());
        more.push(with.round());
    }
    let scans = pids.len() as f64 * f64::from(SCANS);
    let (plain, more) = (median(&mut plain) / scans, median(&mut more) / scans);
    let mut count = 0;
    let bare = cpu_of(|| {
        for pid in pids {
            for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
                let _text = std::fs::read(task.unwrap().path().join("schedstat"));
                count += 1;
            }
        }
    });
    let bare = bare / pids.len() as f64;
    // Idle processes are read every 30 seconds, that is in every sixth scan.
    println!(
        "  threads: a scan costs {plain:.2} us per process without, {more:.2} with; of {count} threads, all read in \
         six scans, {:.2} x a bare loop over their schedstat",
        (more - plain) * 6.0 / bare
    );
}

/// Microseconds of CPU that all threads of this process take for it.
fn cpu_of(work: impl FnOnce()) -> f64 {
    let before = nanoseconds(ClockId::ProcessCPUTime);
    work();
    (nanoseconds(ClockId::ProcessCPUTime) - before) as f64 / 1e3
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
