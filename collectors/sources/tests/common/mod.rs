//! A made-up host: a folder whose `proc` looks like /proc.
#![allow(dead_code, reason = "each test file uses its part")]

use procagent_core::plugin::Needs;
use procagent_core::process::Pid;
use procagent_core::snapshot::{Details, Field, Reading, Reason, Snapshot, Source as _};
use procagent_core::testing::at;
use procagent_sources::{Procfs, Settings};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// The folder; gone when dropped.
pub struct Tree(TempDir);

impl Tree {
    /// A host with two CPUs, 1,000,000 kB of memory, and no process.
    pub fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.write("proc/stat", "cpu  100 1 50 900 5 0 2 3 0 0\ncpu0 1 0 0 0\ncpu1 1 0 0 0\nprocesses 77\n");
        tree.write("proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 400000 kB\nBuffers: 1 kB\nCached: 2 kB\n");
        tree.write("proc/sys/kernel/random/boot_id", "0b5a1c2e-9f31-4cf8-8a5d-001122334455\n");
        tree
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    pub fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// In place of a file: whoever opens it waits for a writer.
    pub fn fifo(&self, path: &str) {
        self.remove(path);
        rustix::fs::mkfifoat(rustix::fs::CWD, self.path(path), rustix::fs::Mode::from(0o600)).unwrap();
    }

    /// A process with all its files: 250 ms of CPU, 40 kB resident, user 1000, 3 descriptors, one thread.
    pub fn process(&self, pid: u32, comm: &str, start: u64) {
        self.write(&format!("proc/{pid}/stat"), stat(pid, comm, 20, 5, start));
        self.write(&format!("proc/{pid}/statm"), "100 10 5 1 0 20 0\n");
        self.write(&format!("proc/{pid}/status"), status(comm, 7, 8));
        self.write(&format!("proc/{pid}/schedstat"), "250000000 9000 15\n");
        self.write(&format!("proc/{pid}/smaps_rollup"), smaps_rollup(30, 5, 6, 7));
        self.write(
            &format!("proc/{pid}/io"),
            "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 0\n",
        );
        self.write(&format!("proc/{pid}/limits"), "Max open files            1024     4096     files     \n");
        self.write(&format!("proc/{pid}/cgroup"), "0::/system.slice/a.service\n");
        self.write(&format!("proc/{pid}/cmdline"), format!("/bin/{comm}\0--flag\0"));
        self.link(&format!("proc/{pid}/exe"), &format!("/bin/{comm}"));
        for descriptor in 0..3 {
            self.link(&format!("proc/{pid}/fd/{descriptor}"), "/dev/null");
        }
    }

    /// A source that takes this much time for reads that may hang.
    pub fn open(&self, read_deadline: Duration) -> Procfs {
        let root = self.0.path().to_owned();
        let settings =
            Settings { root, read_deadline, page_size: 4096, ticks_per_second: 100, ..Settings::default() };
        Procfs::open(settings).unwrap()
    }
}

/// Long enough for a loaded machine.
pub const PATIENT: Duration = Duration::from_secs(20);

/// Users 1000 and 1001, and these context switches.
pub fn status(comm: &str, voluntary: u64, involuntary: u64) -> String {
    format!(
        "Name:\t{comm}\nUid:\t1000\t1001\t1000\t1000\nvoluntary_ctxt_switches:\t{voluntary}\n\
         nonvoluntary_ctxt_switches:\t{involuntary}\n"
    )
}

/// Memory in kB.
pub fn smaps_rollup(pss: u64, clean: u64, dirty: u64, swap: u64) -> String {
    format!(
        "1000-2000 ---p 00000000 00:00 0    [rollup]\nRss: 40 kB\nPss: {pss} kB\nPrivate_Clean: {clean} kB\n\
         Private_Dirty: {dirty} kB\nSwap: {swap} kB\nSwapPss: 1 kB\n"
    )
}

/// A line of `stat` as Linux 6 writes it.
pub fn stat(pid: u32, comm: &str, user: u64, system: u64, start: u64) -> String {
    format!(
        "{pid} ({comm}) S 1 {pid} {pid} 0 -1 4194304 7 0 8 0 {user} {system} 0 0 20 -3 1 0 {start} 409600 10 \
         18446744073709551615 4096 8192 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 65536 70000 0 0 0\n"
    )
}

/// All that can be read.
pub fn scan(procfs: &mut Procfs, second: u64) -> Snapshot {
    scan_for(procfs, procfs.offers(), second)
}

pub fn scan_for(procfs: &mut Procfs, needs: Needs, second: u64) -> Snapshot {
    let mut snapshot = Snapshot { begun: at(second), ..Snapshot::default() };
    procfs.scan(needs, &mut snapshot).unwrap();
    snapshot
}

pub fn reading(snapshot: &Snapshot, pid: u32) -> &Reading {
    find(snapshot, pid).unwrap_or_else(|| panic!("no process {pid}"))
}

pub fn find(snapshot: &Snapshot, pid: u32) -> Option<&Reading> {
    snapshot.processes.iter().find(|reading| reading.id.pid == Pid(pid))
}

pub fn details(snapshot: &Snapshot, pid: u32) -> Vec<&Details> {
    snapshot.details.iter().filter(|details| details.id.pid == Pid(pid)).collect()
}

pub fn args(details: &Details) -> Option<Vec<String>> {
    let argv = details.argv.as_ref()?;
    Some(argv.args().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
}

/// What was counted.
pub fn errors(snapshot: &Snapshot) -> Vec<(Field, Reason, u64)> {
    snapshot.errors.iter().filter(|(_, _, count)| *count > 0).collect()
}

/// Says that a test could not run, where people and `tests/run` see it.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIP {test}: {why}");
    eprintln!("{line}");
    if let Some(file) = std::env::var_os("PROCAGENT_SKIPS") {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}
