//! Stories on a made-up host, told scan by scan: what happens to the numbers when processes come, change and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use procagent_core::testing::at;
use procagent_core::time::Ns;
use procagent_tests::host::{FakeHost, FakeProcess};
use procagent_tests::page::Page;
use procagent_tests::pipeline::Pipeline;
use procagent_tests::system;

/// Seconds of CPU that a group has used, user and system together.
fn cpu(page: &Page, group: &str) -> f64 {
    page.metric("process_cpu_time_seconds_total").label("group", group).sum()
}

fn started(page: &Page, group: &str) -> f64 {
    page.metric("procagent_process_started_total").label("group", group).value()
}

fn members(page: &Page, group: &str) -> f64 {
    page.metric("procagent_process_count").label("group", group).sum()
}

fn errors(page: &Page, field: &str, reason: &str) -> f64 {
    page.metric("procagent_errors_total").label("field", field).label("reason", reason).value()
}

/// a1: the number of an ended process is given to another: nothing is inherited.
#[test]
fn pid_reuse_is_two_processes() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(42, "old").start(500).cpu(4000, 0));
    pipeline.tick(10);
    host.put(&FakeProcess::new(42, "old").start(500).cpu(4100, 0));
    let page = pipeline.tick(15);
    assert_eq!(cpu(&page, "old"), 1.0);
    // Between two scans: over, and another one of that number that has used more already.
    host.end(42);
    host.put(&FakeProcess::new(42, "new").start(1600).cpu(4200, 0));
    let page = pipeline.tick(60);
    assert_eq!(cpu(&page, "old"), 1.0, "what the new one used is not the old one's");
    assert_eq!(cpu(&page, "new"), 42.0, "born since the last scan: all it used");
    assert_eq!((members(&page, "old"), members(&page, "new")), (0.0, 1.0));
    assert_eq!((started(&page, "old"), started(&page, "new")), (0.0, 1.0));
    assert_eq!(page.metric("procagent_contradictions_total").value(), 0.0);
}

/// The same number and the same program at once again: still another process.
#[test]
fn failure_pid_reused() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(42, "worker").start(500).cpu(300, 0));
    pipeline.tick(10);
    host.end(42);
    host.put(&FakeProcess::new(42, "worker").start(1200).cpu(100, 0));
    let page = pipeline.tick(15);
    assert_eq!(cpu(&page, "worker"), 1.0);
    assert_eq!(started(&page, "worker"), 1.0);
    assert_eq!(page.metric("procagent_contradictions_total").value(), 0.0);
}

/// A process that calls exec stays itself, and what it uses from then on is the new program's.
#[test]
fn exec_moves_process_to_new_group() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    let shell = FakeProcess::new(50, "launcher").start(500).cpu(100, 0);
    host.put(&shell);
    pipeline.tick(10);
    host.put(&shell.clone().cpu(200, 0));
    assert_eq!(cpu(&pipeline.tick(15), "launcher"), 1.0);
    host.put(&shell.clone().exec("daemon").cpu(500, 0));
    let page = pipeline.tick(20);
    assert_eq!((cpu(&page, "launcher"), cpu(&page, "daemon")), (1.0, 3.0));
    assert_eq!((members(&page, "launcher"), members(&page, "daemon")), (0.0, 1.0));
    assert_eq!(started(&page, "daemon"), 0.0, "it is not a new process");
}

/// The parent goes, the child is given to init: nothing happens to its numbers.
#[test]
fn reparenting_changes_no_number() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    let child = FakeProcess::new(61, "child").start(600).parent(60);
    host.put(&FakeProcess::new(60, "parent").start(500));
    host.put(&child);
    pipeline.tick(10);
    host.end(60);
    host.put(&child.clone().parent(1).cpu(100, 0));
    let page = pipeline.tick(15);
    assert_eq!(cpu(&page, "child"), 1.0);
    assert_eq!((members(&page, "parent"), members(&page, "child")), (0.0, 1.0));
    assert_eq!(page.metric("process_uptime_seconds").label("group", "child").value(), 9.0);
    assert!(page.metric("process_uptime_seconds").label("group", "parent").is_absent());
}

/// a12: it is in the list and gone before it is read.
#[test]
fn failure_process_vanishes() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(70, "stays").start(500));
    host.put(&FakeProcess::new(71, "goes").start(500));
    pipeline.tick(10);
    host.end(71);
    std::fs::create_dir(host.root().join("proc/71")).unwrap();
    let page = pipeline.tick(15);
    assert_eq!((members(&page, "stays"), members(&page, "goes")), (1.0, 0.0));
    assert!(errors(&page, "stat", "vanished") >= 1.0);
    assert_eq!(page.metric("procagent_collector_up").label("collector", "process").value(), 1.0);
}

/// A stat that no kernel writes costs that process, and no other.
#[test]
fn one_bad_stat_spoils_one_process() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    for (pid, stat) in
        [(80, "80 (torn) S 1"), (81, ""), (82, "82 no brackets"), (83, "83 (x) S -1 \u{0} 9"), (84, "(")]
    {
        host.put(&FakeProcess::new(pid, "torn"));
        system::write(host.file(pid, "stat"), stat);
    }
    host.put(&FakeProcess::new(90, "whole"));
    let page = pipeline.tick(10);
    assert_eq!(members(&page, "whole"), 1.0);
    assert!(page.metric("process_thread_count").label("group", "torn").is_absent());
    let failed: f64 = page.metric("procagent_errors_total").label("field", "stat").sum();
    assert_eq!(failed, 5.0);
}

/// What cannot be read is absent; nothing stands in for it, and the rest is there.
#[test]
fn unreadable_is_absent_not_zero() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(50, "shy"));
    for file in ["io", "statm", "status"] {
        system::write(host.file(50, file), "nothing that proc(5) knows\n");
    }
    std::fs::remove_dir_all(host.file(50, "fd")).unwrap();
    let page = pipeline.tick(10);
    for metric in [
        "process_disk_io_bytes_total",
        "process_disk_operations_total",
        "process_memory_usage_bytes",
        "process_unix_file_descriptor_count",
    ] {
        assert!(page.metric(metric).label("group", "shy").is_absent(), "{metric}");
        assert!(!page.metric(metric).label("group", "init").is_absent(), "{metric}");
    }
    assert_eq!(page.metric("process_thread_count").label("group", "shy").value(), 1.0);
    assert!(errors(&page, "io", "malformed") >= 1.0);
}

/// One field less is one field less, at the first scan too: no row of zeros, no lost process.
#[test]
fn wm_partial_fields() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    let process = FakeProcess { read_bytes: 8192, ..FakeProcess::new(50, "partial").cpu(100, 50) };
    host.put(&process);
    system::write(host.file(50, "statm"), "broken\n");
    let page = pipeline.tick(10);
    assert!(page.metric("process_memory_usage_bytes").label("group", "partial").is_absent());
    assert_eq!(page.metric("process_unix_file_descriptor_count").label("group", "partial").value(), 3.0);
    host.put(&FakeProcess { read_bytes: 12_288, ..process.cpu(200, 50) });
    system::write(host.file(50, "statm"), "broken\n");
    let page = pipeline.tick(15);
    assert_eq!(cpu(&page, "partial"), 1.0);
    let read = page.metric("process_disk_io_bytes_total").label("group", "partial");
    assert_eq!(read.label("disk_io_direction", "read").value(), 4096.0);
    assert!(page.samples().iter().all(|sample| sample.value >= 0.0), "no -1 for unknown");
}

/// A process that is gone leaves its counters as they were, no empty row, and nothing that has to be joined.
#[test]
fn wm_lost_pid_row() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(50, "daemon").start(500).cpu(100, 0));
    pipeline.tick(10);
    host.put(&FakeProcess::new(50, "daemon").start(500).cpu(300, 0));
    pipeline.tick(15);
    host.end(50);
    for second in [20, 25] {
        let page = pipeline.tick(second);
        assert_eq!(cpu(&page, "daemon"), 2.0);
        assert_eq!(page.metric("process_thread_count").label("group", "daemon").value(), 0.0);
        assert!(page.metric("process_memory_usage_bytes").label("group", "daemon").is_absent());
    }
    host.put(&FakeProcess::new(51, "daemon").start(2600).cpu(50, 0));
    let page = pipeline.tick(30);
    assert_eq!(cpu(&page, "daemon"), 2.5, "the next one goes on in the same series");
}

/// Without its limits a process has no utilization, and everything else.
#[test]
fn limits_unreadable_keeps_process() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(50, "unlimited"));
    std::fs::remove_file(host.file(50, "limits")).unwrap();
    let page = pipeline.tick(10);
    assert!(
        page.metric("process_linux_file_descriptor_utilization_ratio")
            .label("group", "unlimited")
            .is_absent()
    );
    assert_eq!(page.metric("process_unix_file_descriptor_count").label("group", "unlimited").value(), 3.0);
    assert!(page.metric("process_memory_usage_bytes").label("group", "unlimited").value() > 0.0);
}

/// Ten thousand processes pass and nothing of them stays.
#[test]
fn ignored_pids_do_not_leak() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    let mut series = Vec::new();
    for round in 0..20 {
        let crowd = (0..50).map(|number| FakeProcess::new(1000 + round * 50 + number, "crowd"));
        crowd.clone().for_each(|process| host.put(&process));
        let page = pipeline.tick(u64::from(10 + round * 5));
        assert_eq!(members(&page, "crowd"), 50.0);
        series.push(page.samples().len());
        crowd.for_each(|process| host.end(process.pid));
    }
    let page = pipeline.tick(500);
    assert_eq!(members(&page, "crowd"), 0.0);
    assert_eq!(page.metric("system_process_count").sum(), 1.0);
    assert!(series.windows(2).skip(1).all(|two| two[0] == two[1]), "{series:?}");
}

/// a7, a11: a scan that comes late spreads what was used over the time that really passed.
#[test]
fn sp_rate_uses_elapsed() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    let writer = FakeProcess::new(50, "writer").start(500);
    host.put(&writer);
    let mut before = pipeline.tick(10);
    let mut rates = Vec::new();
    // 1 MiB a second all the time; the third scan is 55 s late.
    for (second, written) in [(15, 5), (20, 10), (80, 70), (85, 75)] {
        // Who writes uses CPU; a process that used none is not read again.
        host.put(&FakeProcess { write_bytes: written << 20, ..writer.clone().cpu(written, written) });
        let page = pipeline.tick(second);
        let value = |page: &Page| {
            let bytes = page.metric("process_disk_io_bytes_total").label("group", "writer");
            bytes.label("disk_io_direction", "write").value()
        };
        let time = |page: &Page| page.metric("procagent_scan_time_seconds").value();
        rates.push((value(&page) - value(&before)) / (time(&page) - time(&before)));
        before = page;
    }
    assert!(rates.iter().all(|rate| *rate == f64::from(1 << 20)), "{rates:?}");
}

/// The wall clock jumps back, the machine sleeps: no counter falls, nothing is counted twice.
#[test]
fn failure_clock_jumps() {
    let host = FakeHost::new();
    let mut pipeline = Pipeline::new(host.root());
    host.put(&FakeProcess::new(50, "steady").start(500).cpu(100, 0));
    pipeline.tick(10);
    let mut expected = 0.0;
    let mut used = 100;
    // Seconds that each clock is ahead of the story's: wall, then boot (suspend).
    for (second, wall, boot) in [(15, 0, 0), (20, -3600, 0), (25, 86_400, 0), (30, 0, 7200), (35, -10, 7200)]
    {
        used += 100;
        expected += 1.0;
        host.put(&FakeProcess::new(50, "steady").start(500).cpu(used, 0));
        let mut now = at(second);
        now.wall = Ns(now.wall.0.checked_add_signed(wall * 1_000_000_000).unwrap());
        now.boot = now.boot.plus(Ns::from_secs(boot));
        let page = pipeline.tick_at(now);
        assert_eq!(cpu(&page, "steady"), expected, "at {second} s");
        assert_eq!(started(&page, "steady"), 0.0);
        assert_eq!(page.metric("procagent_contradictions_total").value(), 0.0);
    }
}

/// The agent starts anew on the same host: what ran before counts from second sight, as at the first start.
#[test]
fn a_restart_of_the_agent_counts_nothing_of_before() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(50, "daemon").start(500).cpu(10_000, 0));
    let mut first = Pipeline::new(host.root());
    first.tick(200);
    host.put(&FakeProcess::new(50, "daemon").start(500).cpu(10_100, 0));
    assert_eq!(cpu(&first.tick(205), "daemon"), 1.0);
    drop(first);
    let mut second = Pipeline::new(host.root());
    assert_eq!(cpu(&second.tick(210), "daemon"), 0.0, "zero, and not all it ever used");
    host.put(&FakeProcess::new(50, "daemon").start(500).cpu(10_350, 0));
    assert_eq!(cpu(&second.tick(215), "daemon"), 2.5);
}

/// Names are what programs make of them; each is one group, and the page stays a page.
#[test]
fn hostile_names_are_labels_like_any_other() {
    let host = FakeHost::new();
    let names: [&[u8]; 9] = [
        b"quo\"te",
        b"new\nline 1",
        b"br{a}ces=,",
        b"back\\slash\\",
        b"inval\xff\xfeid",
        "crab\u{1f980}".as_bytes(),
        b"a) R 1 (b",
        b"# EOF",
        b"other",
    ];
    for (pid, name) in (100..).zip(names) {
        host.put(&FakeProcess::new(pid, "x").called(name));
    }
    let page = Pipeline::new(host.root()).tick(10);
    let groups = page.metric("process_thread_count").values_of("group");
    for name in &names[..8] {
        let name = String::from_utf8_lossy(name);
        assert!(groups.contains(&&*name), "{name:?} is not among {groups:?}");
    }
    assert!(!groups.contains(&"other"), "nobody joins the remainder by name: {groups:?}");
    assert_eq!(page.metric("system_process_count").sum(), 10.0);
}

/// Threads of the kernel are one group, and no program gets into it by its name.
#[test]
fn kernel_threads_are_one_group() {
    let host = FakeHost::new();
    host.put(&FakeProcess::new(2, "kthreadd").parent(0).of_kernel());
    host.put(&FakeProcess::new(3, "kworker/0:1").parent(2).of_kernel());
    host.put(&FakeProcess::new(50, "kernel"));
    let page = Pipeline::new(host.root()).tick(10);
    assert_eq!(members(&page, "kernel"), 2.0);
    assert!(page.metric("process_memory_usage_bytes").label("group", "kernel").is_absent());
}
