//! A made-up host: a folder whose `proc` looks like /proc. Processes come, change and go as a test says.
//!
//! The source opens files of such a tree anew at each scan; it keeps only those of a real /proc open. What depends
//! on kept descriptors is tested with real processes.

use crate::system::{link, write};
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Bytes of a page; `statm` counts in these.
const PAGE: u64 = 4096;

/// The host.
#[derive(Debug)]
pub struct FakeHost {
    directory: TempDir,
}

/// A process as /proc shows it. Times in clock ticks of 10 ms.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields of proc(5)")]
pub struct FakeProcess {
    pub pid: u32,
    pub parent: u32,
    pub comm: Vec<u8>,
    pub state: char,
    /// Ticks since boot.
    pub start: u64,
    pub user: u64,
    pub system: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub threads: u32,
    pub nice: i8,
    pub kernel_thread: bool,
    pub exe: Option<String>,
    pub argv: Vec<Vec<u8>>,
    pub uid: u32,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub descriptors: u32,
    /// Where its code begins; another value tells that it has called exec.
    pub start_code: u64,
}

impl FakeProcess {
    /// A process of /usr/bin/`name`, child of 1, that has used nothing.
    pub fn new(pid: u32, name: &str) -> FakeProcess {
        let exe = format!("/usr/bin/{name}");
        FakeProcess {
            pid,
            parent: u32::from(pid != 1),
            comm: name.as_bytes()[..name.len().min(15)].to_vec(),
            state: 'S',
            start: 100 + u64::from(pid),
            user: 0,
            system: 0,
            minor_faults: 0,
            major_faults: 0,
            threads: 1,
            nice: 0,
            kernel_thread: false,
            argv: vec![exe.clone().into_bytes()],
            exe: Some(exe),
            uid: 0,
            resident_bytes: 10 * PAGE,
            virtual_bytes: 100 * PAGE,
            read_bytes: 0,
            write_bytes: 0,
            descriptors: 3,
            start_code: 0x40_0000,
        }
    }

    /// Begun at this tick.
    #[must_use]
    pub fn start(mut self, ticks: u64) -> FakeProcess {
        self.start = ticks;
        self
    }

    /// Having used this many ticks in user and in kernel mode.
    #[must_use]
    pub fn cpu(mut self, user: u64, system: u64) -> FakeProcess {
        (self.user, self.system) = (user, system);
        self
    }

    /// With this parent.
    #[must_use]
    pub fn parent(mut self, pid: u32) -> FakeProcess {
        self.parent = pid;
        self
    }

    /// A thread of the kernel.
    #[must_use]
    pub fn of_kernel(mut self) -> FakeProcess {
        self.kernel_thread = true;
        (self.exe, self.argv) = (None, Vec::new());
        (self.resident_bytes, self.virtual_bytes, self.descriptors, self.start_code) = (0, 0, 0, 0);
        self
    }

    /// It has called exec: the same process runs another program.
    #[must_use]
    pub fn exec(mut self, name: &str) -> FakeProcess {
        let other = FakeProcess::new(self.pid, name);
        (self.comm, self.exe, self.argv) = (other.comm, other.exe, other.argv);
        self.start_code ^= 0x10_0000;
        self
    }

    /// Called this by its own will, in `comm` and in its arguments, with a program of that name.
    #[must_use]
    pub fn called(mut self, name: &[u8]) -> FakeProcess {
        self.comm = name[..name.len().min(15)].to_vec();
        self.argv = vec![name.to_vec()];
        self.exe = None;
        self
    }

    fn stat(&self) -> Vec<u8> {
        // PF_KTHREAD, linux/sched.h.
        let flags = if self.kernel_thread { 0x20_0040 } else { 0x40_0000 };
        let mut line = format!("{} (", self.pid).into_bytes();
        line.extend_from_slice(&self.comm);
        let argv_bytes: usize = self.argv.iter().map(|arg| arg.len() + 1).sum();
        let arg_start = self.start_code + 0x7f00_0000;
        let rest = [
            // 3 to 13: state, ppid, pgrp, session, tty_nr, tpgid, flags, minflt, cminflt, majflt, cmajflt
            format!("{} {} {} {} 0 -1", self.state, self.parent, self.pid, self.pid),
            format!("{flags} {} 0 {} 0", self.minor_faults, self.major_faults),
            // 14 to 22: utime, stime, cutime, cstime, priority, nice, num_threads, itrealvalue, starttime
            format!("{} {} 0 0", self.user, self.system),
            format!("{} {} {} 0 {}", 20 + i32::from(self.nice), self.nice, self.threads, self.start),
            // 23 to 28: vsize, rss, rsslim, startcode, endcode, startstack
            format!("{} {} 18446744073709551615", self.virtual_bytes, self.resident_bytes / PAGE),
            format!("{} {} 0", self.start_code, self.start_code + 0x1000),
            // 29 to 44: up to cguest_time
            "0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0".to_owned(),
            // 45 to 52: start_data, end_data, start_brk, arg_start, arg_end, env_start, env_end, exit_code
            format!("0 0 0 {arg_start} {} 0 0 0", arg_start + argv_bytes as u64),
        ];
        line.extend_from_slice(format!(") {}\n", rest.join(" ")).as_bytes());
        line
    }

    fn status(&self) -> Vec<u8> {
        let mut text = b"Name:\t".to_vec();
        // The kernel escapes these two here (proc(5)).
        for byte in &self.comm {
            match byte {
                b'\n' => text.extend_from_slice(b"\\n"),
                b'\\' => text.extend_from_slice(b"\\\\"),
                byte => text.push(*byte),
            }
        }
        let (uid, pid) = (self.uid, self.pid);
        let mut rest =
            format!("\nUmask:\t0022\nState:\t{}\nTgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\n", self.state);
        let _infallible =
            writeln!(rest, "PPid:\t{}\nTracerPid:\t0\nUid:\t{uid}\t{uid}\t{uid}\t{uid}", self.parent);
        let _infallible = writeln!(rest, "Gid:\t{uid}\t{uid}\t{uid}\t{uid}\nFDSize:\t64\nGroups:\t");
        if !self.kernel_thread && self.state != 'Z' {
            let (virtual_kib, resident_kib) = (self.virtual_bytes / 1024, self.resident_bytes / 1024);
            let _infallible = writeln!(rest, "VmPeak:\t{virtual_kib:8} kB\nVmSize:\t{virtual_kib:8} kB");
            let _infallible = writeln!(rest, "VmHWM:\t{resident_kib:8} kB\nVmRSS:\t{resident_kib:8} kB");
            let _infallible =
                writeln!(rest, "RssAnon:\t{resident_kib:8} kB\nRssFile:\t       0 kB\nVmSwap:\t       0 kB");
        }
        let _infallible = writeln!(rest, "Threads:\t{}\nvoluntary_ctxt_switches:\t10", self.threads);
        rest.push_str("nonvoluntary_ctxt_switches:\t1\n");
        text.extend_from_slice(rest.as_bytes());
        text
    }

    fn statm(&self) -> String {
        let (size, resident) = (self.virtual_bytes / PAGE, self.resident_bytes / PAGE);
        format!("{size} {resident} 0 1 0 {size} 0\n")
    }

    fn io(&self) -> String {
        format!(
            "rchar: {r}\nwchar: {w}\nsyscr: {}\nsyscw: {}\nread_bytes: {r}\nwrite_bytes: {w}\ncancelled_write_bytes: 0\n",
            self.read_bytes / PAGE,
            self.write_bytes / PAGE,
            r = self.read_bytes,
            w = self.write_bytes,
        )
    }
}

impl Default for FakeHost {
    fn default() -> FakeHost {
        FakeHost::new()
    }
}

impl FakeHost {
    /// A host with two CPUs, 8 GiB of memory and process 1, an init.
    pub fn new() -> FakeHost {
        let host = FakeHost { directory: TempDir::new().expect("a temporary folder") };
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(host.root(), open).expect("the folder is ours");
        host.boot("11111111-2222-4333-8444-555555555555");
        host.cpu(0, 0);
        let kib = [
            ("MemTotal", 8_388_608u64),
            ("MemFree", 4_194_304),
            ("MemAvailable", 6_291_456),
            ("Buffers", 262_144),
            ("Cached", 2_097_152),
            ("SwapCached", 0),
            ("Shmem", 65_536),
            ("SReclaimable", 131_072),
        ];
        let meminfo: String =
            kib.iter().map(|(name, value)| format!("{:<15} {value:>8} kB\n", format!("{name}:"))).collect();
        write(host.proc("meminfo"), meminfo);
        write(host.proc("uptime"), "10000.00 20000.00\n");
        write(host.proc("loadavg"), "0.00 0.00 0.00 1/1 1\n");
        host.put(&FakeProcess::new(1, "init").start(1));
        host
    }

    /// What `host.root` names.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    fn proc(&self, path: &str) -> PathBuf {
        let file = self.root().join("proc").join(path);
        std::fs::create_dir_all(file.parent().expect("below proc")).expect("the folder can be made");
        file
    }

    /// A file of a process.
    pub fn file(&self, pid: u32, name: &str) -> PathBuf {
        self.proc(&format!("{pid}/{name}"))
    }

    /// Sets the boot id, as after a restart of the host.
    pub fn boot(&self, id: &str) {
        write(self.proc("sys/kernel/random/boot_id"), format!("{id}\n"));
    }

    /// Sets the CPU time of the host, in ticks of user and of kernel mode, half of it on each CPU.
    pub fn cpu(&self, user: u64, system: u64) {
        let line = |name: &str, share: u64| {
            format!("{name} {} 0 {} {} 0 0 0 0 0 0\n", user / share, system / share, 2_000_000 / share)
        };
        let cpus = [line("cpu ", 1), line("cpu0", 2), line("cpu1", 2)].concat();
        let rest = "intr 0\nctxt 0\nbtime 1700000000\nprocesses 5000\nprocs_running 1\nprocs_blocked 0\n";
        write(self.proc("stat"), format!("{cpus}{rest}"));
    }

    /// Begins or changes a process.
    pub fn put(&self, process: &FakeProcess) {
        self.put_without(process, "");
    }

    /// The same but for one file, which stays as it is.
    pub fn put_without(&self, process: &FakeProcess, except: &str) {
        let pid = process.pid;
        let write = |path: PathBuf, content: &[u8]| {
            if path.file_name().is_some_and(|name| name != except) {
                write(path, content);
            }
        };
        let file = |name| self.file(pid, name);
        let alive = !process.kernel_thread && process.state != 'Z';
        let mut cmdline = Vec::new();
        for arg in process.argv.iter().filter(|_| alive) {
            cmdline.extend_from_slice(arg);
            cmdline.push(0);
        }
        let mut comm = process.comm.clone();
        comm.push(b'\n');
        write(file("comm"), &comm);
        write(file("cmdline"), &cmdline);
        write(file("statm"), process.statm().as_bytes());
        write(file("status"), &process.status());
        write(file("io"), process.io().as_bytes());
        write(file("cgroup"), b"0::/\n");
        write(file("limits"), LIMITS.as_bytes());
        let exe = process.exe.as_deref().filter(|_| alive);
        set_link(&file("exe"), exe);
        for number in 0..1024 {
            let path = self.file(pid, &format!("fd/{number}"));
            let open = number < process.descriptors;
            if !open && link(&path).is_none() {
                break;
            }
            set_link(&path, open.then_some("/dev/null"));
        }
        // Last: a process without stat is none.
        write(file("stat"), &process.stat());
    }

    /// Ends a process: its folder is gone.
    pub fn end(&self, pid: u32) {
        // A scan that has just opened one reads nothing more from it; the kernel says ESRCH then.
        for name in ["stat", "statm", "status", "io", "cmdline"] {
            write(self.file(pid, name), "");
        }
        std::fs::remove_dir_all(self.root().join(format!("proc/{pid}"))).expect("the process was there");
    }

    /// Puts a FIFO in place of a file of a process, which need not have been there: who reads it waits for ever.
    pub fn hang(&self, pid: u32, name: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = self.file(pid, name);
        let _may_not_be_there = std::fs::remove_file(&path);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).expect("a FIFO can be made");
    }
}

fn set_link(path: &Path, target: Option<&str>) {
    if link(path).as_deref() == target.map(Path::new) {
        return;
    }
    let _was_not_there = std::fs::remove_file(path);
    if let Some(target) = target {
        symlink(target, path).expect("a link can be made");
    }
}

const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max processes             31000                31000                processes 
Max open files            1024                 4096                 files     
";
