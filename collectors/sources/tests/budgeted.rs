//! What is read in turns: users, proportional memory, threads. In captured trees, with a clock that tests move.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod common;

use common::{PATIENT, Tree, errors, reading, scan, scan_for, smaps_rollup, stat, status};
use procagent_core::plugin::Needs;
use procagent_core::process::{Delay, Switches};
use procagent_core::snapshot::{Budgets, Field, Reason, Rollup, Smaps, Snapshot, Source as _};
use procagent_core::time::Ns;
use procagent_sources::{Procfs, Settings};
use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Long enough that a reader which does not hang answers, also on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(2);

fn user(snapshot: &Snapshot, uid: u32) -> String {
    snapshot.users.name(uid).to_string()
}

#[test]
fn uid_name_cache_expires() {
    let tree = Tree::new();
    let mut procfs = tree.open(PATIENT);
    assert_eq!(user(&scan(&mut procfs, 0), 1000), "1000", "a host without names");
    tree.write("etc/passwd", "root:x:0:0::/:\nada:x:1000:1000::/:\n");
    assert_eq!(user(&scan(&mut procfs, 29), 1000), "1000");
    let snapshot = scan(&mut procfs, 31);
    assert_eq!((user(&snapshot, 1000), user(&snapshot, 0)), ("ada".into(), "root".into()));
    // In place, to the same length; the time tells.
    let before = snapshot.users;
    tree.write("etc/passwd", "root:x:0:0::/:\nbob:x:1000:1000::/:\n");
    assert!(std::sync::Arc::ptr_eq(&scan(&mut procfs, 60).users, &before), "looked at every 30 s");
    assert_eq!(user(&scan(&mut procfs, 62), 1000), "bob");
    let same = scan(&mut procfs, 93).users;
    assert!(std::sync::Arc::ptr_eq(&scan(&mut procfs, 124).users, &same), "not parsed again");
    tree.remove("etc/passwd");
    let snapshot = scan(&mut procfs, 155);
    assert_eq!((user(&snapshot, 1000), errors(&snapshot)), ("1000".into(), vec![]));
    let snapshot = scan_for(&mut tree.open(PATIENT), Needs::NOTHING, 0);
    assert!(snapshot.users.is_empty());
}

#[test]
fn a_long_file_of_users_ends_with_a_whole_line() {
    let tree = Tree::new();
    let line = |uid: u32| format!("user{uid}:x:{uid}:0:{}:/:\n", "x".repeat(1000));
    let text: String = (1..2000).map(line).collect();
    tree.write("etc/passwd", text);
    let users = scan(&mut tree.open(PATIENT), 0).users;
    assert!((1000..1040).contains(&users.len()), "{}", users.len());
    assert_eq!(users.name(1000).to_string(), "user1000");
}

#[test]
fn users_that_hang_do_not_block() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    tree.write("etc/passwd", "");
    tree.fifo("etc/passwd");
    let mut procfs = tree.open(DEADLINE);
    let snapshot = scan(&mut procfs, 0);
    assert_eq!((snapshot.processes.len(), snapshot.details.len()), (1, 1));
    assert_eq!(errors(&snapshot), [(Field::Passwd, Reason::Timeout, 1)]);
    assert_eq!(errors(&scan(&mut procfs, 60)), [], "left alone");
    let mut late = std::fs::OpenOptions::new().write(true).open(tree.path("etc/passwd")).unwrap();
    late.write_all(b"late:x:1000:0::/:\n").unwrap();
    drop(late);
    tree.remove("etc/passwd");
    tree.write("etc/passwd", "new:x:1000:0::/:\n");
    let mut names = vec!["1000".to_owned()];
    for second in 61..2000 {
        let name = user(&scan(&mut procfs, second), 1000);
        if names.last() != Some(&name) {
            names.push(name);
        }
        if names.len() == 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(names, ["1000", "late", "new"]);
}

fn pss(snapshot: &Snapshot, pid: u32) -> Option<u64> {
    match reading(snapshot, pid).smaps {
        Smaps::Read(rollup) => Some(rollup.pss / 1024),
        _ => None,
    }
}

#[test]
fn memory_is_read_in_its_time_and_stays() {
    let tree = Tree::new();
    tree.process(16, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    let snapshot = scan(&mut procfs, 100);
    let rollup = Rollup { pss: 30 << 10, uss: 11 << 10, swap: 7 << 10, at: Ns::from_secs(100) };
    assert_eq!(reading(&snapshot, 16).smaps, Smaps::Read(rollup));
    tree.write("proc/16/smaps_rollup", smaps_rollup(50, 5, 6, 7));
    // Its second turn is early: those of a crowd are spread.
    assert_eq!(pss(&scan(&mut procfs, 103), 16), Some(30));
    assert_eq!(pss(&scan(&mut procfs, 104), 16), Some(50));
    tree.write("proc/16/smaps_rollup", smaps_rollup(70, 5, 6, 7));
    let snapshot = scan(&mut procfs, 163);
    assert_eq!(pss(&snapshot, 16), Some(50));
    let Smaps::Read(Rollup { at, .. }) = reading(&snapshot, 16).smaps else { panic!() };
    assert_eq!(at, Ns::from_secs(104), "its age is known");
    assert_eq!(pss(&scan(&mut procfs, 164), 16), Some(70));
    // Another program has other memory.
    tree.write("proc/16/stat", stat(16, "worker", 20, 5, 1000).replace(" 4096 8192 ", " 5096 8192 "));
    tree.write("proc/16/smaps_rollup", smaps_rollup(90, 5, 6, 7));
    assert_eq!(pss(&scan(&mut procfs, 165), 16), Some(90));
    assert_eq!(reading(&scan_for(&mut procfs, Needs::MEMORY, 166), 16).smaps, Smaps::Unread);
}

#[test]
fn a_process_above_max_resident_is_skipped() {
    let tree = Tree::new();
    tree.process(1, "small", 1000);
    tree.process(2, "large", 1000);
    // Nothing that is read: who opens it would hang.
    tree.fifo("proc/2/smaps_rollup");
    tree.write("proc/2/statm", "900000 262145 5 1 0 20 0\n");
    let mut procfs = tree.open(DEADLINE);
    let snapshot = scan(&mut procfs, 1);
    assert_eq!((pss(&snapshot, 1), reading(&snapshot, 2).smaps), (Some(30), Smaps::TooLarge));
    assert_eq!(errors(&snapshot), []);
    procfs.set_budgets(Budgets { smaps_max_resident: 4096, ..Budgets::default() });
    assert_eq!(reading(&scan(&mut procfs, 2), 1).smaps, Smaps::TooLarge);
    procfs.set_budgets(Budgets::default());
    assert_eq!(pss(&scan(&mut procfs, 62), 1), Some(30));
}

#[test]
fn memory_that_hangs_does_not_block() {
    let tree = Tree::new();
    for pid in 1..=40 {
        tree.process(pid, "worker", 1000);
    }
    for pid in [5, 6] {
        tree.fifo(&format!("proc/{pid}/smaps_rollup"));
    }
    let mut procfs = tree.open(Duration::from_millis(300));
    let snapshot = scan(&mut procfs, 1);
    assert_eq!((snapshot.details.len(), errors(&snapshot)), (40, vec![(Field::Smaps, Reason::Timeout, 1)]));
    // Nobody waits for the others after that; they come with later scans. The second that hangs is given up when
    // something else is asked for.
    let (mut hung, mut second) = (1, 2);
    while hung < 2 {
        assert!(second < 1000);
        std::thread::sleep(Duration::from_millis(5));
        tree.process(1000 + second, "more", 1000);
        hung += scan(&mut procfs, u64::from(second)).errors.get(Field::Smaps, Reason::Timeout);
        second += 1;
    }
    let all = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        let snapshot = scan(&mut procfs, 60);
        (1..=40).all(|pid| pss(&snapshot, pid).is_none() == [5, 6].contains(&pid))
    });
    assert!(all);
    assert_eq!(errors(&scan(&mut procfs, 60)), [], "in quarantine");
    // One comes back.
    let mut late = std::fs::OpenOptions::new().write(true).open(tree.path("proc/5/smaps_rollup")).unwrap();
    late.write_all(smaps_rollup(99, 1, 1, 1).as_bytes()).unwrap();
    drop(late);
    let came = (1001..2000).any(|second| {
        std::thread::sleep(Duration::from_millis(5));
        pss(&scan(&mut procfs, second), 5) == Some(99)
    });
    assert!(came);
}

#[test]
fn when_all_memory_hangs_arguments_are_still_read() {
    let tree = Tree::new();
    for pid in 1..=40 {
        tree.process(pid, "worker", 1000);
        tree.fifo(&format!("proc/{pid}/smaps_rollup"));
    }
    let mut procfs = tree.open(Duration::from_millis(200));
    let snapshot = scan(&mut procfs, 1);
    assert!(snapshot.details.iter().all(|details| details.argv.is_some()));
    scan(&mut procfs, 2);
    tree.process(50, "late", 1000);
    let snapshot = scan(&mut procfs, 3);
    assert!(common::details(&snapshot, 50)[0].argv.is_some());
    // Let the readers end.
    for pid in 1..=40 {
        let path = tree.path(&format!("proc/{pid}/smaps_rollup"));
        drop(std::fs::OpenOptions::new().read(true).write(true).open(path));
    }
}

/// A source whose clock goes on by a fixed time with each look.
fn with_clock(tree: &Tree, clock: fn() -> Ns) -> Procfs {
    let root = tree.path("");
    let settings = Settings { root, read_deadline: PATIENT, page_size: 4096, clock, ..Settings::default() };
    Procfs::open(Settings { ticks_per_second: 100, ..settings }).unwrap()
}

#[test]
fn memory_is_read_within_its_budget_and_everyone_has_a_turn() {
    thread_local!(static NOW: Cell<u64> = const { Cell::new(0) });
    let tree = Tree::new();
    for pid in 1..=40 {
        tree.process(pid, "worker", 1000);
    }
    // Each read takes 1 ms, whatever the other readers do.
    let mut procfs = with_clock(&tree, || Ns(NOW.replace(NOW.get() + 1_000_000)));
    procfs.set_budgets(Budgets {
        smaps: Ns::from_millis(12),
        smaps_every: Ns::from_secs(60),
        ..Budgets::default()
    });
    let needs = Needs::MEMORY | Needs::SMAPS;
    let mut read = Vec::new();
    for scan in 0..41 {
        let snapshot = scan_for(&mut procfs, needs, 100 + scan * 5);
        read.push((1..=40).filter(|pid| pss(&snapshot, *pid).is_some()).count());
    }
    assert_eq!(read[0], 12, "{read:?}");
    // 12 ms a minute are 1 ms a scan.
    let in_a_minute = read[12] - read[0];
    assert!((11..=12).contains(&in_a_minute), "{read:?}");
    assert_eq!(read[40], 40, "{read:?}");
}

#[test]
fn without_a_budget_no_memory_is_read() {
    let tree = Tree::new();
    tree.process(1, "worker", 1000);
    let mut procfs = tree.open(PATIENT);
    procfs.set_budgets(Budgets { smaps: Ns(0), threads: Ns(0), ..Budgets::default() });
    assert_eq!(reading(&scan(&mut procfs, 1), 1).smaps, Smaps::Unread);
}

/// A thread of a process, with `used` of everything.
fn thread(tree: &Tree, pid: u32, tid: u32, start: u64, used: u64) {
    let folder = format!("proc/{pid}/task/{tid}");
    tree.write(&format!("{folder}/stat"), stat(tid, "thread", used, 0, start));
    tree.write(&format!("{folder}/status"), status("thread", used, used * 2));
    tree.write(&format!("{folder}/schedstat"), format!("{} {} {used}\n", used * 3, used * 4));
}

/// The process itself, with this many threads and what its first thread has used.
fn leader(tree: &Tree, pid: u32, threads: u32, used: u64) {
    let line = stat(pid, "worker", used, 0, 1000).replace(" -3 1 0 1000 ", &format!(" -3 {threads} 0 1000 "));
    tree.write(&format!("proc/{pid}/stat"), line);
    tree.write(&format!("proc/{pid}/status"), status("worker", used, used * 2));
    tree.write(&format!("proc/{pid}/schedstat"), format!("{} {} {used}\n", used * 3, used * 4));
}

/// Voluntary switches, after checking that the others go with them.
fn switches(snapshot: &Snapshot, pid: u32) -> Option<u64> {
    let usage = &reading(snapshot, pid).usage;
    let voluntary = usage.context_switches?.voluntary;
    assert_eq!(usage.context_switches, Some(Switches { voluntary, involuntary: voluntary * 2 }));
    assert_eq!(usage.delay, Some(Delay { cpu: Ns(voluntary * 4), block_io: None }));
    Some(voluntary)
}

#[test]
fn threads_come_and_go_and_the_sum_never_falls() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    leader(&tree, 42, 1, 10);
    let mut procfs = tree.open(PATIENT);
    let read = |procfs: &mut Procfs, second| switches(&scan(procfs, second), 42);
    assert_eq!(read(&mut procfs, 0), Some(10));
    // It gets a second thread: no jump, nothing twice.
    leader(&tree, 42, 2, 12);
    thread(&tree, 42, 42, 1000, 12);
    thread(&tree, 42, 43, 2000, 5);
    assert_eq!(read(&mut procfs, 1), Some(17));
    thread(&tree, 42, 43, 2000, 8);
    assert_eq!(read(&mut procfs, 2), Some(17), "it has not moved");
    assert_eq!(read(&mut procfs, 40), Some(20), "within 30 seconds");
    // The second ends and its number is given to a third.
    leader(&tree, 42, 2, 13);
    thread(&tree, 42, 42, 1000, 13);
    thread(&tree, 42, 43, 3000, 100);
    assert_eq!(read(&mut procfs, 41), Some(121));
    // It is alone again.
    tree.remove("proc/42/task/43");
    leader(&tree, 42, 1, 15);
    assert_eq!(read(&mut procfs, 42), Some(123));
    leader(&tree, 42, 1, 16);
    assert_eq!(read(&mut procfs, 43), Some(124));
}

#[test]
fn a_process_not_read_whole_has_no_sum() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    leader(&tree, 42, 2, 10);
    thread(&tree, 42, 42, 1000, 10);
    thread(&tree, 42, 43, 1000, 10);
    tree.write("proc/42/task/43/status", "nonsense\n");
    let mut procfs = tree.open(PATIENT);
    let snapshot = scan(&mut procfs, 0);
    assert_eq!((switches(&snapshot, 42), reading(&snapshot, 42).threads_read), (None, None));
    assert_eq!(errors(&snapshot), [(Field::Task, Reason::Malformed, 1)]);
    thread(&tree, 42, 43, 1000, 10);
    assert_eq!(switches(&scan(&mut procfs, 40), 42), Some(20));
    assert_eq!(reading(&scan_for(&mut procfs, Needs::IO, 41), 42).usage.context_switches, None);
}

#[test]
fn threads_are_read_within_a_budget_and_everyone_has_a_turn() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let tree = Tree::new();
    for pid in [100, 200, 300] {
        tree.process(pid, "worker", 1000);
        leader(&tree, pid, 10, 1);
        for tid in pid..pid + 10 {
            thread(&tree, pid, tid, 1000, 1);
        }
    }
    let mut procfs = with_clock(&tree, || Ns(NOW.fetch_add(1_000_000, Ordering::Relaxed)));
    procfs.set_budgets(Budgets { threads: Ns::from_millis(8), ..Budgets::default() });
    let mut read = Vec::new();
    for second in 0..10 {
        let snapshot = scan_for(&mut procfs, Needs::THREADS, second);
        read.push([100, 200, 300].map(|pid| switches(&snapshot, pid)));
    }
    assert_eq!(read[0], [None; 3], "half of one is nothing");
    assert_eq!(read[1][0], Some(10), "{read:?}");
    assert_eq!(read[9], [Some(10); 3], "{read:?}");
    // One that moves all the time does not keep the others from their turn.
    let mut seen = Vec::new();
    for second in 10..60 {
        leader(&tree, 100, 10, second);
        thread(&tree, 100, 100, 1000, second);
        for pid in [200, 300] {
            leader(&tree, pid, 10, second);
            thread(&tree, pid, pid, 1000, second);
        }
        let snapshot = scan_for(&mut procfs, Needs::THREADS, second);
        seen.push([100, 200, 300].map(|pid| switches(&snapshot, pid).unwrap()));
    }
    assert!(seen.iter().rev().nth(10).unwrap().iter().all(|sum| *sum > 30), "{seen:?}");
    assert!(
        seen.is_sorted_by(|before, after| before.iter().zip(after).all(|(before, after)| before <= after))
    );
}

#[test]
fn waiting_for_storage_is_known_where_the_kernel_accounts_for_it() {
    let tree = Tree::new();
    tree.process(42, "worker", 1000);
    let line = stat(42, "worker", 1, 0, 1000).replace(" 17 0 0 0 0 0 0 ", " 17 0 0 0 25 0 0 ");
    tree.write("proc/42/stat", line);
    let block_io = |procfs: &mut Procfs, second| {
        let snapshot = scan(procfs, second);
        reading(&snapshot, 42).usage.delay.unwrap().block_io
    };
    let mut procfs = tree.open(PATIENT);
    assert_eq!(block_io(&mut procfs, 0), None);
    tree.write("proc/sys/kernel/task_delayacct", "0\n");
    assert_eq!(block_io(&mut procfs, 31), None);
    tree.write("proc/sys/kernel/task_delayacct", "1\n");
    assert_eq!(block_io(&mut procfs, 62), Some(Ns::from_millis(250)));
}
