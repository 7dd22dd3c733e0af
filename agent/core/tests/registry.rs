//! Series: how they begin, go on and end, and in which order they are shown.
#![allow(clippy::unwrap_used, reason = "inside tests a failed expectation is the point")]

use procagent_core::group::{GroupId, Groups, Settings};
use procagent_core::metric::{Counter, Gauge, Unit};
use procagent_core::process::Process;
use procagent_core::registry::{Families, LABEL_VALUE_MAX, Registry, Samples, label_value};
use procagent_core::snapshot::Snapshot;
use procagent_core::table::Table;
use procagent_core::testing::{at, process, reading, snapshot, value};
use procagent_core::time::Ns;
use procagent_core::users::Users;
use proptest::prelude::*;
use std::collections::BTreeMap;

static TIME: Counter<1> = Counter::per_group("test.time", Unit::Seconds, &["mode"], "Time");
static SIZE: Gauge<0> = Gauge::per_group("test.size", Unit::Bytes, &[], "Size");
static PAIR: Gauge<2> = Gauge::per_host("test.pair", Unit::Count("thing"), &["first", "second"], "Pairs");
static EARLY: Counter<0> = Counter::per_host("test.early", Unit::Count("thing"), &[], "First by name");

struct Scene {
    registry: Registry,
    groups: Groups,
    samples: Samples,
    second: u64,
}

fn scene(limit: usize) -> Scene {
    Scene {
        registry: Registry::new(limit),
        groups: Groups::new(Settings::bounded(10, Ns::from_secs(1))),
        samples: Samples::default(),
        second: 0,
    }
}

impl Scene {
    fn group(&mut self, name: &str) -> GroupId {
        let process: Process = process(1, name);
        self.groups.assign(&process, None, &Users::default(), at(self.second).mono).group
    }

    /// A tick, one second after the last one, in which this plugin says this.
    fn say(&mut self, plugin: &'static str, say: impl FnOnce(&mut Samples)) {
        self.samples.begin(plugin, at(self.second));
        say(&mut self.samples);
        self.second += 1;
        self.registry.commit(&mut self.samples);
    }

    fn page(&mut self) -> Families {
        self.registry.freeze(&self.groups, at(self.second))
    }

    fn value(&mut self, metric: &str, labels: &[(&str, &str)]) -> Option<u64> {
        value(&self.page(), metric, labels)
    }
}

/// Every series as one line, in the order of the page.
fn lines(families: &Families) -> Vec<String> {
    let mut out = Vec::new();
    for family in &families.families {
        for point in &family.points {
            let labels: Vec<_> = point.labels(family.desc).map(|(_, value)| value).collect();
            out.push(format!("{} {} = {}", family.desc.name, labels.join(" "), point.value));
        }
    }
    out
}

fn start(families: &Families, metric: &str) -> Ns {
    families.families.iter().find(|family| family.desc.name == metric).unwrap().points[0].start
}

#[test]
fn counters_add_and_levels_replace() {
    let mut scene = scene(100);
    let a = scene.group("a");
    scene.say("p", |out| {
        out.add(&TIME, a, ["user"], 3);
        out.add(&TIME, a, ["user"], 4);
        out.set(&SIZE, a, [], 50);
        out.set(&SIZE, a, [], 60);
    });
    scene.say("p", |out| {
        out.add(&TIME, a, ["user"], 5);
        out.set(&SIZE, a, [], 7);
    });
    assert_eq!(scene.value("test.time", &[("group", "a"), ("mode", "user")]), Some(12));
    assert_eq!(scene.value("test.size", &[("group", "a")]), Some(7));
    scene.say("p", |out| out.add(&TIME, a, ["user"], u64::MAX));
    assert_eq!(scene.value("test.time", &[("group", "a"), ("mode", "user")]), Some(u64::MAX), "stays there");
}

#[test]
fn a_level_that_is_not_set_ends_and_a_counter_stays() {
    let mut scene = scene(100);
    let a = scene.group("a");
    scene.say("p", |out| {
        out.add(&TIME, a, ["user"], 3);
        out.set(&SIZE, a, [], 50);
    });
    scene.say("p", |_| {});
    assert_eq!(lines(&scene.page()), ["test.time a user = 3"]);
}

#[test]
fn a_plugin_ends_only_its_own_levels() {
    let mut scene = scene(100);
    scene.say("p", |out| out.set_host(&PAIR, ["p", ""], 1));
    scene.say("q", |out| out.set_host(&PAIR, ["q", ""], 2));
    scene.say("q", |_| {});
    assert_eq!(lines(&scene.page()), ["test.pair p  = 1"]);
}

#[test]
fn series_begin_at_the_tick_before() {
    let mut scene = scene(100);
    scene.second = 100;
    scene.say("p", |out| out.add_host(&EARLY, [], 5));
    assert_eq!(start(&scene.page(), "test.early"), at(100).wall);
    scene.say("p", |out| out.add_host(&EARLY, [], 5));
    assert_eq!(start(&scene.page(), "test.early"), at(100).wall, "and keep that");
}

#[test]
fn a_failed_plugins_series_end_and_start_anew() {
    let mut scene = scene(100);
    let a = scene.group("a");
    let say = |out: &mut Samples| {
        out.add(&TIME, a, ["user"], 10);
        out.set(&SIZE, a, [], 50);
    };
    scene.say("p", say);
    scene.say("q", |out| out.add_host(&EARLY, [], 1));
    scene.registry.end_plugin("p");
    scene.second += 1;
    assert_eq!(lines(&scene.page()), ["test.early  = 1"]);
    let failed_at = at(scene.second).wall;
    scene.say("p", say);
    assert_eq!(scene.value("test.time", &[("group", "a"), ("mode", "user")]), Some(10), "not 20");
    assert_eq!(start(&scene.page(), "test.time"), failed_at);
    scene.registry.end_plugin("never seen");
    assert_eq!(scene.registry.len(), 3);
}

#[test]
fn labels_stay_apart() {
    let mut scene = scene(100);
    let (a, b) = (scene.group("a"), scene.group("b"));
    scene.say("p", |out| {
        out.set_host(&PAIR, ["x", "yz"], 1);
        out.set_host(&PAIR, ["xy", "z"], 2);
        out.set_host(&PAIR, ["xyz", ""], 3);
        out.set_host(&PAIR, ["", "xyz"], 4);
        out.add(&TIME, a, ["user"], 5);
        out.add(&TIME, b, ["user"], 6);
        out.set(&SIZE, a, [], 7);
    });
    let want = [
        "test.pair  xyz = 4",
        "test.pair x yz = 1",
        "test.pair xy z = 2",
        "test.pair xyz  = 3",
        "test.size a = 7",
        "test.time a user = 5",
        "test.time b user = 6",
    ];
    assert_eq!(lines(&scene.page()), want);
}

#[test]
fn hostile_label_values_are_kept_as_they_are() {
    let mut scene = scene(100);
    let hostile = ["\"", "\\", "\n", "{a=\"b\"}", "a\0b", "\u{1f980}", "é", "\u{202e}", " ", "le"];
    scene.say("p", |out| hostile.iter().for_each(|text| out.set_host(&PAIR, [text, text], 1)));
    let page = scene.page();
    assert_eq!(page.families[0].points.len(), hostile.len());
    for text in hostile {
        assert_eq!(value(&page, "test.pair", &[("first", text), ("second", text)]), Some(1), "{text:?}");
    }
}

#[test]
fn long_label_values_are_cut_between_characters() {
    let mut scene = scene(100);
    scene.say("p", |out| out.set_host(&PAIR, [&"é".repeat(1000), &format!("x{}", "é".repeat(1000))], 1));
    let page = scene.page();
    let lengths: Vec<_> = page.families[0].points[0].values.iter().map(|value| value.len()).collect();
    assert_eq!(lengths, [LABEL_VALUE_MAX, LABEL_VALUE_MAX - 1]);
    assert_eq!(label_value(b"a\xffb"), "a\u{fffd}b");
    assert!(label_value(&[0xff; 5000]).len() <= LABEL_VALUE_MAX);
}

#[test]
fn what_finds_no_room_is_refused_and_counted_by_metric() {
    let mut scene = scene(2);
    let (a, b) = (scene.group("a"), scene.group("b"));
    for _ in 0..3 {
        scene.say("p", |out| {
            out.add(&TIME, a, ["user"], 1);
            out.set(&SIZE, a, [], 1);
            out.set(&SIZE, b, [], 1);
            out.add(&TIME, b, ["user"], 1);
        });
    }
    assert_eq!(lines(&scene.page()), ["test.size a = 1", "test.time a user = 3"]);
    assert_eq!(scene.registry.refused().collect::<Vec<_>>(), [("test.size", 3), ("test.time", 3)]);
    scene.registry.end_group(a);
    scene.say("p", |out| out.set(&SIZE, b, [], 4));
    assert_eq!(lines(&scene.page()), ["test.size b = 4"], "room that was left is used");
}

#[test]
fn a_page_is_in_order_of_name_group_and_labels() {
    let mut scene = scene(100);
    let (b, a) = (scene.group("b"), scene.group("a"));
    scene.say("p", |out| {
        out.add(&TIME, b, ["user"], 1);
        out.set_host(&PAIR, ["b", "a"], 1);
        out.add(&TIME, a, ["user"], 1);
        out.add(&TIME, a, ["system"], 1);
        out.set_host(&PAIR, ["a", "b"], 1);
    });
    let first = ["test.pair a b = 1", "test.pair b a = 1", "test.time a system = 1", "test.time a user = 1"];
    assert_eq!(lines(&scene.page())[..4], first);
    // A series that comes later goes to its place, also into one that another has left.
    scene.say("p", |out| {
        out.add_host(&EARLY, [], 1);
        out.set_host(&PAIR, ["b", "a"], 1);
        out.set_host(&PAIR, ["b", ""], 1);
    });
    let second = ["test.early  = 1", "test.pair b  = 1", "test.pair b a = 1", "test.time a system = 1"];
    assert_eq!(lines(&scene.page())[..4], second);
}

#[test]
fn a_retired_groups_series_end_and_its_number_inherits_nothing() {
    let mut scene = scene(100);
    let mut table = Table::new(0, 100);
    let mut scan = |groups: &mut Groups, snapshot: Snapshot| {
        table.merge(&snapshot);
        table.assign(groups, snapshot.begun.mono);
        groups.settle(&table, &snapshot)
    };
    scan(&mut scene.groups, snapshot(0, [(reading(1, 0), "a")]));
    let a = scene.group("a");
    scene.say("p", |out| out.add(&TIME, a, ["user"], 100));
    scene.second += 10;
    assert_eq!(scan(&mut scene.groups, snapshot(9, [])), [], "its end is news");
    let retired = scan(&mut scene.groups, snapshot(10, []));
    assert_eq!(retired, [a]);
    assert_eq!(lines(&scene.page()), [""; 0], "without its labels it is nobody's");
    retired.into_iter().for_each(|group| scene.registry.end_group(group));
    assert!(scene.registry.is_empty());

    let b = scene.group("b");
    assert_eq!(b, a, "the number is given out again");
    let began = at(scene.second).wall;
    scene.say("p", |out| out.add(&TIME, b, ["user"], 1));
    assert_eq!(lines(&scene.page()), ["test.time b user = 1"]);
    assert_eq!(start(&scene.page(), "test.time"), began);
}

/// `const` definitions have no one address.
#[test]
fn a_definition_is_known_by_its_name() {
    const ONE: &Counter<0> = &Counter::per_host("test.same", Unit::Count("thing"), &[], "One");
    static TWO: Counter<0> = Counter::per_host("test.same", Unit::Count("thing"), &[], "One");
    let mut scene = scene(100);
    scene.say("p", |out| out.add_host(ONE, [], 1));
    scene.say("p", |out| out.add_host(&TWO, [], 1));
    assert_eq!(lines(&scene.page()), ["test.same  = 2"]);
}

/// What one plugin says in one tick: pairs of labels with a value; or that it fails.
fn tick() -> impl Strategy<Value = Option<Vec<(u8, u8, u64)>>> {
    prop_oneof![
        9 => prop::collection::vec((0..4_u8, 0..4_u8, 0..100_u64), 0..12).prop_map(Some),
        1 => Just(None),
    ]
}

proptest! {
    /// Against a plain map: the same series with the same values, in order, within the limit.
    #[test]
    fn the_registry_agrees_with_a_map(
        limit in prop_oneof![Just(1000_usize), 0..20_usize],
        ticks in prop::collection::vec(tick(), 1..30),
    ) {
        const TEXT: [&str; 4] = ["", "a", "ab", "b"];
        let mut scene = scene(limit);
        let groups: Vec<GroupId> = ["g0", "g1", "g2", "g3"].map(|name| scene.group(name)).into();
        let mut counters: BTreeMap<(u8, u8), u64> = BTreeMap::new();
        for said in ticks {
            let Some(said) = said else {
                scene.registry.end_plugin("p");
                prop_assert!(scene.registry.is_empty());
                counters.clear();
                continue;
            };
            let mut levels: BTreeMap<(u8, u8), u64> = BTreeMap::new();
            scene.say("p", |out| {
                for (first, second, value) in &said {
                    out.set_host(&PAIR, [TEXT[*first as usize], TEXT[*second as usize]], *value);
                    out.add(&TIME, groups[*first as usize], [TEXT[*second as usize]], *value);
                    levels.insert((*first, *second), *value);
                    *counters.entry((*first, *second)).or_default() += value;
                }
            });
            let page = lines(&scene.page());
            prop_assert!(page.len() <= limit && page.len() == scene.registry.len());
            prop_assert!(page.is_sorted_by_key(|line| line.split(" = ").next().unwrap().to_owned()));
            if limit == 1000 {
                let pairs = levels.iter().map(|((first, second), value)| {
                    format!("test.pair {} {} = {value}", TEXT[*first as usize], TEXT[*second as usize])
                });
                let times = counters.iter().map(|((group, mode), value)| {
                    format!("test.time g{group} {} = {value}", TEXT[*mode as usize])
                });
                prop_assert_eq!(page, pairs.chain(times).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn counters_that_a_changed_plugin_writes_no_more_end() {
    let mut scene = scene(100);
    let group = scene.group("a");
    let both = |out: &mut Samples| {
        out.add(&TIME, group, ["user"], 5);
        out.add_host(&EARLY, [], 1);
    };
    scene.say("p", both);
    scene.say("p", |out| out.add(&TIME, group, ["user"], 5));
    assert_eq!(scene.value("test.early", &[]), Some(1), "one that is left out for once goes on");
    scene.registry.end_unwritten("p");
    assert_eq!(scene.value("test.early", &[]), None);
    assert_eq!(scene.value("test.time", &[("group", "a"), ("mode", "user")]), Some(10));
}
