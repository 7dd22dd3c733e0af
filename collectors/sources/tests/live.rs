//! Scans of the host that runs the tests, with the `procfs` crate as second opinion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod common;

use common::{args, details, find, reading, scan, skip};
use procagent_core::process::State;
use procagent_core::snapshot::{Field, Reading, Reason, Smaps, Snapshot};
use procagent_core::time::Ns;
use procagent_sources::procfs::parse;
use procagent_sources::{Procfs, Settings};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Killed when dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn sleep() -> Running {
        Running::start(Command::new("sleep").arg("infinity"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn open(descriptors: usize) -> Procfs {
    let read_deadline = Duration::from_secs(10);
    Procfs::open(Settings { descriptors, read_deadline, ..Settings::default() }).unwrap()
}

#[test]
fn every_process_as_the_procfs_crate_reads_it() {
    let sleeper = Running::sleep();
    let mut procfs = open(4096);
    scan(&mut procfs, 0);
    let snapshot = scan(&mut procfs, 1);
    let mut compared = 0;
    for process in procfs::process::all_processes().unwrap().flatten() {
        let Ok(stat) = process.stat() else { continue };
        // Tests that run at the same time may start and end processes.
        let Some(got) = u32::try_from(stat.pid).ok().and_then(|pid| find(&snapshot, pid)) else { continue };
        if got.id.start.0 != stat.starttime {
            continue;
        }
        compared += 1;
        assert_eq!(i64::from(got.parent.0), i64::from(stat.ppid));
        assert_eq!(got.kernel_thread, stat.flags & 0x20_0000 != 0);
        assert_eq!(got.nice.map(i64::from), Some(stat.nice));
        assert!(got.usage.minor_faults.unwrap() <= stat.minflt);
        assert!(got.usage.major_faults.unwrap() <= stat.majflt);
        assert!(got.usage.user.unwrap().0 <= stat.utime * 10_000_000);
        assert!(got.usage.system.unwrap().0 <= stat.stime * 10_000_000);
        if got.id.pid.0 == sleeper.pid() {
            let io = process.io().unwrap();
            let got_io = got.usage.io.unwrap();
            assert_eq!((got_io.read_bytes, got_io.write_bytes), (io.read_bytes, io.write_bytes));
            assert_eq!((got_io.read_operations, got_io.write_operations), (Some(io.syscr), Some(io.syscw)));
            assert_eq!(got.descriptors.map(|count| count as usize), process.fd_count().ok());
            assert_eq!(got.virtual_memory, Some(stat.vsize));
            assert_eq!(got.resident_memory, process.statm().ok().map(|statm| statm.resident * 4096));
            assert_eq!(got.users.map(|users| users.real), process.status().ok().map(|status| status.ruid));
            let told = details(&scan(&mut open(0), 0), sleeper.pid())[0].clone();
            assert_eq!(args(&told), process.cmdline().ok());
            assert_eq!(told.exe.as_deref(), process.exe().unwrap().to_str());
        }
    }
    assert!(compared > 3 && find(&snapshot, sleeper.pid()).is_some(), "{compared}");
    let (host, theirs) = (&snapshot.host, procfs::Meminfo::current_memory());
    assert_eq!(host.memory.unwrap().total, theirs);
    assert_eq!(host.cpus.map(|cpus| cpus as usize), procfs::KernelStats::cpus());
}

/// What the crate does not offer as one number.
trait Host<T> {
    fn current_memory() -> T;
}

trait Cpus {
    fn cpus() -> Option<usize>;
}

impl Host<u64> for procfs::Meminfo {
    fn current_memory() -> u64 {
        procfs::Current::current().map(|info: procfs::Meminfo| info.mem_total).unwrap()
    }
}

impl Cpus for procfs::KernelStats {
    fn cpus() -> Option<usize> {
        procfs::CurrentSI::current().map(|stats: procfs::KernelStats| stats.cpu_time.len()).ok()
    }
}

#[test]
fn a3_proportional_memory_is_that_of_smaps_rollup() {
    let sleeper = Running::sleep();
    let path = format!("/proc/{}/smaps_rollup", sleeper.pid());
    let field = |text: &str, name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    // Others share its library and end at any time, so that its share changes: whatever both looks around the scan
    // agree on, the scan has.
    for _ in 0..50 {
        let before = std::fs::read_to_string(&path).unwrap();
        let smaps = reading(&scan(&mut open(0), 1), sleeper.pid()).smaps;
        let after = std::fs::read_to_string(&path).unwrap();
        let Smaps::Read(rollup) = smaps else { panic!("{smaps:?}") };
        assert_eq!(rollup.at, procagent_core::testing::at(1).mono);
        let numbers = |text: &str| {
            let uss = field(text, "Private_Clean") + field(text, "Private_Dirty");
            [field(text, "Pss"), uss, field(text, "Swap")]
        };
        if numbers(&before) == numbers(&after) {
            for (ours, kernels) in [rollup.pss, rollup.uss, rollup.swap].into_iter().zip(numbers(&before)) {
                assert!(ours.abs_diff(kernels) <= 4096, "{rollup:?} {before}");
            }
            return;
        }
    }
    panic!("its memory never stood still");
}

#[test]
fn context_switches_and_delays_of_all_threads() {
    // Two threads besides the first: one that wakes often, one that ends.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let napper = std::thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(1))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {}
    });
    let mut procfs = open(0);
    let own = std::process::id();
    let voluntary = |snapshot: &Snapshot| reading(snapshot, own).usage.context_switches.unwrap().voluntary;
    let first = scan(&mut procfs, 0);
    assert!(
        reading(&first, own).usage.delay.is_some_and(|delay| delay.block_io.is_none() || delay.cpu > Ns(0))
    );
    std::thread::spawn(|| std::thread::sleep(Duration::from_millis(1))).join().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let second = scan(&mut procfs, 40);
    // Tests at the same time have threads of their own, which only add to it.
    assert!(voluntary(&second) >= voluntary(&first) + 50, "{} {}", voluntary(&first), voluntary(&second));
    stop.send(()).unwrap();
    napper.join().unwrap();
    let third = scan(&mut procfs, 80);
    assert!(voluntary(&third) >= voluntary(&second));
}

#[test]
fn an_exec_is_seen_without_events() {
    let mut shell = Running::start(Command::new("sh").args(["-c", "read line; exec cat /dev/stdin"]));
    let mut procfs = open(4096);
    let pid = shell.pid();
    let wait_until = |procfs: &mut Procfs, program: &str| {
        for second in 0..1000 {
            let snapshot = scan(procfs, second);
            if let Some(told) =
                details(&snapshot, pid).into_iter().find(|told| &told.comm[..] == program.as_bytes())
            {
                return (reading(&snapshot, pid).id, args(told).unwrap());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{program} never came");
    };
    let (before, _) = wait_until(&mut procfs, "sh");
    shell.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let (after, now) = wait_until(&mut procfs, "cat");
    assert_eq!((after, &now[..]), (before, &["cat".to_owned(), "/dev/stdin".to_owned()][..]));
}

#[test]
fn a_process_that_ends_leaves_and_a_zombie_stays() {
    let mut procfs = open(4096);
    let mut sleeper = Running::sleep();
    scan(&mut procfs, 0);
    scan(&mut procfs, 1);
    sleeper.0.kill().unwrap();
    // Until it is waited for.
    let zombie = (2..1000).find_map(|second| {
        std::thread::sleep(Duration::from_millis(5));
        let snapshot = scan(&mut procfs, second);
        let reading = reading(&snapshot, sleeper.pid()).clone();
        (reading.state == State::Defunct).then_some(reading)
    });
    let zombie = zombie.expect("it has ended");
    assert_eq!((zombie.resident_memory, zombie.descriptors), (None, None));
    assert!(zombie.users.is_some());
    sleeper.0.wait().unwrap();
    assert!(find(&scan(&mut procfs, 2000), sleeper.pid()).is_none());
}

#[test]
fn open_fds_stay_flat() {
    // Other tests of this binary run in this process, so a child looks at itself.
    if std::env::var_os("PROCAGENT_TEST_CHILD").is_some() {
        return scan_with_churn();
    }
    let output = as_child("open_fds_stay_flat", &mut Command::new(std::env::current_exe().unwrap()));
    assert!(output.contains("kept within the bound"), "{output}");
}

fn scan_with_churn() {
    let own = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut procfs = open(60);
    let mut sleepers: Vec<_> = (0..30).map(|_| Running::sleep()).collect();
    let mut after_warm_up = 0;
    for second in 0..1000_u64 {
        let place = usize::try_from(second % 30).unwrap();
        sleepers[place] = Running::sleep();
        scan(&mut procfs, second);
        assert!(procfs.kept_descriptors() <= 60, "{}", procfs.kept_descriptors());
        assert_eq!(procfs.descriptor_bound(), 60);
        if second == 100 {
            assert!(procfs.kept_descriptors() > 30, "{}", procfs.kept_descriptors());
            after_warm_up = own();
        }
    }
    let now = own();
    assert!(now.abs_diff(after_warm_up) <= 30, "{after_warm_up} then {now}");
    drop(procfs);
    assert!(own() < after_warm_up);
    println!("kept within the bound");
}

#[test]
fn running_out_of_descriptors_is_survived() {
    if std::env::var_os("PROCAGENT_TEST_CHILD").is_some() {
        return scan_without_descriptors();
    }
    let output = as_child(
        "running_out_of_descriptors_is_survived",
        &mut Command::new(std::env::current_exe().unwrap()),
    );
    assert!(output.contains("went on"), "{output}");
}

fn scan_without_descriptors() {
    let _sleepers: Vec<_> = (0..40).map(|_| Running::sleep()).collect();
    let mut procfs = open(4096);
    let before = scan(&mut procfs, 0).processes.len();
    scan(&mut procfs, 1);
    let (kept, bound) = (procfs.kept_descriptors(), procfs.descriptor_bound());
    assert!(kept > 80, "{kept}");
    // Others of this process take all that is left.
    let mut taken: Vec<std::fs::File> =
        std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    for second in 2..6 {
        let snapshot = scan(&mut procfs, second * 30);
        assert!(snapshot.processes.len().abs_diff(before) < 20 && snapshot.processes.len() >= 40);
    }
    assert!(procfs.descriptor_bound() <= kept / 2 && bound > kept, "{}", procfs.descriptor_bound());
    taken.clear();
    assert!(
        scan(&mut procfs, 300).processes.iter().filter(|reading| reading.usage.io.is_some()).count() >= 40
    );
    println!("went on");
}

#[test]
fn unreadable_is_absent_not_zero() {
    if std::env::var_os("PROCAGENT_TEST_CHILD").is_some() {
        return scan_as_nobody();
    }
    if !rustix::process::geteuid().is_root() {
        return skip("unreadable_is_absent_not_zero", "only root can start a process as another user");
    }
    // The build folder may be closed to others.
    let folder = tempfile::tempdir().unwrap();
    let (program, open_to_all) =
        (folder.path().join("test"), std::os::unix::fs::PermissionsExt::from_mode(0o755));
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(folder.path(), open_to_all).unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]);
    let busy = Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
    command.env("PROCAGENT_TEST_BUSY", busy.pid().to_string());
    let output = as_child("unreadable_is_absent_not_zero", command.arg(program));
    if output.is_empty() {
        return skip("unreadable_is_absent_not_zero", "setpriv (Debian package util-linux) cannot be run");
    }
    assert!(output.contains("absent, not zero"), "{output}");
}

fn scan_as_nobody() {
    let own = Running::sleep();
    let mut procfs = open(4096);
    let snapshot = scan(&mut procfs, 0);
    let denied = |snapshot: &Snapshot, field| snapshot.errors.get(field, Reason::Denied);
    let others: Vec<_> = snapshot
        .processes
        .iter()
        .filter(|reading| !reading.kernel_thread && reading.users.is_some_and(|users| users.real != 65534))
        .collect();
    // Tests that run at the same time start processes and make them other users' ones.
    let later = scan(&mut open(4096), 0);
    let still = |reading: &Reading| {
        find(&later, reading.id.pid.0).is_some_and(|now| now.id == reading.id && now.users == reading.users)
    };
    let others: Vec<_> = others.into_iter().filter(|reading| still(reading)).collect();
    assert!(!others.is_empty());
    for other in &others {
        assert_eq!((other.usage.io, details(&snapshot, other.id.pid.0)[0].exe.clone()), (None, None));
        assert!(other.descriptor_limit.is_some() && other.users.is_some(), "what may be read is");
    }
    assert!(denied(&snapshot, Field::Io) >= others.len() as u64 && denied(&snapshot, Field::Exe) > 0);
    assert!(reading(&snapshot, own.pid()).usage.io.is_some());
    // The busy one moves all the time, and is refused all the time, so it is left alone. At the same second nothing
    // is due; tests at the same time may start processes, so that some scans have others to count.
    let busy: u32 = std::env::var("PROCAGENT_TEST_BUSY").unwrap().parse().unwrap();
    let mut before = reading(&snapshot, busy).usage.runtime;
    let left_alone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let again = scan(&mut procfs, 0);
        let now = reading(&again, busy).usage.runtime;
        let moved = now > std::mem::replace(&mut before, now);
        moved && denied(&again, Field::Io) == 0
    });
    assert!(left_alone);
    assert!(scan(&mut procfs, 60).errors.get(Field::Io, Reason::Denied) > 0, "tried again and counted again");
    println!("absent, not zero");
}

/// Runs one test of this binary in a process of its own, and gives what it printed; nothing when the command does
/// not start.
fn as_child(test: &str, command: &mut Command) -> String {
    command.args(["--exact", test, "--nocapture"]).env("PROCAGENT_TEST_CHILD", "1").env("LC_ALL", "C");
    let Ok(mut child) = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        return String::new();
    };
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut output).unwrap();
    output + &child.wait().unwrap().to_string()
}

#[test]
fn parsers_agree_with_the_procfs_crate_on_every_file_of_this_host() {
    use procfs::{FromRead as _, FromReadSI as _};
    let mut stats = 0;
    for pid in
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok())
    {
        let read =
            |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok().filter(|bytes| !bytes.is_empty());
        if pid.parse::<u32>().is_err() {
            continue;
        }
        if let Some(bytes) = read("stat") {
            let (ours, theirs) =
                (parse::stat(&bytes).unwrap(), procfs::process::Stat::from_read(&bytes[..]).unwrap());
            assert_eq!(String::from_utf8_lossy(ours.comm.as_bytes()), theirs.comm);
            assert_eq!((ours.pid.to_string(), ours.start), (theirs.pid.to_string(), theirs.starttime));
            assert_eq!((ours.user_ticks, ours.system_ticks), (theirs.utime, theirs.stime));
            assert_eq!((ours.minor_faults, ours.major_faults), (theirs.minflt, theirs.majflt));
            assert_eq!((char::from(ours.state), ours.flags), (theirs.state, theirs.flags));
            assert_eq!((i64::from(ours.nice), i64::from(ours.threads)), (theirs.nice, theirs.num_threads));
            assert_eq!((ours.virtual_memory, ours.start_code), (theirs.vsize, theirs.startcode));
            assert_eq!(Some(ours.arg_start), theirs.arg_start);
            stats += 1;
        }
        if let Some(bytes) = read("statm") {
            let (ours, theirs) =
                (parse::statm(&bytes).unwrap(), procfs::process::StatM::from_read(&bytes[..]).unwrap());
            assert_eq!((ours.virtual_pages, ours.resident_pages), (theirs.size, theirs.resident));
        }
        if let Some(bytes) = read("status") {
            let (ours, theirs) =
                (parse::status(&bytes).unwrap(), procfs::process::Status::from_read(&bytes[..]).unwrap());
            assert_eq!((ours.real, ours.effective), (theirs.ruid, theirs.euid));
        }
        if let Some(bytes) = read("io") {
            let (ours, theirs) =
                (parse::io(&bytes).unwrap(), procfs::process::Io::from_read(&bytes[..]).unwrap());
            assert_eq!((ours.read_bytes, ours.write_bytes), (theirs.read_bytes, theirs.write_bytes));
            assert_eq!(
                (ours.read_operations, ours.write_operations),
                (Some(theirs.syscr), Some(theirs.syscw))
            );
        }
        if let Some(bytes) = read("limits") {
            let theirs = procfs::process::Limits::from_read(&bytes[..]).unwrap().max_open_files.soft_limit;
            let theirs = match theirs {
                procfs::process::LimitValue::Value(limit) => limit,
                procfs::process::LimitValue::Unlimited => u64::MAX,
            };
            assert_eq!(parse::limits(&bytes).unwrap(), theirs);
        }
        if let Some(bytes) = read("cgroup") {
            let ours = parse::cgroup(&bytes).unwrap();
            let theirs = procfs::ProcessCGroups::from_read(&bytes[..]).unwrap();
            let path = |name: &str| {
                let mut all = theirs.0.iter();
                let found = all.find(|group| group.controllers.iter().any(|controller| controller == name));
                found.map(|group| group.pathname.clone().into_bytes())
            };
            assert_eq!(ours.memory.map(<[u8]>::to_vec), path("memory"));
            assert_eq!(ours.systemd.map(<[u8]>::to_vec), path("name=systemd"));
        }
    }
    assert!(stats > 3);
    let bytes = std::fs::read("/proc/stat").unwrap();
    let ours = parse::host_stat(&bytes, 100).unwrap();
    let theirs = procfs::KernelStats::from_read(&bytes[..], procfs::current_system_info()).unwrap();
    assert_eq!(ours.cpu.user.0, theirs.total.user * 10_000_000);
    assert_eq!(ours.cpu.idle.0, theirs.total.idle * 10_000_000);
    assert_eq!(ours.cpu.steal.0, theirs.total.steal.unwrap() * 10_000_000);
    assert_eq!((ours.cpus as usize, ours.forks), (theirs.cpu_time.len(), Some(theirs.processes)));
    let bytes = std::fs::read("/proc/meminfo").unwrap();
    let (ours, theirs) = (parse::meminfo(&bytes).unwrap(), procfs::Meminfo::from_read(&bytes[..]).unwrap());
    assert_eq!((ours.total, ours.free), (theirs.mem_total, theirs.mem_free));
    assert_eq!(ours.buffers, Some(theirs.buffers));
    assert_eq!(ours.available, theirs.mem_available);
    assert_eq!(ours.cached, Some(theirs.cached + theirs.s_reclaimable.unwrap() - theirs.shmem.unwrap()));
}
