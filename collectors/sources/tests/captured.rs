//! Scans of a captured tree: plain files in place of the kernel's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod common;

use common::{PATIENT, Tree, args, details, errors, reading, scan, scan_for, stat};
use procagent_core::plugin::Needs;
use procagent_core::process::{BootId, Io, Pid, State};
use procagent_core::snapshot::{Field, Reason, Smaps, Snapshot, Source as _, Users};
use procagent_core::time::{Ns, Ticks};
use procagent_sources::{Procfs, Settings};

#[test]
fn every_number_of_a_process() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    tree.write("sys/fs/cgroup/cgroup.controllers", "memory\n");
    tree.write("sys/fs/cgroup/system.slice/memory.max", "max\n");
    tree.write("sys/fs/cgroup/system.slice/a.service/memory.max", "65536\n");
    let snapshot = scan(&mut tree.open(PATIENT), 1);
    assert_eq!(errors(&snapshot), []);
    let got = reading(&snapshot, 42);
    assert_eq!(
        (got.id.start, got.parent, got.state, got.kernel_thread),
        (Ticks(1000), Pid(1), State::Sleeping, false)
    );
    assert_eq!((got.usage.runtime, got.usage.user), (Ns::from_millis(250), Some(Ns::from_millis(200))));
    assert_eq!(
        (got.usage.system, got.usage.minor_faults, got.usage.major_faults),
        (Some(Ns::from_millis(50)), Some(7), Some(8))
    );
    let io = Io { read_bytes: 5, write_bytes: 6, read_operations: Some(3), write_operations: Some(4) };
    assert_eq!(got.usage.io, Some(io));
    assert_eq!((got.threads, got.nice), (Some(1), Some(-3)));
    assert_eq!((got.virtual_memory, got.resident_memory), (Some(409_600), Some(40_960)));
    assert_eq!(got.memory_limit, Some(65_536), "the smaller limit of its groups");
    assert_eq!((got.descriptors, got.descriptor_limit), (Some(3), Some(1024)));
    assert_eq!(got.users, Some(Users { real: 1000, effective: 1001 }));
    let told = details(&snapshot, 42)[0];
    assert_eq!((&told.comm[..], told.exe.as_deref()), (&b"worker"[..], Some("/bin/worker")));
    assert_eq!(args(told).unwrap(), ["/bin/worker", "--flag"]);
    assert_eq!(told.cgroup.as_deref(), Some("/system.slice/a.service"));
    let host = &snapshot.host;
    assert_eq!(BootId::parse("0b5a1c2e-9f31-4cf8-8a5d-001122334455"), Some(host.boot_id));
    assert_eq!((host.cpus, host.forks, host.memory.unwrap().total), (Some(2), Some(77), 1_024_000_000));
    assert_eq!(host.cpu.unwrap().busy(), Ns::from_millis(1510));
    assert!(snapshot.agent.is_some_and(|agent| agent.descriptors > 2 && agent.resident_memory > 0));
}

#[test]
fn only_what_is_needed_is_read() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    let snapshot = scan_for(&mut procfs, Needs::NOTHING, 1);
    let got = reading(&snapshot, 42);
    assert_eq!(got.usage.runtime, Ns::from_millis(250));
    assert_eq!((got.usage.io, got.resident_memory, got.descriptors, got.users), (None, None, None, None));
    assert_eq!((snapshot.host.cpu, details(&snapshot, 42)[0].exe.clone()), (None, None));
    let snapshot = scan_for(&mut procfs, Needs::IO | Needs::DETAILS, 2);
    let got = reading(&snapshot, 42);
    assert!(got.usage.io.is_some() && got.users.is_none(), "what is needed from now on is read at once");
    assert_eq!(details(&snapshot, 42)[0].exe.as_deref(), Some("/bin/worker"));
}

#[test]
fn what_rests_is_read_again_within_30_seconds() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    scan(&mut procfs, 0);
    tree.write("proc/42/io", "syscr: 30\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\n");
    let read = |procfs: &mut Procfs, second| {
        let snapshot = scan(procfs, second);
        reading(&snapshot, 42).usage.io.unwrap().read_operations.unwrap()
    };
    assert_eq!(read(&mut procfs, 1), 3, "it has not moved");
    assert_eq!(read(&mut procfs, 29), 30, "at 30 seconds it would be late");
    tree.write("proc/42/io", "syscr: 31\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\n");
    tree.write("proc/42/stat", stat(42, "worker", 21, 5, 1000));
    assert_eq!(read(&mut procfs, 30), 31, "it has moved");
}

#[test]
fn one_bad_stat_spoils_one_process() {
    let tree = Tree::new();
    for pid in [1, 2, 3, 4] {
        tree.process(pid, "worker", 1000);
    }
    tree.write("proc/2/stat", "2 (worker) S nonsense\n");
    tree.write("proc/3/stat", stat(1, "worker", 1, 1, 1000));
    tree.remove("proc/4/stat");
    tree.write("proc/5", "a file, not a folder");
    let snapshot = scan(&mut tree.open(PATIENT), 1);
    let pids: Vec<_> = snapshot.processes.iter().map(|reading| reading.id.pid.0).collect();
    assert_eq!(pids, [1]);
    let (bad, gone, odd) = (Reason::Malformed, Reason::Vanished, Reason::Failed);
    assert_eq!(errors(&snapshot), [(Field::Stat, gone, 1), (Field::Stat, bad, 2), (Field::Stat, odd, 1)]);
}

#[test]
fn wm_partial_fields() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let everything = scan(&mut tree.open(PATIENT), 1);
    // Each file by itself: its field is absent and counted, the rest stays as it is.
    for (file, field) in [
        ("statm", Field::Statm),
        ("io", Field::Io),
        ("status", Field::Status),
        ("limits", Field::Limits),
        ("smaps_rollup", Field::Smaps),
        ("schedstat", Field::Schedstat),
        ("cgroup", Field::Cgroup),
    ] {
        let path = format!("proc/42/{file}");
        let before = std::fs::read(tree.path(&path)).unwrap();
        tree.write(&path, "nonsense");
        let snapshot = scan(&mut tree.open(PATIENT), 1);
        tree.write(&path, before);
        // Two values come from status.
        let count = if field == Field::Status { 2 } else { 1 };
        assert_eq!(errors(&snapshot), [(field, Reason::Malformed, count)]);
        let mut expected = reading(&everything, 42).clone();
        match field {
            // What may be large is not looked at.
            Field::Statm => (expected.resident_memory, expected.smaps) = (None, Smaps::Unread),
            Field::Smaps => expected.smaps = Smaps::Unread,
            Field::Schedstat => {
                expected.threads_read = None;
                (expected.usage.context_switches, expected.usage.delay) = (None, None);
            }
            Field::Io => expected.usage.io = None,
            Field::Status => {
                (expected.users, expected.threads_read) = (None, None);
                (expected.usage.context_switches, expected.usage.delay) = (None, None);
            }
            Field::Limits => expected.descriptor_limit = None,
            _ => expected.memory_limit = None,
        }
        assert_eq!(format!("{:?}", reading(&snapshot, 42)), format!("{expected:?}"), "{file}");
        assert_eq!(details(&snapshot, 42)[0].cgroup.is_none(), file == "cgroup");
    }
}

#[test]
fn limits_unreadable_keeps_process() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    tree.remove("proc/42/limits");
    let snapshot = scan(&mut tree.open(PATIENT), 1);
    let got = reading(&snapshot, 42);
    assert_eq!((got.descriptor_limit, got.descriptors), (None, Some(3)));
    assert_eq!(errors(&snapshot), [(Field::Limits, Reason::Vanished, 1)]);
}

#[test]
fn a_reused_number_inherits_nothing() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    scan(&mut procfs, 1);
    tree.remove("proc/42");
    tree.process(42, "other", 2000);
    tree.remove("proc/42/io");
    let snapshot = scan(&mut procfs, 2);
    let got = reading(&snapshot, 42);
    assert_eq!((got.id.start, got.usage.io), (Ticks(2000), None));
    assert_eq!(details(&snapshot, 42)[0].exe.as_deref(), Some("/bin/other"));
}

#[test]
fn ignored_pids_do_not_leak() {
    let tree = Tree::new();
    let mut procfs = tree.open(PATIENT);
    for round in 0..50 {
        for pid in 0..4 {
            tree.process(100 + round * 4 + pid, "worker", 1000);
        }
        let snapshot = scan(&mut procfs, u64::from(round));
        assert_eq!((snapshot.processes.len(), procfs.remembered()), (4, 4));
        for pid in 0..4 {
            tree.remove(&format!("proc/{}", 100 + round * 4 + pid));
        }
    }
    assert!(scan(&mut procfs, 100).processes.is_empty());
    assert_eq!((procfs.remembered(), procfs.kept_descriptors()), (0, 0));
}

#[test]
fn exec_and_rename_are_seen() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    scan(&mut procfs, 1);
    assert!(scan(&mut procfs, 2).details.is_empty(), "told once");
    // Another program of the same name: only its code lies elsewhere.
    tree.write("proc/42/stat", stat(42, "worker", 20, 5, 1000).replace(" 4096 8192 ", " 5096 8192 "));
    tree.write("proc/42/cmdline", "another\0");
    let snapshot = scan(&mut procfs, 3);
    assert_eq!(args(details(&snapshot, 42)[0]).unwrap(), ["another"]);
    // Arguments elsewhere.
    tree.write("proc/42/stat", stat(42, "worker", 20, 5, 1000).replace(" 65536 70000 ", " 65537 70000 "));
    assert_eq!(details(&scan(&mut procfs, 4), 42).len(), 1);
    // A name.
    tree.write("proc/42/stat", stat(42, "renamed", 20, 5, 1000).replace(" 65536 70000 ", " 65537 70000 "));
    assert_eq!(&details(&scan(&mut procfs, 5), 42)[0].comm[..], b"renamed");
    assert!(scan(&mut procfs, 6).details.is_empty());
}

#[test]
fn renames_are_bounded_and_not_lost() {
    let tree = Tree::new();
    for pid in 1..=100 {
        tree.process(pid, "worker", 1000);
    }
    let mut procfs = tree.open(PATIENT);
    scan(&mut procfs, 1);
    for pid in 1..=100 {
        tree.write(&format!("proc/{pid}/stat"), stat(pid, "renamed", 20, 5, 1000));
    }
    assert_eq!(scan(&mut procfs, 2).details.len(), 64);
    assert_eq!(scan(&mut procfs, 3).details.len(), 36);
    assert_eq!(scan(&mut procfs, 4).details.len(), 0);
}

#[test]
fn what_could_not_be_read_is_tried_again() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    tree.remove("proc/42/exe");
    let mut procfs = tree.open(PATIENT);
    let snapshot = scan(&mut procfs, 0);
    assert_eq!(details(&snapshot, 42)[0].exe, None);
    assert_eq!(errors(&snapshot), [(Field::Exe, Reason::Vanished, 1)]);
    assert_eq!(errors(&scan(&mut procfs, 10)), [], "not at once");
    let snapshot = scan(&mut procfs, 30);
    assert_eq!(
        (snapshot.details.len(), snapshot.errors.get(Field::Exe, Reason::Vanished)),
        (0, 1),
        "nothing new"
    );
    tree.link("proc/42/exe", "/bin/worker");
    assert!(scan(&mut procfs, 60).details.is_empty(), "each wait is twice as long");
    let snapshot = scan(&mut procfs, 91);
    assert_eq!(details(&snapshot, 42)[0].exe.as_deref(), Some("/bin/worker"));
}

#[test]
fn kernel_threads_and_zombies_cost_no_errors() {
    let tree = Tree::new();
    tree.write("proc/2/stat", stat(2, "kworker/0:1-events", 0, 5, 3).replace(" 4194304 ", " 2097216 "));
    tree.write("proc/9/stat", stat(9, "gone", 20, 5, 1000).replace(" S ", " Z "));
    tree.write("proc/9/status", "Name:\tgone\nUid:\t7\t7\t7\t7\n");
    let mut procfs = tree.open(PATIENT);
    let snapshot = scan(&mut procfs, 1);
    assert_eq!(errors(&snapshot), []);
    let thread = reading(&snapshot, 2);
    assert!(thread.kernel_thread);
    assert_eq!(thread.users, Some(Users { real: 0, effective: 0 }));
    assert_eq!((thread.usage.io, thread.resident_memory, thread.virtual_memory), (None, None, None));
    assert_eq!((thread.descriptors, thread.descriptor_limit, thread.memory_limit), (None, None, None));
    assert_eq!(&details(&snapshot, 2)[0].comm[..], b"kworker/0:1-events");
    let zombie = reading(&snapshot, 9);
    assert_eq!((zombie.state, zombie.users.map(|users| users.real)), (State::Defunct, Some(7)));
    assert_eq!((zombie.usage.io, zombie.resident_memory, zombie.descriptors), (None, None, None));
    // What a worker does changes its name.
    tree.write("proc/2/stat", stat(2, "kworker/0:1-mm", 0, 6, 3).replace(" 4194304 ", " 2097216 "));
    assert!(scan(&mut procfs, 2).details.is_empty());
}

#[test]
fn memory_limits_of_version_1() {
    let tree = Tree::new();
    for (pid, group, limit) in [(1, "a", "9223372036854771712"), (2, "a/b", "5000"), (3, "a/b/c", "9000")] {
        tree.process(pid, "worker", 1000);
        tree.write(&format!("proc/{pid}/cgroup"), format!("4:memory:/{group}\n1:name=systemd:/s\n0::/\n"));
        tree.write(&format!("sys/fs/cgroup/memory/{group}/memory.limit_in_bytes"), limit);
    }
    tree.process(4, "worker", 1000);
    tree.write("proc/4/cgroup", "4:memory:/../other\n");
    let mut procfs = tree.open(PATIENT);
    let snapshot = scan(&mut procfs, 1);
    let limit = |snapshot: &Snapshot, pid| reading(snapshot, pid).memory_limit;
    assert_eq!(limit(&snapshot, 1), Some(1_024_000_000), "none: the host's memory");
    assert_eq!((limit(&snapshot, 2), limit(&snapshot, 3)), (Some(5000), Some(5000)));
    assert_eq!(limit(&snapshot, 4), None, "a group that is not to be found from here");
    assert_eq!(details(&snapshot, 2)[0].cgroup.as_deref(), Some("/s"));
    tree.write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "6000");
    assert_eq!(limit(&scan(&mut procfs, 20), 3), Some(5000));
    assert_eq!(limit(&scan(&mut procfs, 31), 3), Some(6000), "read again after 30 seconds");
}

#[test]
fn what_is_no_proc_is_refused_with_advice() {
    let tree = Tree::new();
    let refused = |root: &str| {
        let settings = Settings { root: tree.path(root), ..Settings::default() };
        Procfs::open(settings).unwrap_err().to_string()
    };
    let text = refused("nowhere");
    assert!(text.contains("/nowhere/proc") && text.contains("host.root"), "{text}");
    tree.write("a/proc", "a file");
    assert!(refused("a").contains("host.root"), "{}", refused("a"));
    tree.write("b/proc/stat", "not a stat\n");
    let text = refused("b");
    assert!(text.contains("b/proc/stat") && text.contains("`cpu` line"), "{text}");
    tree.write("c/proc/other", "");
    assert!(refused("c").contains("c/proc/stat"), "{}", refused("c"));
}

#[test]
fn the_host_may_be_unreadable_in_part() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    tree.write("proc/stat", "");
    tree.remove("proc/meminfo");
    let snapshot = scan(&mut procfs, 1);
    assert!(snapshot.host.cpu.is_none() && snapshot.host.memory.is_none());
    assert_eq!(reading(&snapshot, 42).memory_limit, None);
    let (bad, gone) = (Reason::Malformed, Reason::Vanished);
    assert_eq!(errors(&snapshot), [(Field::HostStat, bad, 1), (Field::Meminfo, gone, 1)]);
    tree.remove("proc/42");
    assert!(scan(&mut procfs, 2).processes.is_empty(), "an empty host");
    tree.remove("proc");
    let error = procfs.scan(Needs::NOTHING, &mut Snapshot::default()).unwrap_err().to_string();
    assert!(error.contains("cannot list") && error.contains("/proc"), "{error}");
}
