//! Which group processes belong to, which groups have series, and how expected ones fare.
#![allow(clippy::unwrap_used, reason = "inside tests a failed expectation is the point")]

use procagent_core::Error;
use procagent_core::group::{
    Conditions, GroupId, Groups, Health, KERNEL, Label, OTHER, Reason, Rule, RuleText, Settings, Unmatched,
    preset,
};
use procagent_core::metric::{Counter, Unit};
use procagent_core::plugin::{Collector, Needs, Tick};
use procagent_core::process::{CommandLine, Pid, ProcessId, State};
use procagent_core::registry::{Families, Registry, Samples};
use procagent_core::snapshot::{self, Reading, Snapshot};
use procagent_core::testing::{Bench, reading, snapshot, used, value};
use procagent_core::time::{Ns, Ticks};
use procagent_core::users::Users;
use std::sync::Arc;

static CPU: Counter<0> = Counter::per_group("test.cpu", Unit::Seconds, &[], "CPU time");

/// Says what groups use; those without members use nothing.
struct Summing;

impl Collector for Summing {
    fn needs(&self) -> Needs {
        Needs::NOTHING
    }

    fn collect(&mut self, tick: &Tick<'_>, out: &mut Samples) -> Result<(), Error> {
        tick.groups().for_each(|group| out.add(&CPU, group, [], 0));
        tick.seen().for_each(|seen| out.add(&CPU, seen.group, [], seen.delta.runtime.0));
        Ok(())
    }
}

struct Scene {
    bench: Bench,
    second: u64,
    users: Arc<Users>,
    page: Families,
}

/// A process of a made-up host.
#[derive(Clone)]
struct Made {
    reading: Reading,
    name: &'static str,
    exe: String,
    argv: String,
    cgroup: Option<&'static str>,
}

/// It began before all scans, as a child of this process.
fn made(pid: u32, parent: u32, name: &'static str) -> Made {
    let mut reading = reading(pid, u64::from(pid));
    reading.parent = Pid(parent);
    Made { reading, name, exe: format!("/bin/{name}"), argv: name.into(), cgroup: None }
}

impl Made {
    fn argv(mut self, argv: &str) -> Made {
        self.argv = argv.into();
        self
    }

    fn exe(mut self, exe: &str) -> Made {
        self.exe = exe.into();
        self
    }

    fn cgroup(mut self, cgroup: &'static str) -> Made {
        self.cgroup = Some(cgroup);
        self
    }

    fn user(mut self, uid: u32) -> Made {
        self.reading.users = Some(snapshot::Users { real: uid, effective: uid });
        self
    }

    fn cpu(mut self, cpu: u64) -> Made {
        self.reading = used(self.reading, Ns(cpu));
        self
    }

    fn memory(mut self, bytes: u64) -> Made {
        self.reading.resident_memory = Some(bytes);
        self
    }

    fn state(mut self, state: State) -> Made {
        self.reading.state = state;
        self
    }

    fn start(mut self, start: u64) -> Made {
        self.reading.id.start = Ticks(start);
        self
    }
}

fn scene(settings: Settings) -> Scene {
    let bench = Bench::new(Groups::new(settings), Registry::new(100_000));
    let users = Users::parse(b"root:x:0:0::/:\napp:x:100:100::/:\nweb:x:101:101::/:\n");
    Scene { bench, second: 1000, users: Arc::new(users), page: Families::default() }
}

impl Scene {
    fn scan(&mut self, all: &[Made]) {
        self.second += 5;
        let mut scan = snapshot(self.second, all.iter().map(|made| (made.reading.clone(), made.name)));
        for (details, made) in scan.details.iter_mut().zip(all) {
            details.exe = Some(made.exe.as_str().into());
            details.argv = Some(CommandLine::new(made.argv.replace(' ', "\0").as_bytes()));
            details.cgroup = made.cgroup.map(Arc::from);
        }
        self.tick(scan);
    }

    /// What programs are is not told again.
    fn scan_quietly(&mut self, all: &[Made]) {
        self.second += 5;
        let mut scan = snapshot(self.second, all.iter().map(|made| (made.reading.clone(), made.name)));
        scan.details.clear();
        self.tick(scan);
    }

    /// What the program of this process is is told again, and of no other.
    fn scan_telling(&mut self, pid: u32, all: &[Made]) {
        self.second += 5;
        let mut scan = snapshot(self.second, all.iter().map(|made| (made.reading.clone(), made.name)));
        scan.details.retain(|details| details.id.pid == Pid(pid));
        self.tick(scan);
    }

    fn tick(&mut self, mut scan: Snapshot) {
        scan.users = Arc::clone(&self.users);
        self.page = self.bench.tick(&mut Summing, &scan);
    }

    fn reload(&mut self, settings: Settings) {
        for group in self.bench.groups.reload(settings) {
            self.bench.registry.end_group(group);
        }
        self.bench.table.regroup_all();
    }

    fn id(&self, pid: u32) -> ProcessId {
        self.bench.table.living(Pid(pid)).unwrap().id
    }

    /// The labels of the group where it counts, joined.
    fn group(&self, pid: u32) -> String {
        let counts_in = self.bench.groups.explain(&self.bench.table, self.id(pid)).unwrap().counts_in;
        let labels = self.bench.groups.labels(counts_in);
        let values = labels.map(|labels| labels.0.iter().map(|(_, value)| &**value).collect::<Vec<_>>());
        values.map_or("(none)".into(), |values| values.join(" "))
    }

    fn explain(&self, pid: u32) -> (Option<usize>, Reason) {
        let explanation = self.bench.groups.explain(&self.bench.table, self.id(pid)).unwrap();
        (explanation.rule, explanation.reason)
    }

    fn cpu(&self, group: &str) -> Option<u64> {
        value(&self.page, "test.cpu", &[("group", group)])
    }

    /// When the series of a group began.
    fn start(&self, group: &str) -> Ns {
        let points = &self.page.families[0].points;
        points
            .iter()
            .find(|point| point.group.as_ref().is_some_and(|labels| labels.name() == group))
            .unwrap()
            .start
    }

    fn find(&self, group: &str) -> GroupId {
        let groups = &self.bench.groups;
        groups.ids().find(|id| groups.labels(*id).is_some_and(|labels| labels.name() == group)).unwrap()
    }

    /// Restarts, and whether it has failed.
    fn health(&self, group: &str) -> (u64, bool) {
        let health = self.bench.groups.health(self.find(group)).unwrap();
        (health.restarts, health.failed)
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn text(group: &str, conditions: Conditions) -> RuleText {
    RuleText { group: group.into(), conditions, ..RuleText::default() }
}

fn by_name(group: &str, names: &[&str]) -> RuleText {
    text(group, Conditions { name: strings(names), ..Conditions::default() })
}

fn expected(name: &str) -> RuleText {
    RuleText { expect: true, descendants: true, version: Some("4.9".into()), ..by_name(name, &[name]) }
}

fn with_rules(rules: &[RuleText]) -> Settings {
    Settings { rules: rules.iter().map(|text| Rule::build(text).unwrap()).collect(), ..Settings::default() }
}

fn limited(limit: usize) -> Settings {
    Settings { limit, ..Settings::default() }
}

const ID: &str = "3f1c0a5e9b7d2468ace013579bdf02468ace013579bdf02468ace013579bdf02";
const DOCKER: &str = "/docker/3f1c0a5e9b7d2468ace013579bdf02468ace013579bdf02468ace013579bdf02";
const SSH: &str = "/system.slice/ssh.service";

/// B1 of tests/ROWS.md.
#[test]
fn all_conditions_must_hold_and_the_first_rule_wins() {
    let java = Conditions {
        exe: strings(&["*/java"]),
        cmdline: strings(&[r"-Dapp=(?<app>[\w-]+)"]),
        user: strings(&["app", "web"]),
        unit: strings(&["app-*.service"]),
        ..Conditions::default()
    };
    let rules = [
        text("java:{app}", java),
        text("c-{container}", Conditions { container: strings(&["3f1c*"]), ..Conditions::default() }),
        text("u-{unit}-{name}", Conditions::default()),
        text("{user}:{exe}", Conditions { user: strings(&["web", "4711"]), ..Conditions::default() }),
    ];
    let mut scene = scene(with_rules(&rules));
    let java = |pid| made(pid, 1, "java").exe("/usr/lib/jvm/java").argv("java -Dapp=shop-1 -jar x").user(100);
    let app = "/system.slice/app-7.service";
    scene.scan(&[
        java(10).cgroup(app),
        java(11),
        java(12).cgroup(app).user(0),
        java(13).cgroup(app).argv("java -jar x"),
        java(14).cgroup(app).exe("/usr/lib/jvm/java (deleted)"),
        made(20, 1, "x").cgroup(DOCKER),
        made(30, 1, "x").user(101),
        made(31, 1, "x").user(4711),
        made(32, 1, "x").user(0),
    ]);
    assert_eq!(scene.group(10), "java:shop-1");
    assert_eq!(scene.group(11), "java", "no unit: a name that needs one is not made");
    assert_eq!(scene.group(12), "u-app-7.service-java", "another user");
    assert_eq!(scene.group(13), "u-app-7.service-java", "no such argument");
    assert_eq!(scene.group(14), "java:shop-1", "its file was replaced");
    assert_eq!(scene.group(20), format!("c-{ID}"));
    assert_eq!([scene.group(30), scene.group(31), scene.group(32)], ["web:/bin/x", "4711:/bin/x", "x"]);
    assert_eq!(scene.explain(10), (Some(0), Reason::Matched));
    assert_eq!(scene.explain(32), (None, Reason::Unmatched));
}

#[test]
fn a_capture_is_taken_from_the_pattern_that_sets_it() {
    let cmdline = strings(&["^run", "--app (?<app>[a-z]+)", "app=(?<app>[a-z]*)"]);
    let mut scene = scene(with_rules(&[text("{app}", Conditions { cmdline, ..Conditions::default() })]));
    scene.scan(&[
        made(10, 1, "run").argv("run --app x"),
        made(11, 1, "run").argv("run app=y"),
        made(12, 1, "run"),
    ]);
    assert_eq!([scene.group(10), scene.group(11), scene.group(12)], ["x", "y", "run"]);
}

/// B1 of tests/ROWS.md: `db` is not `dbd`, names longer than the kernel's 15 bytes match, scripts do, and nothing that only
/// mentions a daemon does.
#[test]
fn wm_exact_match() {
    let mut scene = scene(with_rules(&preset("wazuh").unwrap()));
    let python = |pid, script: &'static str| {
        let mut script_process = made(pid, 1, script).exe("/var/ossec/framework/python/bin/python3.10");
        script_process.argv = format!("python3 /var/ossec/api/scripts/{script}");
        script_process
    };
    let bash = made(30, 1, "bash").argv("bash /srv/start.sh wazuh-db");
    scene.scan(&[
        made(10, 30, "wazuh-db"),
        made(11, 1, "wazuh-dbd"),
        made(12, 1, "wazuh-analysisd"),
        made(13, 1, "wazuh-logcollector"),
        made(14, 1, "wazuh-integratord"),
        python(15, "wazuh_apid.py"),
        python(16, "wazuh_clusterd.py"),
        made(20, 1, "tail").argv("tail -f /var/ossec/bin/wazuh-db"),
        made(21, 1, "vim").argv("vim wazuh-db"),
        bash,
        made(31, 30, "sleep"),
        made(40, 1, "java").cgroup("/system.slice/wazuh-indexer.service"),
        made(41, 1, "java").exe("/usr/share/wazuh-indexer/jdk/bin/java").cgroup(DOCKER),
        made(42, 1, "java").argv("java -Dopensearch.path.home=/usr/share/wazuh-indexer -cp x"),
        made(43, 1, "java").argv("java -Dopensearch.path.home=/usr/share/wazuh-indexer2"),
        made(44, 1, "node").exe("/usr/share/wazuh-dashboard/node/bin/node").argv("node /x/cli"),
        made(45, 1, "node").argv("node /srv/app.js"),
    ]);
    for (pid, group) in [
        (10, "wazuh-db"),
        (11, "wazuh-dbd"),
        (12, "wazuh-analysisd"),
        (13, "wazuh-logcollector"),
        (14, "wazuh-integratord"),
        (15, "wazuh-apid"),
        (16, "wazuh-clusterd"),
        (20, "tail"),
        (21, "vim"),
        (31, "sleep"),
        (40, "wazuh-indexer"),
        (41, "wazuh-indexer"),
        (42, "wazuh-indexer"),
        (44, "wazuh-dashboard"),
    ] {
        assert_eq!(scene.group(pid), group, "{pid}");
    }
    assert_ne!(scene.group(30), "wazuh-db");
    assert_eq!([scene.group(43), scene.group(45)], ["java", "app.js"]);
}

#[test]
fn descendants_follow_their_true_parent_until_a_rule_matches_them() {
    let family = RuleText { descendants: true, ..by_name("db", &["postgres"]) };
    let mut scene = scene(with_rules(&[by_name("web", &["nginx"]), family]));
    let (shell, leader) = (made(5, 1, "sh"), made(10, 5, "postgres"));
    // The children are told of before their parents.
    let all =
        [made(13, 12, "ls"), made(12, 11, "nginx"), made(11, 10, "helper"), leader.clone(), shell.clone()];
    scene.scan(&all);
    let groups = |scene: &Scene| [5, 10, 11, 12].map(|pid| scene.group(pid));
    assert_eq!(groups(&scene), ["sh", "db", "db", "web"]);
    assert_eq!(scene.group(13), "ls", "its parent's rule is for itself only");
    assert_eq!(scene.explain(11), (Some(1), Reason::DescendantOf(Some(scene.id(10)))));

    // The leader ends; who was born to it stays, also when it calls exec or changes its parent.
    let orphan = |name| made(11, 1, name);
    scene.scan(&[shell.clone(), orphan("helper"), made(12, 11, "grep")]);
    assert_eq!([scene.group(11), scene.group(12)], ["db", "db"], "12 is no nginx any more");
    (0..3).for_each(|_| scene.scan(&[shell.clone(), orphan("other-helper")]));
    assert_eq!(scene.group(11), "db");
    let before = scene.cpu("db");
    scene.reload(with_rules(&[RuleText { descendants: true, ..by_name("db", &["postgres"]) }]));
    scene.scan_quietly(&[shell, orphan("other-helper").cpu(50)]);
    assert_eq!(
        scene.explain(11),
        (Some(0), Reason::DescendantOf(Some(ProcessId { pid: Pid(10), start: Ticks(10) })))
    );
    assert_eq!(scene.cpu("db"), before.map(|before| before + 50), "and its counter goes on");
}

#[test]
fn descendants_move_with_an_exec_of_their_ancestor() {
    let family = RuleText { descendants: true, ..by_name("db", &["postgres"]) };
    let mut scene = scene(with_rules(&[family]));
    let below = [made(12, 11, "worker"), made(11, 10, "helper")];
    scene.scan(&[below.to_vec(), vec![made(10, 1, "sh")]].concat());
    assert_eq!([scene.group(11), scene.group(12)], ["helper", "worker"]);
    let all = |name| [below.to_vec(), vec![made(10, 1, name)]].concat();
    scene.scan_telling(10, &all("postgres"));
    assert_eq!([scene.group(11), scene.group(12)], ["db", "db"]);
    scene.scan_telling(10, &all("sh"));
    assert_eq!([scene.group(11), scene.group(12)], ["helper", "worker"]);
}

#[test]
fn labels_are_part_of_the_key_and_follow_the_user() {
    let labels = vec![Label::Container, Label::User, Label::Unit, Label::User];
    let mut scene = scene(Settings { labels, ..Settings::default() });
    let with = |uid| made(10, 1, "a").user(uid).cgroup(SSH).cpu(u64::from(uid));
    scene.scan(&[
        with(0),
        made(11, 1, "a").user(101).cgroup(DOCKER),
        made(12, 1, "a"),
        made(13, 1, "a").user(77),
    ]);
    assert_eq!(scene.group(10), "a root ssh.service");
    assert_eq!(scene.group(11), format!("a web {ID}"));
    assert_eq!([scene.group(12), scene.group(13)], ["a", "a 77"]);
    let labels = scene.bench.groups.labels(scene.bench.table.member(scene.id(10)).unwrap().group).unwrap();
    let names: Vec<_> = labels.0.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["group", "process.user.name", "systemd.unit"]);

    scene.scan_quietly(&[with(100)]);
    assert_eq!(scene.group(10), "a app ssh.service", "it has changed its user");
    scene.users = Arc::new(Users::parse(b"renamed:x:100:100::/:\n"));
    scene.scan_quietly(&[with(100)]);
    assert_eq!(scene.group(10), "a renamed ssh.service", "and its user the name");
}

#[test]
fn the_kernel_and_the_remainder_are_nobody_elses() {
    let mut scene = scene(with_rules(&[text(
        "{name}",
        Conditions { user: strings(&["root"]), ..Conditions::default() },
    )]));
    let mut thread = made(2, 0, "kthreadd");
    thread.reading.kernel_thread = true;
    scene.scan(&[thread, made(10, 1, KERNEL), made(11, 1, OTHER), made(12, 1, KERNEL).user(0)]);
    assert_eq!([2, 10, 11, 12].map(|pid| scene.group(pid)), ["kernel", "./kernel", "./other", "./kernel"]);
    assert_eq!(scene.explain(2), (None, Reason::Kernel));
}

#[test]
fn unmatched_goes_where_it_is_told() {
    let settings = |unmatched| Settings { unmatched, ..with_rules(&[by_name("a", &["a"])]) };
    for (unmatched, want, cpu) in [
        (Unmatched::Name, "b", None),
        (Unmatched::Other, "other", Some(7)),
        (Unmatched::Drop, "(none)", None),
    ] {
        let mut scene = scene(settings(unmatched));
        scene.scan(&[made(10, 1, "a"), made(11, 1, "b")]);
        scene.scan(&[made(10, 1, "a"), made(11, 1, "b").cpu(7)]);
        assert_eq!([scene.group(10).as_str(), &scene.group(11)], ["a", want]);
        assert_eq!(scene.cpu(OTHER), cpu, "{unmatched:?}");
        assert_eq!(scene.bench.registry.len(), if unmatched == Unmatched::Drop { 1 } else { 2 });
        assert_eq!(scene.bench.groups.folded(), 0);
    }
}

#[test]
fn limit_0_leaves_one_group() {
    let mut settings = with_rules(&[expected("a")]);
    settings.limit = 0;
    let mut scene = scene(settings);
    scene.scan(&[made(10, 1, "a"), made(11, 1, "b")]);
    assert_eq!([scene.group(10), scene.group(11)], ["other", "other"]);
    assert_eq!((scene.bench.groups.len(), scene.bench.groups.turned_away()), (1, 0));
}

#[test]
fn the_smallest_are_folded_from_the_first_tick() {
    let mut scene = scene(limited(3));
    let crowd = || ["a", "b", "c", "d", "e"].into_iter().zip([5, 1, 4, 2, 3]);
    let all: Vec<_> =
        (10..).zip(crowd()).map(|(pid, (name, size))| made(pid, 1, name).memory(size << 20)).collect();
    scene.scan(&all);
    assert_eq!([10, 11, 12, 13, 14].map(|pid| scene.group(pid)), ["a", "other", "c", "other", "e"]);
    assert_eq!((scene.bench.groups.len(), scene.bench.groups.folded()), (4, 2));
}

/// A folded group adds what its members use from then on to `other`, not what they had used; it comes back when it
/// was clearly larger for three ticks, from 0.
#[test]
fn a_folded_group_comes_back_from_0_after_three_ticks() {
    let mut scene = scene(limited(1));
    let all = |a: u64, b: u64| [made(10, 1, "a").cpu(a), made(11, 1, "b").cpu(b)];
    let second = 1_000_000_000;
    scene.scan(&all(0, 0));
    scene.scan(&all(5 * second, 0));
    assert_eq!((scene.cpu("a"), scene.cpu("b"), scene.cpu(OTHER)), (Some(5 * second), None, Some(0)));
    // Nearly as large as `a` is not enough, however long it lasts.
    let mut b = 0;
    for _ in 0..5 {
        b += second;
        scene.scan(&all(5 * second, b));
    }
    assert_eq!((scene.cpu("b"), scene.cpu(OTHER)), (None, Some(b)), "at most what `a` has used");
    for tick in 0..3 {
        assert_eq!(scene.cpu("b"), None, "{tick}");
        b += 3 * second;
        scene.scan(&all(5 * second, b));
    }
    assert_eq!((scene.cpu("a"), scene.cpu("b")), (None, Some(3 * second)), "only what it used in this tick");
    assert_eq!(scene.cpu(OTHER), Some(b - 3 * second), "which did not jump by what `a` had used");
    assert!(scene.start("b") > scene.start(OTHER));
    assert_eq!(scene.group(10), OTHER);
    scene.scan(&all(6 * second, b));
    assert_eq!(scene.cpu(OTHER), Some(b - 2 * second));
}

/// A folded group that is larger by less than a quarter stays where it is, however long it is so.
#[test]
fn neighbours_in_size_do_not_take_turns() {
    let mut scene = scene(limited(1));
    let all = |b: u64| [made(10, 1, "a").memory(100 << 20), made(11, 1, "b").memory(b << 20)];
    scene.scan(&all(90));
    for tick in 0..1000 {
        scene.scan_quietly(&all(120));
        assert_eq!(scene.group(10), "a", "{tick}");
    }
    (0..1000).for_each(|_| scene.scan_quietly(&all(130)));
    assert_eq!([scene.group(10).as_str(), &scene.group(11)], ["other", "b"]);
}

#[test]
fn expected_groups_and_the_kernel_are_not_folded() {
    let mut settings = with_rules(&[expected("tiny")]);
    settings.limit = 3;
    let mut scene = scene(settings);
    let mut thread = made(2, 0, "kthreadd");
    thread.reading.kernel_thread = true;
    let large = |pid, name, cpu: u64| made(pid, 1, name).memory(1 << 30).cpu(cpu << 30);
    for tick in 0..10 {
        scene.scan(&[thread.clone(), made(10, 1, "tiny"), large(11, "a", tick), large(12, "b", tick)]);
        assert_eq!([2, 10, 11, 12].map(|pid| scene.group(pid)), ["kernel", "tiny", "a", "other"], "{tick}");
    }
}

#[test]
fn an_idle_crowd_above_the_limit_does_not_take_turns() {
    let mut scene = scene(limited(500));
    let names: Vec<&'static str> = (0..600).map(|index| &*format!("n{index:03}").leak()).collect();
    let crowd = |tick: u64| -> Vec<Made> {
        let one = |(index, name): (u64, &&'static str)| {
            let pid = 100 + u32::try_from(index).unwrap();
            // All about equal, some of them busy now and then.
            made(pid, 1, name).memory((1 << 20) + index % 7).cpu((index + tick) % 11 * tick * 1000)
        };
        (0..).zip(&names).map(one).collect()
    };
    scene.scan(&crowd(0));
    assert_eq!((scene.bench.groups.len(), scene.bench.groups.folded()), (501, 100));
    let before: Vec<GroupId> = scene.bench.groups.ids().collect();
    for tick in 1..30 {
        scene.scan_quietly(&crowd(tick));
        assert_eq!(scene.bench.groups.len(), 501);
    }
    assert_eq!(scene.bench.groups.ids().collect::<Vec<_>>(), before);
    assert_eq!(scene.bench.groups.turned_away(), 0);
}

/// B5 of tests/ROWS.md: absent, it has zeros; after its patience it has failed; it comes, and has not.
#[test]
fn an_expected_group_is_waited_for() {
    let mut settings = with_rules(&[expected("db")]);
    settings.health = Health { every: Ns::from_secs(5), retries: 3 };
    settings.forget = Ns::from_secs(1);
    let mut scene = scene(settings);
    for (tick, failed) in [false, false, false, true, true].into_iter().enumerate() {
        scene.scan(&[made(10, 1, "sh")]);
        assert_eq!((scene.cpu("db"), scene.health("db")), (Some(0), (0, failed)), "{tick}");
    }
    let start = scene.start("db");
    scene.scan(&[made(20, 1, "db").start(102_600).cpu(9)]);
    assert_eq!((scene.cpu("db"), scene.health("db")), (Some(9), (0, false)), "the first time is no restart");
    assert_eq!(scene.bench.groups.version(scene.find("db")), Some("4.9"));
    assert_eq!(scene.start("db"), start);
}

/// The series of a group outlive its members, whatever their numbers are.
#[test]
fn wm_stable_series() {
    let mut scene = scene(with_rules(&[expected("db")]));
    let leader = |pid, start, cpu| made(pid, 1, "db").start(start).cpu(cpu);
    let child = |pid, parent, start, cpu| made(pid, parent, "worker").start(start).cpu(cpu);
    scene.scan(&[leader(10, 1, 0), child(11, 10, 2, 0), child(12, 10, 3, 0)]);
    scene.scan(&[leader(10, 1, 100), child(11, 10, 2, 10), child(12, 10, 3, 20)]);
    assert_eq!((scene.cpu("db"), scene.health("db")), (Some(130), (0, false)));
    let (id, start) = (scene.find("db"), scene.start("db"));
    // All end; others come, in another order, a number is used again.
    scene.scan(&[child(11, 13, 101_200, 5), leader(13, 101_100, 7)]);
    assert_eq!((scene.cpu("db"), scene.health("db")), (Some(142), (1, false)));
    assert_eq!((scene.find("db"), scene.start("db")), (id, start));
    assert_eq!(scene.group(11), "db");
}

/// A restart with fewer children counts once, and what follows counts none.
#[test]
fn wm_no_rebuild_loop() {
    let mut scene = scene(with_rules(&[expected("db")]));
    let leader = |pid| made(pid, 1, "db");
    scene.scan(&[leader(10), made(11, 10, "w"), made(12, 10, "w"), made(13, 10, "w")]);
    scene.scan(&[]);
    assert_eq!(scene.health("db"), (0, false), "gone, and not back yet");
    for tick in 0..10 {
        scene.scan(&[leader(20), made(21, 20, "w")]);
        assert_eq!(scene.health("db"), (1, false), "{tick}");
    }
    scene.scan(&[leader(20)]);
    scene.scan(&[leader(20), made(22, 20, "w")]);
    scene.scan(&[made(22, 20, "w"), leader(23)]);
    assert_eq!(scene.health("db"), (2, false), "a child that lives on is not the leader");
    scene.scan(&[leader(23), leader(24)]);
    scene.scan(&[leader(24)]);
    assert_eq!(scene.health("db"), (2, false), "one that the rule names lives on");
    scene.scan(&[leader(24).state(State::Defunct)]);
    scene.scan(&[leader(24).state(State::Defunct), leader(25)]);
    assert_eq!(scene.health("db"), (3, false), "what waits to be waited for does not");
    scene.scan(&[]);
    scene.scan(&[leader(25)]);
    assert_eq!(scene.health("db"), (3, false), "a scan had missed it");
}

/// Neither a child that outlives its leader nor a stranger of the group's name hides that a service is gone.
#[test]
fn only_what_the_rule_names_is_there() {
    let mut settings = with_rules(&[RuleText { expect: true, descendants: true, ..by_name("db", &["dbd"]) }]);
    settings.health = Health { every: Ns::from_secs(5), retries: 1 };
    let mut scene = scene(settings);
    scene.scan(&[made(10, 1, "dbd"), made(11, 10, "w")]);
    assert_eq!(scene.health("db"), (0, false));
    for _ in 0..3 {
        scene.scan(&[made(11, 1, "w"), made(12, 1, "db")]);
    }
    assert_eq!(scene.health("db"), (0, true));
    scene.scan(&[made(11, 1, "w"), made(12, 1, "db"), made(13, 1, "dbd")]);
    assert_eq!(scene.health("db"), (1, false));
}

/// One group fails; the others go on.
#[test]
fn wm_failure_isolated() {
    let mut settings = with_rules(&[expected("bad"), expected("good")]);
    settings.health = Health { every: Ns::from_secs(10), retries: 2 };
    let mut scene = scene(settings);
    scene.scan(&[made(10, 1, "bad"), made(11, 1, "good"), made(12, 1, "plain")]);
    for tick in 1..10 {
        scene.scan(&[made(11, 1, "good").cpu(tick), made(12, 1, "plain").cpu(tick)]);
        assert_eq!(scene.health("bad"), (0, tick >= 5), "{tick}");
        assert_eq!(scene.health("good"), (0, false));
        assert_eq!(
            (scene.cpu("good"), scene.cpu("plain"), scene.cpu("bad")),
            (Some(tick), Some(tick), Some(0))
        );
    }
}

#[test]
fn an_expected_group_takes_the_labels_of_who_comes() {
    let mut settings = with_rules(&[expected("db")]);
    settings.labels = vec![Label::User];
    let mut scene = scene(settings);
    scene.scan(&[]);
    let (id, start) = (scene.find("db"), scene.start("db"));
    scene.scan(&[made(10, 1, "db").user(100).start(101_000).cpu(3), made(11, 1, "db").user(101)]);
    assert_eq!([scene.group(10), scene.group(11)], ["db app", "db web"]);
    assert_eq!(scene.bench.table.member(scene.id(10)).unwrap().group, id);
    assert_eq!(scene.start("db"), start, "renamed, it goes on");
    (0..2).for_each(|_| scene.scan(&[]));
    scene.scan(&[made(20, 1, "db").user(0).start(102_000)]);
    assert_eq!(scene.group(20), "db root");
    assert_eq!(scene.bench.table.member(scene.id(20)).unwrap().group, id);
    assert_eq!(scene.bench.groups.health(id).unwrap().restarts, 1);

    // Replaced from one scan to the next, by one with other labels: these are what is expected from now on.
    scene.scan(&[made(21, 1, "db").user(100).start(103_000)]);
    let now = scene.bench.table.member(scene.id(21)).unwrap().group;
    assert_ne!(now, id);
    assert_eq!(scene.bench.groups.health(now).unwrap().restarts, 2);
    assert_eq!(scene.bench.groups.health(id), None);
    assert_eq!(scene.bench.groups.version(now), Some("4.9"));
}

#[test]
fn a_renamed_group_goes_to_its_place_on_the_page() {
    let mut settings = with_rules(&[expected("db")]);
    settings.labels = vec![Label::User];
    let mut scene = scene(settings);
    let (web, app) = (made(11, 1, "db").user(101), made(12, 1, "db").user(100));
    scene.scan(std::slice::from_ref(&web));
    scene.scan(&[web, app.clone()]);
    scene.scan(&[app]);
    (0..2).for_each(|_| scene.scan(&[]));
    let users = |scene: &Scene| -> Vec<String> {
        let labels = scene.page.families[0].points.iter().filter_map(|point| point.group.clone());
        labels.filter_map(|labels| Some(labels.0.get(1)?.1.to_string())).collect()
    };
    assert_eq!(users(&scene), ["app", "web"]);
    scene.scan(&[made(13, 1, "db").user(7777).start(104_000)]);
    assert_eq!(users(&scene), ["7777", "web"]);
    (0..2).for_each(|_| scene.scan(&[]));
    scene.users = Arc::new(Users::parse(b"zed:x:55:55::/:\n"));
    scene.scan(&[made(14, 1, "db").user(55).start(106_000)]);
    assert_eq!(users(&scene), ["web", "zed"]);
}

#[test]
fn a_reload_keeps_what_stays_and_ends_what_vanishes() {
    let mut scene = scene(with_rules(&[by_name("x", &["a", "b"])]));
    let all = |cpu: u64| [made(10, 1, "a").cpu(cpu), made(11, 1, "b").cpu(cpu), made(12, 1, "c").cpu(cpu)];
    scene.scan(&all(0));
    scene.scan(&all(100));
    assert_eq!((scene.cpu("x"), scene.cpu("c")), (Some(200), Some(100)));
    let start = scene.start("c");
    scene.reload(with_rules(&[by_name("x", &["a"]), expected("db")]));
    scene.scan_quietly(&all(110));
    assert_eq!((scene.cpu("x"), scene.cpu("b"), scene.cpu("c")), (Some(210), Some(10), Some(110)));
    assert_eq!((scene.cpu("db"), scene.start("c")), (Some(0), start));
    scene.reload(with_rules(&[by_name("y", &["a"]), by_name("b", &["b"])]));
    scene.scan_quietly(&all(110));
    assert_eq!((scene.cpu("x"), scene.cpu("db")), (None, None), "nobody is called so any more");
    assert_eq!((scene.cpu("y"), scene.cpu("b")), (Some(0), Some(10)));
    scene.reload(Settings { labels: vec![Label::User], ..Settings::default() });
    scene.scan_quietly(&all(115));
    assert_eq!((scene.cpu("x"), scene.cpu("db")), (None, None));
    assert_eq!((scene.cpu("a"), scene.cpu("c")), (Some(5), Some(5)), "another key has another counter");
    assert!(scene.start("c") > start);
}

/// The new rules may make it again.
#[test]
fn a_reload_keeps_a_group_without_members_for_its_time() {
    let mut scene = scene(Settings::default());
    let a = |pid, cpu| made(pid, 1, "a").start(100_000).cpu(cpu);
    scene.scan(&[a(10, 0)]);
    scene.scan(&[a(10, 30)]);
    (0..2).for_each(|_| scene.scan(&[]));
    scene.reload(with_rules(&[by_name("a", &["a"])]));
    scene.scan(&[]);
    scene.scan(&[a(11, 0).start(103_000).cpu(4)]);
    assert_eq!(scene.cpu("a"), Some(34));
}

#[test]
fn a_reload_keeps_the_health_of_what_stays_expected() {
    let mut scene = scene(with_rules(&[expected("db"), expected("gone")]));
    scene.scan(&[made(10, 1, "db")]);
    scene.scan(&[made(11, 1, "db")]);
    assert_eq!(scene.health("db"), (1, false));
    let id = scene.find("db");
    scene.reload(with_rules(&[expected("new"), expected("db")]));
    scene.scan(&[made(11, 1, "db")]);
    assert_eq!((scene.health("db"), scene.find("db")), ((1, false), id));
    assert_eq!((scene.cpu("gone"), scene.cpu("new")), (None, Some(0)));
}
