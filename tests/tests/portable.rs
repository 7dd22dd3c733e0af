//! The portable source against what /proc says, on this host, and the binary that is built with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_core::plugin::Needs;
use procagent_core::process::Pid;
use procagent_core::snapshot::{Details, Reading, Snapshot, Source};
use procagent_core::time::{Ns, Ticks};
use procagent_sources::portable::{Portable, TICKS_PER_SECOND};
use procagent_tests::agent::{Agent, OPENMETRICS, status_field};
use procagent_tests::crowd::cpu_microseconds;
use procagent_tests::page::Page;
use procagent_tests::system::{self, Program, command, run, said, wait_for};
use procagent_tests::{http, skip};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

fn scan(portable: &mut Portable) -> Snapshot {
    let mut snapshot = Snapshot::default();
    portable.scan(portable.offers(), &mut snapshot).unwrap();
    snapshot
}

fn find(snapshot: &Snapshot, pid: u32) -> Option<&Reading> {
    snapshot.processes.iter().find(|reading| reading.id.pid == Pid(pid))
}

fn details(snapshot: &Snapshot, pid: u32) -> Option<&Details> {
    snapshot.details.iter().find(|details| details.id.pid == Pid(pid))
}

fn busy() -> Program {
    Program::start(command("sh").args(["-c", "while :; do :; done"]))
}

/// a2: the CPU time of a busy child is what /proc says, to the tick, from the first refresh on.
#[test]
fn portable_cpu_grows_as_proc_says() {
    let (child, mut portable) = (busy(), Portable::open().unwrap());
    let mut last = 0;
    for _ in 0..3 {
        let before = cpu_microseconds(child.pid());
        let snapshot = scan(&mut portable);
        let after = cpu_microseconds(child.pid());
        let usage = find(&snapshot, child.pid()).unwrap().usage;
        let got = usage.runtime.0 / 1000;
        assert!((before..=after).contains(&got), "{before} {got} {after}");
        assert_eq!((usage.user, usage.system, usage.cpu()), (None, None, None), "a total is no user time");
        last = got;
        let grown = || (cpu_microseconds(child.pid()) > got + 50_000).then_some(());
        wait_for(Duration::from_secs(20), "the child to use CPU", grown);
    }
    assert!(last >= 100_000);
}

/// a3, a5: memory and descriptors of a process at rest; and who it is.
#[test]
fn portable_memory_and_descriptors_are_those_of_proc() {
    let folder = TempDir::new().unwrap();
    let program = system::start_as(b"resting-portable", folder.path(), "sleep", &["600"]);
    let (pid, mut portable) = (program.pid(), Portable::open().unwrap());
    wait_for(Duration::from_secs(20), "exec", || {
        (system::read(format!("/proc/{pid}/comm")) == "resting-portabl\n").then_some(())
    });
    let snapshot = scan(&mut portable);
    let got = find(&snapshot, pid).unwrap();
    let resident = got.resident_memory.unwrap();
    assert!(resident.abs_diff(status_field(pid, "VmRSS:") * 1024) <= 4096, "{resident}");
    assert_eq!(got.virtual_memory, Some(status_field(pid, "VmSize:") * 1024));
    let open = system::list(format!("/proc/{pid}/fd")).len();
    assert_eq!(got.descriptors.map(|count| count as usize), Some(open));
    assert_eq!(got.parent, Pid(std::process::id()));
    assert_eq!((got.threads, got.nice, got.usage.minor_faults), (None, None, None));
    let io = got.usage.io.unwrap();
    assert_eq!((io.read_operations, io.write_operations), (None, None));
    let told = details(&snapshot, pid).unwrap();
    assert_eq!(&*told.comm, b"resting-portabl");
    let args: Vec<_> = told.argv.as_ref().unwrap().args().map(<[u8]>::to_vec).collect();
    assert_eq!(args.last().unwrap(), b"600");
    assert!(details(&scan(&mut portable), pid).is_none(), "told once");

    // proc(5): start time is field 22; the first after the name is field 3.
    let stat = system::read(format!("/proc/{pid}/stat"));
    let start = stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(19).unwrap().parse::<u64>().unwrap();
    let seconds = (start / TICKS_PER_SECOND).abs_diff(got.id.start.0 / TICKS_PER_SECOND);
    // The time of boot has whole seconds too, and moves by one when the clock is adjusted.
    assert!(seconds <= 1, "{start} {}", got.id.start);
    assert_eq!(got.id.start, find(&scan(&mut portable), pid).unwrap().id.start);
    assert_eq!(Ticks::from_ns(Ns::from_secs(1), TICKS_PER_SECOND), Ticks(100));
}

/// An exec keeps the identity, and tells the new name, which the library by itself does not read again.
#[test]
fn portable_sees_an_exec() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("go");
    assert!(run(command("mkfifo").arg(&pipe)).status.success());
    let line = format!("read line < '{}'; exec sleep 600", pipe.display());
    let program = Program::start(command("sh").args(["-c", &line]));
    let mut portable = Portable::open().unwrap();
    let before = scan(&mut portable);
    assert_ne!(&*details(&before, program.pid()).unwrap().comm, b"sleep");
    system::write(&pipe, "go\n");
    wait_for(Duration::from_secs(20), "exec", || {
        (system::read(format!("/proc/{}/comm", program.pid())) == "sleep\n").then_some(())
    });
    let after = scan(&mut portable);
    assert_eq!(&*details(&after, program.pid()).unwrap().comm, b"sleep");
    let id = |snapshot: &Snapshot| find(snapshot, program.pid()).unwrap().id;
    assert_eq!(id(&before), id(&after));
}

/// pm_threads_not_processes, for this source: the list is that of /proc.
#[test]
fn portable_lists_processes_and_no_threads() {
    let pids =
        || -> BTreeSet<u32> { system::list("/proc").iter().filter_map(|name| name.parse().ok()).collect() };
    // This program runs more than one thread while it tests.
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv().is_ok());
    let tasks = system::list(format!("/proc/{}/task", std::process::id()));
    assert!(tasks.len() > 1);
    let mut portable = Portable::open().unwrap();
    for _ in 0..2 {
        let before = pids();
        let snapshot = scan(&mut portable);
        let after = pids();
        let listed: BTreeSet<u32> = snapshot.processes.iter().map(|reading| reading.id.pid.0).collect();
        assert_eq!(listed.len(), snapshot.processes.len());
        let made_up: Vec<_> =
            listed.iter().filter(|pid| !before.contains(pid) && !after.contains(pid)).collect();
        // One may come and go within the scan.
        assert!(made_up.len() <= 3, "{made_up:?}");
        let missed: Vec<_> = before.intersection(&after).filter(|pid| !listed.contains(pid)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        assert!(!tasks[1..].iter().any(|task| listed.contains(&task.parse().unwrap())));
    }
    drop(stop);
    assert!(!thread.join().unwrap());
}

/// Only what is needed is read.
#[test]
fn portable_reads_only_what_is_needed() {
    let mut snapshot = Snapshot::default();
    Portable::open().unwrap().scan(Needs::NOTHING, &mut snapshot).unwrap();
    let own = find(&snapshot, std::process::id()).unwrap();
    assert_eq!((own.usage.io, own.descriptors, own.users), (None, None, None));
    assert_eq!((snapshot.host.cpus, snapshot.host.cpu), (None, None));
}

/// The binary with the feature. It is built where the other one lies, so it is put aside, and the other one is put
/// back: both are in the cache, so that takes no time.
fn portable_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let build = |more: &[&str]| {
            let mut build = command(env!("CARGO"));
            build.args(["build", "--quiet", "--package", "procagent"]).args(more);
            let output = run(build.current_dir(procagent_tests::workspace()));
            assert!(output.status.success(), "{}", said(&output));
        };
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| procagent_tests::workspace().join("target"), PathBuf::from);
        let aside = target.join("debug/procagent-portable");
        build(&["--features", "portable"]);
        // A running one cannot be written over, but can be replaced.
        let _absent = std::fs::remove_file(&aside);
        std::fs::copy(target.join("debug/procagent"), &aside).unwrap();
        build(&[]);
        aside
    })
}

/// Runs it instead of the usual one, after `prefix`.
fn start(prefix: &[&str]) -> Agent {
    let instead = format!("shift; exec '{}' \"$@\"", portable_binary().display());
    let prefix = [prefix, &["sh", "-c", &instead, "sh"]].concat();
    let agent = Agent::launch("interval: 500ms\nsource: portable", &prefix);
    agent.wait_ready();
    agent
}

fn of(page: &Page, metric: &str, group: &str) -> Option<f64> {
    page.metric(metric).label("group", group).find()
}

/// The real binary: numbers are there, what cannot be known is absent and said to be unsupported, and promtool takes
/// the page.
#[test]
fn portable_binary_serves_what_it_knows() {
    let folder = TempDir::new().unwrap();
    let _program = system::start_as(b"known-portable", folder.path(), "sleep", &["600"]);
    let _busy = system::start_as(b"busy-portable", folder.path(), "sh", &["-c", "while :; do :; done"]);
    let agent = start(&[]);
    let page = agent.page_where(Duration::from_secs(20), "CPU time of the busy one", |page| {
        of(page, "process_cpu_time_seconds_total", "busy-portable").filter(|time| *time > 0.2)?;
        Some(page.clone())
    });
    for absent in [
        "process_paging_faults_total",
        "process_thread_count",
        "process_disk_operations_total",
        "system_cpu_time_seconds_total",
        "system_process_created_total",
        "procagent_cpu_unattributed_seconds_total",
    ] {
        assert!(page.metric(absent).is_absent(), "{absent}");
    }
    let cpu = page.metric("process_cpu_time_seconds_total");
    assert_eq!(cpu.values_of("cpu_mode"), [""; 0], "no mode is claimed");
    let supported = |collector, field| {
        page.metric("procagent_supported").label("collector", collector).label("field", field).value()
    };
    for field in ["cpu_modes", "faults", "threads", "io_operations", "context_switches_and_delays"] {
        assert_eq!(supported("process", field), 0.0, "{field}");
    }
    for field in ["cmdline", "io", "memory", "file_descriptors", "user"] {
        assert_eq!(supported("process", field), 1.0, "{field}");
    }
    assert_eq!((supported("host", "cpu"), supported("host", "memory")), (0.0, 1.0));
    assert!(of(&page, "process_memory_usage_bytes", "known-portable").unwrap() > 0.0);
    assert_eq!(
        of(&page, "process_memory_utilization_ratio", "known-portable").map(|share| share < 1.0),
        Some(true)
    );
    let total = f64::from(u32::try_from(meminfo("MemTotal:")).unwrap()) * 1024.0;
    assert_eq!(page.metric("system_memory_limit_bytes").value(), total);
    assert!(page.metric("process_resident_memory_bytes").value() > 0.0);

    let file = folder.path().join("page");
    system::write(&file, http::get(agent.port, "/metrics", &["Accept: text/plain; version=0.0.4"]).body);
    assert_eq!(http::get(agent.port, "/metrics", &[OPENMETRICS]).status, 200);
    if system::find("promtool").is_none() {
        return skip("portable_binary_serves_what_it_knows", "promtool is not installed");
    }
    let output =
        run(command("sh").arg("-c").arg("exec promtool check metrics < \"$1\"").arg("sh").arg(&file));
    // 3 is a matter of style: OpenTelemetry's names of counts end so.
    let text = String::from_utf8_lossy(&output.stderr);
    let styled = |line: &str| line.ends_with("should not have \"_count\" suffix");
    assert!(matches!(output.status.code(), Some(0 | 3)) && text.lines().all(styled), "{}", said(&output));
}

fn meminfo(field: &str) -> u64 {
    let text = system::read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// a10, j5: of another user's process what may not be read is absent, not 0, and counted; the rest is there.
#[test]
fn portable_unreadable_is_absent_not_zero() {
    const NAME: &str = "portable_unreadable_is_absent_not_zero";
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"];
    if !system::root() || system::find("setpriv").is_none() {
        return skip(NAME, "needs root and setpriv, to run as another user");
    }
    let folder = TempDir::new().unwrap();
    let _program = system::start_as(b"of-root-portable", folder.path(), "sleep", &["600"]);
    let mut probe = command(nobody[0]);
    if !run(probe.args(&nobody[1..]).arg(portable_binary()).arg("--version")).status.success() {
        return skip(NAME, "user 65534 cannot run the binary where it lies");
    }
    let agent = start(&nobody);
    let page = agent.next_page(1);
    // Its arguments can be read by all, its executable not.
    let group = "of-root-portable";
    for absent in ["process_disk_io_bytes_total", "process_unix_file_descriptor_count"] {
        assert!(page.metric(absent).label("group", group).is_absent(), "{absent}");
    }
    assert!(of(&page, "process_memory_usage_bytes", group).unwrap() > 0.0);
    let unreadable =
        page.metric("procagent_process_unreadable").label("group", group).label("field", "io").value();
    assert_eq!(unreadable, 1.0);
    let denied = page.metric("procagent_errors_total").label("field", "io").label("reason", "denied").value();
    assert!(denied >= 1.0, "{denied}");
}

/// j8: the agent compiles for other systems, with the portable source. The names of the tests say which.
fn compiles_for(test: &str, target: &str) {
    let installed = run(command("rustup").args(["target", "list", "--installed"]));
    let installed = String::from_utf8_lossy(&installed.stdout).into_owned();
    if !installed.lines().any(|line| line == target) {
        return skip(test, &format!("target not installed; rustup target add {target}"));
    }
    let mut check = command(env!("CARGO"));
    check.args(["check", "--quiet", "--target", target, "--package", "procagent", "--features", "portable"]);
    let output = run(check.current_dir(procagent_tests::workspace()));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn portable_compiles_for_windows() {
    compiles_for("portable_compiles_for_windows", "x86_64-pc-windows-gnu");
}

#[test]
fn portable_compiles_for_macos_on_intel() {
    compiles_for("portable_compiles_for_macos_on_intel", "x86_64-apple-darwin");
}

#[test]
fn portable_compiles_for_macos_on_arm() {
    compiles_for("portable_compiles_for_macos_on_arm", "aarch64-apple-darwin");
}
