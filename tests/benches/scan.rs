//! What a scan costs: CPU time of the scanning thread per process, against a bare loop that lists /proc and reads
//! the same files, kept open or opened as the scan does. Crowds of idle processes; several rounds in turn; medians.
//!
//! `cargo bench -p procagent-tests --bench scan`; exits with 1 where a budget is broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use procagent_core::plugin::Needs;
use procagent_core::snapshot::{Snapshot, Source as _};
use procagent_core::time::Ns;
use procagent_sources::procfs::{Procfs, Settings, parse};
use procagent_tests::crowd::crowd;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek, statat};
use rustix::io::pread;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::CStr;
use std::io::Write as _;
use std::process::ExitCode;

/// Scans in a round: 30 seconds at the default interval, so that every value is read again once.
const SCANS: u32 = 6;
const INTERVAL: Ns = Ns::from_secs(5);
const ROUNDS: usize = 9;

/// Crowd and the most that the scan may cost, as a multiple of the bare loop.
const BUDGETS: [(usize, Option<f64>); 3] = [(300, None), (3_000, Some(1.25)), (10_000, Some(1.6))];

fn main() -> ExitCode {
    let mut broken = false;
    let mut processes = Vec::new();
    println!("{:>9} {:>8} {:>12} {:>12} {:>6}  budget", "processes", "needs", "scan ns", "bare ns", "ratio");
    for (size, budget) in BUDGETS {
        processes.extend(crowd(size - processes.len()));
        for all in [true, false] {
            let (scan, bare, ratio, count) = measure(all);
            let needs = if all { "all" } else { "nothing" };
            let verdict = match budget {
                Some(budget) if ratio > budget => {
                    broken = true;
                    format!("<= {budget} BROKEN")
                }
                Some(budget) => format!("<= {budget}"),
                None => String::new(),
            };
            println!("{count:>9} {needs:>8} {scan:>12.0} {bare:>12.0} {ratio:>6.2}  {verdict}");
        }
    }
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Nanoseconds per process and scan of ours, of the bare loop, the median of their ratios, and the processes.
fn measure(all: bool) -> (f64, f64, f64, usize) {
    let mut procfs = Procfs::open(Settings::default()).unwrap();
    // What is read in turns has a bench of its own, turns.rs.
    let every_scan =
        Needs::IO | Needs::MEMORY | Needs::DESCRIPTORS | Needs::USERS | Needs::HOST | Needs::DETAILS;
    let needs = if all { every_scan } else { Needs::NOTHING };
    let mut snapshot = Snapshot::default();
    let mut scans = |procfs: &mut Procfs| {
        for _ in 0..SCANS {
            snapshot.clear();
            snapshot.begun.mono = snapshot.begun.mono.plus(INTERVAL);
            procfs.scan(needs, &mut snapshot).unwrap();
        }
        snapshot.processes.len()
    };
    // Descriptors are kept from second sight on, and first refreshes are spread.
    scans(&mut procfs);
    let count = scans(&mut procfs);
    let mut bare = Bare::new(procfs.kept_descriptors(), all);
    bare.scans();
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let mut ratios = Vec::new();
    let per_process = 1.0 / f64::from(SCANS) / count as f64;
    for _ in 0..ROUNDS {
        let one = cpu_of(|| scans(&mut procfs)) * per_process;
        let other = cpu_of(|| bare.scans()) * per_process;
        ours.push(one);
        theirs.push(other);
        ratios.push(one / other);
    }
    (median(&mut ours), median(&mut theirs), median(&mut ratios), count)
}

/// Nanoseconds of CPU that this thread takes for it.
fn cpu_of<T>(work: impl FnOnce() -> T) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let before = now();
    work();
    now() - before
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Lists /proc and reads, no more: what a loop in C would do for a crowd that stays as it is.
struct Bare {
    proc: OwnedFd,
    processes: Vec<Files>,
    all: bool,
    scans: u32,
    buffer: Vec<u8>,
    listing: Vec<u8>,
}

struct Files {
    pid: u32,
    of_kernel: bool,
    stat: Option<OwnedFd>,
    others: [Option<OwnedFd>; OTHERS.len()],
}

/// Kept open where there is room; opened each time: `limits`. Of `fd` the size is read.
const OTHERS: [&str; 3] = ["statm", "io", "status"];

impl Bare {
    /// Keeps as many descriptors as the scan did: `stat` first.
    fn new(room: usize, all: bool) -> Bare {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::openat(CWD, c"/proc", flags, Mode::empty()).unwrap();
        let (buffer, listing) = (vec![0; 4096], Vec::with_capacity(32 << 10));
        let mut bare = Bare { proc, processes: Vec::new(), all, scans: 0, buffer, listing };
        let mut pids = Vec::new();
        bare.list(|pid| pids.push(pid));
        let mut left = room;
        for &pid in &pids {
            let Ok(stat) = bare.open(pid, "stat") else { continue };
            let length = pread(&stat, &mut bare.buffer[..], 0).unwrap();
            let of_kernel = parse::stat(&bare.buffer[..length]).unwrap().kernel_thread();
            let stat = (left > 0).then_some(stat);
            left = left.saturating_sub(1);
            bare.processes.push(Files { pid, of_kernel, stat, others: [None, None, None] });
        }
        for index in 0..bare.processes.len() {
            for (other, name) in OTHERS.into_iter().enumerate() {
                if left > 0 && all && !bare.processes[index].of_kernel {
                    bare.processes[index].others[other] = bare.open(bare.processes[index].pid, name).ok();
                    left -= 1;
                }
            }
        }
        bare
    }

    fn scans(&mut self) {
        for _ in 0..SCANS {
            let mut count = 0;
            self.list(|_| count += 1);
            assert!(count > 0);
            for process in &self.processes {
                read(&self.proc, process.stat.as_ref(), process.pid, "stat", &mut self.buffer);
                if !self.all || process.of_kernel || process.pid % SCANS != self.scans % SCANS {
                    continue;
                }
                for (file, name) in process.others.iter().zip(OTHERS) {
                    read(&self.proc, file.as_ref(), process.pid, name, &mut self.buffer);
                }
                read(&self.proc, None, process.pid, "limits", &mut self.buffer);
                let _gone = statat(&self.proc, path(process.pid, "fd").as_c_str(), AtFlags::empty());
            }
            self.scans += 1;
        }
    }

    fn list(&mut self, mut each: impl FnMut(u32)) {
        seek(&self.proc, SeekFrom::Start(0)).unwrap();
        let mut entries = RawDir::new(&self.proc, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.unwrap();
            let number =
                std::str::from_utf8(entry.file_name().to_bytes()).ok().and_then(|name| name.parse().ok());
            number.into_iter().for_each(&mut each);
        }
    }

    fn open(&self, pid: u32, file: &str) -> rustix::io::Result<OwnedFd> {
        openat(&self.proc, path(pid, file).as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }
}

fn read(proc: &OwnedFd, kept: Option<&OwnedFd>, pid: u32, file: &str, buffer: &mut [u8]) {
    // What cannot be read, such as io of process 1, costs the attempt.
    let _length = match kept {
        Some(kept) => pread(kept, buffer, 0),
        None => openat(proc, path(pid, file).as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|open| pread(&open, buffer, 0)),
    };
}

/// A path on the stack, as a C program has it.
struct PathBuffer([u8; 24]);

fn path(pid: u32, file: &str) -> PathBuffer {
    let mut bytes = [0; 24];
    write!(&mut bytes[..], "{pid}/{file}").unwrap();
    PathBuffer(bytes)
}

impl PathBuffer {
    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap()
    }
}
