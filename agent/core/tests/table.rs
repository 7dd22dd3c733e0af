//! Identity, ancestry and the crediting of use, from made-up scans and events.
#![allow(clippy::unwrap_used, reason = "inside tests a failed expectation is the point")]

use procagent_core::event::{ExitStatus, Record, What};
use procagent_core::group::{Groups, OTHER, Settings};
use procagent_core::process::{Io, Pid, ProcessId, Usage};
use procagent_core::snapshot::{Reading, Snapshot};
use procagent_core::table::{LINEAGE_MAX, Table};
use procagent_core::testing::{details, reading, snapshot, used};
use procagent_core::time::{KernelTime, Ns, Ticks};

/// A table with its groups. Start times have 100 ticks a second; scans come at whole seconds.
struct Scene {
    table: Table,
    groups: Groups,
}

/// What a scan showed of one process.
#[derive(Debug, PartialEq)]
struct Shown {
    cpu: Ns,
    started: bool,
    group: String,
}

fn scene() -> Scene {
    remembering(1000)
}

fn remembering(ended: usize) -> Scene {
    Scene { table: Table::new(ended, 100), groups: Groups::new(Settings::bounded(100, Ns::from_secs(600))) }
}

impl Scene {
    fn scan(&mut self, snapshot: &Snapshot) {
        self.table.merge(snapshot);
        self.table.assign(&mut self.groups, snapshot.begun.mono);
        self.groups.settle(&self.table, snapshot);
    }

    /// Scans, and says what is shown of this process.
    fn show(&mut self, pid: u32, snapshot: &Snapshot) -> Shown {
        self.scan(snapshot);
        let seen = self.table.seen(snapshot).find(|seen| seen.process.id.pid == Pid(pid)).unwrap();
        Shown { cpu: seen.delta.runtime, started: seen.started, group: self.group(seen.group) }
    }

    fn group(&self, id: procagent_core::group::GroupId) -> String {
        self.groups.labels(self.groups.resolve(id)).unwrap().name().to_owned()
    }

    fn fork(&mut self, second: u64, pid: u32, start: Option<u64>, parent: u32) -> Option<ProcessId> {
        self.tell(second, pid, start, What::Fork { parent: Pid(parent) })
    }

    fn tell(&mut self, second: u64, pid: u32, start: Option<u64>, what: What) -> Option<ProcessId> {
        let at = KernelTime(Ns::from_secs(second));
        let record = Record { seq: 0, at, pid: Pid(pid), start: start.map(Ticks), what };
        self.table.apply(&record).and_then(|event| event.process)
    }

    fn lineage(&self, id: ProcessId) -> Vec<(u32, bool)> {
        self.table.lineage(id).iter().map(|step| (step.process.id.pid.0, step.ended)).collect()
    }

    fn ends(&self) -> Vec<ProcessId> {
        self.table.ended_now().map(|ended| ended.process.id).collect()
    }
}

fn shown(cpu: u64, started: bool, group: &str) -> Shown {
    Shown { cpu: Ns(cpu), started, group: group.into() }
}

fn id(pid: u32, start: u64) -> ProcessId {
    ProcessId { pid: Pid(pid), start: Ticks(start) }
}

fn child_of(parent: u32, mut reading: Reading) -> Reading {
    reading.parent = Pid(parent);
    reading
}

fn with_io(mut reading: Reading, read_bytes: u64) -> Reading {
    reading.usage.io = Some(Io { read_bytes, ..Io::default() });
    reading
}

/// A1 of tests/ROWS.md.
#[test]
fn pid_reuse_is_two_processes() {
    let mut scene = scene();
    let old = || used(child_of(1, reading(50, 10)), Ns(900));
    let child = || child_of(50, reading(60, 20));
    scene.scan(&snapshot(10, [(reading(1, 0), "init"), (old(), "old"), (child(), "child")]));
    assert_eq!(scene.lineage(id(60, 20)), [(1, false), (50, false), (60, false)]);

    // The number 50 comes back within one interval, as another program, with less use than the first had.
    let new = || used(child_of(7, reading(50, 1050)), Ns(300));
    let second = snapshot(
        11,
        [
            (reading(1, 0), "init"),
            (reading(7, 5), "other"),
            (new(), "new"),
            (child_of(1, reading(60, 20)), "child"),
        ],
    );
    assert_eq!(scene.show(50, &second), shown(300, true, "new"), "no baseline, no group is inherited");
    assert_eq!(scene.ends(), [id(50, 10)]);
    assert_eq!(scene.table.contradictions(), 0, "300 after 900 is no contradiction");

    assert_eq!(scene.lineage(id(50, 1050)), [(1, false), (7, false), (50, false)], "no parent is inherited");
    assert_eq!(scene.lineage(id(60, 20)), [(1, false), (50, true), (60, false)], "and no child");
    let ancestors = scene.table.lineage(id(60, 20));
    assert_eq!(ancestors[1].process.id, id(50, 10));
    assert_eq!(&*ancestors[1].process.name, "old");
    assert!(scene.table.get(id(50, 10)).is_some_and(|found| found.ended));
    assert!(scene.table.get(id(50, 1050)).is_some_and(|found| !found.ended));
    assert!(scene.table.get(id(50, 11)).is_none());
}

#[test]
fn what_runs_at_the_start_counts_from_second_sight() {
    let mut scene = scene();
    assert_eq!(scene.show(5, &snapshot(10, [(used(reading(5, 1), Ns(700)), "a")])), shown(0, false, "a"));
    assert_eq!(scene.show(5, &snapshot(11, [(used(reading(5, 1), Ns(750)), "a")])), shown(50, false, "a"));
}

#[test]
fn what_is_born_between_scans_counts_in_full() {
    let mut scene = scene();
    scene.scan(&snapshot(10, []));
    let born = snapshot(11, [(with_io(used(reading(5, 1050), Ns(700)), 4096), "a")]);
    assert_eq!(scene.show(5, &born), shown(700, true, "a"));
    let delta = scene.table.seen(&born).next().unwrap().delta.io;
    assert_eq!(delta.map(|io| io.read_bytes), Some(4096));
    assert_eq!(scene.show(5, &snapshot(12, [(used(reading(5, 1050), Ns(750)), "a")])), shown(50, false, "a"));
}

/// A scan takes time: what was forked while it ran may be missing from it.
#[test]
fn what_is_born_in_the_tick_of_a_scan_counts_in_full() {
    let mut scene = scene();
    scene.scan(&snapshot(10, []));
    assert_eq!(scene.show(5, &snapshot(11, [(used(reading(5, 1000), Ns(7)), "a")])), shown(7, true, "a"));
    assert_eq!(scene.show(6, &snapshot(12, [(used(reading(6, 1099), Ns(7)), "a")])), shown(0, false, "a"));
}

#[test]
fn a_process_missed_by_one_scan_goes_on_where_it_was() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(1, 0), "init"), (used(reading(5, 1), Ns(100)), "a")]));
    scene.scan(&snapshot(11, [(reading(1, 0), "init")]));
    assert_eq!(scene.ends(), [id(5, 1)]);
    let back = snapshot(12, [(reading(1, 0), "init"), (used(reading(5, 1), Ns(150)), "a")]);
    assert_eq!(scene.show(5, &back), shown(50, false, "a"), "what it used meanwhile counts, once");
    assert_eq!(scene.lineage(id(5, 1)), [(1, false), (5, false)]);
    assert_eq!((scene.ends(), scene.table.remembered()), (vec![], 0));
}

#[test]
fn a_missed_process_comes_back_to_a_group_that_lives() {
    let mut scene =
        Scene { table: Table::new(10, 100), groups: Groups::new(Settings::bounded(100, Ns::from_secs(1))) };
    scene.scan(&snapshot(10, [(reading(5, 1), "a")]));
    scene.scan(&snapshot(11, []));
    scene.scan(&snapshot(12, []));
    scene.scan(&snapshot(13, [(reading(6, 1200), "b")]));
    let mut back = snapshot(14, [(reading(5, 1), "a"), (reading(6, 1200), "b")]);
    back.details.clear();
    assert_eq!(scene.show(5, &back).group, "a", "its old number is b's by now");
}

#[test]
fn exec_keeps_the_identity_and_counts_for_the_new_group() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(used(reading(5, 1), Ns(100)), "sh")]));
    let mut after = snapshot(11, [(used(reading(5, 1), Ns(130)), "nginx")]);
    assert_eq!(scene.show(5, &after), shown(30, false, "nginx"));
    assert_eq!(scene.ends(), []);
    after.details.clear();
    assert_eq!(scene.show(5, &after).group, "nginx", "and stays there without more details");
}

#[test]
fn reparenting_keeps_the_true_parent() {
    let mut scene = scene();
    let parent = || child_of(1, reading(50, 10));
    scene.scan(&snapshot(
        10,
        [(reading(1, 0), "init"), (parent(), "sh"), (child_of(50, reading(60, 20)), "x")],
    ));
    scene.scan(&snapshot(11, [(reading(1, 0), "init"), (child_of(1, reading(60, 20)), "x")]));
    let orphan = scene.table.living(Pid(60)).unwrap();
    assert_eq!((orphan.parent, orphan.parent_pid), (Some(id(50, 10)), Pid(1)));
    assert_eq!(scene.lineage(id(60, 20)), [(1, false), (50, true), (60, false)]);
}

#[test]
fn a_parent_is_not_younger_than_its_child() {
    let mut scene = scene();
    let late_parent = reading(50, 900);
    let same_tick = child_of(70, reading(61, 30));
    scene.scan(&snapshot(
        10,
        [(late_parent, "sh"), (child_of(50, reading(60, 20)), "x"), (reading(70, 30), "y"), (same_tick, "z")],
    ));
    assert_eq!(scene.table.living(Pid(60)).unwrap().parent, None, "the number was reused");
    assert_eq!(scene.table.living(Pid(61)).unwrap().parent, Some(id(70, 30)), "numbers may have wrapped");
}

#[test]
fn no_process_is_its_own_parent_and_loops_are_cut() {
    let mut scene = scene();
    scene.scan(&snapshot(
        10,
        [
            (child_of(4, reading(4, 1)), "own"),
            (child_of(6, reading(5, 1)), "a"),
            (child_of(5, reading(6, 1)), "b"),
        ],
    ));
    assert_eq!(scene.lineage(id(4, 1)), [(4, false)]);
    assert_eq!(scene.lineage(id(5, 1)), [(6, false), (5, false)]);
}

#[test]
fn lineage_is_bounded() {
    let mut scene = scene();
    let chain = (1..=1000_u32).map(|pid| (child_of(pid - 1, reading(pid, 1)), "x"));
    scene.scan(&snapshot(10, chain));
    let lineage = scene.lineage(id(1000, 1));
    assert_eq!(lineage.len(), LINEAGE_MAX);
    assert_eq!(lineage.last(), Some(&(1000, false)), "the nearest are kept");
}

#[test]
fn the_ended_are_bounded_and_all_reported() {
    for remember in [0, 1, 3, 100] {
        let mut scene = remembering(remember);
        scene.scan(&snapshot(10, (1..=10).map(|pid| (reading(pid, u64::from(pid)), "x"))));
        scene.scan(&snapshot(11, []));
        let mut ends = scene.ends();
        ends.sort_unstable();
        assert_eq!(ends, (1..=10).map(|pid| id(pid, u64::from(pid))).collect::<Vec<_>>(), "{remember}");
        assert_eq!(scene.table.len(), 0);
        scene.scan(&snapshot(12, []));
        assert_eq!(scene.ends(), [], "once");
        assert_eq!(scene.table.remembered(), remember.min(10));
    }
}

#[test]
fn contradictions_are_counted_and_credited_once() {
    let mut scene = scene();
    let mut cpu = |second, cpu| scene.show(5, &snapshot(second, [(used(reading(5, 1), Ns(cpu)), "a")])).cpu.0;
    assert_eq!([cpu(10, 100), cpu(11, 150), cpu(12, 120), cpu(13, 140), cpu(14, 160)], [0, 50, 0, 0, 10]);
    assert_eq!(scene.table.contradictions(), 2);
}

#[test]
fn io_that_becomes_readable_does_not_jump() {
    let mut scene = scene();
    let mut read = |second, reading: Reading| {
        let snapshot = snapshot(second, [(reading, "a")]);
        scene.scan(&snapshot);
        let delta = scene.table.seen(&snapshot).next().unwrap().delta;
        delta.io.map(|io| io.read_bytes)
    };
    assert_eq!(read(10, reading(5, 1)), None);
    assert_eq!(read(11, with_io(reading(5, 1), 5000)), None, "used before anyone looked");
    assert_eq!(read(12, with_io(reading(5, 1), 5010)), Some(10));
    assert_eq!(read(13, reading(5, 1)), None, "unreadable for a while");
    assert_eq!(read(14, with_io(reading(5, 1), 5100)), Some(90), "what it did meanwhile counts");

    assert_eq!(read(15, reading(6, 1450)), None);
    assert_eq!(read(16, with_io(reading(6, 1450), 70)), Some(70), "born under our eyes: all of it");
}

#[test]
fn a_fork_gives_identity_and_what_the_parent_is() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(5, 1), "sh")]));
    assert_eq!(scene.fork(11, 60, Some(1100), 5), Some(id(60, 1100)));
    let child = scene.table.living(Pid(60)).unwrap();
    assert_eq!((&*child.name, child.parent, child.exe.as_deref()), ("sh", Some(id(5, 1)), Some("/bin/sh")));

    let exec = What::Exec { exe: Some("/bin/curl".into()) };
    assert_eq!(scene.tell(11, 60, None, exec), Some(id(60, 1100)));
    assert_eq!(&*scene.table.living(Pid(60)).unwrap().name, "curl");
    let scan = snapshot(12, [(reading(5, 1), "sh"), (used(child_of(5, reading(60, 1100)), Ns(42)), "curl")]);
    assert_eq!(scene.show(60, &scan), shown(42, true, "curl"));
    assert_eq!(
        scene.fork(11, 60, Some(1100), 5),
        Some(id(60, 1100)),
        "a late record makes no second process"
    );
    assert_eq!(scene.table.len(), 2);
}

#[test]
fn an_estimated_start_is_adopted_and_never_rewritten() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(5, 1), "sh")]));
    let given = scene.fork(11, 60, None, 5).unwrap();
    assert_eq!(given, id(60, 1100));
    let scan = |second, cpu| {
        let child = used(child_of(5, reading(60, 1098)), Ns(cpu));
        snapshot(second, [(reading(5, 1), "sh"), (child, "ls")])
    };
    assert_eq!(scene.show(60, &scan(12, 30)), shown(30, true, "ls"));
    assert_eq!(scene.table.living(Pid(60)).map(|process| process.id), Some(given));
    assert_eq!(scene.show(60, &scan(13, 40)), shown(10, false, "ls"));
    assert_eq!(scene.table.living(Pid(60)).map(|process| process.id), Some(given));
    assert_eq!(scene.ends(), []);

    let other = snapshot(14, [(reading(5, 1), "sh"), (reading(60, 1350), "new")]);
    scene.scan(&other);
    assert_eq!(scene.ends(), [given], "beyond the tolerance it is another process");
}

#[test]
fn a_late_fork_finds_what_a_scan_has_seen() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(5, 1), "sh")]));
    scene.scan(&snapshot(12, [(reading(5, 1), "sh"), (reading(60, 1099), "ls")]));
    assert_eq!(scene.fork(11, 60, None, 5), Some(id(60, 1099)));
    assert_eq!(scene.fork(5, 60, Some(500), 5), None, "the one before it, which nobody saw");
    assert_eq!(scene.table.len(), 2);
}

/// The judge may hear of a fork before it gets the scan that had begun earlier.
#[test]
fn a_fork_after_the_scan_began_outlives_it() {
    let mut scene = scene();
    scene.scan(&snapshot(10, []));
    scene.fork(12, 60, Some(1200), 1);
    scene.fork(12, 61, Some(1200), 1);
    scene.tell(12, 61, Some(1200), What::Exit { status: ExitStatus::Code(0) });
    scene.scan(&snapshot(11, []));
    assert_eq!(scene.ends(), [id(61, 1200)], "60 may live, 61 has said that it ended");
    scene.scan(&snapshot(13, []));
    assert_eq!(scene.ends(), [id(60, 1200)]);
}

#[test]
fn exit_status_reaches_the_ended() {
    let mut scene = scene();
    let both = || [(reading(5, 1), "a"), (reading(6, 2), "b"), (reading(7, 3), "c")];
    scene.scan(&snapshot(10, both()));
    let failed = ExitStatus::Code(3);
    let killed = ExitStatus::Signal { number: 9, core: false };
    scene.tell(11, 5, None, What::Exit { status: failed });
    scene.scan(&snapshot(12, []));
    assert_eq!(scene.tell(11, 6, Some(2), What::Exit { status: killed }), Some(id(6, 2)), "a late record");
    let status = |pid, start| scene.table.ended(id(pid, start)).unwrap().status;
    assert_eq!([status(5, 1), status(6, 2), status(7, 3)], [Some(failed), Some(killed), None]);
}

#[test]
fn a_late_record_is_not_about_the_next_owner_of_the_number() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(5, 1), "old")]));
    scene.scan(&snapshot(12, [(reading(5, 1150), "new")]));
    let exit = || What::Exit { status: ExitStatus::Code(1) };
    assert_eq!(scene.tell(11, 5, Some(1), exit()), Some(id(5, 1)));
    assert_eq!(scene.tell(11, 5, None, exit()), None, "by its time it is not about the new one");
    assert_eq!(scene.tell(12, 5, None, What::Session), Some(id(5, 1150)));
    scene.scan(&snapshot(13, []));
    assert_eq!(scene.table.ended(id(5, 1150)).unwrap().status, None);
}

#[test]
fn an_end_between_scans_is_reported_with_its_own_group() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(5, 1), "sh")]));
    scene.fork(11, 60, Some(1100), 5);
    scene.tell(11, 60, Some(1100), What::Exec { exe: Some("/bin/true".into()) });
    scene.fork(12, 60, Some(1200), 5);
    assert_eq!(scene.ends(), [], "not before the next scan");
    scene.scan(&snapshot(13, [(reading(5, 1), "sh")]));
    let ends: Vec<_> = scene.table.ended_now().map(|e| (e.process.id, scene.group(e.member.group))).collect();
    assert_eq!(ends, [(id(60, 1100), "true".into()), (id(60, 1200), "sh".into())]);
}

#[test]
fn a_process_turned_away_is_counted_once() {
    let groups = Groups::new(Settings::bounded(1, Ns::from_secs(600)));
    let mut scene = Scene { table: Table::new(10, 100), groups };
    let names: [&str; 70] = std::array::from_fn(|index| &*format!("p{index}").leak());
    let all = || (2..).zip(names).map(|(pid, name)| (reading(pid, 1), name));
    scene.scan(&snapshot(10, all()));
    assert_eq!(scene.groups.turned_away(), 2, "4 x 1 + 64 are tracked");
    let mut quiet = snapshot(11, all());
    quiet.details.clear();
    assert_eq!(scene.show(71, &quiet).group, OTHER);
    assert_eq!(scene.groups.turned_away(), 2, "once for each time its program was told");
    scene.scan(&snapshot(12, all()));
    assert_eq!(scene.groups.turned_away(), 4);
}

#[test]
fn a_snapshot_that_was_not_merged_shows_nothing() {
    let mut scene = scene();
    scene.scan(&snapshot(10, [(reading(5, 1), "a")]));
    assert_eq!(scene.table.seen(&snapshot(10, [(reading(6, 1), "b")])).count(), 0);
}

#[test]
fn details_of_someone_else_change_nothing() {
    let mut scene = scene();
    let mut scan = snapshot(10, [(reading(5, 1), "a")]);
    scan.details.push(details(id(5, 999), "evil"));
    scan.details.push(details(id(77, 1), "nobody"));
    assert_eq!(scene.show(5, &scan).group, "a");
}

/// One million short processes, seen by scans and told of by events.
#[test]
fn table_is_bounded() {
    let mut scene = remembering(500);
    let mut next = 0_u64;
    for second in 0..1000_u64 {
        let mut seen = Vec::new();
        for _ in 0..500 {
            let pid = u32::try_from(2 + next % 30_000).unwrap();
            seen.push((used(reading(pid, second * 100), Ns(1)), "short"));
            scene.fork(second, pid + 30_000, Some(second * 100), 1);
            next += 1;
        }
        scene.scan(&snapshot(second, seen));
        assert!(scene.table.len() <= 1000, "{}", scene.table.len());
        assert!(scene.table.remembered() <= 500 + 1000, "{}", scene.table.remembered());
    }
    scene.scan(&snapshot(1001, []));
    scene.scan(&snapshot(1002, []));
    assert_eq!(
        (scene.table.len(), scene.table.remembered(), scene.groups.len()),
        (0, 500, 2),
        "short and, of an unknown parent, unnamed"
    );
}

/// Scans may cease while events go on.
#[test]
fn table_is_bounded_without_scans() {
    let mut scene = remembering(10);
    scene.scan(&snapshot(1, []));
    let mut refused = 0;
    for number in 0..1_000_000_u32 {
        let (pid, start) = (number % 100_000, u64::from(200 + number / 1000));
        refused += u32::from(scene.fork(2, pid, Some(start), 1).is_none());
    }
    assert!(scene.table.len() + scene.table.remembered() <= 65_536);
    assert!(refused > 800_000, "{refused}");
    scene.scan(&snapshot(3000, []));
    assert_eq!(scene.table.len(), 0);
    scene.scan(&snapshot(3001, []));
    assert_eq!(scene.table.remembered(), 10);
}

#[test]
fn usage_that_was_not_told_is_not_made_up() {
    let mut scene = scene();
    scene.scan(&snapshot(10, []));
    scene.fork(11, 60, Some(1100), 1);
    scene.scan(&snapshot(12, []));
    let ended = scene.table.ended_now().next().unwrap();
    assert_eq!(ended.usage, Usage::NEWBORN);
}
