//! Reads that hang: in a captured tree, a FIFO that nobody writes to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

mod common;

use common::{Tree, args, details, errors, reading, scan};
use procagent_core::snapshot::{Field, Reason};
use std::io::Write as _;
use std::time::Duration;

/// Long enough that a reader which does not hang answers, also on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(2);

#[test]
fn stuck_cmdline_does_not_block() {
    let tree = Tree::new();
    for pid in 1..=60 {
        tree.process(pid, "worker", 1000);
    }
    for pid in [5, 6] {
        tree.fifo(&format!("proc/{pid}/cmdline"));
    }
    let mut procfs = tree.open(DEADLINE);
    let snapshot = scan(&mut procfs, 1);
    assert_eq!((snapshot.processes.len(), snapshot.details.len()), (60, 60));
    assert_eq!(errors(&snapshot), [(Field::Cmdline, Reason::Timeout, 2)]);
    for pid in 1..=60 {
        let told = details(&snapshot, pid)[0];
        assert_eq!(
            (args(told).is_none(), told.exe.is_none()),
            ([5, 6].contains(&pid), [5, 6].contains(&pid))
        );
        assert_eq!(&told.comm[..], b"worker");
        assert!(reading(&snapshot, pid).usage.io.is_some());
    }
    // In quarantine: neither read nor counted again, also when it calls exec.
    tree.write("proc/5/stat", common::stat(5, "execed", 20, 5, 1000));
    let snapshot = scan(&mut procfs, 2);
    assert_eq!((snapshot.details.len(), errors(&snapshot)), (0, vec![]));

    // One comes back; the other ends meanwhile and its number is reused.
    std::fs::OpenOptions::new()
        .write(true)
        .open(tree.path("proc/5/cmdline"))
        .unwrap()
        .write_all(b"late\0")
        .unwrap();
    let stuck = std::fs::OpenOptions::new().write(true).open(tree.path("proc/6/cmdline")).unwrap();
    tree.remove("proc/6");
    tree.process(6, "another", 2000);
    drop(stuck);
    tree.remove("proc/5/cmdline");
    tree.write("proc/5/cmdline", "new\0");
    let mut told = Vec::new();
    let mut of_6 = Vec::new();
    for second in 3..500 {
        let snapshot = scan(&mut procfs, second);
        told.extend(details(&snapshot, 5).into_iter().map(|details| args(details).unwrap()));
        of_6.extend(details(&snapshot, 6).into_iter().map(|details| args(details).unwrap()));
        if told.len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(told, [["late"], ["new"]], "what came late, then the program it has called meanwhile");
    assert_eq!(of_6, [["/bin/another", "--flag"]], "never what was read of the one before");
}

#[test]
fn when_all_readers_hang_reads_are_refused() {
    let tree = Tree::new();
    for pid in 1..=40 {
        tree.process(pid, "worker", 1000);
        tree.fifo(&format!("proc/{pid}/cmdline"));
    }
    let mut procfs = tree.open(Duration::from_millis(200));
    let snapshot = scan(&mut procfs, 1);
    assert_eq!((snapshot.processes.len(), snapshot.details.len()), (40, 40));
    let (stuck, refused) = (
        snapshot.errors.get(Field::Cmdline, Reason::Timeout),
        snapshot.errors.get(Field::Cmdline, Reason::Failed),
    );
    assert_eq!((stuck, refused), (16, 24));
    tree.process(50, "late", 1000);
    let snapshot = scan(&mut procfs, 2);
    assert_eq!(details(&snapshot, 50)[0].argv, None);
    let refused = [(Field::Cmdline, Reason::Failed, 1), (Field::Smaps, Reason::Failed, 1)];
    assert_eq!(errors(&snapshot), refused);

    // They come back, and what was refused is read in its next turn.
    for pid in 1..=40 {
        let open = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(tree.path(&format!("proc/{pid}/cmdline")));
        open.unwrap().write_all(b"late\0").unwrap();
        tree.remove(&format!("proc/{pid}/cmdline"));
        tree.write(&format!("proc/{pid}/cmdline"), "late\0");
    }
    let mut told = 0;
    for second in 3..2000 {
        told += scan(&mut procfs, second).details.iter().filter(|details| details.argv.is_some()).count();
        if told == 41 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{told} of 41 came back");
}
